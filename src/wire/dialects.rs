//! The table of dialects: a file and a line each.

use crate::api::Api;
use crate::wire::tree::Tree;

mod anthropic;
mod bedrock;
pub(crate) mod bedrock_chunk;
mod cohere;
mod embeddings;
mod gemini;
mod ollama;
pub(crate) mod openai;
mod responses;
mod watsonx;

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
