//! Bytes to facts. Framings: SSE, NDJSON, event stream, JSON. Dialects: what the documents in them mean.

pub mod arguments;
pub mod body;
pub mod calls;
pub mod dialects;
pub mod encoding;
pub mod event_stream;
pub mod facts;
pub mod field;
pub mod hide;
pub mod progress;
pub mod refusal;
pub mod request;
pub mod rpc;
pub mod said;
pub mod seams;
pub mod shape;
pub mod sources;
pub mod sse;
pub mod tree;
pub mod usage;
pub mod wide;

mod crc32;
mod room;
