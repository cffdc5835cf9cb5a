//! Embeddings, of all providers: no text comes back, only counts.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

/// An answer.
pub static ANSWER: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    // OpenAI, Azure, Mistral, vLLM, Voyage.
    "usage" => obj! { Usage;
        "prompt_tokens" => leaf!(Input),
        "completion_tokens" => leaf!(Output),
        "total_tokens" => leaf!(Total),
    },
    // watsonx.
    "model_id" => leaf!(Model),
    "input_token_count" => leaf!(Input),
    // Vertex's `:predict`: a count for each text.
    "predictions" => list!(obj! {
        "embeddings" => obj! { "statistics" => obj! { "token_count" => leaf!(InputMore) } },
    }),
    // Gemini.
    "usageMetadata" => obj! { Usage; "promptTokenCount" => leaf!(Input), "totalTokenCount" => leaf!(Total) },
    // Cohere.
    "meta" => obj! { "billed_units" => obj! { "input_tokens" => leaf!(Input) } },
    // Ollama.
    "prompt_eval_count" => leaf!(Input),
    "base_resp" => obj! { "status_code" => leaf!(ErrorStatus) },
    "type" => leaf!(FlatType),
    "code" => leaf!(FlatCode),
    "error" => obj! { Error; "type" => leaf!(ErrorType), "status" => leaf!(ErrorType), "code" => leaf!(ErrorCode) },
};
