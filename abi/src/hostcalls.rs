//! Calls to the host. Each gives what the host answers, or the [`Status`] that says why not; none panics.
//!
//! A status is a number, and any may come: the ones that the ABI names have names, the others are [`Status::Other`].

// Calling out and taking the host's memory over is what this is for.
#![allow(unsafe_code)]

mod buffers;
mod clock;
mod flow;
mod maps;
mod metrics;
mod pairs;
mod properties;
mod shared_data;

use std::ptr;

pub use buffers::{get_buffer, set_buffer};
pub use clock::{get_current_time, get_current_time_nanoseconds};
pub use flow::{
    reset_http_request, reset_http_response, resume_http_request, resume_http_response, send_http_response,
    set_effective_context, set_tick_period,
};
pub use maps::{Map, add_map_value_bytes, get_map_bytes, remove_map_value, set_map_value_bytes};
pub use metrics::{define_metric, increment_metric, record_metric};
pub use properties::{get_property, set_property};
pub use shared_data::{get_shared_data, set_shared_data};

use crate::types::{Bytes, LogLevel, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
}

/// Writes a message to the host's log, as it is. The `log` crate's macros have bounds and levels: see
/// [`set_log_level`](crate::set_log_level).
pub fn log(level: LogLevel, message: &str) -> Result<(), Status> {
    // SAFETY: the host only reads, and only within the slice.
    Status::check(unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) })
}

/// Runs a call that hands data back, and takes the data over without a copy.
fn taken_over(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Bytes, Status> {
    let (mut data, mut size) = (ptr::null_mut::<u8>(), 0usize);
    Status::check(call(&mut data, &mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host has written the data into memory it got from `proxy_on_memory_allocate(size)`, which answers
    // with a boxed slice of just that size, and it has given the memory up with this answer.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The same, for which "not found" is an answer.
fn found(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Option<Bytes>, Status> {
    match taken_over(call) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Status::NotFound) => Ok(None),
        Err(status) => Err(status),
    }
}
