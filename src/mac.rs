//! HMAC-SHA256 (RFC 2104) under a key that is known for long: its pads are hashed once.

use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// A key, ready for use. It shows nothing of itself.
#[derive(Clone)]
pub struct Mac {
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac(…)")
    }
}

impl Mac {
    /// Of a key of any length.
    #[inline(never)]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0u8; BLOCK];
        if key.len() > BLOCK {
            block.iter_mut().zip(Sha256::digest(key)).for_each(|(to, from)| *to = from);
        } else {
            block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        }
        let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The code of a message that comes in these parts.
    #[inline(never)]
    pub fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

/// Whether two texts of one length are the same, looking at all of both whatever they are.
#[inline(never)]
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    // The box keeps the compiler from leaving early.
    let differ = a.iter().zip(b).fold(0u8, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    differ == 0
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, cases 1 to 4, 6 and 7.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let count: Vec<u8> = (1..=25).collect();
        for (key, message, expected) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (&count, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ] {
            let mac = Mac::new(key);
            for cut in 0..=message.len() {
                let (a, b) = message.split_at(cut);
                assert_eq!(hex(&mac.of(&[a, b])), expected);
            }
        }
    }

    #[test]
    fn codes_that_differ_in_one_bit_are_not_the_same() {
        let code = Mac::new(b"key").of(&[b"message"]);
        assert!(same(&code, &code.clone()));
        for bit in 0..256 {
            let mut other = code;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(&code, &other), "bit {bit}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Mac::new(b"very secret")), "Mac(…)");
    }
}
