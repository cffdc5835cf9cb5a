//! What reads bytes, against other people's writers.
#![cfg(not(target_family = "wasm"))]

mod encoding;
mod event_stream;
#[allow(dead_code)] // It is for `allocations` too.
#[path = "../support/streams.rs"]
mod streams;
