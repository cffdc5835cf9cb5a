//! Objectives for the time to first token: how many calls met each of them.

pub mod call;
pub mod config;
pub mod verdict;
