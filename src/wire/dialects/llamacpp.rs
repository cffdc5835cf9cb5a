//! llama.cpp's own `/completion` and `/infill`.

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{Decode, Prompt};
use crate::wire::field::Unit::Ms;
use crate::wire::tree::{Tree, leaf, obj};

/// An answer, or one event of it. Its counts are those so far.
pub static ANSWER: Tree = obj! {
    "content" => leaf!(Text),
    "model" => leaf!(Model),
    "stop" => leaf!(EndIfTrue),
    "stop_type" => leaf!(Finish),
    "tokens_evaluated" => leaf!(Input),
    "tokens_predicted" => leaf!(Output),
    "timings" => obj! {
        "cache_n" => leaf!(CacheRead),
        "prompt_ms" => leaf!(Server(Prompt, Ms)),
        "predicted_ms" => leaf!(Server(Decode, Ms)),
    },
    "error" => obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) },
};
