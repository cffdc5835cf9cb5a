//! The core's tests: sentences over tables. They run natively and as Wasm under Node.

mod config;
mod dialects;
mod end;
mod estimate;
mod gaps;
mod hide;
mod identity;
mod inject;
mod json;
mod labels;
mod refusal;
mod request;
mod seams;
mod shape;
mod share;
mod slo;
mod sse;
mod storm;
mod stream;
mod support;
mod timing;
