//! Cloudflare's `/ai/run`: an envelope around what a model answers; its events have none.

use crate::wire::dialects::openai;
use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

const TOOLS: Tree = list!(obj! { Tool;
    "id" => leaf!(ToolId),
    "name" => leaf!(ToolName),
    "arguments" => leaf!(ItemArgs),
    "function" => obj! { "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) },
});

const CHOICES: Tree = list!(Choices; obj! { Choice;
    "index" => leaf!(ChoiceIndex),
    "finish_reason" => leaf!(Finish),
    "text" => leaf!(Text),
    "message" => openai::MESSAGE,
    "delta" => openai::MESSAGE,
});

/// A whole answer, or one event.
pub static ANSWER: Tree = obj! {
    "result" => obj! {
        "id" => leaf!(Id),
        "model" => leaf!(Model),
        "response" => leaf!(Text),
        "tool_calls" => TOOLS,
        "choices" => CHOICES,
        "usage" => openai::USAGE,
    },
    "success" => leaf!(Success),
    "error" => obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) },
    "errors" => list!(obj! { "code" => leaf!(ErrorCode) }),
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "response" => leaf!(Text),
    "tool_calls" => TOOLS,
    "choices" => CHOICES,
    "usage" => openai::USAGE,
};
