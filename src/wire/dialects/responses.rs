//! OpenAI's Responses. What a `delta` is stands in the event's type; the last event repeats the whole answer.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

const USAGE: Tree = obj! { Usage;
    "input_tokens" => leaf!(Input),
    "output_tokens" => leaf!(Output),
    "total_tokens" => leaf!(Total),
    "input_tokens_details" => obj! { "cached_tokens" => leaf!(CacheRead), "cache_write_tokens" => leaf!(CacheWrite) },
    "output_tokens_details" => obj! { "reasoning_tokens" => leaf!(ReasoningTokens) },
};

const ERROR: Tree = obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) };

/// One event.
pub static EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    // Some send an object.
    "delta" => obj! { Delta; "text" => leaf!(Delta), "content" => leaf!(Delta) },
    "output_index" => leaf!(ItemIndex),
    "item" => obj! { Item;
        "type" => leaf!(ItemType),
        "name" => leaf!(ToolName),
        "call_id" => leaf!(ToolId),
        "arguments" => leaf!(ItemArgs),
        "input" => leaf!(ItemArgs),
    },
    "response" => obj! {
        "id" => leaf!(Id),
        "model" => leaf!(Model),
        "status" => leaf!(Finish),
        "service_tier" => leaf!(ServiceTier),
        "usage" => USAGE,
        "error" => ERROR,
    },
    "code" => leaf!(ErrorCode),
    "error" => ERROR,
};

/// A whole answer.
pub static WHOLE: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "status" => leaf!(Finish),
    "service_tier" => leaf!(ServiceTier),
    "output" => list!(obj! { Item;
        "type" => leaf!(ItemType),
        "name" => leaf!(ToolName),
        "call_id" => leaf!(ToolId),
        "arguments" => leaf!(ToolArgs),
        "input" => leaf!(ToolArgs),
        "content" => list!(obj! { "text" => leaf!(Text), "refusal" => leaf!(Text) }),
        "summary" => list!(obj! { "text" => leaf!(Reasoning) }),
    }),
    "usage" => USAGE,
    "error" => ERROR,
};
