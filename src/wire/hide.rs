//! Takes the extra usage chunk out of a stream whose client did not ask for it.
//!
//! Only whole events go on, so an event is held until its end has come; one larger than the cap goes on as it comes.

use crate::json::Reader;
use crate::wire::dialects::openai;
use crate::wire::facts::Facts;
use crate::wire::field::Field;
use crate::wire::sse::{Event, Events, Sse};

/// The filter of one stream.
#[derive(Debug)]
pub struct HideUsage {
    framing: Sse,
    reader: Reader<Field>,
    /// The last event was taken out.
    hid: bool,
}

impl HideUsage {
    /// A stream whose events have at most `cap` bytes each.
    pub fn new(cap: usize) -> Self {
        Self { framing: Sse::new(cap), reader: Reader::new(&openai::EVENT), hid: false }
    }

    /// What of the stream goes on with this piece; `end` says that it is the last.
    pub fn push(&mut self, piece: &[u8], end: bool) -> Vec<u8> {
        let mut kept = Kept { reader: &mut self.reader, hid: &mut self.hid, out: Vec::with_capacity(piece.len()) };
        self.framing.push(piece, &mut kept);
        if end {
            self.framing.finish(&mut kept);
        }
        kept.out
    }
}

struct Kept<'a> {
    reader: &'a mut Reader<Field>,
    hid: &'a mut bool,
    out: Vec<u8>,
}

impl Events for Kept<'_> {
    fn event(&mut self, event: Event<'_>) {
        let mut facts = Facts::default();
        self.reader.reset();
        let read = self.reader.feed(event.data, &mut facts).is_ok() && self.reader.is_done();
        *self.hid = read && facts.is_usage_only();
        if !*self.hid {
            self.out.extend_from_slice(event.raw);
        }
    }

    fn blank(&mut self, raw: &[u8]) {
        *self.hid = false;
        self.out.extend_from_slice(raw);
    }

    fn late_lf(&mut self) {
        if !*self.hid {
            self.out.push(b'\n');
        }
    }

    fn oversize(&mut self) {
        *self.hid = false;
    }

    fn passed(&mut self, raw: &[u8]) {
        self.out.extend_from_slice(raw);
    }
}
