//! The clock. In Envoy 1.40 either of the two answers in 0.08 µs.

use std::cell::Cell;

use weir_abi::hostcalls;

use crate::units::Nanos;

#[cfg(target_os = "wasi")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u16;
}

/// The time of WASI's monotonic clock: Envoy's own, which no correction of the wall clock moves.
#[cfg(target_os = "wasi")]
fn monotonic() -> Option<u64> {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the host writes the time to a local that outlives the call.
    let errno = unsafe { clock_time_get(MONOTONIC, 1, &mut time) };
    (errno == 0).then_some(time)
}

/// Outside of WASI there is only the ABI's own clock.
#[cfg(not(target_os = "wasi"))]
fn monotonic() -> Option<u64> {
    None
}

/// The ABI's own clock: the wall clock.
pub fn wall() -> Option<u64> {
    hostcalls::get_current_time_nanoseconds().ok()
}

thread_local! {
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// The time now. A host that may not tell it (capabilities can be taken away) leaves time standing still.
pub fn now() -> Nanos {
    let time = monotonic().or_else(wall).unwrap_or_else(|| LAST.get());
    LAST.set(time);
    Nanos(time)
}
