//! Mistral's conversations: an agent's answers, some of whose tools Mistral runs itself.

use crate::wire::dialects::openai;
use crate::wire::field::Field::*;
use crate::wire::tree::{Inside, Tree, leaf, list, obj};

const CONTENT: Tree = Tree {
    means: Some(Text),
    inside: Some(&Inside { keys: &[], item: Some(&obj! { "text" => leaf!(Text) }), rest: None }),
};

/// One event.
pub static EVENT: Tree = obj! {
    "type" => leaf!(EventType),
    "conversation_id" => leaf!(Id),
    "model" => leaf!(Model),
    "content" => obj! { Delta; "text" => leaf!(Delta) },
    "arguments" => leaf!(Delta),
    "usage" => openai::USAGE,
    "code" => leaf!(ErrorCode),
    "error" => obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) },
};

/// A whole answer.
pub static WHOLE: Tree = obj! {
    "conversation_id" => leaf!(Id),
    "outputs" => list!(obj! { Item;
        "type" => leaf!(ItemType),
        "name" => leaf!(ToolName),
        "tool_call_id" => leaf!(ToolId),
        "arguments" => leaf!(ItemArgs),
        "model" => leaf!(Model),
        "content" => CONTENT,
    }),
    "usage" => openai::USAGE,
    "type" => leaf!(FlatType),
    "code" => leaf!(FlatCode),
};
