//! CRC-32 as gzip, zlib and the AWS event stream use it (polynomial 0xEDB88320, reflected).
//!
//! Eight bytes at a time, from eight tables of 1 KiB that the compiler makes. A crate would bring twice the tables and
//! processor-specific code that Wasm cannot use.

const POLYNOMIAL: u32 = 0xEDB8_8320;

static TABLES: [[u32; 256]; 8] = tables();

// Runs in the compiler, where a wrong index is a build error.
#[expect(clippy::indexing_slicing)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[row - 1][byte];
            tables[row][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

/// A running CRC-32.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self(!0)
    }
}

impl Crc32 {
    /// The CRC of `bytes`.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut crc = Self::default();
        crc.add(bytes);
        crc.value()
    }

    /// Goes over more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        // A byte always finds its row of 256; the bounds check goes away.
        let at = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for &[b0, b1, b2, b3, b4, b5, b6, b7] in eights {
            let [c0, c1, c2, c3] = (crc ^ u32::from_le_bytes([b0, b1, b2, b3])).to_le_bytes();
            crc = at(t7, c0) ^ at(t6, c1) ^ at(t5, c2) ^ at(t4, c3) ^ at(t3, b4) ^ at(t2, b5) ^ at(t1, b6) ^ at(t0, b7);
        }
        for &byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ at(t0, low ^ byte);
        }
        self.0 = crc;
    }

    /// The CRC of all bytes so far.
    pub fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use proptest::prelude::*;

    fn bit_by_bit(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            }
        }
        !crc
    }

    #[test]
    fn known_values_come_out() {
        for (input, crc) in [(&b""[..], 0), (b"123456789", 0xCBF4_3926), (b"\0\0\0\0", 0x2144_DF1C)] {
            assert_eq!(Crc32::of(input), crc, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn in_pieces_it_is_what_bit_by_bit_gives(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut crc = Crc32::default();
            crc.add(a);
            crc.add(b);
            prop_assert_eq!(crc.value(), bit_by_bit(&bytes));
        }
    }
}
