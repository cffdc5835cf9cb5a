//! The table of dialects: a file and a line each.

use crate::api::Api;
use crate::json::Node;
use crate::wire::field::Field;
use crate::wire::{anthropic, bedrock, cohere, embeddings, gemini, ollama, openai, responses, watsonx};

/// A tree of what a provider's documents mean.
pub type Tree = Node<Field>;

/// How a provider's counts become weir's: input with all cached tokens, output with reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// They already are so.
    Inclusive,
    /// Input comes without what was read from and written to the cache.
    CacheApart,
    /// Output comes without thoughts, input without what tools brought (Gemini).
    ThoughtsApart,
}

/// One provider's way to answer.
#[derive(Debug)]
pub struct Dialect {
    /// The shape of one event of a stream.
    pub event: &'static Tree,
    /// The shape of a whole answer.
    pub whole: &'static Tree,
    /// How its counts are meant.
    pub sum: Sum,
}

/// How an API answers; nothing for what is no inference.
pub fn of(api: Api) -> Option<Dialect> {
    use Sum::{CacheApart, Inclusive, ThoughtsApart};
    let (event, whole, sum) = match api {
        Api::OpenAiChat => (&openai::EVENT, &openai::WHOLE, Inclusive),
        Api::OpenAiCompletions => (&openai::EVENT, &openai::WHOLE, Inclusive),
        Api::OpenAiResponses => (&responses::EVENT, &responses::WHOLE, Inclusive),
        Api::AnthropicMessages => (&anthropic::EVENT, &anthropic::WHOLE, CacheApart),
        Api::AnthropicComplete => (&anthropic::COMPLETION, &anthropic::COMPLETION, Inclusive),
        Api::GeminiGenerate => (&gemini::GENERATED, &gemini::GENERATED, ThoughtsApart),
        Api::GeminiInteractions => (&gemini::INTERACTION_EVENT, &gemini::INTERACTION, ThoughtsApart),
        Api::BedrockConverse => (&bedrock::CONVERSE_EVENT, &bedrock::CONVERSE, CacheApart),
        Api::BedrockInvoke => (&bedrock::INVOKE, &bedrock::INVOKE, CacheApart),
        Api::CohereChatV1 => (&cohere::V1_EVENT, &cohere::V1, Inclusive),
        Api::CohereChatV2 => (&cohere::V2_EVENT, &cohere::V2, Inclusive),
        Api::CohereGenerate => (&cohere::V1_EVENT, &cohere::V1, Inclusive),
        Api::OllamaChat => (&ollama::ANSWER, &ollama::ANSWER, Inclusive),
        Api::OllamaGenerate => (&ollama::ANSWER, &ollama::ANSWER, Inclusive),
        Api::Watsonx => (&watsonx::ANSWER, &watsonx::ANSWER, Inclusive),
        Api::Embeddings => (&embeddings::ANSWER, &embeddings::ANSWER, Inclusive),
        Api::Other => return None,
    };
    Some(Dialect { event, whole, sum })
}

/// A node for a plain value.
macro_rules! leaf {
    ($means:expr) => {
        $crate::json::Node { means: Some($means), keys: &[], item: None, rest: None }
    };
}

/// A node for an object, with a meaning (`obj!(Choice; …)`) or without (`obj!(…)`).
macro_rules! obj {
    ($means:expr; $($key:literal => $node:expr),* $(,)?) => {
        $crate::json::Node { means: Some($means), keys: &[$(($key, $node)),*], item: None, rest: None }
    };
    ($($key:literal => $node:expr),* $(,)?) => {
        $crate::json::Node { means: None, keys: &[$(($key, $node)),*], item: None, rest: None }
    };
}

/// A node for an array of such elements, with a meaning or without.
macro_rules! list {
    ($means:expr; $item:expr) => {
        $crate::json::Node { means: Some($means), keys: &[], item: Some(&$item), rest: None }
    };
    ($item:expr) => {
        $crate::json::Node { means: None, keys: &[], item: Some(&$item), rest: None }
    };
}

pub(crate) use {leaf, list, obj};
