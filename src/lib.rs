//! Weir: a proxy-wasm filter that times and counts every LLM call.
//!
//! Gather facts while bytes pass. Decide once at the start, where a call may be refused. Settle once at the end, where
//! nothing can be refused any more, only recorded.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod api;
pub mod baggage;
pub mod call;
pub mod config;
pub mod features;
pub mod json;
pub mod labels;
pub mod mac;
pub mod metrics;
pub mod port;
pub mod record;
pub mod report;
pub mod settings;
pub mod shared;
pub mod signals;
pub mod stream;
pub mod units;
pub mod wire;
pub mod worker;

#[cfg(feature = "host")]
mod host;
