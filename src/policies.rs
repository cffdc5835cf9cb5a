//! What may act on a call, as plain arithmetic: `now` is an argument, the store a port.

pub mod account;
pub mod gcra;
pub mod learned;
pub mod lease;
pub mod limits;
pub mod lineage;
pub mod plan;
pub mod retry;
pub mod share;
pub mod tools;
