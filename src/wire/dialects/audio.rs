//! OpenAI's transcriptions, translations and speech, where they count tokens. What is counted in seconds has none.

use crate::wire::dialects::images::{ERROR, USAGE};
use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, obj};

/// One event: a piece of a transcript, or of sound. The last one repeats the whole transcript.
pub static EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    "delta" => leaf!(Delta),
    "audio" => leaf!(Args),
    "usage" => USAGE,
    "error" => ERROR,
};

/// A whole transcript.
pub static WHOLE: Tree = obj! { "text" => leaf!(Text), "model" => leaf!(Model), "usage" => USAGE, "error" => ERROR };
