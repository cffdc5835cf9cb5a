//! Contexts by the host's numbers for them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Whatever there is one of per context. Unlike `std`'s own maps it asks nobody for random numbers.
pub type ContextTable<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;

/// Context numbers are the host's own and never chosen by anyone outside: one multiplication spreads them.
#[derive(Debug, Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        /// 2^64 divided by the golden ratio.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(GOLDEN);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
