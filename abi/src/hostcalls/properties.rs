//! What the host knows of an exchange, and what a filter tells it.

use super::found;
use crate::types::{Bytes, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32;
}

/// The value of a property. Nothing where the host has none now.
pub fn get_property(path: &[&str]) -> Result<Option<Bytes>, Status> {
    let path = path.join("\0");
    // SAFETY: the path is only read; both other pointers are to locals that outlive the call.
    found(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Tells the host a value. In Envoy it is filter state `wasm.<path>`, and the last of several counts.
pub fn set_property(path: &[&str], value: Option<&[u8]>) -> Result<(), Status> {
    let (path, value) = (path.join("\0"), value.unwrap_or_default());
    // SAFETY: the host only reads, and only within the slices.
    Status::check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}
