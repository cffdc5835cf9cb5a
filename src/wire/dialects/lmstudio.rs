//! LM Studio's own chat (`/api/v1/chat`). What a piece is stands in the event's type; the last event repeats the whole answer.

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::FirstToken;
use crate::wire::field::Unit::S;
use crate::wire::tree::{Tree, leaf, list, obj};

/// Reasoning is counted in.
const STATS: Tree = obj! { Usage;
    "input_tokens" => leaf!(Input),
    "total_output_tokens" => leaf!(Output),
    "reasoning_output_tokens" => leaf!(ReasoningTokens),
    "time_to_first_token_seconds" => leaf!(Server(FirstToken, S)),
};

const ERROR: Tree = obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) };

/// One event.
pub static EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    "model_instance_id" => leaf!(Model),
    "content" => leaf!(Delta),
    "result" => obj! { "model_instance_id" => leaf!(Model), "response_id" => leaf!(Id), "stats" => STATS },
    "error" => ERROR,
};

/// A whole answer.
pub static WHOLE: Tree = obj! {
    "model_instance_id" => leaf!(Model),
    "response_id" => leaf!(Id),
    "output" => list!(obj! { Part; "type" => leaf!(PartType), "content" => leaf!(PartText) }),
    "stats" => STATS,
    "error" => ERROR,
};
