//! Kinds: what a call is to those who pay for it, told from its headers and route alone (docs/runs.md).

pub mod config;
pub mod kinds;
