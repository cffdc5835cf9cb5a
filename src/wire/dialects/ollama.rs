//! Ollama's chat and generate: the same document whole or as the lines of a stream. Times are in nanoseconds.

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{Decode, Load, Prompt, Total as Whole};
use crate::wire::field::Unit::Ns;
use crate::wire::tree::{Tree, leaf, list, obj};

/// An answer, or one line of it. `prompt_eval_count` is left out where the prompt was cached.
pub static ANSWER: Tree = obj! {
    "model" => leaf!(Model),
    "message" => obj! {
        "content" => leaf!(Text),
        "thinking" => leaf!(Reasoning),
        "tool_calls" => list!(obj! { Tool;
            "id" => leaf!(ToolId),
            "function" => obj! { "name" => leaf!(ToolName), "arguments" => leaf!(ItemArgs) },
        }),
    },
    "response" => leaf!(Text),
    "thinking" => leaf!(Reasoning),
    "done" => leaf!(EndIfTrue),
    "done_reason" => leaf!(Finish),
    "prompt_eval_count" => leaf!(Input),
    "eval_count" => leaf!(Output),
    "load_duration" => leaf!(Server(Load, Ns)),
    "prompt_eval_duration" => leaf!(Server(Prompt, Ns)),
    "eval_duration" => leaf!(Server(Decode, Ns)),
    "total_duration" => leaf!(Server(Whole, Ns)),
    "error" => leaf!(Error),
};
