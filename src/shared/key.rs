//! Keyed hashes of several parts: what keys of the store are made of. They tell nothing of what was hashed.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hasher of these parts, each with its length. In one place: it is much code wherever it is inlined.
#[inline(never)]
pub fn hasher(salt: u64, parts: &[&[u8]]) -> DefaultHasher {
    let mut hash = DefaultHasher::new();
    (salt, parts).hash(&mut hash);
    hash
}

/// A keyed hash of these parts.
#[inline(never)]
pub fn keyed(salt: u64, parts: &[&[u8]]) -> u64 {
    hasher(salt, parts).finish()
}

/// A part that may be missing: no text is like this.
pub fn part(text: Option<&str>) -> &[u8] {
    text.map_or(b"\xff", str::as_bytes)
}
