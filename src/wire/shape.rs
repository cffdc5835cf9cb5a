//! Knowing an event again without reading it.
//!
//! The events of a stream differ in a few places: the text, at times a counter or padding. Two events that were read and
//! brought nothing but content teach the shape: what was equal are literals, what was not are holes. An event that fits
//! has the same structure and the same facts by construction, so only the holes' ends need to be found. That is a quarter of
//! the cost of reading it (benches/), and what does not fit is read as ever.
//!
//! A hole is a string's inside or a number, nothing else, so a text that looks like JSON cannot break out of it. An
//! empty content hole does not fit: whether content came is the one thing that may differ.

use std::array::from_fn;

/// The longest event worth learning: longer ones are few, and seldom alike.
const MAX_EVENT: usize = 2048;
/// Most values that may differ from event to event.
const MAX_SPANS: usize = 24;

/// What a value that may differ is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// Generated content.
    Content,
    /// A string without meaning.
    Text,
    /// A number without meaning.
    Number,
}

/// Where such a value stands in an event: inside the quotes, or the digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub free: Free,
    /// Its first byte.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
}

/// What was learned of a stream's events.
#[derive(Debug, Default)]
pub struct Shape {
    /// The last event that taught: its bytes and free values.
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Which of its values have been seen to differ.
    varies: Vec<bool>,
    /// Whether two events have taught.
    learned: bool,
    /// Literals, one behind the other, and what follows each.
    literals: Vec<u8>,
    parts: Vec<(usize, Option<Free>)>,
    /// Whether the content is visible text.
    text: bool,
}

/// An event that fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its length.
    pub len: usize,
    /// Bytes of content in it.
    pub content: u64,
    /// Whether that is visible text.
    pub text: bool,
}

impl Shape {
    /// Learns from an event that was read whole, had one line of data and brought content and nothing else.
    pub fn learn(&mut self, raw: &[u8], spans: &[Span], text: bool) {
        if raw.len() > MAX_EVENT || spans.len() > MAX_SPANS || raw.last() != Some(&b'\n') {
            return;
        }
        let alike = text == self.text && self.spans.len() == spans.len() && self.same_literals(raw, spans);
        if alike {
            for ((old, new), varies) in self.spans.iter().zip(spans).zip(&mut self.varies) {
                *varies |= self.bytes.get(old.start..old.end) != raw.get(new.start..new.end);
            }
        } else {
            self.varies.clear();
            self.varies.extend(spans.iter().map(|s| s.free == Free::Content));
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(raw);
        self.spans.clear();
        self.spans.extend_from_slice(spans);
        self.text = text;
        self.learned = alike;
        if alike {
            self.build();
        }
    }

    fn same_literals(&self, raw: &[u8], spans: &[Span]) -> bool {
        let (mut a, mut b) = (0, 0);
        for (old, new) in self.spans.iter().zip(spans) {
            if old.free != new.free || self.bytes.get(a..old.start) != raw.get(b..new.start) {
                return false;
            }
            (a, b) = (old.end, new.end);
        }
        self.bytes.get(a..) == raw.get(b..)
    }

    fn build(&mut self) {
        self.literals.clear();
        self.parts.clear();
        let mut from = 0;
        for (span, varies) in self.spans.iter().zip(&self.varies) {
            if !varies {
                continue;
            }
            let literal = self.bytes.get(from..span.start).unwrap_or(&[]);
            self.literals.extend_from_slice(literal);
            self.parts.push((literal.len(), Some(span.free)));
            from = span.end;
        }
        let literal = self.bytes.get(from..).unwrap_or(&[]);
        self.literals.extend_from_slice(literal);
        self.parts.push((literal.len(), None));
    }

    /// Whether an event of this shape stands at the start of `rest`, whole.
    pub fn fit(&self, rest: &[u8]) -> Option<Fit> {
        if !self.learned {
            return None;
        }
        let (mut literals, mut at, mut content) = (self.literals.as_slice(), 0usize, 0u64);
        for (len, hole) in &self.parts {
            let (literal, more) = literals.split_at_checked(*len)?;
            literals = more;
            let next = at.checked_add(*len)?;
            if !same(rest.get(at..next)?, literal) {
                return None;
            }
            at = next;
            let Some(hole) = hole else { continue };
            let len = match hole {
                Free::Number => number(rest.get(at..)?),
                Free::Content | Free::Text => string(rest.get(at..)?)?,
            };
            if len == 0 && *hole != Free::Text {
                return None;
            }
            if *hole == Free::Content {
                content += len as u64;
            }
            at += len;
        }
        Some(Fit { len: at, content, text: self.text })
    }
}

/// Bytes that are looked at together: what fixed-width SIMD holds, for which the loops below are laid out.
const LANES: usize = 16;

/// Equality by [`LANES`] at a time: WASI's `memcmp` goes byte by byte.
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // Arrays of bytes, not numbers of 128 bits: of these the compiler makes SIMD.
    let differ = |a: &[u8; LANES], b: &[u8; LANES]| -> [u8; LANES] { from_fn(|i| at(a, i) ^ at(b, i)) };
    let ((chunks, rest), (others, other_rest)) = (a.as_chunks(), b.as_chunks());
    let front = chunks.iter().zip(others).fold([0; LANES], |differs, (a, b)| {
        let these = differ(a, b);
        from_fn(|i| at(&differs, i) | at(&these, i))
    });
    // The last lanes overlap the ones before: no loop over single bytes.
    let back = match (a.last_chunk(), b.last_chunk()) {
        (Some(a), Some(b)) => differ(a, b),
        _ => [u8::from(rest != other_rest); LANES],
    };
    front == [0; LANES] && back == [0; LANES]
}

/// A lane.
fn at(lanes: &[u8; LANES], i: usize) -> u8 {
    lanes.get(i).copied().unwrap_or(0)
}

/// How long the string is that begins here, up to its quote. None if it has no end here, or is none: a control character
/// is never in a string, and a line end would end the line.
fn string(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += special(rest.get(at..)?)?;
        match rest.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

/// Where the first quote, backslash or control character stands. Eight bytes at a time, in a word: what stands in a hole
/// is mostly a word or two.
fn special(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // The lowest high bit that is set is right; a borrow may set others above it.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let (words, tail) = rest.as_chunks();
    for (i, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = (below(word, b' ') | is(b'"') | is(b'\\')) & HIGHS;
        if found != 0 {
            return Some(i * size_of::<u64>() + found.trailing_zeros() as usize / 8);
        }
    }
    let at = tail.iter().position(|b| matches!(b, b'"' | b'\\' | ..b' '))?;
    Some(rest.len() - tail.len() + at)
}

/// How long the number is that begins here.
fn number(rest: &[u8]) -> usize {
    rest.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E')).count()
}
