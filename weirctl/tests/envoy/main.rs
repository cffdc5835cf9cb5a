//! The filter in a real Envoy: how it is deployed, what it shows, and what it does when upstreams fail.

mod attempts;
mod cli;
mod deploy;
mod ecds;
mod failing;
mod launch;
mod outage;
mod plan;
mod stats;
#[path = "../support/mod.rs"]
mod support;
mod trail;
