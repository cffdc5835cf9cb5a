//! Gemini and Vertex. The last usage object wins whole: later ones leave keys out that no longer hold.

use crate::wire::field::Field::*;
use crate::wire::tree::{Inside, Tree, leaf, list, obj, object_or_list};

const ERROR: Tree = obj! { Error; "status" => leaf!(ErrorType), "code" => leaf!(ErrorCode) };

/// Tokens of one modality; those of sound have a price of their own.
macro_rules! modality {
    ($sound:expr) => {
        obj! { $sound;
            "modality" => leaf!(LineKind),
            "tokenCount" => leaf!(LineTokens),
            "tokens" => leaf!(LineTokens),
        }
    };
}

const CANDIDATES: Tree = list!(Choices; obj! { Choice;
    "index" => leaf!(ChoiceIndex),
    "finishReason" => leaf!(Finish),
    "content" => obj! {
        "parts" => list!(obj! { Part;
            "text" => leaf!(PartText),
            "thought" => leaf!(PartThought),
            "functionCall" => obj! { Tool;
                "name" => leaf!(ToolName),
                "id" => leaf!(ToolId),
                "args" => leaf!(ItemArgs),
            },
            "executableCode" => obj! { "code" => leaf!(Args) },
            "inlineData" => obj! { "data" => leaf!(Args) },
        }),
    },
});

const USAGE: Tree = obj! { Usage;
    "promptTokenCount" => leaf!(Input),
    "toolUsePromptTokenCount" => leaf!(ToolPrompt),
    "candidatesTokenCount" => leaf!(Output),
    "thoughtsTokenCount" => leaf!(ReasoningTokens),
    "cachedContentTokenCount" => leaf!(CacheRead),
    "totalTokenCount" => leaf!(Total),
    "promptTokensDetails" => list!(modality!(AudioInput)),
    "cacheTokensDetails" => list!(modality!(AudioCached)),
    "candidatesTokensDetails" => list!(modality!(AudioOutput)),
    "serviceTier" => leaf!(ServiceTier),
    "trafficType" => leaf!(ServiceTier),
};

macro_rules! answer {
    ($($key:literal => $node:expr),*) => {
        &[
            ("responseId", leaf!(Id)),
            ("modelVersion", leaf!(Model)),
            ("candidates", CANDIDATES),
            ("promptFeedback", obj! { "blockReason" => leaf!(Blocked) }),
            ("usageMetadata", USAGE),
            ("error", ERROR),
            $(($key, $node)),*
        ]
    };
}

/// Cloud Code puts an answer into an envelope.
const ENVELOPED: Tree = Tree { means: None, inside: Some(&Inside { keys: answer!(), item: None, rest: None }) };

const KEYS: &[(&str, Tree)] = answer!("response" => ENVELOPED);

/// An answer, whole or one of a stream's; without `alt=sse` a stream is one JSON array of them.
pub static GENERATED: Tree = object_or_list!(KEYS, ELEMENT);

const ELEMENT: Tree = Tree { means: Some(Element), inside: Some(&Inside { keys: KEYS, item: None, rest: None }) };

const INTERACTION_USAGE: Tree = obj! { Usage;
    "total_input_tokens" => leaf!(Input),
    "total_tool_use_tokens" => leaf!(ToolPrompt),
    "total_output_tokens" => leaf!(Output),
    "total_thought_tokens" => leaf!(ReasoningTokens),
    "total_cached_tokens" => leaf!(CacheRead),
    "total_tokens" => leaf!(Total),
    "input_tokens_by_modality" => list!(modality!(AudioInput)),
    "cached_tokens_by_modality" => list!(modality!(AudioCached)),
    "output_tokens_by_modality" => list!(modality!(AudioOutput)),
};

/// One step of an interaction: a thought, an output, a call.
const STEP: Tree = obj! { Item;
    "type" => leaf!(ItemType),
    "name" => leaf!(ToolName),
    "id" => leaf!(ToolId),
    "arguments" => leaf!(ItemArgs),
    "content" => list!(obj! { "text" => leaf!(Text) }),
    "summary" => list!(obj! { "text" => leaf!(Reasoning) }),
};

/// A whole interaction.
pub static INTERACTION: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "status" => leaf!(Finish),
    "steps" => list!(STEP),
    "usage" => INTERACTION_USAGE,
    "error" => ERROR,
};

/// One event of a streamed interaction.
pub static INTERACTION_EVENT: Tree = obj! {
    "event_type" => leaf!(EventType),
    "index" => leaf!(BlockIndex),
    "interaction" => INTERACTION_HEAD,
    "metadata" => obj! { "usage" => INTERACTION_USAGE, "total_usage" => INTERACTION_USAGE },
    "step" => STEP,
    "delta" => obj! {
        "text" => leaf!(Text),
        "content" => obj! { "text" => leaf!(Reasoning) },
        "arguments" => leaf!(ArgsDelta),
    },
    "error" => ERROR,
};

const INTERACTION_HEAD: Tree = obj! {
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "status" => leaf!(Finish),
    "usage" => INTERACTION_USAGE,
};
