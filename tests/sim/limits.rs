//! Limits under workers that race: whole calls through [`weir::stream::Stream`], over one store, in made-up time.
//!
//! Once by a scheduler that a seed drives, which lets other workers in between a read and its write; once as real threads.
//! Whatever happens to the calls, in the end everything adds up (see [`books`]).

mod books;
mod call;
mod exact;
mod scheduled;
mod threads;
