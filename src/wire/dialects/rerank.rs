//! Reranking, of all providers: no text comes back. Cohere bills searches, which are no tokens.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, obj};

/// An answer.
pub static ANSWER: Tree = obj! {
    "id" => leaf!(Id),
    "request_id" => leaf!(Id),
    "model" => leaf!(Model),
    // Jina, Voyage, vLLM, DashScope.
    "usage" => obj! { Usage;
        "prompt_tokens" => leaf!(Input),
        "input_tokens" => leaf!(Input),
        "total_tokens" => leaf!(Total),
    },
    "meta" => obj! { "tokens" => obj! { "input_tokens" => leaf!(Input) } },
    "type" => leaf!(FlatType),
    "code" => leaf!(FlatCode),
    "error" => obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) },
};
