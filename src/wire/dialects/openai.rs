//! OpenAI's chat and text completions, and everyone like it: Azure, Mistral, Groq, DeepSeek, xAI, OpenRouter, Together,
//! Perplexity, Writer, vLLM, llama.cpp …

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{Decode, Prompt, Queue, Total as Whole};
use crate::wire::field::Unit::{Ms, S};
use crate::wire::tree::{Inside, Tree, leaf, list, obj, object_or_list};

/// Mistral's thinking models send a list of parts where others send text, and switch between the two in one stream; Databricks
/// has a summary of the reasoning among the parts.
const CONTENT: Tree = Tree {
    means: Some(Text),
    inside: Some(&Inside {
        keys: &[("text", leaf!(Text))],
        item: Some(&obj! { Part;
            "type" => leaf!(PartType),
            "text" => leaf!(PartText),
            "thinking" => Tree { means: Some(Reasoning), inside: Some(&Inside { keys: &[], item: Some(&obj! { "text" => leaf!(Reasoning) }), rest: None }) },
            "summary" => list!(obj! { "text" => leaf!(Reasoning) }),
        }),
        rest: None,
    }),
};

/// Reasoning has a name from each server, a text or an object or a list of them. Some send it under two names at once, so
/// each has its number.
macro_rules! reasoning {
    ($name:literal) => {
        Tree {
            means: Some(ReasoningAs($name)),
            inside: Some(&Inside {
                keys: &[("text", leaf!(ReasoningAs($name))), ("content", leaf!(ReasoningAs($name)))],
                item: Some(&obj! {
                    "text" => leaf!(ReasoningAs($name)),
                    "thinking" => leaf!(ReasoningAs($name)),
                    "summary" => leaf!(ReasoningAs($name)),
                }),
                rest: None,
            }),
        }
    };
}

