//! OpenAI's images, and those like them: tokens of text and of pictures, paid alike by kind of token.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, obj};

/// Tokens as OpenAI's newer APIs name them; some who are like it keep the older names.
pub(super) const USAGE: Tree = obj! { Usage;
    "input_tokens" => leaf!(Input),
    "output_tokens" => leaf!(Output),
    "prompt_tokens" => leaf!(Input),
    "completion_tokens" => leaf!(Output),
    "total_tokens" => leaf!(Total),
    "input_tokens_details" => DETAILS,
    "input_token_details" => DETAILS,
    "output_token_details" => obj! { "audio_tokens" => leaf!(AudioOutput) },
};

const DETAILS: Tree = obj! { "cached_tokens" => leaf!(CacheRead), "audio_tokens" => leaf!(AudioInput) };

pub(super) const ERROR: Tree = obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) };

/// A whole answer, or one event: a picture that is not finished yet, or the finished one.
pub static ANSWER: Tree = obj! {
    "type" => leaf!(EventType),
    "b64_json" => leaf!(Args),
    "model" => leaf!(Model),
    "usage" => USAGE,
    "base_resp" => obj! { "status_code" => leaf!(ErrorStatus) },
    "code" => leaf!(FlatCode),
    "error" => ERROR,
};
