//! DashScope's own text and multimodal generation. Every event reports all usage so far; unless `incremental_output` is asked
//! for, it repeats all text so far too.

use crate::wire::dialects::openai::{self, COMPLETION_DETAILS, PROMPT_DETAILS};
use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

/// An answer, or one event of it.
pub static ANSWER: Tree = obj! {
    "request_id" => leaf!(Id),
    "output" => obj! {
        "text" => leaf!(Text),
        "finish_reason" => leaf!(Finish),
        "choices" => list!(Choices; obj! { Choice;
            "index" => leaf!(ChoiceIndex),
            "finish_reason" => leaf!(Finish),
            "message" => openai::MESSAGE,
        }),
    },
    "usage" => obj! { Usage;
        "input_tokens" => leaf!(Input),
        "output_tokens" => leaf!(Output),
        "total_tokens" => leaf!(Total),
        "cached_tokens" => leaf!(CacheRead),
        "prompt_tokens_details" => PROMPT_DETAILS,
        "input_tokens_details" => PROMPT_DETAILS,
        "output_tokens_details" => COMPLETION_DETAILS,
        "completion_tokens_details" => COMPLETION_DETAILS,
    },
    "code" => leaf!(FlatCode),
};
