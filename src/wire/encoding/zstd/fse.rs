//! Finite state entropy: tables that turn bits into symbols, a fraction of a bit at a time (RFC 8878, 4.1).

use super::bits::{Backward, Forward};
use crate::wire::encoding::Broken;

/// No table of zstd has more states.
const MOST_STATES: usize = 512;

/// What a state means, and how the next one is found: `base` plus so many bits.
#[derive(Clone, Copy, Default)]
struct State {
    base: u16,
    bits: u8,
    symbol: u8,
}

/// A table of up to 2^9 states.
pub struct Table {
    states: [State; MOST_STATES],
    log: u32,
}

/// Never read before it is built: who owns a table knows whether it is.
impl Default for Table {
    fn default() -> Self {
        Self { states: [State::default(); MOST_STATES], log: 0 }
    }
}

impl Table {
    /// A table that gives one symbol without a bit.
    pub fn set_single(&mut self, symbol: u8) {
        self.log = 0;
        if let Some(first) = self.states.first_mut() {
            *first = State { base: 0, bits: 0, symbol };
        }
    }

    /// Reads a table's description and gives the bytes behind it. Symbols are 0 to `most_symbol`, states at most
    /// 2^`most_log`, which is at most 9.
    pub fn read<'a>(&mut self, bytes: &'a [u8], most_symbol: u8, most_log: u32) -> Result<&'a [u8], Broken> {
        let mut bits = Forward::new(bytes);
        let log = bits.take(4).saturating_add(5);
        if log > most_log {
            return Err(Broken::Format);
        }
        // How many states each symbol has; -1 is "less than one".
        let mut shares = [0i16; 256];
        let mut places = shares.iter_mut().take(usize::from(most_symbol) + 1);
        let mut left = 1u32 << log;
        while left > 0 {
            // A number from 0 to left + 1, where the lower ones take a bit less.
            let most = left + 1;
            let width = most.ilog2() + 1;
            let half = 1u32 << (width - 1);
            let short = (1u32 << width) - 1 - most;
            let low = bits.peek(width - 1);
            let value = if low < short {
                bits.skip(width - 1);
                low
            } else {
                let all = bits.take(width);
                if all >= half { all - short } else { all }
            };
            let share = value as i16 - 1;
            *places.next().ok_or(Broken::Format)? = share;
            left = left.checked_sub(u32::from(share.unsigned_abs())).ok_or(Broken::Format)?;
            if share == 0 {
                // Two bits say how many more zeros follow; three of them, that two more bits do.
                loop {
                    let zeros = bits.take(2);
                    for _ in 0..zeros {
                        places.next().ok_or(Broken::Format)?;
                    }
                    if zeros < 3 {
                        break;
                    }
                }
            }
        }
        let rest = bits.rest().ok_or(Broken::Format)?;
        self.build(log, &shares);
        Ok(rest)
    }

    /// Spreads the symbols over 2^`log` states. The shares add up to that.
    pub fn build(&mut self, log: u32, shares: &[i16]) {
        let size = 1usize << log.min(MOST_STATES.ilog2());
        self.log = size.ilog2();
        // Symbols of less than one state go to the end; the others are strewn over the rest.
        let mut end = size;
        let mut next = [0u16; 256];
        for ((symbol, share), next) in (0..=255u8).zip(shares).zip(&mut next) {
            *next = share.unsigned_abs();
            if *share < 0 {
                end = end.saturating_sub(1);
                self.set_symbol(end, symbol);
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, share) in (0..=255u8).zip(shares) {
            for _ in 0..*share {
                self.set_symbol(at, symbol);
                // The step is odd, so this comes by every state, and ends as there are states below the end.
                loop {
                    at = (at + step) & (size - 1);
                    if at < end || end == 0 {
                        break;
                    }
                }
            }
        }
        for state in self.states.iter_mut().take(size) {
            let Some(next) = next.get_mut(usize::from(state.symbol)) else { continue };
            let bits = self.log - next.checked_ilog2().unwrap_or(0);
            state.bits = bits as u8;
            state.base = ((u32::from(*next) << bits) - size as u32) as u16;
            *next += 1;
        }
    }

    fn set_symbol(&mut self, at: usize, symbol: u8) {
        if let Some(state) = self.states.get_mut(at) {
            state.symbol = symbol;
        }
    }

    /// The first state, from the bits that choose it.
    pub fn begin(&self, bits: &mut Backward<'_>) -> Cursor<'_> {
        let at = bits.take(self.log) as usize;
        Cursor { table: self, state: self.states.get(at).copied().unwrap_or_default() }
    }
}

/// A place in a table.
pub struct Cursor<'a> {
    table: &'a Table,
    state: State,
}

impl Cursor<'_> {
    #[inline]
    pub fn symbol(&self) -> u8 {
        self.state.symbol
    }

    #[inline]
    pub fn advance(&mut self, bits: &mut Backward<'_>) {
        let at = usize::from(self.state.base).wrapping_add(bits.take(u32::from(self.state.bits)) as usize);
        self.state = self.table.states.get(at).copied().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_table_covers_all_its_states() {
        // Each state leads to a run of states; those of one symbol together cover all, without an overlap.
        let shares = [5i16, -1, 3, 0, 22, -1];
        let mut table = Table::default();
        table.build(5, &shares);
        for (symbol, share) in (0u8..).zip(shares) {
            let mut covered = [0; 32];
            let own = table.states.iter().take(32).filter(|s| s.symbol == symbol);
            assert_eq!(own.clone().count(), usize::from(share.unsigned_abs()));
            for state in own {
                let from = usize::from(state.base);
                covered[from..from + (1 << state.bits)].iter_mut().for_each(|c| *c += 1);
            }
            assert!(share == 0 || covered.iter().all(|c| *c == 1), "{symbol}: {covered:?}");
        }
    }
}
