//! `zstd` (RFC 8878), as HTTP uses it (RFC 9659): frames without a dictionary, and skippable ones.
//!
//! Written here, as the one pure crate (ruzstd) holds back a window's worth of output until the frame ends, so that an
//! event would be read when the answer is over; it also asserts what hostile input can break, and allocates per block.
//!
//! A block decodes when its last byte is there: an encoder's flush ends a block, so an event is read when it arrives.

mod bits;
mod block;
mod fse;
mod huffman;
mod literals;
mod sequences;
mod xxh64;

use super::history::History;
use super::{Broken, Out};
use crate::wire::room::make_room;
use block::BlockDecoder;
use xxh64::Xxh64;

/// No block is larger, neither packed nor unpacked (RFC 8878, 3.1.1.2).
const BLOCK_MAX: usize = 128 << 10;

/// The most that is kept to look back at: 8 MiB, which RFC 9659 makes the most that an HTTP encoder may need.
///
/// It is taken as output comes, not as the frame declares. A frame that declares more is read until it looks back further.
const KEEP_MAX: usize = 8 << 20;

/// Room for one block at least, and so that at most four bytes are moved per byte produced.
fn slack(keep: usize) -> usize {
    BLOCK_MAX.max(keep / 4)
}

/// The most that a zstd stream takes: what is kept to look back at and its slack, one packed block that came in parts, the
/// literals of one block (all three half as much again while they grow), and 12 KB of tables.
pub const ZSTD_MEMORY: usize = (KEEP_MAX + KEEP_MAX / 4 + 2 * BLOCK_MAX) / 2 * 3 + (16 << 10);

const MAGIC: u32 = 0xFD2F_B528;
/// The low four bits are free.
const SKIPPABLE: u32 = 0x184D_2A50;

#[derive(Default)]
pub struct Zstd {
    state: State,
    /// A header or a block that came in parts.
    parts: Vec<u8>,
    frame: Frame,
    block: BlockDecoder,
    history: History,
    /// Frames that ended well.
    frames: u64,
}

/// What the current frame's header says, and what came of it.
#[derive(Default)]
struct Frame {
    /// A block's most: the window, but at most [`BLOCK_MAX`].
    block_max: usize,
    content_size: Option<u64>,
    produced: u64,
    /// Runs along if the frame has a checksum.
    hash: Option<Xxh64>,
}

/// ```text
/// Magic ─→ Head size ─→ Head ─→ Block head ─→ Raw | Rle | Packed ─→ Block head … ─→ Checksum ─→ Magic
///   └→ Skip size ─→ Skip ─→ Magic
/// ```
#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Magic,
    /// The frame header's first byte tells its length.
    HeadSize,
    /// The fields behind that byte.
    Head(u8),
    SkipSize,
    /// Bytes still to skip.
    Skip(u32),
    BlockHead,
    /// Bytes still to come.
    Raw {
        left: usize,
        last: bool,
    },
    Rle {
        size: usize,
        last: bool,
    },
    Packed {
        size: usize,
        last: bool,
    },
    Checksum,
}

impl State {
    /// How many bytes must be there at once to go on; none where any number will do.
    fn wants(self) -> Option<usize> {
        match self {
            Self::Magic | Self::SkipSize | Self::Checksum => Some(4),
            Self::HeadSize | Self::Rle { .. } => Some(1),
            Self::Head(descriptor) => Some(Fields::of(descriptor).size()),
            Self::BlockHead => Some(3),
            Self::Packed { size, .. } => Some(size),
            Self::Skip(_) | Self::Raw { .. } => None,
        }
    }
}

/// Sizes of the fields of a frame header behind its first byte, the descriptor. At least one is not zero.
struct Fields {
    window: usize,
    dictionary: usize,
    content_size: usize,
}

impl Fields {
    fn of(descriptor: u8) -> Self {
        let single = descriptor & SINGLE_SEGMENT != 0;
        Self {
            window: usize::from(!single),
            dictionary: match descriptor & 3 {
                3 => 4,
                size => usize::from(size),
            },
            content_size: match descriptor >> 6 {
                0 => usize::from(single),
                log => 1 << log,
            },
        }
    }

    fn size(&self) -> usize {
        self.window.saturating_add(self.dictionary).saturating_add(self.content_size)
    }
}

/// The whole frame is the window: there is no window field.
const SINGLE_SEGMENT: u8 = 1 << 5;
const RESERVED: u8 = 1 << 3;
const CHECKSUM: u8 = 1 << 2;

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

