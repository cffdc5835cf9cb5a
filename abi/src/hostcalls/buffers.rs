//! Bodies and configurations.

use super::found;
use crate::types::{BufferType, Bytes, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
}

/// What stands in a buffer from `start` on, at most `max_size` bytes; empty where it ends before. Nothing where the host has no such
/// buffer now. A body that is kept back is shown again with every piece: with `start` only the new piece is copied.
pub fn get_buffer(buffer_type: BufferType, start: usize, max_size: usize) -> Result<Option<Bytes>, Status> {
    // SAFETY: both pointers are to locals that outlive the call.
    found(|data, size| unsafe { proxy_get_buffer_bytes(buffer_type as u32, start, max_size, data, size) })
}

/// Puts `value` in the place of `size` bytes of a buffer from `start` on.
pub fn set_buffer(buffer_type: BufferType, start: usize, size: usize, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host only reads, and only within the slice.
    Status::check(unsafe { proxy_set_buffer_bytes(buffer_type as u32, start, size, value.as_ptr(), value.len()) })
}
