//! The filter in a real Envoy, judged by real clients: SDKs, MCP, an agent, and a real model server.

mod agent;
mod limits;
mod mcp;
mod real_model;
mod refusals;
mod streams;
#[path = "../support/mod.rs"]
mod support;
