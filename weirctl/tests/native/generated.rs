//! What is generated and committed equals what the code generates now. `WEIR_UPDATE=1 cargo test --package weirctl` writes it.

mod config;
mod metrics;
mod snippet;
