//! From script to bytes, a file per wire format.

mod anthropic;
mod bedrock_converse;
mod bedrock_invoke;
mod cohere_v1;
mod cohere_v2;
mod embeddings;
mod flavour;
mod gemini;
mod ollama;
mod openai_chat;
mod openai_completions;
mod openai_responses;
mod other;
mod refusal;

use super::answer::Answer;
use super::ask::{Api, Ask};
use super::script::Script;
use super::steer::{End, Steer};

/// The answer to a request.
pub fn answer(ask: &Ask, steer: &Steer, script: &Script) -> Answer {
    let answer = match steer.status {
        Some(status) => refusal::refuse(ask, status),
        // A whole answer has no middle where an error could stand.
        None if script.end == End::Error && !ask.stream => refusal::refuse(ask, 500),
        None => spoken(ask, script),
    };
    answer.steered(steer)
}

/// A request in no format that is known.
pub fn unknown(path: &str) -> Answer {
    refusal::not_found(path)
}

fn spoken(ask: &Ask, script: &Script) -> Answer {
    match ask.api {
        Api::Chat => openai_chat::answer(ask, script),
        Api::Completions => openai_completions::answer(ask, script),
        Api::Responses => openai_responses::answer(ask, script),
        Api::Embeddings => embeddings::answer(ask, script),
        Api::Messages => anthropic::answer(ask, script),
        Api::Gemini => gemini::answer(ask, script),
        Api::Converse => bedrock_converse::answer(ask, script),
        Api::Invoke => bedrock_invoke::answer(ask, script),
        Api::CohereV2 => cohere_v2::answer(ask, script),
        Api::CohereV1 => cohere_v1::answer(ask, script),
        Api::OllamaChat | Api::OllamaGenerate => ollama::answer(ask, script),
        Api::Other => other::answer(ask, script),
    }
}