impl Zstd {
    #[inline(never)]
    pub fn push(&mut self, mut input: &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        while !input.is_empty() {
            let Some(wanted) = self.state.wants() else {
                self.stream(&mut input, out)?;
                continue;
            };
            if self.parts.is_empty()
                && let Some((whole, rest)) = input.split_at_checked(wanted)
            {
                input = rest;
                self.step(whole, out)?;
                continue;
            }
            let missing = wanted.saturating_sub(self.parts.len());
            let (part, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
            make_room(&mut self.parts, part.len(), BLOCK_MAX).map_err(|_| Broken::Memory)?;
            self.parts.extend_from_slice(part);
            input = rest;
            if self.parts.len() == wanted {
                let mut whole = std::mem::take(&mut self.parts);
                let result = self.step(&whole, out);
                whole.clear();
                self.parts = whole;
                result?;
            }
        }
        Ok(())
    }

    pub fn finished(&self) -> bool {
        self.frames > 0 && self.parts.is_empty() && matches!(self.state, State::Magic)
    }

    /// What need not be whole: bytes to skip, and raw blocks, which go out as they come.
    fn stream(&mut self, input: &mut &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        let left = match self.state {
            State::Skip(left) => left as usize,
            State::Raw { left, .. } => left,
            _ => 0,
        };
        let (bytes, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
        *input = rest;
        let left = left.saturating_sub(bytes.len());
        if let State::Raw { last, .. } = self.state {
            self.history.prepare(bytes.len())?;
            self.history.push(bytes);
            self.deliver(bytes.len(), out)?;
            if left == 0 { self.block_done(last)? } else { self.state = State::Raw { left, last } }
        } else {
            self.state = if left == 0 { State::Magic } else { State::Skip(left as u32) };
        }
        Ok(())
    }

    /// Takes the bytes that the state wants.
    fn step(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        match self.state {
            State::Magic => {
                let magic = number(bytes) as u32;
                self.state = match magic {
                    MAGIC => State::HeadSize,
                    _ if magic & !0xF == SKIPPABLE => State::SkipSize,
                    _ => return Err(Broken::Format),
                };
            }
            State::SkipSize => {
                let size = number(bytes) as u32;
                self.state = if size == 0 { State::Magic } else { State::Skip(size) };
            }
            State::HeadSize => self.state = State::Head(bytes.first().copied().unwrap_or(0)),
            State::Head(descriptor) => self.head(descriptor, bytes)?,
            State::BlockHead => self.block_head(number(bytes) as u32)?,
            State::Rle { size, last } => {
                self.history.prepare(size)?;
                self.history.fill(bytes.first().copied().unwrap_or(0), size);
                self.deliver(size, out)?;
                self.block_done(last)?;
            }
            State::Packed { last, .. } => {
                self.history.prepare(self.frame.block_max)?;
                let before = self.history.len();
                self.block.decode(bytes, self.frame.block_max, &mut self.history)?;
                self.deliver(self.history.len().saturating_sub(before), out)?;
                self.block_done(last)?;
            }
            State::Checksum => {
                if self.frame.hash.as_ref().map(|hash| hash.value() as u32) != Some(number(bytes) as u32) {
                    return Err(Broken::Checksum);
                }
                self.frame_done()?;
            }
            State::Skip(_) | State::Raw { .. } => {}
        }
        Ok(())
    }

    #[inline(never)]
    fn head(&mut self, descriptor: u8, bytes: &[u8]) -> Result<(), Broken> {
        let fields = Fields::of(descriptor);
        let (window, bytes) = bytes.split_at_checked(fields.window).ok_or(Broken::Format)?;
        let (dictionary, content_size) = bytes.split_at_checked(fields.dictionary).ok_or(Broken::Format)?;
        if descriptor & RESERVED != 0 || number(dictionary) != 0 {
            return Err(Broken::Format);
        }
        let content_size = match content_size.len() {
            0 => None,
            2 => Some(number(content_size).saturating_add(256)),
            _ => Some(number(content_size)),
        };
        let window = match window {
            [] => content_size.unwrap_or(0),
            bytes => {
                let (exponent, eighths) = (number(bytes) >> 3, number(bytes) & 7);
                let base = 1u64 << (10 + exponent);
                base + base / 8 * eighths
            }
        };
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        self.frame = Frame {
            block_max: window.min(BLOCK_MAX),
            content_size,
            produced: 0,
            hash: (descriptor & CHECKSUM != 0).then(Xxh64::default),
        };
        let keep = window.min(KEEP_MAX);
        self.history.start(keep, slack(keep));
        self.block.start();
        self.state = State::BlockHead;
        Ok(())
    }

    fn block_head(&mut self, head: u32) -> Result<(), Broken> {
        let (last, kind, size) = (head & 1 == 1, head >> 1 & 3, (head >> 3) as usize);
        if size > self.frame.block_max {
            return Err(Broken::Format);
        }
        match kind {
            0 if size == 0 => return self.block_done(last),
            0 => self.state = State::Raw { left: size, last },
            1 => self.state = State::Rle { size, last },
            2 if size > 0 => self.state = State::Packed { size, last },
            _ => return Err(Broken::Format),
        }
        Ok(())
    }

    /// Hands out the last `size` bytes of the history.
    #[inline(never)]
    fn deliver(&mut self, size: usize, out: &mut Out<'_>) -> Result<(), Broken> {
        let bytes = self.history.tail(size);
        if let Some(hash) = &mut self.frame.hash {
            hash.add(bytes);
        }
        self.frame.produced = self.frame.produced.saturating_add(bytes.len() as u64);
        if self.frame.content_size.is_some_and(|size| self.frame.produced > size) {
            return Err(Broken::Format);
        }
        out.put(bytes)
    }

    fn block_done(&mut self, last: bool) -> Result<(), Broken> {
        match (last, &self.frame.hash) {
            (false, _) => self.state = State::BlockHead,
            (true, Some(_)) => self.state = State::Checksum,
            (true, None) => self.frame_done()?,
        }
        Ok(())
    }

    fn frame_done(&mut self) -> Result<(), Broken> {
        if self.frame.content_size.is_some_and(|size| self.frame.produced != size) {
            return Err(Broken::Format);
        }
        self.frames = self.frames.saturating_add(1);
        self.state = State::Magic;
        Ok(())
    }
}
