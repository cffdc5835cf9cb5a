//! The table of dialects: a file and a line each.

use crate::api::Api;
use crate::wire::tree::Tree;

mod anthropic;
mod audio;
mod bedrock;
pub(crate) mod bedrock_chunk;
mod cloudflare;
mod cohere;
mod dashscope;
mod embeddings;
mod gemini;
mod generate;
mod images;
mod llamacpp;
mod lmstudio;
mod mistral;
mod oci;
mod ollama;
mod openai;
mod rerank;
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
    /// What is billed is told apart (Cohere).
    Billed,
    /// There is no output: a total is the input.
    InputOnly,
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
    /// Its streams are JSON documents, a line each.
    pub lines: bool,
}

/// How an API answers; nothing for what is no inference.
pub fn of(api: Api) -> Option<Dialect> {
    use Sum::{Billed, CacheApart, Inclusive, InputOnly, ThoughtsApart};
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
        Api::CohereChatV1 => (&cohere::V1_EVENT, &cohere::V1, Billed),
        Api::CohereChatV2 => (&cohere::V2_EVENT, &cohere::V2, Billed),
        Api::CohereGenerate => (&cohere::V1_EVENT, &cohere::V1, Billed),
        Api::OllamaChat => (&ollama::ANSWER, &ollama::ANSWER, Inclusive),
        Api::OllamaGenerate => (&ollama::ANSWER, &ollama::ANSWER, Inclusive),
        Api::Watsonx => (&watsonx::ANSWER, &watsonx::ANSWER, Inclusive),
        Api::Embeddings => (&embeddings::ANSWER, &embeddings::ANSWER, InputOnly),
        Api::LmStudioChat => (&lmstudio::EVENT, &lmstudio::WHOLE, Inclusive),
        Api::Images => (&images::ANSWER, &images::ANSWER, Inclusive),
        Api::Transcriptions | Api::Speech => (&audio::EVENT, &audio::WHOLE, Inclusive),
        Api::Rerank => (&rerank::ANSWER, &rerank::ANSWER, InputOnly),
        Api::SageMaker => (&openai::WHOLE, &openai::WHOLE, Inclusive),
        Api::DashScope => (&dashscope::ANSWER, &dashscope::ANSWER, Inclusive),
        Api::CloudflareRun => (&cloudflare::ANSWER, &cloudflare::ANSWER, Inclusive),
        Api::Generate => (&generate::EVENT, &generate::WHOLE, Inclusive),
        Api::LlamaCompletion => (&llamacpp::ANSWER, &llamacpp::ANSWER, Inclusive),
        Api::SnowflakeComplete => (&openai::EVENT, &openai::WHOLE, Inclusive),
        Api::OciChat => (&oci::EVENT, &oci::WHOLE, Inclusive),
        Api::MistralConversations => (&mistral::EVENT, &mistral::WHOLE, Inclusive),
        Api::Other => return None,
    };
    let lines = matches!(api, Api::CohereChatV1 | Api::CohereGenerate | Api::OllamaChat | Api::OllamaGenerate);
    Some(Dialect { event, whole, sum, lines })
}
