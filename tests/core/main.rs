//! The core's tests: sentences over tables. They run natively and as Wasm under Node.

mod accounts;
mod config;
mod dialects;
mod end;
mod estimate;
mod gaps;
mod gcra;
mod hide;
mod identity;
mod inject;
mod json;
mod kinds;
mod labels;
mod learned;
mod lease;
mod limits;
mod limits_config;
mod limits_estimates;
mod limits_headers;
mod lineage;
#[path = "../support/memory.rs"]
mod memory;
mod refusal;
mod request;
mod retries;
mod seams;
mod shape;
mod share;
mod slo;
mod sse;
mod storm;
mod stream;
mod support;
mod table;
mod timing;
mod tools;
