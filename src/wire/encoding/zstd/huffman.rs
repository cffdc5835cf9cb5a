//! Prefix codes of at most 11 bits: how literals are packed (RFC 8878, 4.2).

use super::bits::Backward;
use super::fse;
use crate::wire::encoding::Broken;

const MOST_BITS: u32 = 11;

/// Weights are packed with tables of at most 2^6 states.
const WEIGHT_LOG: u32 = 6;

/// A code: for every `bits` bits that may come next, the symbol they begin with and how many bits it takes.
pub struct Code {
    entries: [Entry; 1 << MOST_BITS],
    bits: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    symbol: u8,
    bits: u8,
}

impl Default for Code {
    fn default() -> Self {
        Self { entries: [Entry::default(); 1 << MOST_BITS], bits: 1 }
    }
}

impl Code {
    /// Reads a code's description and gives the bytes behind it. `scratch` is for a table it may be packed with.
    pub fn read<'a>(&mut self, bytes: &'a [u8], scratch: &mut fse::Table) -> Result<&'a [u8], Broken> {
        let (&head, bytes) = bytes.split_first().ok_or(Broken::Format)?;
        // The last symbol's weight is not sent: it is what makes the sum a power of two.
        let mut weights = [0u8; 256];
        let (count, rest) = match usize::from(head) {
            packed @ 0..128 => {
                let (packed, rest) = bytes.split_at_checked(packed).ok_or(Broken::Format)?;
                (unpack(packed, &mut weights, scratch)?, rest)
            }
            direct => {
                let count = direct - 127;
                let (pairs, rest) = bytes.split_at_checked(count.div_ceil(2)).ok_or(Broken::Format)?;
                let nibbles = pairs.iter().flat_map(|pair| [pair >> 4, pair & 0xF]);
                weights.iter_mut().zip(nibbles.take(count)).for_each(|(weight, nibble)| *weight = nibble);
                (count, rest)
            }
        };
        self.build(&mut weights, count)?;
        Ok(rest)
    }

    /// Makes the code of `count` weights, at most 255, and of the one not sent.
    #[inline(never)]
    fn build(&mut self, weights: &mut [u8; 256], count: usize) -> Result<(), Broken> {
        let mut sum = 0u32;
        for &weight in weights.iter().take(count) {
            if u32::from(weight) > MOST_BITS {
                return Err(Broken::Format);
            }
            sum += (1u32 << weight) >> 1;
        }
        let bits = sum.checked_ilog2().ok_or(Broken::Format)? + 1;
        let missing = (1u32 << bits) - sum;
        if bits > MOST_BITS || !missing.is_power_of_two() {
            return Err(Broken::Format);
        }
        *weights.get_mut(count).ok_or(Broken::Format)? = missing.ilog2() as u8 + 1;

        // The lightest symbols, which have the longest codes, come first; among equals the smaller one.
        let mut sizes = [0u32; MOST_BITS as usize + 2];
        for &weight in weights.iter().take(count + 1).filter(|weight| **weight > 0) {
            if let Some(size) = sizes.get_mut(usize::from(weight)) {
                *size += (1u32 << weight) >> 1;
            }
        }
        let mut start = 0;
        for size in &mut sizes {
            start += std::mem::replace(size, start);
        }
        for (symbol, &weight) in (0..=255u8).zip(weights.iter().take(count + 1)) {
            let width = (1usize << weight) >> 1;
            if let Some(start) = sizes.get_mut(usize::from(weight)).filter(|_| weight > 0) {
                let from = *start as usize;
                let entry = Entry { symbol, bits: (bits + 1 - u32::from(weight)) as u8 };
                self.entries.get_mut(from..from + width).unwrap_or_default().fill(entry);
                *start += width as u32;
            }
        }
        self.bits = bits;
        Ok(())
    }

    /// Unpacks one stream of exactly `count` symbols.
    #[inline(never)]
    pub fn unpack(&self, stream: &[u8], count: usize, into: &mut Vec<u8>) -> Result<(), Broken> {
        /// So many codes are in one look at the bits, which shows 56 at least.
        const AT_ONCE: usize = 5;
        let mut bits = Backward::new(stream).ok_or(Broken::Format)?;
        let entry = |word: u64| self.entries.get((word >> (64 - self.bits)) as usize).copied().unwrap_or_default();
        let mut symbols = [0u8; AT_ONCE];
        for _ in 0..count / AT_ONCE {
            let (mut word, mut used) = (bits.peek(), 0);
            for symbol in &mut symbols {
                let entry = entry(word);
                *symbol = entry.symbol;
                word <<= entry.bits;
                used += u32::from(entry.bits);
            }
            bits.skip(used);
            into.extend_from_slice(&symbols);
        }
        for _ in 0..count % AT_ONCE {
            let entry = entry(bits.peek());
            bits.skip(u32::from(entry.bits));
            into.push(entry.symbol);
        }
        if bits.used_up() { Ok(()) } else { Err(Broken::Format) }
    }
}

/// Unpacks weights: two states take turns until the bits are used up.
fn unpack(packed: &[u8], weights: &mut [u8; 256], table: &mut fse::Table) -> Result<usize, Broken> {
    let stream = table.read(packed, MOST_BITS as u8, WEIGHT_LOG)?;
    let mut bits = Backward::new(stream).ok_or(Broken::Format)?;
    let (mut now, mut then) = (table.begin(&mut bits), table.begin(&mut bits));
    if bits.passed() {
        return Err(Broken::Format);
    }
    let mut count = 0;
    // One place is left for the weight that is not sent.
    let mut places = weights.iter_mut().take(255);
    let mut put = |symbol| -> Result<(), Broken> {
        *places.next().ok_or(Broken::Format)? = symbol;
        count += 1;
        Ok(())
    };
    loop {
        put(now.symbol())?;
        now.advance(&mut bits);
        if bits.passed() {
            // The other state still has its symbol.
            put(then.symbol())?;
            return Ok(count);
        }
        std::mem::swap(&mut now, &mut then);
    }
}
