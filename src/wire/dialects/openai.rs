//! OpenAI's chat and text completions, and everyone like it: Azure, Mistral, Groq, DeepSeek, xAI, OpenRouter, Together,
//! Perplexity, Writer, vLLM, llama.cpp …

use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{Decode, Prompt, Queue, Total as Whole};
use crate::wire::field::Unit::{Ms, S};
use crate::wire::tree::{Tree, leaf, list, obj};

/// Mistral's thinking models send a list of parts where others send text, and switch between the two in one stream.
const CONTENT: Tree = Tree {
    means: Some(Text),
    keys: &[],
    item: Some(&obj! {
        "text" => leaf!(Text),
        "thinking" => Tree { means: Some(Reasoning), keys: &[], item: Some(&obj! { "text" => leaf!(Reasoning) }), rest: None },
    }),
    rest: None,
};

const MESSAGE: Tree = obj! {
    "content" => CONTENT,
    "refusal" => leaf!(Text),
    "reasoning_content" => leaf!(Reasoning),
    "reasoning" => leaf!(Reasoning),
    "tool_calls" => list!(obj! { Tool;
        "index" => leaf!(ToolIndex),
        "id" => leaf!(ToolId),
        "function" => obj! { "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) },
        "custom" => obj! { "name" => leaf!(ToolName), "input" => leaf!(ToolArgs) },
    }),
    "function_call" => obj! { Tool; "name" => leaf!(ToolName), "arguments" => leaf!(ToolArgs) },
    "audio" => obj! { "data" => leaf!(Args), "transcript" => leaf!(Text) },
};

/// Cached and reasoning counts have as many spellings as there are providers; an object never has two that differ.
const USAGE: Tree = obj! { Usage;
    "prompt_tokens" => leaf!(Input),
    "completion_tokens" => leaf!(Output),
    "total_tokens" => leaf!(Total),
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

const PROMPT_DETAILS: Tree = obj! {
    "cached_tokens" => leaf!(CacheRead),
    "cache_write_tokens" => leaf!(CacheWrite),
    "audio_tokens" => leaf!(AudioInput),
};

const COMPLETION_DETAILS: Tree = obj! {
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
    ($($key:literal => $node:expr),*) => {
        obj! {
            "id" => leaf!(Id),
            "model" => leaf!(Model),
            "system_fingerprint" => leaf!(Fingerprint),
            "service_tier" => leaf!(ServiceTier),
            "choices" => list!(Choices; obj! { Choice;
                "index" => leaf!(ChoiceIndex),
                "finish_reason" => leaf!(Finish),
                "text" => leaf!(Text),
                $($key => $node),*
            }),
            "usage" => USAGE,
            "x_groq" => obj! { "usage" => USAGE, "error" => leaf!(Error) },
            "timings" => TIMINGS,
            "metrics" => METRICS,
            "error" => ERROR,
            // Writer's text completions.
            "value" => leaf!(Text),
            // Of an error's body: Mistral's validation errors, Azure's gateway, FastAPI.
            "type" => leaf!(EventType),
            "code" => leaf!(ErrorCode),
        }
    };
}

/// One event: Perplexity and Writer repeat the whole message beside the delta, which does not count again.
pub static EVENT: Tree = answer! { "delta" => MESSAGE };

/// A whole answer.
pub static WHOLE: Tree = answer! { "message" => MESSAGE };
