//! Envoy's shared data: one map for all workers, with one counter of numbers over all keys.

use std::collections::BTreeMap;

use super::abi::{bytes, call, hand_over};
use super::{CAS_MISMATCH, NOT_FOUND, OK, Process};

#[derive(Debug, Default)]
pub(super) struct SharedData {
    last_cas: u32,
    values: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
}

impl SharedData {
    fn set(&mut self, key: &[u8], value: &[u8], cas: u32) -> u32 {
        if cas != 0 && self.values.get(key).is_some_and(|(_, current)| *current != cas) {
            return CAS_MISMATCH;
        }
        // Zero is never handed out.
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        self.values.insert(key.to_vec(), (value.to_vec(), self.last_cas));
        OK
    }
}

impl Process {
    /// All keys of the shared data.
    pub fn shared_keys(&self) -> Vec<Vec<u8>> {
        self.shared.lock().unwrap().values.keys().cloned().collect()
    }

    /// The value of a key of the shared data.
    pub fn shared_value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.lock().unwrap().values.get(key).map(|(value, _)| value.clone())
    }

    /// Sets a key of the shared data, whatever is there.
    pub fn set_shared_value(&self, key: &[u8], value: &[u8]) {
        self.shared.lock().unwrap().set(key, value, 0);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    // SAFETY: the filter hands over a slice.
    let key = unsafe { bytes(key, key_size) };
    call("proxy_get_shared_data", |state| {
        let Some((value, number)) = state.process.shared.lock().unwrap().values.get(key).cloned() else {
            return NOT_FOUND;
        };
        // SAFETY: the filter gives three pointers to write to.
        unsafe {
            *cas = number;
            hand_over(&value, data, size)
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    // SAFETY: the filter hands over slices.
    let (key, value) = unsafe { (bytes(key, key_size), bytes(value, value_size)) };
    call("proxy_set_shared_data", |state| state.process.shared.lock().unwrap().set(key, value, cas))
}
