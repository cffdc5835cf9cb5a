//! The host shell: the only code that knows the proxy-wasm ABI, which is `abi/`.
//!
//! Callbacks come in through [`contexts`], and [`shell`] says what each means. [`meter`] turns a call's report into Envoy's own stats.

mod attempts;
// Calling WASI is what unsafe code is for here; what calls the proxy stands in `abi/`.
#[allow(unsafe_code)]
#[cfg(feature = "audit")]
mod chain;
#[allow(unsafe_code)]
mod clock;
// The entry is an export.
#[allow(unsafe_code)]
mod contexts;
mod meter;
mod own_time;
mod shell;
mod stats;
mod store;
mod turns;
