//! Bedrock: Converse, which is one format for all models, and Invoke, which is each model's own.

use crate::wire::dialects::{anthropic, openai};
use crate::wire::field::Field::*;
use crate::wire::field::ServerTime::{FirstToken, Total as Whole};
use crate::wire::field::Unit::Ms;
use crate::wire::tree::{Tree, leaf, list, obj};

/// Cache counts come under two spellings, at times both at once, always equal.
const USAGE: Tree = obj! { Usage;
    "inputTokens" => leaf!(Input),
    "outputTokens" => leaf!(Output),
    "totalTokens" => leaf!(Total),
    "cacheReadInputTokens" => leaf!(CacheRead),
    "cacheReadInputTokenCount" => leaf!(CacheRead),
    "cacheWriteInputTokens" => leaf!(CacheWrite),
    "cacheWriteInputTokenCount" => leaf!(CacheWrite),
    "cacheDetails" => list!(obj! { CacheWriteHour; "ttl" => leaf!(LineKind), "inputTokens" => leaf!(LineTokens) }),
    // Invoke: Anthropic's and OpenAI's spellings.
    "input_tokens" => leaf!(Input),
    "output_tokens" => leaf!(Output),
    "cache_read_input_tokens" => leaf!(CacheRead),
    "cache_creation_input_tokens" => leaf!(CacheWrite),
    "cache_creation" => obj! { "ephemeral_1h_input_tokens" => leaf!(CacheWriteHour) },
    "output_tokens_details" => obj! { "thinking_tokens" => leaf!(ReasoningTokens) },
    "prompt_tokens" => leaf!(Input),
    "completion_tokens" => leaf!(Output),
    "total_tokens" => leaf!(Total),
    "prompt_tokens_details" => openai::PROMPT_DETAILS,
    "completion_tokens_details" => openai::COMPLETION_DETAILS,
};

/// What AWS answers, status 200 or not, where there is no such operation.
const FAULT: Tree = obj! { "__type" => leaf!(ErrorType) };

const TOOL_USE: Tree = obj! { Tool;
    "type" => leaf!(ToolType),
    "name" => leaf!(ToolName),
    "toolUseId" => leaf!(ToolId),
    "input" => leaf!(ToolArgs),
};
const REASONING: Tree = obj! { "text" => leaf!(Reasoning), "reasoningText" => obj! { "text" => leaf!(Reasoning) } };
const MESSAGE: Tree = obj! {
    "content" => list!(obj! { "text" => leaf!(Text), "toolUse" => TOOL_USE, "reasoningContent" => REASONING }),
};
const START: Tree = obj! { "toolUse" => TOOL_USE };
const DELTA: Tree = obj! { "text" => leaf!(Text), "toolUse" => TOOL_USE, "reasoningContent" => REASONING };

/// A whole answer of Converse.
pub static CONVERSE: Tree = obj! {
    "Output" => FAULT,
    "__type" => leaf!(ErrorType),
    "output" => obj! { "message" => MESSAGE },
    "stopReason" => leaf!(Finish),
    "usage" => USAGE,
    "serviceTier" => obj! { "type" => leaf!(ServiceTier) },
    "metrics" => obj! { "latencyMs" => leaf!(Server(Whole, Ms)) },
};

/// The payload of one frame of ConverseStream.
pub static CONVERSE_EVENT: Tree = obj! {
    "contentBlockIndex" => leaf!(BlockIndex),
    "start" => START,
    "delta" => DELTA,
    "stopReason" => leaf!(Finish),
    "usage" => USAGE,
    "serviceTier" => obj! { "type" => leaf!(ServiceTier) },
    "metrics" => obj! { "latencyMs" => leaf!(Server(Whole, Ms)) },
};

/// Invoke, streamed or not: the keys of all model families, which do not contradict each other.
pub static INVOKE: Tree = obj! {
    "Output" => FAULT,
    "__type" => leaf!(ErrorType),
    // Anthropic.
    "type" => leaf!(EventType),
    "index" => leaf!(BlockIndex),
    "id" => leaf!(Id),
    "model" => leaf!(Model),
    "message" => obj! { "id" => leaf!(Id), "model" => leaf!(Model), "usage" => anthropic::usage!() },
    "content" => list!(anthropic::BLOCK),
    "content_block" => anthropic::BLOCK,
    "delta" => anthropic::DELTA,
    "completion" => leaf!(Text),
    "stop_reason" => leaf!(Finish),
    // In a stream the parts of a report come one by one, so no report forgets the one before.
    "usage" => Tree { means: None, ..USAGE },
    "error" => anthropic::ERROR,
    // Nova.
    "output" => obj! { "message" => MESSAGE },
    "stopReason" => leaf!(Finish),
    "contentBlockStart" => obj! { "contentBlockIndex" => leaf!(BlockIndex), "start" => START },
    "contentBlockDelta" => obj! { "contentBlockIndex" => leaf!(BlockIndex), "delta" => DELTA },
    "messageStop" => obj! { "stopReason" => leaf!(Finish) },
    "metadata" => obj! { "usage" => USAGE },
    // Titan.
    "inputTextTokenCount" => leaf!(Input),
    "totalOutputTextTokenCount" => leaf!(Output),
    "outputText" => leaf!(Text),
    "completionReason" => leaf!(Finish),
    "amazon-bedrock-guardrailAction" => leaf!(Guardrail),
    "results" => list!(obj! {
        "tokenCount" => leaf!(Output),
        "outputText" => leaf!(Text),
        "completionReason" => leaf!(Finish),
    }),
    // Llama.
    "prompt_token_count" => leaf!(Input),
    "generation_token_count" => leaf!(Output),
    "generation" => leaf!(Text),
    // Mistral.
    "outputs" => list!(Choices; obj! { Choice; "text" => leaf!(Text), "stop_reason" => leaf!(Finish) }),
    "system_fingerprint" => leaf!(Fingerprint),
    "choices" => list!(Choices; obj! { Choice;
        "index" => leaf!(ChoiceIndex),
        "text" => leaf!(Text),
        "finish_reason" => leaf!(Finish),
        "stop_reason" => leaf!(Finish),
        "message" => openai::MESSAGE,
        "delta" => openai::MESSAGE,
    }),
    // Cohere.
    "text" => leaf!(Text),
    "finish_reason" => leaf!(Finish),
    "generations" => list!(Choices; obj! { Choice; "text" => leaf!(Text), "finish_reason" => leaf!(Finish) }),
    // AI21.
    "completions" => list!(Choices; obj! { Choice;
        "data" => obj! { "text" => leaf!(Text) },
        "finishReason" => obj! { "reason" => leaf!(Finish) },
    }),
    "amazon-bedrock-invocationMetrics" => obj! {
        "inputTokenCount" => leaf!(MeterInput),
        "outputTokenCount" => leaf!(MeterOutput),
        "invocationLatency" => leaf!(Server(Whole, Ms)),
        "firstByteLatency" => leaf!(Server(FirstToken, Ms)),
    },
};
