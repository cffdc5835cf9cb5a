//! Takes the extra usage chunk out of a stream whose client did not ask for it, and not one byte besides.
//!
//! It goes by lines, not by events: some servers put several documents into one event, a line each, and some never end an
//! event. A line goes on as soon as it cannot be the chunk. A chunk that has more to say than usage loses its `usage`
//! and nothing else. What is larger than the cap goes on as it comes.

use std::ops::Range;

use memchr::memchr2;

use crate::json::{Reader, Scalar, Visitor};
use crate::wire::field::Field;
use crate::wire::tree::{Inside, Tree, leaf, list};

const SKIP: Tree = Tree { means: None, inside: None };

/// A chunk: what every chunk has, its choices, its usage, and all else.
static CHUNK: Tree = Tree {
    means: None,
    inside: Some(&Inside {
        keys: &[
            ("id", SKIP),
            ("object", SKIP),
            ("created", SKIP),
            ("model", SKIP),
            ("system_fingerprint", SKIP),
            ("service_tier", SKIP),
            ("obfuscation", SKIP),
            ("provider", SKIP),
            ("choices", list!(Field::Choices; leaf!(Field::Choice))),
            (
                "usage",
                Tree { means: Some(Field::Usage), inside: Some(&Inside { keys: &[], item: None, rest: Some(&SKIP) }) },
            ),
        ],
        item: None,
        rest: Some(&leaf!(Field::Element)),
    }),
};

/// The fields of an event that may have to go with a hidden chunk.
const FIELDS: [&[u8]; 3] = [b"data", b"event", b"id"];

/// The filter of one stream.
#[derive(Debug)]
pub struct HideUsage {
    cap: usize,
    reader: Reader<Field>,
    chunk: Chunk,
    /// Lines of which it is not known yet whether they go on; the last of them may have just begun.
    held: Vec<u8>,
    /// Where in them the line at hand begins.
    line: usize,
    /// Where in them the document at hand begins, if one has begun and not ended.
    document: Option<usize>,
    /// The line at hand goes on as it comes.
    passing: bool,
    /// Of the event at hand, something was hidden.
    hid: bool,
    /// Of the event at hand, something went on.
    sent: bool,
    /// What became of the last line, if it ended in CR: an LF may belong to it.
    late: Option<Late>,
}

/// Where the LF behind a CR goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    On,
    Held,
    Gone,
}

/// What was seen of a document.
#[derive(Debug, Default)]
struct Chunk {
    /// Where its usage stands.
    usage: Option<(usize, usize)>,
    choices: bool,
    choice: bool,
    /// It has more to say.
    more: bool,
}

impl HideUsage {
    /// A stream of which at most `cap` bytes are held.
    pub fn new(cap: usize) -> Self {
        let (chunk, held) = Default::default();
        let reader = Reader::new(&CHUNK);
        Self { cap, reader, chunk, held, line: 0, document: None, passing: false, hid: false, sent: false, late: None }
    }

    /// What of the stream goes on with this piece; `end` says that it is the last.
    pub fn push(&mut self, mut piece: &[u8], end: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        while !piece.is_empty() {
            if let Some(late) = self.late.take()
                && let Some(rest) = piece.strip_prefix(b"\n")
            {
                match late {
                    Late::On => out.push(b'\n'),
                    Late::Held => self.end_held(b"\n"),
                    Late::Gone => {}
                }
                piece = rest;
                continue;
            }
            let ends = memchr2(b'\n', b'\r', piece);
            let (part, rest) = piece.split_at_checked(ends.unwrap_or(piece.len())).unwrap_or((piece, &[]));
            self.part(part, &mut out);
            piece = rest;
            if let Some((end, rest)) = piece.split_first() {
                let became = self.line_ended(&[*end], &mut out);
                self.late = Some(became).filter(|_| *end == b'\r');
                piece = rest;
            }
        }
        if end && !self.held.is_empty() {
            self.line_ended(&[], &mut out);
            if !self.hid || self.sent {
                out.append(&mut self.held);
            }
            self.held.clear();
        }
        out
    }

    /// A part of the line at hand, without its end.
    fn part(&mut self, part: &[u8], out: &mut Vec<u8>) {
        if self.passing {
            out.extend_from_slice(part);
            return;
        }
        self.held.extend_from_slice(part);
        let line = self.held.get(self.line..).unwrap_or(&[]);
        let matters = FIELDS.iter().any(|field| field.iter().zip(line).all(|(a, b)| a == b));
        if !matters || self.held.len() > self.cap {
            self.passing = !line.is_empty();
            self.flush(out);
        }
    }

