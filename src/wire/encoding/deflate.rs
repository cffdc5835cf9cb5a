//! `deflate`: zlib-wrapped as RFC 9110 says, with its checksum checked, or raw as some servers send it.

use super::inflate::Inflate;
use super::{Broken, Out};

#[derive(Default)]
pub struct Deflate {
    inflate: Inflate,
    state: State,
    /// Of the decoded bytes; only a zlib stream needs it.
    sum: Adler32,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Nothing came yet.
    #[default]
    Start,
    /// One byte came that may be the first of a zlib header.
    First(u8),
    Raw,
    Zlib,
    /// The checksum as far as it came, and how many of its bytes did.
    Sum(u32, u8),
    /// The end came. What follows is ignored, as browsers do.
    Done,
}

/// Whether these two bytes are a zlib header (RFC 1950): method 8, a window of at most 32 KiB, no preset dictionary,
/// and a check that makes them a multiple of 31. A raw stream cannot look so: with 8 as its low bits it begins with a
/// stored block, whose padding no encoder fills.
fn is_zlib(cmf: u8, flags: u8) -> bool {
    may_be_zlib(cmf) && flags & 0x20 == 0 && u16::from_be_bytes([cmf, flags]).is_multiple_of(31)
}

fn may_be_zlib(cmf: u8) -> bool {
    cmf & 0x0F == 8 && cmf >> 4 <= 7
}

impl Deflate {
    #[inline(never)]
    pub fn push(&mut self, mut input: &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.state {
                State::Start if may_be_zlib(byte) => {
                    self.state = State::First(byte);
                    input = rest;
                }
                State::Start => self.state = State::Raw,
                State::First(first) if is_zlib(first, byte) => {
                    self.state = State::Zlib;
                    input = rest;
                }
                State::First(first) => {
                    let ended = self.inflate.run(&mut &[first][..], |bytes| out.put(bytes))?;
                    self.state = if ended { State::Done } else { State::Raw };
                }
                State::Raw => {
                    if self.inflate.run(&mut input, |bytes| out.put(bytes))? {
                        self.state = State::Done;
                    }
                }
                State::Zlib => {
                    let sum = &mut self.sum;
                    let ended = self.inflate.run(&mut input, |bytes| {
                        sum.add(bytes);
                        out.put(bytes)
                    })?;
                    if ended {
                        self.state = State::Sum(0, 0);
                    }
                }
                State::Sum(sum, came) => {
                    let sum = sum << 8 | u32::from(byte);
                    input = rest;
                    self.state = if came < 3 {
                        State::Sum(sum, came + 1)
                    } else if sum == self.sum.value() {
                        State::Done
                    } else {
                        return Err(Broken::Checksum);
                    };
                }
                State::Done => return Ok(()),
            }
        }
        Ok(())
    }

    pub fn finished(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// zlib's checksum.
struct Adler32 {
    a: u32,
    b: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

impl Adler32 {
    fn add(&mut self, bytes: &[u8]) {
        const PRIME: u32 = 65_521;
        // So many bytes can be added before the sums would overflow.
        for bytes in bytes.chunks(5552) {
            for byte in bytes {
                self.a = self.a.wrapping_add(u32::from(*byte));
                self.b = self.b.wrapping_add(self.a);
            }
            self.a %= PRIME;
            self.b %= PRIME;
        }
    }

    fn value(&self) -> u32 {
        self.b << 16 | self.a
    }
}
