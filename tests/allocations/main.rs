//! What the filter takes of memory, under an allocator that counts.
#![cfg(not(target_family = "wasm"))]

mod answers;
#[allow(dead_code)] // It is for fuzzing too.
#[path = "../support/counting.rs"]
mod counting;
mod decoding;
#[allow(dead_code)] // It is for `wire` too.
#[path = "../support/streams.rs"]
mod streams;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;
