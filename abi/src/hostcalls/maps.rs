//! Headers and trailers. Names and values are bytes: a client may send any.

use super::pairs;
use super::taken_over;
use crate::types::{Bytes, MapType, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(kind: u32, name: *const u8, size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        kind: u32,
        name: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, size: usize) -> u32;
}

/// All headers of a map, as the host handed them over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(Bytes);

impl Map {
    /// Names and values, in order. What is cut short or lies ends the list; nothing is made up.
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        pairs::parse(&self.0)
    }
}

/// All headers of a map, in one call.
pub fn get_map_bytes(map_type: MapType) -> Result<Map, Status> {
    // SAFETY: both pointers are to locals that outlive the call.
    taken_over(|data, size| unsafe { proxy_get_header_map_pairs(map_type as u32, data, size) }).map(Map)
}

/// Puts a header in the place of all of its name; without a value, takes them off.
///
/// # When a map can be changed
/// Headers in their own callback, and from a tick while that callback's Pause holds them; while a body's Pause holds the
/// body alone they have gone, and the host refuses. Trailers that the other side has not sent: only in the body callback
/// that ends the body. With `allow_on_headers_stop_iteration` a Continue at a body lets the headers go, and then Envoy 1.40
/// answers `Ok`, changes nothing that anyone sees, and may write a bug report with a stack trace into its log: do not.
pub fn set_map_value_bytes(map_type: MapType, key: &str, value: Option<&[u8]>) -> Result<(), Status> {
    let Some(value) = value else { return remove_map_value(map_type, key) };
    // SAFETY: the host only reads, and only within the slices.
    Status::check(unsafe {
        proxy_replace_header_map_value(map_type as u32, key.as_ptr(), key.len(), value.as_ptr(), value.len())
    })
}

/// Puts a header behind those of its name, when [`set_map_value_bytes`] could.
pub fn add_map_value_bytes(map_type: MapType, key: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host only reads, and only within the slices.
    Status::check(unsafe {
        proxy_add_header_map_value(map_type as u32, key.as_ptr(), key.len(), value.as_ptr(), value.len())
    })
}

/// Takes all headers of a name off a map, when [`set_map_value_bytes`] could.
pub fn remove_map_value(map_type: MapType, key: &str) -> Result<(), Status> {
    // SAFETY: the host only reads, and only within the slice.
    Status::check(unsafe { proxy_remove_header_map_value(map_type as u32, key.as_ptr(), key.len()) })
}
