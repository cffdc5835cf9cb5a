//! `gzip` (RFC 1952): one member or several, with all optional header fields, CRC and length checked.

use super::inflate::Inflate;
use super::{Broken, Out};
use crate::wire::crc32::Crc32;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

#[derive(Default)]
pub struct Gzip {
    inflate: Inflate,
    state: State,
    flags: u8,
    /// Of the header, for FHCRC.
    header: Crc32,
    /// Of the member's decoded bytes.
    crc: Crc32,
    /// Number of the member's decoded bytes, modulo 2^32.
    length: u32,
    /// Members that ended well.
    members: u64,
}

/// ```text
/// Fixed → Extra length → Extra → Name → Comment → Header crc → Body → Trailer → Fixed …
///   └ not a header, behind a whole member → Garbage
/// ```
/// The optional ones are passed where the flags leave them out. Lengths are kept as what came so far, so any cut works.
#[derive(Clone, Copy)]
enum State {
    /// So many of the 10 bytes came.
    Fixed(u8),
    /// The two bytes of the length, and how many of them came.
    ExtraLength([u8; 2], u8),
    /// Bytes still to skip.
    Extra(u16),
    Name,
    Comment,
    HeaderCrc([u8; 2], u8),
    Body,
    /// CRC-32 and length.
    Trailer([u8; 8], u8),
    /// Padding or what else is behind the last member. It is ignored, as gzip itself and browsers do.
    Garbage,
}

impl Default for State {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// Puts a byte at its place, and says whether it was the last one.
fn fill<const N: usize>(field: &mut [u8; N], have: &mut u8, byte: u8) -> bool {
    if let Some(place) = field.get_mut(usize::from(*have)) {
        *place = byte;
    }
    *have = have.saturating_add(1);
    usize::from(*have) >= N
}

impl Gzip {
    #[inline(never)]
    pub fn push(&mut self, mut input: &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        while !input.is_empty() {
            match self.state {
                State::Body => self.body(&mut input, out)?,
                State::Garbage => return Ok(()),
                _ => {
                    if let Some((byte, rest)) = input.split_first() {
                        self.around(*byte)?;
                        input = rest;
                    }
                }
            }
        }
        Ok(())
    }

    pub fn finished(&self) -> bool {
        self.members > 0 && matches!(self.state, State::Fixed(0) | State::Garbage)
    }

    fn body(&mut self, input: &mut &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        let (crc, length) = (&mut self.crc, &mut self.length);
        let ended = self.inflate.run(input, |bytes| {
            crc.add(bytes);
            *length = length.wrapping_add(bytes.len() as u32);
            out.put(bytes)
        })?;
        if ended {
            self.state = State::Trailer([0; 8], 0);
        }
        Ok(())
    }

    /// One byte of a header or a trailer.
    #[inline(never)]
    fn around(&mut self, byte: u8) -> Result<(), Broken> {
        if !matches!(self.state, State::HeaderCrc(..) | State::Trailer(..)) {
            self.header.add(&[byte]);
        }
        match &mut self.state {
            State::Fixed(have) => {
                let fine = match have {
                    0 => byte == 0x1F,
                    1 => byte == 0x8B,
                    2 => byte == 8,
                    3 => byte & RESERVED == 0,
                    _ => true,
                };
                if !fine {
                    // Behind a member, what does not begin as one is no member.
                    let garbage = self.members > 0 && *have < 2;
                    self.state = if garbage { State::Garbage } else { return Err(Broken::Format) };
                    return Ok(());
                }
                if *have == 3 {
                    self.flags = byte;
                }
                *have = have.saturating_add(1);
                if *have == 10 {
                    self.after(0);
                }
            }
            State::ExtraLength(field, have) => {
                if fill(field, have, byte) {
                    match u16::from_le_bytes(*field) {
                        0 => self.after(FEXTRA),
                        length => self.state = State::Extra(length),
                    }
                }
            }
            State::Extra(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.after(FEXTRA);
                }
            }
            State::Name if byte == 0 => self.after(FNAME),
            State::Comment if byte == 0 => self.after(FCOMMENT),
            State::Name | State::Comment => {}
            State::HeaderCrc(field, have) => {
                if fill(field, have, byte) {
                    if u32::from(u16::from_le_bytes(*field)) != self.header.value() & 0xFFFF {
                        return Err(Broken::Checksum);
                    }
                    self.after(FHCRC);
                }
            }
            State::Trailer(field, have) => {
                if fill(field, have, byte) {
                    let [a, b, c, d, e, f, g, h] = *field;
                    if u32::from_le_bytes([a, b, c, d]) != self.crc.value()
                        || u32::from_le_bytes([e, f, g, h]) != self.length
                    {
                        return Err(Broken::Checksum);
                    }
                    self.members = self.members.saturating_add(1);
                    self.crc = Crc32::default();
                    self.header = Crc32::default();
                    self.length = 0;
                    self.inflate.restart();
                    self.state = State::Fixed(0);
                }
            }
            State::Body | State::Garbage => {}
        }
        Ok(())
    }

    /// Goes to the next optional field behind the one with the flag `done`; their order is not that of the flags.
    fn after(&mut self, done: u8) {
        let order = [
            (FEXTRA, State::ExtraLength([0; 2], 0)),
            (FNAME, State::Name),
            (FCOMMENT, State::Comment),
            (FHCRC, State::HeaderCrc([0; 2], 0)),
        ];
        let behind = order.iter().position(|(flag, _)| *flag == done).map_or(0, |at| at + 1);
        let next = order.iter().skip(behind).find(|(flag, _)| self.flags & flag != 0);
        self.state = next.map_or(State::Body, |(_, state)| *state);
    }
}
