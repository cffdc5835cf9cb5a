//! Server-sent events, put together from pieces that are cut anywhere.
//!
//! As the HTML standard has it: lines end in LF, CRLF or CR; a blank line ends an event; a line that begins with a colon is a
//! comment; several `data` lines are one text; a byte order mark at the very start does not count. What is left at
//! the end of the stream is read as an event too: providers do forget the last blank line. Beyond the standard, a field
//! `error` (llama.cpp) is the data of an event of that name.

use memchr::memchr2;

/// What is kept of a buffer between events, so that one large event does not cost its memory for the whole stream.
const KEEP: usize = 16 << 10;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// All of it, as it came, with its blank line.
    pub raw: &'a [u8],
    /// Its `event` field; empty if it has none.
    pub name: &'a [u8],
    /// Its data; lines joined by LF.
    pub data: &'a [u8],
    /// Where the data stands in `raw`, if it is one line.
    pub at: Option<usize>,
}

/// Who is told of events.
pub trait Events {
    /// Asked at the start of an event, with all that is at hand of it and what follows: how long the event is, if it is of a
    /// kind already known and needs no further look. A length that is given counts the event as read.
    fn known(&mut self, rest: &[u8]) -> Option<usize> {
        let _ = rest;
        None
    }
    /// An event that has data.
    fn event(&mut self, event: Event<'_>);
    /// Comments and blank lines, or an event without data.
    fn blank(&mut self, raw: &[u8]) {
        let _ = raw;
    }
    /// An event larger than the cap begins here; it comes in pieces.
    fn oversize(&mut self);
    /// A piece of it.
    fn passed(&mut self, raw: &[u8]) {
        let _ = raw;
    }
    /// It has ended.
    fn passed_all(&mut self) {}
}

/// The framing of one stream. Keeps at most `cap` bytes.
#[derive(Debug)]
pub struct Sse {
    cap: usize,
    /// The event that has begun, as far as earlier pieces had it.
    carry: Vec<u8>,
    /// Several data lines, joined.
    joined: Vec<u8>,
    /// Whether the line at hand has bytes.
    line: bool,
    /// The last piece ended in CR: an LF at the start of the next belongs to it.
    swallow_lf: bool,
    /// The event at hand is larger than the cap.
    skipping: bool,
    /// Nothing was read yet: a byte order mark may come.
    fresh: bool,
}

impl Sse {
    /// A stream whose events have at most `cap` bytes each.
    pub fn new(cap: usize) -> Self {
        Self {
            cap,
            carry: Vec::new(),
            joined: Vec::new(),
            line: false,
            swallow_lf: false,
            skipping: false,
            fresh: true,
        }
    }

    /// Reads a piece.
    pub fn push(&mut self, mut piece: &[u8], events: &mut impl Events) {
        if self.swallow_lf && !piece.is_empty() {
            self.swallow_lf = false;
            if let Some(rest) = piece.strip_prefix(b"\n") {
                if !self.carry.is_empty() || self.skipping {
                    self.keep(b"\n", events);
                }
                piece = rest;
            }
        }
        while !piece.is_empty() {
            let between = self.carry.is_empty() && !self.skipping && !self.line;
            // The cap holds for events of a known kind too: what is too large must not depend on how it was cut.
            let front = piece.get(..self.cap).unwrap_or(piece);
            if between && let Some(rest) = events.known(front).and_then(|n| piece.get(n..)) {
                piece = rest;
                continue;
            }
            match self.scan(piece).and_then(|end| piece.split_at_checked(end)) {
                Some((event, rest)) => {
                    self.ended(event, events);
                    piece = rest;
                }
                None => {
                    self.keep(piece, events);
                    break;
                }
            }
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, events: &mut impl Events) {
        if !self.carry.is_empty() || self.skipping {
            self.ended(&[], events);
        }
    }

    /// Whether nothing has come yet.
    pub fn is_fresh(&self) -> bool {
        self.fresh && self.carry.is_empty() && !self.skipping
    }

    /// Where the event at hand ends in this piece, behind its blank line.
    fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|r| !r.is_empty()) {
            let Some(i) = memchr2(b'\n', b'\r', rest) else {
                self.line = true;
                return None;
            };
            let blank = i == 0 && !self.line;
            at += i + 1;
            if rest.get(i) == Some(&b'\r') {
                match piece.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.swallow_lf = true,
                }
            }
            self.line = false;
            if blank {
                return Some(at);
            }
        }
        None
    }

    fn keep(&mut self, piece: &[u8], events: &mut impl Events) {
        if !self.skipping && self.carry.len() + piece.len() > self.cap {
            self.skip(events);
        }
        if self.skipping { events.passed(piece) } else { self.carry.extend_from_slice(piece) }
    }

    fn skip(&mut self, events: &mut impl Events) {
        self.skipping = true;
        events.oversize();
        events.passed(&self.carry);
        self.carry = Vec::new();
    }

    fn ended(&mut self, last: &[u8], events: &mut impl Events) {
        // The LF behind a CR does not count: cut off, it would come too late to.
        let size = self.carry.len() + last.len() - usize::from(last.ends_with(b"\r\n"));
        if !self.skipping && size > self.cap {
            self.skip(events);
        }
        if std::mem::take(&mut self.skipping) {
            events.passed(last);
            events.passed_all();
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        if carry.is_empty() {
            self.read(last, events);
        } else {
            carry.extend_from_slice(last);
            if events.known(&carry).is_none() {
                self.read(&carry, events);
            }
            carry.clear();
            carry.shrink_to(KEEP);
        }
        self.carry = carry;
    }

    fn read(&mut self, raw: &[u8], events: &mut impl Events) {
        let mut body = raw;
        if std::mem::take(&mut self.fresh) {
            body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        }
        let mut at = raw.len() - body.len();
        let (mut name, mut data, mut lines) = (&[][..], None, 0usize);
        self.joined.clear();
        while let Some(rest) = raw.get(at..).filter(|r| !r.is_empty()) {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or(&[]);
            if let Some(value) = field(line, b"data") {
                lines += 1;
                if lines == 2 {
                    self.joined.extend_from_slice(data.map_or(&[][..], |(value, _)| value));
                }
                if lines >= 2 {
                    self.joined.push(b'\n');
                    self.joined.extend_from_slice(value);
                }
                data = Some((value, at + line.len() - value.len()));
            } else if let Some(value) = field(line, b"event") {
                name = value;
            } else if let Some(value) = field(line, b"error").filter(|_| data.is_none()) {
                (name, data, lines) = (b"error", Some((value, at + line.len() - value.len())), 1);
            }
            at += end + 1;
        }
        match data {
            None => events.blank(raw),
            Some((data, at)) if lines == 1 => events.event(Event { raw, name, data, at: Some(at) }),
            Some(_) => {
                events.event(Event { raw, name, data: &self.joined, at: None });
                self.joined.shrink_to(KEEP);
            }
        }
    }
}

/// The value of a line, if it is of this field. One space behind the colon does not count.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}
