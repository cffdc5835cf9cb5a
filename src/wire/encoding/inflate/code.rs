//! Prefix codes of at most 15 bits.

use crate::wire::encoding::Broken;

/// No code of deflate is longer.
pub const MOST_BITS: u32 = 15;

/// Codes up to this size are found at one look; the longer ones are rare by what they are.
const FAST_BITS: u32 = 10;

/// The most symbols: the fixed code has two that mean nothing.
const SYMBOLS: usize = 288;

/// Whether some bits may mean nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    No,
    /// If there is a single symbol, of one bit, or none at all: a block may have just one distance.
    IfSingle,
}

/// A code, for bits that come from the low end.
pub struct Code {
    /// For each few bits the symbol they begin with, times 16, plus its size. Zero: it is longer, or none.
    fast: [u16; 1 << FAST_BITS],
    /// How many bits that is, as a mask: no more than the longest code has, as a small block has short codes, and building
    /// its table would take longer than decoding it.
    mask: u16,
    /// For each size: the code behind its last one, with zeros to 15 bits.
    ends: [u32; MOST_BITS as usize + 1],
    /// For each size: what to add to a code for its place among the symbols.
    places: [u32; MOST_BITS as usize + 1],
    /// By size, then by number.
    symbols: [u16; SYMBOLS],
}

impl Default for Code {
    /// A code without symbols.
    fn default() -> Self {
        Self { fast: [0; 1 << FAST_BITS], mask: 0, ends: [0; 16], places: [0; 16], symbols: [0; SYMBOLS] }
    }
}

impl Code {
    /// Makes the code of the symbols' sizes; a symbol of size 0 has none.
    #[inline(never)]
    pub fn build(&mut self, sizes: &[u8], gaps: Gaps) -> Result<(), Broken> {
        let mut counts = [0u32; MOST_BITS as usize + 1];
        for &size in sizes.iter().filter(|size| **size > 0) {
            *counts.get_mut(usize::from(size)).ok_or(Broken::Format)? += 1;
        }
        // Of each size: the first code, and the first symbol's place.
        let mut next = [(0u32, 0u32); MOST_BITS as usize + 1];
        let (mut code, mut place) = (0u32, 0u32);
        let rows = counts.iter().zip(&mut next).zip(self.ends.iter_mut().zip(&mut self.places)).zip(0..);
        for (((&count, next), (end, places)), size) in rows.skip(1) {
            code <<= 1;
            *next = (code, place);
            *places = place.wrapping_sub(code);
            code += count;
            place += count;
            *end = code << (MOST_BITS - size);
            if code > 1 << size {
                return Err(Broken::Format);
            }
        }
        let single = place == 0 || place == 1 && counts.get(1) == Some(&1);
        if code != 1 << MOST_BITS && !(single && gaps == Gaps::IfSingle) {
            return Err(Broken::Format);
        }
        let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let fast_size = 1usize << longest.min(FAST_BITS as usize);
        self.mask = (fast_size - 1) as u16;
        let fast = self.fast.get_mut(..fast_size).unwrap_or_default();
        fast.fill(0);
        for (symbol, &size) in (0u16..).zip(sizes).filter(|(_, size)| **size > 0) {
            let Some((code, place)) = next.get_mut(usize::from(size)) else { continue };
            if let Some(slot) = self.symbols.get_mut(*place as usize) {
                *slot = symbol;
            }
            if u32::from(size) <= FAST_BITS {
                // The code's first bit comes first, which is the low one.
                let from = code.reverse_bits() >> (32 - u32::from(size));
                let entry = symbol << 4 | u16::from(size);
                let slots = fast.get_mut(from as usize..).unwrap_or_default();
                slots.iter_mut().step_by(1 << size).for_each(|slot| *slot = entry);
            }
            *code += 1;
            *place += 1;
        }
        Ok(())
    }

    /// The symbol that these bits begin with, and its size.
    #[inline]
    pub fn find(&self, bits: u64) -> Option<(u16, u32)> {
        let entry = self.fast.get(usize::from(bits as u16 & self.mask)).copied().unwrap_or(0);
        if entry != 0 {
            return Some((entry >> 4, u32::from(entry & 15)));
        }
        self.find_long(bits)
    }

    #[cold]
    fn find_long(&self, bits: u64) -> Option<(u16, u32)> {
        let code = (bits as u32).reverse_bits() >> (32 - MOST_BITS);
        let mut sizes = self.ends.iter().zip(&self.places).zip(0..).skip(FAST_BITS as usize + 1);
        let ((_, place), size) = sizes.find(|((end, _), _)| code < **end)?;
        let place = place.wrapping_add(code >> (MOST_BITS - size));
        Some((*self.symbols.get(place as usize)?, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn codes_that_do_not_add_up_are_refused() {
        let table: &[(&[u8], Gaps, bool)] = &[
            (&[1, 1], Gaps::No, true),
            (&[2, 2, 1], Gaps::No, true),
            (&[1, 1, 1], Gaps::IfSingle, false),
            (&[2, 2], Gaps::IfSingle, false),
            (&[1], Gaps::No, false),
            (&[1], Gaps::IfSingle, true),
            (&[2], Gaps::IfSingle, false),
            (&[0, 0], Gaps::IfSingle, true),
            (&[0, 0], Gaps::No, false),
            (&[16], Gaps::IfSingle, false),
        ];
        for (sizes, gaps, fine) in table {
            assert_eq!(Code::default().build(sizes, *gaps).is_ok(), *fine, "{sizes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_code_is_found_as_the_specification_counts_them(splits in prop::collection::vec(any::<prop::sample::Index>(), 0..280)) {
            // A complete code: leaves of a tree, split at random.
            let mut sizes = vec![1u8, 1];
            for split in &splits {
                let at = split.index(sizes.len());
                if sizes[at] < 15 {
                    sizes[at] += 1;
                    sizes.push(sizes[at]);
                }
            }
            let mut code = Code::default();
            code.build(&sizes, Gaps::No).unwrap();
            // RFC 1951, 3.2.2: by size, then by number.
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            order.sort_by_key(|symbol| (sizes[*symbol], *symbol));
            let (mut next, mut before) = (0u32, 0);
            for symbol in order {
                let size = u32::from(sizes[symbol]);
                next <<= size - before;
                before = size;
                let bits = u64::from(next.reverse_bits() >> (32 - size));
                for rest in [0, u64::MAX] {
                    prop_assert_eq!(code.find(bits | rest << size), Some((symbol as u16, size)));
                }
                next += 1;
            }
        }
    }
}
