//! The real shell and its exports over a fake host (see `fake_host`).

#[allow(dead_code, unused_imports)] // It is for `fake_host_itself` too.
#[path = "../fake_host/mod.rs"]
mod fake_host;

mod attempts;
mod audit;
mod cost;
mod limits;
mod log;
mod plan;
mod retries;
mod runs;
mod shell;
mod tools;
mod trail;

// Only its exports are used, by the fake host.
use weir as _;
