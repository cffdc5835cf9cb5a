//! watsonx text generation: input is counted in the first event and zero in the others.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

/// An answer, or one event of it.
pub static ANSWER: Tree = obj! {
    "model_id" => leaf!(Model),
    "results" => list!(Choices; obj! { Choice;
        "generated_text" => leaf!(Text),
        "generated_token_count" => leaf!(Output),
        "input_token_count" => leaf!(InputNotZero),
        "stop_reason" => leaf!(Finish),
    }),
};
