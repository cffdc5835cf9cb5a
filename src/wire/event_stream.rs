//! Amazon's binary event stream (`application/vnd.amazon.eventstream`), which Bedrock answers with.
//!
//! ```text
//! total length u32 | headers' length u32 | CRC of these 8 bytes | headers | payload | CRC of all before
//! ```
//! Numbers are big-endian, CRCs are CRC-32. Both CRCs are checked. A frame that lies whole in the piece that came is read in
//! place; only one that was cut is put together in a buffer, which is reused and has a cap.

use super::crc32::Crc32;
use super::room::make_room;

/// The two lengths and their CRC.
const PRELUDE: usize = 12;

/// What a frame without headers and payload takes: the prelude and the CRC at its end.
const SMALLEST: usize = PRELUDE + 4;

/// One message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `:message-type`: `event`, `exception` or `error`. Headers that a frame does not have are empty.
    pub message_type: &'a [u8],
    /// `:event-type`, such as `contentBlockDelta`.
    pub event_type: &'a [u8],
    /// `:exception-type`, such as `throttlingException`.
    pub exception_type: &'a [u8],
    /// `:error-code`, of an `error`.
    pub error_code: &'a [u8],
    /// `:content-type` of the payload.
    pub content_type: &'a [u8],
    /// What it is about, JSON mostly.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The name of what went wrong, of a frame that is no event.
    pub fn error(&self) -> &'a [u8] {
        if self.exception_type.is_empty() { self.error_code } else { self.exception_type }
    }
}

/// Why a frame was not read, one per frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is larger than the cap. The frames behind it are read.
    Oversize,
    /// A CRC is wrong. If it is the message's, the frames behind it are read; if it is the prelude's, nobody knows where
    /// the next frame begins, and nothing more is read.
    Crc,
    /// The CRCs are right but the lengths or headers make no sense. The frames behind it are read, unless its length
    /// is less than a frame's smallest.
    Frame,
}

/// Reads frames out of a body that comes in pieces.
#[derive(Debug)]
pub struct EventStream {
    cap: usize,
    /// The beginning of a frame whose end has not come; at most `cap` bytes, half as much again while it grows.
    parts: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Prelude,
    /// The prelude is good: so long is the frame.
    Body(usize),
    /// Bytes of an oversized frame still to skip.
    Skip(usize),
    /// Nothing can be read any more.
    Lost,
}

impl EventStream {
    /// A reader that skips frames of more than `cap` bytes.
    pub fn new(cap: usize) -> Self {
        Self { cap: cap.max(SMALLEST), parts: Vec::new(), state: State::Prelude }
    }

    /// Takes the next piece of the body. Each frame that is complete with it goes to `sink`, or why it was not read.
    pub fn push(&mut self, mut input: &[u8], sink: &mut dyn FnMut(Result<Frame<'_>, Unread>)) {
        while !input.is_empty() {
            let wanted = match self.state {
                State::Lost => return,
                State::Skip(left) => {
                    let now = left.min(input.len());
                    input = input.get(now..).unwrap_or_default();
                    self.state = if left == now { State::Prelude } else { State::Skip(left.saturating_sub(now)) };
                    continue;
                }
                State::Prelude => PRELUDE,
                State::Body(total) => total,
            };
            if self.parts.is_empty() {
                // The prelude of a whole frame is looked at twice: the bytes stay in front until the frame is read.
                if let Some(bytes) = input.get(..wanted) {
                    if self.step(bytes, sink) {
                        input = input.get(wanted..).unwrap_or_default();
                    }
                    continue;
                }
            }
            let missing = wanted.saturating_sub(self.parts.len());
            let (part, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
            if make_room(&mut self.parts, part.len(), self.cap).is_err() {
                // Only when memory has run out, as the frame is not above the cap.
                self.state = State::Lost;
                self.parts = Vec::new();
                sink(Err(Unread::Oversize));
                return;
            }
            self.parts.extend_from_slice(part);
            input = rest;
            if self.parts.len() == wanted {
                let mut bytes = std::mem::take(&mut self.parts);
                if self.step(&bytes, sink) {
                    bytes.clear();
                }
                self.parts = bytes;
            }
        }
    }

    /// Whether a frame has just ended, or nothing came: if the body ends here, it was not cut.
    pub fn at_boundary(&self) -> bool {
        self.state == State::Prelude && self.parts.is_empty()
    }

    /// Takes the bytes that the state wants, and says whether it is done with them.
    fn step(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Result<Frame<'_>, Unread>)) -> bool {
        if let State::Body(_) = self.state {
            sink(read(bytes));
            self.state = State::Prelude;
            return true;
        }
        let why = match prelude(bytes) {
            Ok((total, _)) if total > self.cap => {
                self.state = State::Skip(total.saturating_sub(PRELUDE));
                Unread::Oversize
            }
            Ok((total, _)) => {
                self.state = State::Body(total);
                return false;
            }
            Err(why) => {
                self.state = State::Lost;
                why
            }
        };
        sink(Err(why));
        true
    }
}

/// The frame's length and that of its headers, from its first 12 bytes.
fn prelude(bytes: &[u8]) -> Result<(usize, usize), Unread> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *bytes else { return Err(Unread::Frame) };
    if Crc32::of(&[a, b, c, d, e, f, g, h]) != u32::from_be_bytes([i, j, k, l]) {
        return Err(Unread::Crc);
    }
    let total = u32::from_be_bytes([a, b, c, d]) as usize;
    if total < SMALLEST {
        return Err(Unread::Frame);
    }
    Ok((total, u32::from_be_bytes([e, f, g, h]) as usize))
}

/// Reads a whole frame.
fn read(bytes: &[u8]) -> Result<Frame<'_>, Unread> {
    let (_, headers_size) = prelude(bytes)?;
    let (checked, crc) = bytes.split_last_chunk::<4>().ok_or(Unread::Frame)?;
    if Crc32::of(checked) != u32::from_be_bytes(*crc) {
        return Err(Unread::Crc);
    }
    let body = checked.get(PRELUDE..).ok_or(Unread::Frame)?;
    let (mut headers, payload) = body.split_at_checked(headers_size).ok_or(Unread::Frame)?;
    let mut frame = Frame { payload, ..Frame::default() };
    while !headers.is_empty() {
        headers = header(headers, &mut frame).ok_or(Unread::Frame)?;
    }
    Ok(frame)
}

/// Reads the first header and gives the bytes behind it.
fn header<'a>(bytes: &'a [u8], frame: &mut Frame<'a>) -> Option<&'a [u8]> {
    const STRING: u8 = 7;
    let (&name_size, bytes) = bytes.split_first()?;
    let (name, bytes) = bytes.split_at_checked(usize::from(name_size))?;
    let (&kind, bytes) = bytes.split_first()?;
    let (size, bytes) = match kind {
        // True and false.
        0 | 1 => (0, bytes),
        // A byte, a short, an integer, a long.
        2 => (1, bytes),
        3 => (2, bytes),
        4 => (4, bytes),
        5 => (8, bytes),
        // Bytes, a string: their length is in front.
        6 | STRING => {
            let (size, bytes) = bytes.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*size)), bytes)
        }
        // A timestamp, a UUID.
        8 => (8, bytes),
        9 => (16, bytes),
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(size)?;
    let field = match name {
        b":message-type" => &mut frame.message_type,
        b":event-type" => &mut frame.event_type,
        b":exception-type" => &mut frame.exception_type,
        b":error-code" => &mut frame.error_code,
        b":content-type" => &mut frame.content_type,
        _ => return Some(rest),
    };
    if kind == STRING {
        *field = value;
    }
    Some(rest)
}
