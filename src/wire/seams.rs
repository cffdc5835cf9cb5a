//! Where in a running stream one event has ended and the next has not begun: the only places where something may be put
//! in. In the middle of an event nothing can be: what is there of it would be read as an event of its own, and SDKs break on
//! it before they see what comes behind.
//!
//! Nothing is held back for that. Pieces go by, and a few bytes of state say where in the next one the first seam is.

/// How a stream's events are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// JSON documents, a line each.
    Lines,
    /// One JSON array, an element per event.
    Array,
    /// AWS's binary event stream.
    Frames,
}

/// The seams of one stream, which comes in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Seams {
    framing: Framing,
    /// One event has ended and the next has not begun.
    fresh: bool,
    /// The next element of an array needs a comma in front of it.
    comma: bool,
    /// The last byte was a CR: an LF may belong to it.
    cr: bool,
    /// The line at hand has bytes.
    line: bool,
    inside: Inside,
    /// Objects and arrays that are open.
    depth: u32,
    /// The first bytes of a frame, which are its length, and how many of them have come.
    head: (u32, u8),
    /// Bytes of the frame that are still to come.
    left: u32,
}

/// Whether the JSON at hand is within a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Nothing,
    Text,
    /// Behind a backslash.
    Escape,
}

impl Seams {
    /// A stream of which nothing has gone by.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            // Into an array nothing can be put before it is opened.
            fresh: framing != Framing::Array,
            comma: false,
            cr: false,
            line: false,
            inside: Inside::Nothing,
            depth: 0,
            head: (0, 0),
            left: 0,
        }
    }

    /// How the stream's events are kept apart.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether an array's next element needs a comma in front of it.
    pub fn wants_comma(&self) -> bool {
        self.comma
    }

    /// A piece goes on.
    pub fn pass(&mut self, piece: &[u8]) {
        self.walk(piece, false);
    }

    /// How many bytes of this piece go on before the stream's first seam, which may be none of them or all. Nothing if there
    /// is no seam: all of the piece goes on (which is noted), and the next one is to be asked about.
    pub fn first(&mut self, piece: &[u8]) -> Option<usize> {
        self.walk(piece, true)
    }

    #[inline(never)]
    fn walk(&mut self, piece: &[u8], stop: bool) -> Option<usize> {
        for (at, &byte) in piece.iter().enumerate() {
            if stop && self.fresh && !(self.cr && byte == b'\n') {
                return Some(at);
            }
            match self.framing {
                Framing::Sse => self.sse(byte),
                Framing::Lines | Framing::Array => self.json(byte),
                Framing::Frames => self.frame(byte),
            }
        }
        // Behind a CR that ends the piece nobody knows yet: some clients cut at CRLFCRLF and at nothing less.
        (stop && self.fresh && !self.cr).then_some(piece.len())
    }

    fn sse(&mut self, byte: u8) {
        let late = self.cr && byte == b'\n';
        self.cr = byte == b'\r';
        if late {
            return;
        }
        let end = self.cr || byte == b'\n';
        self.fresh = end && !self.line;
        self.line = !end;
    }

    fn json(&mut self, byte: u8) {
        self.inside = match (self.inside, byte) {
            (Inside::Text, b'\\') => Inside::Escape,
            (Inside::Text, b'"') => Inside::Nothing,
            (Inside::Nothing, b'"') | (Inside::Escape, _) => Inside::Text,
            (same, _) => same,
        };
        if self.inside != Inside::Nothing {
            self.fresh = false;
            return;
        }
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.framing == Framing::Lines {
            self.fresh = self.depth == 0 && byte == b'\n';
        } else if self.depth != 1 {
            self.fresh = false;
        } else if !byte.is_ascii_whitespace() {
            // Behind the array's bracket, a comma, or the end of an element, which is an object in all APIs.
            self.comma = byte == b'}';
            self.fresh = matches!(byte, b'[' | b',' | b'}');
        }
    }

    fn frame(&mut self, byte: u8) {
        /// A frame without headers and payload.
        const SMALLEST: u32 = 16;
        /// More than any frame leaves.
        const LOST: u32 = u32::MAX;
        if self.left == LOST {
            return;
        }
        if self.left > 0 {
            self.left -= 1;
            self.fresh = self.left == 0;
            return;
        }
        let (head, have) = self.head;
        let head = head << 8 | u32::from(byte);
        self.fresh = false;
        self.head = (head, have + 1);
        if have == 3 {
            self.head = (0, 0);
            // A length that makes no sense: nobody knows where the next frame begins, if any does.
            self.left = if head < SMALLEST { LOST } else { head - 4 };
        }
    }
}
