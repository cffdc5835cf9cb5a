//! The host shell: the only code that knows the proxy-wasm ABI.
//!
//! Callbacks come in through [`exports`], and [`shell`] says what each means; calls go out through [`abi`], which takes any answer of
//! the host without a panic. [`meter`] turns a call's report into Envoy's own stats.

// Calling out and taking the host's memory over is what this room is for; nothing above it may.
#[allow(unsafe_code)]
mod abi;
mod attempts;
#[allow(unsafe_code)]
mod chain;
#[allow(unsafe_code)]
mod clock;
#[allow(unsafe_code)]
mod exports;
mod meter;
mod own_time;
mod pairs;
mod shell;
mod store;
mod turns;