    /// All that is held goes on.
    fn flush(&mut self, out: &mut Vec<u8>) {
        self.sent |= !self.held.is_empty();
        out.append(&mut self.held);
        self.line = 0;
        self.document = None;
    }

    /// Puts the end of a line behind what is held.
    fn end_held(&mut self, end: &[u8]) {
        self.held.extend_from_slice(end);
        self.line = self.held.len();
    }

    /// The line at hand ends.
    fn line_ended(&mut self, end: &[u8], out: &mut Vec<u8>) -> Late {
        if std::mem::take(&mut self.passing) {
            out.extend_from_slice(end);
            return Late::On;
        }
        let line = self.held.get(self.line..).unwrap_or(&[]);
        if line.is_empty() {
            return self.event_ended(end, out);
        }
        let Some(at) = value_of_data(line) else {
            // An event's name or id: it shares the fate of its data.
            self.end_held(end);
            return Late::Held;
        };
        let (line, at) = (self.line, self.line + at);
        let first = self.document.is_none();
        let document = *self.document.get_or_insert(line);
        if first {
            self.reader.reset();
            self.chunk = Chunk::default();
        }
        let value = self.held.get(at..).unwrap_or(&[]);
        let Ok(read) = self.reader.feed(value, &mut self.chunk) else { return self.goes_on(end, out) };
        if !self.reader.is_done() {
            self.end_held(end);
            return Late::Held;
        }
        let Chunk { usage, choices, choice, more } = self.chunk;
        let alone = value.get(read..).unwrap_or(&[]).trim_ascii().is_empty();
        match usage.filter(|_| choices && !choice && alone) {
            Some(_) if !more => {
                self.held.truncate(document);
                self.line = self.held.len();
                self.document = None;
                self.hid = true;
                Late::Gone
            }
            Some((open, close)) if first => {
                if let Some(member) = member(value, open, close) {
                    self.held.drain(at + member.start..at + member.end);
                }
                self.goes_on(end, out)
            }
            _ => self.goes_on(end, out),
        }
    }

    fn goes_on(&mut self, end: &[u8], out: &mut Vec<u8>) -> Late {
        self.flush(out);
        out.extend_from_slice(end);
        Late::On
    }

    /// A blank line: it ends what is left of its event.
    fn event_ended(&mut self, end: &[u8], out: &mut Vec<u8>) -> Late {
        let nothing = std::mem::take(&mut self.hid) && !self.sent && self.document.is_none();
        if nothing {
            self.held.clear();
            self.line = 0;
        } else {
            self.flush(out);
            out.extend_from_slice(end);
        }
        self.sent = false;
        if nothing { Late::Gone } else { Late::On }
    }
}

/// Where the value of a line of data begins.
fn value_of_data(line: &[u8]) -> Option<usize> {
    match line.strip_prefix(b"data")? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(line.len() - value.len()),
        [] => Some(line.len()),
        _ => None,
    }
}

/// The member of a document whose value stands between these brackets, with its name and one comma.
fn member(document: &[u8], open: usize, close: usize) -> Option<Range<usize>> {
    let before = document.get(..open)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let before = before.strip_suffix(b"\"usage\"")?;
    let end = close.checked_add(1)?;
    if let Some(front) = before.trim_ascii_end().strip_suffix(b",") {
        return Some(front.len()..end);
    }
    let behind = document.get(end..)?.trim_ascii_start();
    let end = behind.strip_prefix(b",").map_or(end, |rest| document.len() - rest.len());
    Some(before.len()..end)
}

impl Visitor<Field> for Chunk {
    fn open(&mut self, means: Field, at: usize) {
        match means {
            Field::Usage => self.usage = Some((at, at)),
            Field::Choices => self.choices = true,
            Field::Choice => self.choice = true,
            _ => self.more = true,
        }
    }

    fn close(&mut self, means: Field, at: usize) {
        if let Some(usage) = self.usage.as_mut().filter(|_| means == Field::Usage) {
            usage.1 = at;
        }
    }

    fn scalar(&mut self, means: Field, value: Scalar<'_>, _: Option<(usize, usize)>) {
        match means {
            Field::Choices => self.choices |= value == Scalar::Null,
            Field::Choice => self.choice = true,
            Field::Element => self.more |= value != Scalar::Null,
            _ => {}
        }
    }
}
