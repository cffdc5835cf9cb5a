//! Oracle's Generative AI: chat, in the format of all models and in Cohere's.

use crate::wire::field::Field::*;
use crate::wire::tree::{Tree, leaf, list, obj};

const MESSAGE: Tree = obj! {
    "content" => list!(obj! { "text" => leaf!(Text) }),
    "reasoningContent" => leaf!(Reasoning),
    "toolCalls" => TOOLS,
};

const TOOLS: Tree = list!(obj! { Tool;
    "id" => leaf!(ToolId),
    "name" => leaf!(ToolName),
    "arguments" => leaf!(ToolArgs),
    "parameters" => leaf!(ItemArgs),
});

const USAGE: Tree = obj! { Usage;
    "promptTokens" => leaf!(Input),
    "completionTokens" => leaf!(Output),
    "totalTokens" => leaf!(Total),
    "promptTokensDetails" => obj! { "cachedTokens" => leaf!(CacheRead) },
    "completionTokensDetails" => obj! { "reasoningTokens" => leaf!(ReasoningTokens) },
};

/// A whole answer.
pub static WHOLE: Tree = obj! {
    "modelId" => leaf!(Model),
    "chatResponse" => obj! {
        "choices" => list!(Choices; obj! { Choice;
            "index" => leaf!(ChoiceIndex),
            "message" => MESSAGE,
            "finishReason" => leaf!(Finish),
        }),
        "text" => leaf!(Text),
        "toolCalls" => TOOLS,
        "finishReason" => leaf!(Finish),
        "usage" => USAGE,
    },
    "code" => leaf!(FlatCode),
};

/// One event: a piece of a choice. The last of Cohere's repeats all text.
pub static EVENT: Tree = obj! {
    "message" => MESSAGE,
    "text" => leaf!(Text),
    "finishReason" => leaf!(Finish),
    "usage" => USAGE,
    "code" => leaf!(FlatCode),
};
