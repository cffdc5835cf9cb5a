//! Calls that are no inference: lists of models, counts of tokens.

use serde_json::json;

use crate::upstream::answer::Answer;
use crate::upstream::ask::Ask;
use crate::upstream::script::Script;

/// The answer, at once.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let tokens = script.count.input;
    let document = match ask.path.as_str() {
        path if path.ends_with(":countTokens") => json!({"totalTokens": tokens}),
        path if path.ends_with("/count_tokens") => json!({"input_tokens": tokens}),
        path if path.ends_with("/api/tags") => {
            json!({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]})
        }
        path if path.starts_with("/v1beta") => {
            json!({"models": [{"name": "models/gemini-2.5-flash", "version": "001"}]})
        }
        _ => {
            let model = |id: &str| json!({"id": id, "object": "model", "created": 1_721_172_741, "owned_by": "system"});
            json!({"object": "list", "data": [model("gpt-4o"), model("gpt-4o-mini"), model("o4-mini")]})
        }
    };
    Answer::document(200, &document)
}
