//! Whole calls through [`weir::stream::Stream`] by the thousand, over one store, in made-up time.
#![cfg(not(target_family = "wasm"))]

mod dice;
mod limits;
#[path = "../support/memory.rs"]
mod memory;
mod retries;
