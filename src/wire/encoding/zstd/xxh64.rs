//! XXH64 with seed 0: the checksum of a zstd frame.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// A running hash.
pub struct Xxh64 {
    lanes: [u64; 4],
    /// The bytes that do not fill 32 yet.
    rest: [u8; 32],
    length: u64,
}

impl Default for Xxh64 {
    fn default() -> Self {
        Self { lanes: [P1.wrapping_add(P2), P2, 0, P1.wrapping_neg()], rest: [0; 32], length: 0 }
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn stripe(lanes: &mut [u64; 4], bytes: &[u8; 32]) {
    let (words, _) = bytes.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = round(*lane, u64::from_le_bytes(*word));
    }
}

impl Xxh64 {
    /// Goes over more bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        let have = (self.length % 32) as usize;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if have > 0 {
            let room = self.rest.get_mut(have..).unwrap_or_default();
            let (now, later) = bytes.split_at_checked(room.len()).unwrap_or((bytes, &[]));
            for (place, byte) in room.iter_mut().zip(now) {
                *place = *byte;
            }
            if now.len() < room.len() {
                return;
            }
            stripe(&mut self.lanes, &self.rest);
            bytes = later;
        }
        let (stripes, rest) = bytes.as_chunks::<32>();
        for bytes in stripes {
            stripe(&mut self.lanes, bytes);
        }
        for (place, byte) in self.rest.iter_mut().zip(rest) {
            *place = *byte;
        }
    }

    /// The hash of all bytes so far.
    pub fn value(&self) -> u64 {
        let [a, b, c, d] = self.lanes;
        let mut hash = if self.length >= 32 {
            let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12));
            let merge = |hash: u64, lane| (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
            self.lanes.into_iter().fold(sum.wrapping_add(d.rotate_left(18)), merge)
        } else {
            P5
        };
        hash = hash.wrapping_add(self.length);
        let rest = self.rest.get(..(self.length % 32) as usize).unwrap_or_default();
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            let word = round(0, u64::from_le_bytes(*word));
            hash = (hash ^ word).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        }
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            let word = u64::from(u32::from_le_bytes(*word)).wrapping_mul(P1);
            hash = (hash ^ word).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
        hash ^ (hash >> 32)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn known_values_come_out_at_every_cut() {
        // The vectors of xxHash's README and of python-xxhash's tests.
        let table: &[(&[u8], u64)] = &[
            (b"", 0xEF46_DB37_51D8_E999),
            (b"a", 0xD24E_C4F1_A98C_6E5B),
            (b"abc", 0x44BC_2CF5_AD77_0999),
            (b"Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ];
        for (bytes, expected) in table {
            for cut in 0..=bytes.len() {
                let (a, b) = bytes.split_at(cut);
                let mut hash = Xxh64::default();
                hash.add(a);
                hash.add(b);
                assert_eq!(hash.value(), *expected, "{bytes:?} cut at {cut}");
            }
        }
    }
}
