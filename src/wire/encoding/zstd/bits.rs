//! The two ways in which zstd packs bits. Behind the end both give zeros and remember that it was passed.

/// Little-endian bytes from `from` on, zeros behind the end.
fn word_at(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    match rest.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => super::number(rest),
    }
}

/// Bits from the first byte on, the low ones first: how tables are described.
pub struct Forward<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits, at most 32, which stay.
    pub fn peek(&self, count: u32) -> u32 {
        let word = word_at(self.bytes, self.at / 8) >> (self.at % 8);
        (word & ((1u64 << count.min(32)) - 1)) as u32
    }

    pub fn skip(&mut self, count: u32) {
        self.at = self.at.saturating_add(count as usize);
    }

    pub fn take(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// The bytes behind the one that holds the last bit taken; `None` if the end was passed.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.at.div_ceil(8)..)
    }
}

/// Bits from the last byte to the first, the high ones first: how symbols are packed. The highest bit set in the last byte
/// marks where they begin.
pub struct Backward<'a> {
    bytes: &'a [u8],
    /// Bits still to read.
    left: usize,
    passed: bool,
}

impl<'a> Backward<'a> {
    /// `None` if the last byte has no mark.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mark = bytes.last()?.checked_ilog2()?;
        let left = bytes.len().checked_sub(1)?.checked_mul(8)?.checked_add(mark as usize)?;
        Some(Self { bytes, left, passed: false })
    }

    /// The next bits from the highest bit down; at least 56 of them count.
    #[inline]
    pub fn peek(&self) -> u64 {
        let end = self.left.div_ceil(8);
        let word = match end.checked_sub(8) {
            Some(from) => word_at(self.bytes, from),
            // Fewer than eight bytes are left, and they come out on top.
            None => word_at(self.bytes, 0).checked_shl(64 - 8 * end as u32).unwrap_or(0),
        };
        // Of the last byte, at most 7 bits are read already.
        word << (8 * end - self.left)
    }

    #[inline]
    pub fn skip(&mut self, count: u32) {
        match self.left.checked_sub(count as usize) {
            Some(left) => self.left = left,
            None => (self.left, self.passed) = (0, true),
        }
    }

    /// The next bits, at most 56.
    #[inline]
    pub fn take(&mut self, count: u32) -> u64 {
        // Two shifts, as a shift by all 64 bits is none.
        let bits = self.peek() >> 1 >> (63 - count.min(63));
        self.skip(count);
        bits
    }

    /// Whether more bits were taken than there were.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// Whether exactly all bits were taken.
    pub fn used_up(&self) -> bool {
        self.left == 0 && !self.passed
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_readers_agree_with_one_bit_at_a_time(bytes in prop::collection::vec(any::<u8>(), 1..40), counts in prop::collection::vec(0u32..=32, 0..40)) {
            let bit = |at: usize| u64::from(bytes.get(at / 8).map_or(0, |b| b >> (at % 8) & 1));
            let mut forward = Forward::new(&bytes);
            let mut at = 0;
            for &count in &counts {
                let expected = (0..count as usize).fold(0, |sum, i| sum | bit(at + i) << i);
                prop_assert_eq!(u64::from(forward.take(count)), expected);
                at += count as usize;
                prop_assert_eq!(forward.rest().is_some(), at <= bytes.len() * 8);
            }
            let Some(mut backward) = Backward::new(&bytes) else {
                prop_assert_eq!(bytes.last(), Some(&0));
                return Ok(());
            };
            let mut left = bytes.len() as isize * 8 - 1;
            while bit(left as usize) == 0 {
                left -= 1;
            }
            for &count in &counts {
                let mut expected = 0;
                for _ in 0..count {
                    left -= 1;
                    expected = expected << 1 | if left >= 0 { bit(left as usize) } else { 0 };
                }
                prop_assert_eq!(backward.take(count), expected);
                prop_assert_eq!((backward.passed(), backward.used_up()), (left < 0, left == 0));
            }
        }
    }
}
