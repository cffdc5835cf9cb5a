//! The literals of a block: bytes that are not repeated from before (RFC 8878, 3.1.1.3.1).

use super::fse;
use super::huffman::Code;
use super::number;
use crate::wire::encoding::Broken;
use crate::wire::room::make_room;

/// Literals, and the code they came in, which the next block may use again.
#[derive(Default)]
pub struct Literals {
    bytes: Vec<u8>,
    code: Code,
    has_code: bool,
    scratch: fse::Table,
}

impl Literals {
    /// A frame begins without a code.
    pub fn start(&mut self) {
        self.has_code = false;
    }

    /// Reads the literals at the front of a block, at most `most` bytes, and gives the bytes behind them.
    #[inline(never)]
    pub fn read<'a>(&'a mut self, block: &'a [u8], most: usize) -> Result<(&'a [u8], &'a [u8]), Broken> {
        let head = number(block.get(..5.min(block.len())).unwrap_or_default());
        let (kind, format) = (head & 3, head >> 2 & 3);
        if kind < 2 {
            let (head_size, size) = match format {
                0 | 2 => (1, head >> 3 & 0x1F),
                1 => (2, head >> 4 & 0xFFF),
                _ => (3, head >> 4 & 0xF_FFFF),
            };
            let size = checked(size, most)?;
            let body = block.get(head_size..).ok_or(Broken::Format)?;
            if kind == 0 {
                return body.split_at_checked(size).ok_or(Broken::Format);
            }
            let (&byte, rest) = body.split_first().ok_or(Broken::Format)?;
            self.bytes.clear();
            make_room(&mut self.bytes, size, super::BLOCK_MAX).map_err(|_| Broken::Memory)?;
            self.bytes.resize(size, byte);
            return Ok((&self.bytes, rest));
        }
        let (head_size, width) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let field = |at: u32| head >> at & ((1 << width) - 1);
        let size = checked(field(4), most)?;
        let packed_size = field(4 + width) as usize;
        let body = block.get(head_size..).ok_or(Broken::Format)?;
        let (packed, rest) = body.split_at_checked(packed_size).ok_or(Broken::Format)?;
        let streams = if kind == 2 {
            self.has_code = false;
            let streams = self.code.read(packed, &mut self.scratch)?;
            self.has_code = true;
            streams
        } else if self.has_code {
            packed
        } else {
            return Err(Broken::Format);
        };
        self.bytes.clear();
        make_room(&mut self.bytes, size, super::BLOCK_MAX).map_err(|_| Broken::Memory)?;
        if format == 0 {
            self.code.unpack(streams, size, &mut self.bytes)?;
        } else {
            self.four(streams, size)?;
        }
        Ok((&self.bytes, rest))
    }

    /// Four streams, of which the first three have the same number of symbols, behind a table of their sizes.
    fn four(&mut self, streams: &[u8], size: usize) -> Result<(), Broken> {
        let (sizes, mut streams) = streams.split_at_checked(6).ok_or(Broken::Format)?;
        let each = size.div_ceil(4);
        let (sizes, _) = sizes.as_chunks::<2>();
        let mut left = size;
        for stream_size in sizes {
            let (stream, rest) =
                streams.split_at_checked(usize::from(u16::from_le_bytes(*stream_size))).ok_or(Broken::Format)?;
            self.code.unpack(stream, each, &mut self.bytes)?;
            left = left.checked_sub(each).ok_or(Broken::Format)?;
            streams = rest;
        }
        self.code.unpack(streams, left, &mut self.bytes)
    }
}

fn checked(size: u64, most: usize) -> Result<usize, Broken> {
    usize::try_from(size).ok().filter(|size| *size <= most).ok_or(Broken::Format)
}
