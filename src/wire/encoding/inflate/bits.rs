//! Bits from the first byte on, the low ones first, with what an earlier piece of the input left over.

use super::code::Code;
use crate::wire::encoding::Broken;

pub struct Bits<'a> {
    /// The next bits. Above the `have` ones there may be bits of the input's front, which the next refill puts there again.
    hold: u64,
    have: u32,
    input: &'a [u8],
    /// The input as it came.
    whole: &'a [u8],
}

impl<'a> Bits<'a> {
    pub fn new(hold: u64, have: u32, input: &'a [u8]) -> Self {
        Self { hold, have, input, whole: input }
    }

    /// The bits left over and the input not used.
    pub fn into_parts(self) -> (u64, u32, &'a [u8]) {
        (self.hold, self.have, self.input)
    }

    /// Has 48 bits at least, or all there are. A length and its distance take no more.
    #[inline]
    pub fn refill(&mut self) {
        if self.have >= 48 {
            return;
        }
        if let Some(eight) = self.input.first_chunk() {
            self.hold |= u64::from_le_bytes(*eight) << self.have;
            let bytes = (63 - self.have) / 8;
            self.input = self.input.get(bytes as usize..).unwrap_or_default();
            self.have += bytes * 8;
            return;
        }
        while self.have <= 56
            && let Some((byte, rest)) = self.input.split_first()
        {
            self.hold |= u64::from(*byte) << self.have;
            self.have += 8;
            self.input = rest;
        }
    }

    /// Whether so many bits are there.
    #[inline]
    pub fn has(&self, count: u32) -> bool {
        count <= self.have
    }

    /// `count` bits, at most 32, behind the next `behind` ones. Those that are not there are any.
    #[inline]
    pub fn peek(&self, behind: u32, count: u32) -> usize {
        ((self.hold >> behind) & ((1 << count) - 1)) as usize
    }

    /// The symbol behind the next `behind` bits and how many bits it takes. None if they have not come.
    #[inline]
    pub fn find(&self, code: &Code, behind: u32) -> Result<Option<(u16, u32)>, Broken> {
        let left = self.have.saturating_sub(behind);
        match code.find(self.hold >> behind) {
            Some((symbol, size)) if size <= left => Ok(Some((symbol, size))),
            // Bits that are to come may make another symbol of it.
            _ if left < super::code::MOST_BITS => Ok(None),
            _ => Err(Broken::Format),
        }
    }

    /// Goes on by bits that are there.
    #[inline]
    pub fn skip(&mut self, count: u32) {
        self.hold >>= count;
        self.have = self.have.saturating_sub(count);
    }

    /// The next bits, at most 32, if they have come.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        self.refill();
        if !self.has(count) {
            return None;
        }
        let bits = self.peek(0, count);
        self.skip(count);
        Some(bits as u32)
    }

    /// Goes on to the next whole byte.
    pub fn align(&mut self) {
        self.skip(self.have % 8);
    }

    /// Puts whole bytes held back into the input. They are of this piece: of what earlier ones left over, the symbol read
    /// last has used all, or it would have been read then.
    pub fn give_back(&mut self) {
        let used = self.whole.len().saturating_sub(self.input.len());
        let held = (self.have / 8) as usize;
        self.input = self.whole.get(used.saturating_sub(held)..).unwrap_or_default();
        (self.hold, self.have) = (0, 0);
    }

    /// The next bytes, at most `most`, where none are held.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.input.split_at_checked(most).unwrap_or((self.input, &[]));
        self.input = rest;
        bytes
    }
}
