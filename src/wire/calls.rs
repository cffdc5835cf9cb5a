//! The tool calls that a model asks for, put together from an answer's events.
//!
//! A call has a place (choice and index) where a stream has pieces of it; one that has none is a call of its own, or, if it has no
//! name either, belongs to the last one. Where in an event a place stands does not matter: what an event brought is settled
//! when it ends.

use std::ops::Range;

use crate::wire::arguments::{Arguments, Reading, Wanted};
use crate::wire::facts::MAX_NAME;

/// Most calls that are kept of an answer: what providers allow.
const MAX_CALLS: usize = 128;
/// Most bytes of pieces of arguments that one event may bring; beyond it they have no hash. Whole arguments are not bound.
const MAX_PIECES: usize = 256 << 10;

/// A call that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// The provider's id for the call.
    pub id: Option<String>,
    /// What it is asked for with.
    pub arguments: Arguments,
}

/// The calls of one answer.
#[derive(Debug)]
pub struct Calls {
    salt: u64,
    keep: usize,
    wanted: Option<Wanted>,
    known: Vec<Known>,
    /// What the event at hand brought so far.
    parts: Vec<Part>,
    open: Option<Part>,
    pieces: Vec<u8>,
    block: Option<u64>,
}

#[derive(Debug)]
struct Known {
    place: Option<(u32, u64)>,
    name: String,
    id: Option<String>,
    arguments: Reading,
    /// What it came with may be said again, in pieces or whole.
    first: bool,
}

/// What one event says of one call.
#[derive(Debug)]
struct Part {
    name: Option<String>,
    id: Option<String>,
    index: Option<u64>,
    choice: Option<u32>,
    /// It tells the whole call, not a piece of it.
    item: bool,
    /// It is a call for the client to run.
    client: bool,
    /// Read as if they began here.
    arguments: Reading,
    /// The same as pieces that go on.
    pieces: Range<usize>,
    lost: bool,
}

impl Calls {
    /// None yet. `keep` bytes of each call's arguments are kept; of those that are wanted, as many as are wanted.
    pub fn new(salt: u64, keep: usize, wanted: Option<Wanted>) -> Self {
        let (known, parts, pieces) = Default::default();
        Self { salt, keep, wanted, known, parts, open: None, pieces, block: None }
    }

    fn kept_of(&self, name: Option<&str>) -> usize {
        self.keep.max(Wanted::keeps(self.wanted.as_ref(), name))
    }

    /// Something begins that may be a call, or a piece of one. Items are calls if their type says so.
    pub fn begin(&mut self, item: bool) {
        let from = self.pieces.len();
        self.open = Some(Part {
            name: None,
            id: None,
            index: None,
            choice: None,
            item,
            client: !item,
            arguments: Reading::new(self.salt, self.kept_of(None)),
            pieces: from..from,
            lost: false,
        });
    }

    /// It ends.
    pub fn end(&mut self) {
        if let Some(mut part) = self.open.take().filter(|_| self.parts.len() < MAX_CALLS) {
            if part.name.is_some() {
                part.arguments.keep(self.kept_of(part.name.as_deref()));
            }
            self.parts.push(part);
        }
    }

    /// Its name.
    pub fn name(&mut self, name: Option<String>) {
        if let Some(part) = &mut self.open {
            part.name = name;
        }
    }

    /// Its id.
    pub fn id(&mut self, id: Option<String>) {
        if let Some(part) = &mut self.open {
            part.id = id;
        }
    }

    /// Its place.
    pub fn index(&mut self, index: Option<u64>) {
        if let Some(part) = &mut self.open {
            part.index = index;
        }
    }

    /// Whether the client is to run it.
    pub fn client(&mut self, client: bool) {
        if let Some(part) = &mut self.open {
            part.client = client;
        }
    }

    /// A piece of its arguments. Some events are nothing else.
    pub fn piece(&mut self, bytes: &[u8]) {
        if self.open.is_none() {
            self.begin(false);
        }
        let Some(part) = &mut self.open else { return };
        part.arguments.push(bytes);
        if part.lost || self.pieces.len().saturating_add(bytes.len()) > MAX_PIECES {
            part.lost = true;
        } else {
            self.pieces.extend_from_slice(bytes);
            part.pieces.end = self.pieces.len();
        }
    }

    /// A choice ends, with all that stands in it.
    pub fn choice(&mut self, number: u64) {
        self.end();
        for part in self.parts.iter_mut().filter(|part| part.choice.is_none()) {
            part.choice = Some(u32::try_from(number).unwrap_or(u32::MAX));
        }
    }

    /// The place in the answer of what the event is about.
    pub fn block(&mut self, index: Option<u64>) {
        self.block = index;
    }

    /// The event ends; whether it brought any of a call.
    pub fn event_ended(&mut self, item: Option<u64>) -> bool {
        self.end();
        let block = self.block.take().or(item);
        if self.parts.is_empty() {
            return false;
        }
        for part in std::mem::take(&mut self.parts) {
            self.settle(part, block);
        }
        self.pieces.clear();
        true
    }

    fn settle(&mut self, mut part: Part, block: Option<u64>) {
        let choice = part.choice.unwrap_or(0);
        let place = part.index.or(block).map(|index| (choice, index));
        let at = match place {
            Some(_) => self.known.iter().rposition(|known| known.place == place),
            None if part.name.is_none() && !part.item => self.known.len().checked_sub(1),
            None => None,
        };
        // Some give all calls of an answer the same place; a name and another id say that it is another, and so does a name
        // behind arguments where ids are missing.
        let other = |known: &Known| {
            let again = part.name.is_some() && !part.item && !known.arguments.is_empty();
            match (&part.id, &known.id) {
                (Some(id), Some(old)) => part.name.is_some() && id != old,
                (None, None) => again,
                _ => again && part.name.as_ref() != Some(&known.name),
            }
        };
        let known = at.and_then(|at| self.known.get_mut(at)).filter(|known| !other(known));
        let Some(known) = known else {
            if let Some(name) = part.name.filter(|_| part.client && self.known.len() < MAX_CALLS) {
                let Part { id, arguments, item, .. } = part;
                self.known.push(Known { place, name, id, arguments, first: item });
            }
            return;
        };
        if let Some(more) = part.name.take().filter(|more| !part.item && *more != known.name) {
            let room = MAX_NAME.saturating_sub(known.name.len());
            if known.arguments.is_empty() && more.len() <= room {
                known.name.push_str(&more);
            }
        }
        known.id = known.id.take().or(part.id.take());
        if part.arguments.is_empty() {
            return;
        }
        if part.item || std::mem::take(&mut known.first) {
            known.arguments = part.arguments;
            // A piece of it comes without its name.
            known.arguments.keep(self.keep.max(Wanted::keeps(self.wanted.as_ref(), Some(&known.name))));
        } else if part.lost {
            known.arguments.spoil();
        } else {
            known.arguments.push(self.pieces.get(part.pieces).unwrap_or(&[]));
        }
    }

    /// The calls, in the order in which they came.
    pub fn finish(self) -> Vec<Call> {
        let call = |Known { name, id, arguments, .. }: Known| Call { name, id, arguments: arguments.finish() };
        self.known.into_iter().map(call).collect()
    }
}