const MESSAGE_KEYS: &[(&str, Tree)] = &[
    ("content", CONTENT),
    ("refusal", leaf!(Text)),
    ("reasoning_content", reasoning!(0)),
    ("reasoning", reasoning!(1)),
    ("reasoning_text", reasoning!(2)),
    ("reasoning_details", reasoning!(3)),
    ("thinking", reasoning!(4)),
    ("thinking_blocks", reasoning!(5)),
    ("tool_calls", TOOL_CALLS),
    ("function_call", obj! { Tool; "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) }),
    ("audio", obj! { "data" => leaf!(Args), "transcript" => leaf!(Text) }),
];

const TOOL_CALLS: Tree = list!(obj! { Tool;
    "index" => leaf!(ToolIndex),
    "id" => leaf!(ToolId),
    "function" => obj! { "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) },
    "custom" => obj! { "name" => leaf!(ToolName), "input" => leaf!(ToolArgs) },
});

const DELTA: Tree = Tree { means: Some(Piece), inside: Some(&Inside { keys: MESSAGE_KEYS, item: None, rest: None }) };
pub(super) const MESSAGE: Tree = Tree { means: None, ..DELTA };

/// Cached and reasoning counts have as many spellings as there are providers; an object never has two that differ.
pub(super) const USAGE: Tree = obj! { Usage;
    "prompt_tokens" => leaf!(Input),
    "completion_tokens" => leaf!(Output),
    "total_tokens" => leaf!(Total),
    // Anthropic's spellings, as gateways pass them on.
    "cache_read_input_tokens" => leaf!(CacheRead),
    "cache_creation_input_tokens" => leaf!(CacheWrite),
    "prompt_tokens_details" => PROMPT_DETAILS,
    "prompt_token_details" => PROMPT_DETAILS,
    "prompt_cache_hit_tokens" => leaf!(CacheRead),
    "cached_tokens" => leaf!(CacheRead),
    "num_cached_tokens" => leaf!(CacheRead),
    "completion_tokens_details" => COMPLETION_DETAILS,
    "completion_token_details" => COMPLETION_DETAILS,
    "reasoning_tokens" => leaf!(ReasoningTokens),
    // Groq's own times.
    "queue_time" => leaf!(Server(Queue, S)),
    "prompt_time" => leaf!(Server(Prompt, S)),
    "completion_time" => leaf!(Server(Decode, S)),
    "total_time" => leaf!(Server(Whole, S)),
};

pub(super) const PROMPT_DETAILS: Tree = obj! {
    "cached_tokens" => leaf!(CacheRead),
    "cache_write_tokens" => leaf!(CacheWrite),
    // LiteLLM, DashScope.
    "cache_creation_tokens" => leaf!(CacheWrite),
    "cache_creation_input_tokens" => leaf!(CacheWrite),
    "cache_creation_token_details" => obj! { "ephemeral_1h_input_tokens" => leaf!(CacheWriteHour) },
    "audio_tokens" => leaf!(AudioInput),
};

pub(super) const COMPLETION_DETAILS: Tree = obj! {
    "reasoning_tokens" => leaf!(ReasoningTokens),
    "audio_tokens" => leaf!(AudioOutput),
};

const ERROR: Tree = obj! { Error; "type" => leaf!(ErrorType), "code" => leaf!(ErrorCode) };

/// llama.cpp tells its times beside the usage.
const TIMINGS: Tree = obj! {
    "prompt_ms" => leaf!(Server(Prompt, Ms)),
    "predicted_ms" => leaf!(Server(Decode, Ms)),
};

/// vLLM's in-band metrics (`--enable-per-request-metrics`). Its time to first token begins when the request is
/// scheduled, so it is the time of the prompt.
const METRICS: Tree = obj! {
    "queue_time_ms" => leaf!(Server(Queue, Ms)),
    "time_to_first_token_ms" => leaf!(Server(Prompt, Ms)),
    "generation_time_ms" => leaf!(Server(Decode, Ms)),
};

macro_rules! answer {
    ($($key:literal => $node:expr),*; $($top:literal => $at_top:expr),*) => {
        &[
            $(($top, $at_top),)*
            ("id", leaf!(Id)),
            ("model", leaf!(Model)),
            ("model_id", leaf!(Model)),
            ("system_fingerprint", leaf!(Fingerprint)),
            ("service_tier", leaf!(ServiceTier)),
            ("choices", list!(Choices; obj! { Choice;
                "index" => leaf!(ChoiceIndex),
                "finish_reason" => leaf!(Finish),
                "text" => leaf!(Text),
                // Moonshot.
                "usage" => USAGE,
                $($key => $node),*
            })),
            ("usage", USAGE),
            ("x_groq", obj! { "usage" => USAGE, "error" => leaf!(Error) }),
            ("timings", TIMINGS),
            ("metrics", METRICS),
            ("error", ERROR),
            // Writer's text completions.
            ("value", leaf!(Text)),
            // MiniMax.
            ("base_resp", obj! { "status_code" => leaf!(ErrorStatus) }),
            // Of an error's body: Mistral's validation errors, Azure's gateway, FastAPI.
            ("type", leaf!(FlatType)),
            ("code", leaf!(FlatCode)),
            ("error_type", leaf!(ErrorType)),
        ]
    };
}

/// One event: Perplexity and Writer repeat the whole message beside the delta, which does not count again.
pub static EVENT: Tree =
    Tree { means: None, inside: Some(&Inside { keys: answer! { "delta" => DELTA; }, item: None, rest: None }) };

/// A whole answer, or chunks that are lines. Endpoints of SageMaker speak this, or as TGI does.
pub static WHOLE: Tree = object_or_list!(WHOLE_KEYS, WHOLE);

const WHOLE_KEYS: &[(&str, Tree)] = answer! { "message" => MESSAGE, "delta" => DELTA;
    "generated_text" => leaf!(Text),
    "token" => obj! { "text" => leaf!(Text) },
    "details" => obj! {
        "finish_reason" => leaf!(Finish),
        "generated_tokens" => leaf!(Output),
        "input_length" => leaf!(Input),
    }
};
