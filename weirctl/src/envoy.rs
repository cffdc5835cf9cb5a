//! A real Envoy with weir in it: brought, configured, started, read.

pub mod admin;
pub mod binary;
pub mod bootstrap;
pub mod process;
pub mod stats;
pub mod wasm;

pub use bootstrap::{AccessLog, Bootstrap, Cluster, Route, Tls, WeirFilter};
pub use process::{Envoy, Launch};
