//! OpenAI embeddings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::upstream::answer::Answer;
use crate::upstream::ask::Ask;
use crate::upstream::script::Script;

/// Numbers in a vector where the request names no `dimensions`.
const DIMENSIONS: u64 = 64;

/// Most numbers in a vector, and most vectors: beyond that a request is only a way to fill memory.
const MOST: u64 = 4096;

/// The answer: a vector of length 1 per input.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let inputs = match &ask.body["input"] {
        Value::Array(items) if items.first().is_some_and(|item| !item.is_number()) => items.len().min(MOST as usize),
        _ => 1,
    };
    let dimensions = ask.body["dimensions"].as_u64().unwrap_or(DIMENSIONS).clamp(1, MOST) as usize;
    let base64 = ask.body["encoding_format"] == "base64";
    let data: Vec<Value> = (0..inputs)
        .map(|index| {
            let raw: Vec<f32> = script
                .hex(&format!("{index}"), dimensions)
                .bytes()
                .rev()
                .take(dimensions)
                .map(|b| f32::from(b) - 77.0)
                .collect();
            let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
            let vector: Vec<f32> = raw.iter().map(|x| x / length).collect();
            let embedding = if base64 {
                json!(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let mut document = json!({"object": "list", "data": data, "model": ask.model});
    if script.usage {
        document["usage"] = json!({"prompt_tokens": script.count.input, "total_tokens": script.count.input});
    }
    let mut answer = Answer::json(script, &document);
    answer.head_after = script.prefill;
    answer
}
