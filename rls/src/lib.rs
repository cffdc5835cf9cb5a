//! A Rate Limit Service: what Envoy's `ratelimit` filter asks, so that one limit holds over many proxies.
//!
//! For tests, and to try `envoy/global-limits/` on one machine. It counts as `envoyproxy/ratelimit` does, and reads its
//! configuration; the counters themselves are limitador's, in memory or, with the feature `redis`, in Redis.

mod counters;
mod rules;
mod service;

pub use counters::memory::Memory;
#[cfg(feature = "redis")]
pub use counters::redis::Redis;
pub use counters::{Count, Counters};
pub use rules::{Rate, Rules, Unit};
pub use service::{Asked, Rls};
