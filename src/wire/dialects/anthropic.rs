//! Anthropic's messages, and the completions before them.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

/// The keys of a usage report. The last value of each counts: `message_delta` says some again, and leaves others out.
macro_rules! usage {
    () => {
        obj! {
            "input_tokens" => leaf!(Input),
            "output_tokens" => leaf!(Output),
            "cache_read_input_tokens" => leaf!(CacheRead),
            "cache_creation_input_tokens" => leaf!(CacheWrite),
            "cache_creation" => obj! { "ephemeral_1h_input_tokens" => leaf!(CacheWriteHour) },
            "service_tier" => leaf!(ServiceTier),
            "speed" => leaf!(Speed),
            // A compaction is in no other count. What is another model's is not this call's.
            "iterations" => list!(Iterations; obj! { Iteration;
                "type" => leaf!(LineKind),
                "input_tokens" => leaf!(Input),
                "output_tokens" => leaf!(Output),
                "cache_read_input_tokens" => leaf!(CacheRead),
                "cache_creation_input_tokens" => leaf!(CacheWrite),
                "cache_creation" => obj! { "ephemeral_1h_input_tokens" => leaf!(CacheWriteHour) },
            }),
            "output_tokens_details" => obj! { "thinking_tokens" => leaf!(ReasoningTokens) },
        }
    };
}
pub(crate) use usage;

/// An error, in an event or a body.
pub(crate) const ERROR: Tree = obj! { Error; "type" => leaf!(ErrorType) };

/// One part of an answer.
pub(crate) const BLOCK: Tree = obj! { Item;
    "type" => leaf!(ItemType),
    "name" => leaf!(ToolName),
    "id" => leaf!(ToolId),
    "input" => leaf!(ItemArgs),
    "text" => leaf!(Text),
    "thinking" => leaf!(Reasoning),
};

/// A piece of a part. A `compaction_delta` has `content`.
pub(crate) const DELTA: Tree = obj! {
    "text" => leaf!(Text),
    "thinking" => leaf!(Reasoning),
    "partial_json" => leaf!(ArgsDelta),
    "content" => leaf!(Reasoning),
    "stop_reason" => leaf!(Finish),
};

/// One event.
pub static EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    "index" => leaf!(BlockIndex),
    "message" => obj! { "id" => leaf!(Id), "model" => leaf!(Model), "usage" => usage!() },
    "content_block" => BLOCK,
    "delta" => DELTA,
    "usage" => usage!(),
    "error" => ERROR,
};

/// A whole answer.
pub static WHOLE: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "content" => list!(BLOCK),
    "stop_reason" => leaf!(Finish),
    "usage" => usage!(),
    "error" => ERROR,
};

/// `/v1/complete`, streamed or not.
pub static COMPLETION: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "completion" => leaf!(Text),
    "stop_reason" => leaf!(Finish),
    "error" => ERROR,
};
