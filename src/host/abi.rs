//! The raw calls to the host.
//!
//! The SDK's own wrappers panic on a status they do not expect, and a panic takes every stream of the worker down. Here
//! a status is a number, whatever is not `Ok` is "no answer", and the caller goes on without.

mod flow;
mod shared;

use std::ptr;

pub use flow::{Half, LocalResponse, reset, resume, send_local_response, set_effective_context, set_tick_period};
pub use shared::{Put, Shared, set_shared_data, shared_data};

/// A status as the host gives it; any number may come.
type Status = u32;
const OK: Status = 0;

/// More than any buffer holds: "all there is".
const ALL: usize = u32::MAX as usize;

/// What can be read from, by the ABI's numbers.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    PluginConfiguration = 7,
}

/// Header maps, by the ABI's numbers.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Map {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
}

/// Kinds of metrics, by the ABI's numbers.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// The level of errors in the host's log, by the ABI's number.
const LOG_ERROR: u32 = 4;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> Status;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> Status;
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_add_header_map_value(
        kind: u32,
        name: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_replace_header_map_value(
        kind: u32,
        name: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, size: usize) -> Status;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> Status;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> Status;
    fn proxy_increment_metric(id: u32, offset: i64) -> Status;
    fn proxy_record_metric(id: u32, value: u64) -> Status;
}

/// Runs a call that hands data back, and takes the data over without a copy. A status other than `OK` is the error.
fn taken_over(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (ptr::null_mut::<u8>(), 0usize);
    match call(&mut data, &mut size) {
        OK if data.is_null() || size == 0 => Ok(Vec::new()),
        // SAFETY: the host has written the data into memory it got from `proxy_on_memory_allocate(size)`, which answers
        // with a boxed slice of just that size, and it has given the memory up with this answer.
        OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
        status => Err(status),
    }
}

/// The same, for which every other status is no answer.
fn handed_over(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Option<Vec<u8>> {
    taken_over(call).ok()
}

/// All of a buffer that can be read now. Nothing where the host has no such buffer.
pub fn buffer(kind: Buffer) -> Option<Vec<u8>> {
    buffer_from(kind, 0)
}

/// What stands in a buffer from `start` on; empty where it ends before. The host shows a body that it holds again with
/// every piece, so this is how only the new piece is copied.
pub fn buffer_from(kind: Buffer, start: usize) -> Option<Vec<u8>> {
    // SAFETY: both pointers are to locals that outlive the call.
    handed_over(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, start, ALL, data, size) })
}

/// Puts `bytes` in the place of all of a buffer. False where the host does not allow it.
pub fn replace_buffer(kind: Buffer, bytes: &[u8]) -> bool {
    // SAFETY: the host only reads, and only within the slice.
    unsafe { proxy_set_buffer_bytes(kind as u32, 0, ALL, bytes.as_ptr(), bytes.len()) == OK }
}

/// All headers of a map, in the ABI's own form (see [`super::pairs`]). Nothing where the map cannot be read now.
pub fn header_pairs(map: Map) -> Option<Vec<u8>> {
    // SAFETY: both pointers are to locals that outlive the call.
    handed_over(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
}

/// Puts a header in the place of all of its name. False where the host does not allow it.
///
/// # When a map can be changed
/// Headers in their own callback, and from a tick while that callback's Pause holds them; while a body's Pause holds the
/// body alone they have gone, and the host refuses. Trailers that the other side has not sent: only in the body callback
/// that ends the body. With `allow_on_headers_stop_iteration` a Continue at a body lets the headers go, and then Envoy 1.40
/// answers `Ok`, changes nothing that anyone sees, and may write a bug report with a stack trace into its log: do not.
pub fn replace_header(map: Map, name: &str, value: &[u8]) -> bool {
    // SAFETY: the host only reads, and only within the slices.
    unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK }
}

/// Puts a header behind those of its name. False where the host does not allow it, as for [`replace_header`].
pub fn add_header(map: Map, name: &str, value: &[u8]) -> bool {
    // SAFETY: the host only reads, and only within the slices.
    unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK }
}

/// Takes a header off a map. False where the host does not allow it.
pub fn remove_header(map: Map, name: &str) -> bool {
    // SAFETY: the host only reads, and only within the slice.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) == OK }
}

/// The value of a property. Nothing where the host has none now.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: the path is only read; both other pointers are to locals that outlive the call.
    handed_over(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Publishes a value as filter state `wasm.<name>`; the last of several counts. False where the host does not allow it.
pub fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: the host only reads, and only within the slices.
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK }
}

/// Defines a metric, or finds the one of this name; its id.
pub fn define_metric(kind: MetricKind, name: &str) -> Option<u32> {
    let mut id = 0u32;
    // SAFETY: the name is only read; the id is a local that outlives the call.
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter or a gauge. A count that the host does not take is lost.
pub fn increment_metric(id: u32, by: i64) {
    // SAFETY: only numbers cross.
    unsafe { proxy_increment_metric(id, by) };
}

/// Records a value in a histogram. One that the host does not take is lost.
pub fn record_metric(id: u32, value: u64) {
    // SAFETY: only numbers cross.
    unsafe { proxy_record_metric(id, value) };
}

/// Writes an error to the host's log.
pub fn log_error(message: &str) {
    // SAFETY: the host only reads, and only within the slice.
    unsafe { proxy_log(LOG_ERROR, message.as_ptr(), message.len()) };
}
