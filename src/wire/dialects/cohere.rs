//! Cohere: v2 over SSE, v1 over NDJSON. `tokens` is what the model read and wrote; `billed_units` is what is paid, which is
//! told apart, and stands in where there is nothing else.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

const USAGE: Tree = obj! {
    "billed_units" => obj! { "input_tokens" => leaf!(MeterInput), "output_tokens" => leaf!(MeterOutput) },
    "tokens" => obj! {
        "input_tokens" => leaf!(Input),
        "output_tokens" => leaf!(Output),
        "reasoning_tokens" => leaf!(ReasoningTokens),
    },
    "cached_tokens" => leaf!(CacheRead),
    "reasoning_tokens" => leaf!(ReasoningTokens),
};

const FUNCTION: Tree = obj! { "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) };

/// A whole answer of v2.
pub static V2: Tree = obj! {
    "id" => leaf!(Id),
    "finish_reason" => leaf!(Finish),
    "message" => obj! {
        "content" => list!(obj! { "text" => leaf!(Text), "thinking" => leaf!(Reasoning) }),
        "tool_plan" => leaf!(Reasoning),
        "tool_calls" => list!(obj! { Tool; "id" => leaf!(ToolId), "function" => FUNCTION }),
    },
    "usage" => USAGE,
};

/// One event of v2.
pub static V2_EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    "index" => leaf!(BlockIndex),
    "id" => leaf!(Id),
    "delta" => obj! {
        "finish_reason" => leaf!(Finish),
        "error" => leaf!(Error),
        "usage" => USAGE,
        "message" => obj! {
            "content" => obj! { "text" => leaf!(Text), "thinking" => leaf!(Reasoning) },
            "tool_plan" => leaf!(Reasoning),
            "tool_calls" => obj! { Tool; "id" => leaf!(ToolId), "function" => FUNCTION },
        },
    },
};

/// A whole answer of v1, chat or generate.
pub static V1: Tree = obj! {
    "id" => leaf!(Id),
    "generation_id" => leaf!(Id),
    "text" => leaf!(Text),
    "finish_reason" => leaf!(Finish),
    "tool_calls" => list!(obj! { Tool; "name" => leaf!(ToolName), "parameters" => leaf!(ItemArgs) }),
    "generations" => list!(Choices; obj! { Choice; "text" => leaf!(Text), "finish_reason" => leaf!(Finish) }),
    "meta" => USAGE,
};

/// One line of v1. The last one repeats the whole text.
pub static V1_EVENT: Tree = obj! {
    "event_type" => leaf!(EventType),
    "generation_id" => leaf!(Id),
    "text" => leaf!(Text),
    "finish_reason" => leaf!(Finish),
    "response" => obj! {
        "generation_id" => leaf!(Id),
        "tool_calls" => list!(obj! { Tool; "name" => leaf!(ToolName), "parameters" => leaf!(ItemArgs) }),
        "meta" => USAGE,
    },
};
