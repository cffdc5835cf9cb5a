//! Weir in a real Envoy never hurts traffic: raw bytes in, raw bytes out, whatever they are.

mod bodies;
mod client;
mod formats;
mod h2;
mod raw;
mod rig;

mod audit;
mod hostile_answers;
mod hostile_h2;
mod hostile_http;
mod identical_bytes;
mod inject;
mod labels;
mod limits;
mod memory;
mod refused;
mod runs;
