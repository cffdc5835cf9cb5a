//! This VM's chain of records. A new config, of whatever key, goes on with it; a new VM begins another.

use std::cell::RefCell;

use sha2::{Digest, Sha256};

use super::clock;
use super::store::HostStore;
use crate::features::audit::chain::{COUNT, Chain, Key, next};
use crate::shared::{Change, Events, update};

/// Where in the store the number of the chain lies that began last.
const LAST: &str = "weir.2.chains";

#[cfg(target_os = "wasi")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> u16;
}

thread_local! {
    static CHAIN: RefCell<Option<Chain>> = const { RefCell::new(None) };
}

/// Seals a record of this VM.
pub fn seal(json: &mut String, key: &Key) {
    CHAIN.with(|chain| {
        if let Ok(mut chain) = chain.try_borrow_mut() {
            chain.get_or_insert_with(|| Chain::new(number())).seal(json, key);
        }
    });
}

/// A number that no other chain has. Chains of one process are counted in its store; where that does not answer, the chain is none of
/// those that are counted.
fn number() -> u64 {
    let mut hash = Sha256::new();
    hash.update(clock::wall().unwrap_or_default().to_le_bytes());
    hash.update(random());
    let random = hash.finalize().first_chunk().copied().map_or(0, u64::from_be_bytes);
    let mut number = random & !COUNT;
    let count = &mut |value: &mut [u8]| match value.first_chunk_mut::<8>() {
        Some(bytes) => {
            number = next(u64::from_le_bytes(*bytes), random);
            *bytes = number.to_le_bytes();
            Change::Write
        }
        None => Change::Keep,
    };
    match update(&HostStore, LAST, 8, &mut Events::default(), count) {
        Ok(_) => number,
        Err(_) => random & !COUNT,
    }
}

#[cfg(target_os = "wasi")]
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: the host writes so many bytes to a local that outlives the call. One that does not leaves zeros.
    let _ = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

/// Outside of WASI there is none.
#[cfg(not(target_os = "wasi"))]
fn random() -> [u8; 16] {
    [0; 16]
}
