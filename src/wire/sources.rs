//! Which sources an answer names, at the places that the config's pointers tell.
//!
//! A pointer's places are known only when the config is, so no tree of nodes leads to them: one node stands for everything, and
//! what is walked here is which pointers still lead on, one bit each. Where none does, the reader skips.

use std::rc::Rc;

use crate::json::{MAX_DEPTH, Reader, Scalar, Visitor};
use crate::wire::dialects::{Dialect, Sum};
use crate::wire::field::Field;
use crate::wire::tree::{Inside, Tree, leaf, list, obj};

/// Most sources that are kept of an answer.
pub const MAX_SOURCES: usize = 16;

/// What stands for each element and each member.
const EACH: &str = "*";

/// The steps of each pointer.
pub type Pointers = Rc<[Vec<String>]>;

static ANY: Tree =
    Tree { means: Some(Field::Source), inside: Some(&Inside { keys: &[], item: Some(&ANY), rest: Some(&ANY) }) };

/// MCP says it twice, as JSON and as a text of JSON; servers that are older than the first have but the second.
const KEYS: &[(&str, Tree)] = &[(
    "result",
    obj! {
        "structuredContent" => Tree { means: Some(Field::Source), inside: Some(&Inside { keys: &[], item: Some(&ANY), rest: Some(&ANY) }) },
        "content" => list!(obj! { "text" => leaf!(Field::SourceText) }),
    },
)];
static ONE: Tree = Tree { means: None, inside: Some(&Inside { keys: KEYS, item: None, rest: None }) };
static MESSAGE: Tree = Tree { means: None, inside: Some(&Inside { keys: KEYS, item: Some(&ONE), rest: None }) };

/// How answers are read for their sources.
pub fn dialect(mcp: bool) -> Dialect {
    let tree = if mcp { &MESSAGE } else { &ANY };
    Dialect { event: tree, whole: tree, sum: Sum::Inclusive, lines: false }
}

/// Adds a source to those that are known, unless it is, or there is no room.
pub fn add(to: &mut Vec<String>, source: String) {
    if to.len() < MAX_SOURCES && !source.is_empty() && !to.contains(&source) {
        to.push(source);
    }
}

/// What is read of one answer.
#[derive(Debug)]
pub struct Sources {
    walk: Walk,
    text: Option<Box<Text>>,
}

/// A text that may be a document of its own.
#[derive(Debug)]
struct Text {
    reader: Reader<Field>,
    walk: Walk,
}

/// The way through one document.
#[derive(Debug)]
struct Walk {
    pointers: Pointers,
    levels: [Level; MAX_DEPTH],
    depth: usize,
    /// Pointers that lead to the value whose name came.
    named: Option<u8>,
    found: Vec<String>,
}

/// A container that is open: which pointers lead to it, and how many of its elements came.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    lead: u8,
    elements: u32,
}

impl Sources {
    /// Nothing read yet.
    pub fn new(pointers: &Pointers) -> Self {
        Self { walk: Walk::new(pointers), text: None }
    }

    /// What was found.
    pub fn found(&self) -> &[String] {
        &self.walk.found
    }

    /// A document is over, whole or not.
    pub fn document_ended(&mut self) {
        self.walk.begin();
        self.text = None;
    }

    /// A container begins.
    pub fn open(&mut self) {
        self.walk.open();
    }

    /// It ends.
    pub fn close(&mut self) {
        self.walk.close();
    }

    /// The name of what comes; gives whether a pointer leads there.
    pub fn named(&mut self, name: &[u8]) -> bool {
        self.walk.name(name)
    }

    /// A value that is no container; a text that may be a document ends with it.
    pub fn scalar(&mut self, means: Field, value: Scalar<'_>) {
        match means {
            Field::Source => self.walk.value(value),
            _ => self.text = None,
        }
    }

    /// A piece of a text that may be a document.
    pub fn piece(&mut self, bytes: &[u8]) {
        let Self { walk, text } = self;
        let text =
            text.get_or_insert_with(|| Box::new(Text { reader: Reader::new(&ANY), walk: Walk::new(&walk.pointers) }));
        // Prose is no document, and none that anybody promised.
        let _ = text.reader.feed(bytes, &mut text.walk);
        text.walk.found.drain(..).for_each(|found| add(&mut walk.found, found));
    }
}

impl Walk {
    fn new(pointers: &Pointers) -> Self {
        let pointers = Rc::clone(pointers);
        Self { pointers, levels: Default::default(), depth: 0, named: None, found: Vec::new() }
    }

    fn begin(&mut self) {
        (self.depth, self.named) = (0, None);
    }

    /// Pointers that lead on from the container at hand to what has this name, or this number.
    fn leads(&self, lead: u8, step: &[u8]) -> u8 {
        let Some(at) = self.depth.checked_sub(1) else { return 0 };
        let mut on = 0;
        for (bit, pointer) in self.pointers.iter().enumerate() {
            let wanted = pointer.get(at).filter(|_| lead >> bit & 1 == 1);
            on |= u8::from(wanted.is_some_and(|w| w == EACH || w.as_bytes() == step)) << bit;
        }
        on
    }

    fn top(&mut self) -> Option<&mut Level> {
        self.depth.checked_sub(1).and_then(|at| self.levels.get_mut(at))
    }

    fn name(&mut self, name: &[u8]) -> bool {
        let lead = self.top().map_or(0, |level| level.lead);
        let on = self.leads(lead, name);
        // What leads nowhere is skipped, and nothing more is heard of it.
        self.named = Some(on).filter(|on| *on != 0);
        on != 0
    }

    /// Pointers that lead to the value that is here.
    fn here(&mut self) -> u8 {
        if let Some(named) = self.named.take() {
            return named;
        }
        // The document itself, or the next element of a list.
        let Some(level) = self.top() else { return u8::MAX };
        let (lead, element) = (level.lead, level.elements);
        level.elements = element.saturating_add(1);
        if lead == 0 { 0 } else { self.leads(lead, element.to_string().as_bytes()) }
    }

    fn value(&mut self, value: Scalar<'_>) {
        let here = self.here();
        let ends = |(bit, pointer): (usize, &Vec<String>)| here >> bit & 1 == 1 && pointer.len() == self.depth;
        if !self.pointers.iter().enumerate().any(ends) {
            return;
        }
        match value {
            Scalar::Text(text, _) | Scalar::Number(text) => {
                add(&mut self.found, String::from_utf8_lossy(text).into_owned());
            }
            Scalar::Bool(_) | Scalar::Null => {}
        }
    }

    fn open(&mut self) {
        let lead = self.here();
        if let Some(level) = self.levels.get_mut(self.depth) {
            *level = Level { lead, elements: 0 };
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

impl Visitor<Field> for Walk {
    fn open(&mut self, _: Field, _: usize) {
        Walk::open(self);
    }

    fn close(&mut self, _: Field, _: usize) {
        Walk::close(self);
    }

    fn scalar(&mut self, _: Field, value: Scalar<'_>, _: Option<(usize, usize)>) {
        self.value(value);
    }

    fn named(&mut self, name: &[u8]) -> bool {
        self.name(name)
    }
}
