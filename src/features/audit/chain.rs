//! Records that hold on to one another: each ends with an HMAC-SHA256 over the one before it and itself.
//!
//! A sealed record is its JSON with one key more, the last one, whose last key is the MAC:
//! ```text
//! {"v":1, …, "chain":{"worker":"9f86d081884c7d65","seq":7,"key":"2026-11","mac":"…64 hex digits…"}}
//! └─────────────── the text that is signed ───────────────────────────────────┘
//! ```
//! `mac = HMAC-SHA256(key, the mac of seq - 1 as 32 bytes ‖ the text up to and with `"mac":"`)`; for `seq` 0 the mac before is 32
//! zero bytes. So the bytes of a record as they were published are what counts, and whoever reads a log needs no notion of
//! JSON that is equal.

use super::config;
use crate::mac;

/// What a record's MAC begins with.
pub const MAC_FIELD: &str = "\"mac\":\"";

/// A MAC.
pub type Mac = [u8; 32];

/// What stands in the place of the MAC before the first.
pub const FIRST: Mac = [0; 32];

/// Bits of a chain's number that count the chains of its process from 1; 0 is none that was counted. Those in front are random, and the
/// process's own: so a chain of which no record is left is missed, if a later one has any.
const COUNT_BITS: u32 = 16;

/// The count's bits.
pub const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The number of the chain that begins behind the one with the number `last` (0: there is none), if `random` is that of a new process.
pub fn next(last: u64, random: u64) -> u64 {
    // A count that has come to its end begins anew, as another process's.
    if last & COUNT == 0 || last & COUNT == COUNT { random & !COUNT | 1 } else { last + 1 }
}

/// A key, ready to sign, and its name.
#[derive(Clone)]
pub struct Key {
    keyed: mac::Mac,
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: &[u8], id: &str) -> Self {
        Self { keyed: mac::Mac::new(bytes), id: id.to_owned() }
    }

    /// The key of a config.
    pub fn of(chain: &config::Chain) -> Self {
        Self::new(chain.key.as_bytes(), chain.key_id.as_str())
    }

    /// The MAC of a record's signed text behind the record with the MAC `before`.
    pub fn mac(&self, before: &Mac, text: &[u8]) -> Mac {
        self.keyed.of(&[before, text])
    }
}

/// The chain of one worker.
#[derive(Clone, Debug)]
pub struct Chain {
    worker: u64,
    seq: u64,
    last: Mac,
}

impl Chain {
    /// A chain without records. No other has this number, see [`next`].
    pub fn new(worker: u64) -> Self {
        Self { worker, seq: 0, last: FIRST }
    }

    /// Seals a record: the next one of the chain.
    pub fn seal(&mut self, json: &mut String, key: &Key) {
        if json.pop() != Some('}') {
            // No record ends in anything else.
            return;
        }
        json.push_str(if json.ends_with('{') { "\"chain\":{\"worker\":\"" } else { ",\"chain\":{\"worker\":\"" });
        hex(json, &self.worker.to_be_bytes());
        json.push_str("\",\"seq\":");
        json.push_str(&self.seq.to_string());
        json.push_str(",\"key\":\"");
        json.push_str(&key.id);
        json.push_str("\",");
        json.push_str(MAC_FIELD);
        self.last = key.mac(&self.last, json.as_bytes());
        hex(json, &self.last);
        json.push_str("\"}}");
        self.seq = self.seq.saturating_add(1);
    }
}

/// Bytes as hex digits.
fn hex(to: &mut String, bytes: &[u8]) {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    for byte in bytes {
        to.extend([digit(byte >> 4), digit(byte & 15)]);
    }
}
