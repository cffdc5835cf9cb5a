//! `/generate` of Hugging Face's Text Generation Inference and of SGLang, which do not contradict each other.

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{Queue, Total as Whole};
use crate::wire::field::Unit::S;
use crate::wire::tree::{Inside, Tree, leaf, obj, object_or_list};

/// TGI's. Its input is counted in a header, or in the last event.
const DETAILS: Tree = obj! {
    "finish_reason" => leaf!(Finish),
    "generated_tokens" => leaf!(Output),
    "input_length" => leaf!(Input),
};

/// SGLang's: in every event, all so far.
const META: Tree = obj! { Usage;
    "id" => leaf!(Id),
    "prompt_tokens" => leaf!(Input),
    "completion_tokens" => leaf!(Output),
    "reasoning_tokens" => leaf!(ReasoningTokens),
    "cached_tokens" => leaf!(CacheRead),
    "finish_reason" => obj! { Finish; "type" => leaf!(Finish) },
    "queue_time" => leaf!(Server(Queue, S)),
    "e2e_latency" => leaf!(Server(Whole, S)),
};

macro_rules! answer {
    ($($key:literal => $node:expr),*) => {
        &[
            ("details", DETAILS),
            ("text", leaf!(Text)),
            ("meta_info", META),
            ("error", leaf!(Error)),
            ("error_type", leaf!(ErrorType)),
            $(($key, $node)),*
        ]
    };
}

/// One event. The last of TGI's repeats all text.
pub static EVENT: Tree = Tree {
    means: None,
    inside: Some(&Inside { keys: answer!("token" => obj! { Piece; "text" => leaf!(Text) }), item: None, rest: None }),
};

/// A whole answer, or a list of them.
pub static WHOLE: Tree = object_or_list!(answer!("generated_text" => leaf!(Text)), WHOLE);
