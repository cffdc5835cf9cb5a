//! Bedrock InvokeModel: each vendor's own JSON, streamed in `chunk` frames as Base64.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{anthropic, bedrock_converse};
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::eventstream;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let vendor = Vendor::of(&ask.model);
    let answer = if ask.stream { stream(vendor, ask, script) } else { whole(vendor, ask, script) };
    answer.header("x-amzn-requestid", script.uuid("request"))
}

/// Whose JSON it is.
#[derive(Clone, Copy)]
enum Vendor {
    Anthropic,
    Nova,
    Titan,
    Llama,
}

impl Vendor {
    /// By the model's id, which may have a region in front (`us.anthropic.…`).
    fn of(model: &str) -> Self {
        match model {
            _ if model.contains("anthropic.") => Self::Anthropic,
            _ if model.contains("amazon.nova") => Self::Nova,
            _ if model.contains("amazon.titan") => Self::Titan,
            _ => Self::Llama,
        }
    }
}

fn whole(vendor: Vendor, ask: &Ask, script: &Script) -> Answer {
    let count = script.count;
    // Titan and Llama know no reasoning and no tools: all is text.
    let all: String = script.pieces.iter().filter_map(|piece| text(&piece.what)).collect();
    let document = match vendor {
        Vendor::Anthropic => anthropic::message(&ask.model, script),
        Vendor::Nova => {
            let mut document = json!({
                "output": {"message": {"content": [{"text": script.text()}], "role": "assistant"}},
                "stopReason": if script.finish == Finish::Length { "max_tokens" } else { "end_turn" },
            });
            document["usage"] = nova_usage(script);
            document
        }
        Vendor::Titan => json!({
            "inputTextTokenCount": count.input,
            "results": [{"tokenCount": count.output, "outputText": all, "completionReason": titan_reason(script)}],
        }),
        Vendor::Llama => json!({
            "generation": all,
            "prompt_token_count": count.input,
            "generation_token_count": count.output,
            "stop_reason": llama_reason(script),
        }),
    };
    Answer::json(script, &document)
        .header("x-amzn-bedrock-input-token-count", count.input - count.cached)
        .header("x-amzn-bedrock-output-token-count", count.output)
        .header("x-amzn-bedrock-cache-read-input-token-count", count.cached)
        .header("x-amzn-bedrock-cache-write-input-token-count", 0)
        .header("x-amzn-bedrock-invocation-latency", (script.prefill + script.decode()).as_millis())
}

fn stream(vendor: Vendor, ask: &Ask, script: &Script) -> Answer {
    let mut events = match vendor {
        Vendor::Anthropic => anthropic::events(&ask.model, script),
        Vendor::Nova => nova(script),
        Vendor::Titan => titan(script),
        Vendor::Llama => llama(script),
    };
    if script.end == End::Complete
        && script.usage
        && let Some((_, last)) = events.last_mut()
    {
        last["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": script.count.input - script.count.cached,
            "outputTokenCount": script.count.output,
            "cacheReadInputTokenCount": script.count.cached,
            "cacheWriteInputTokenCount": 0,
            "invocationLatency": (script.prefill + script.decode()).as_millis() as u64,
            "firstByteLatency": script.prefill.as_millis() as u64,
        });
    }
    let mut reel = Reel::new("application/vnd.amazon.eventstream", script.prefill);
    for (wait, event) in events {
        // Anthropic's own error event does not exist here: Amazon has exceptions.
        if event["type"] == "error" {
            reel.wait(wait);
            continue;
        }
        reel.wait(wait);
        let padding = script.id("", 1 + event.to_string().len() * 7 % 40);
        let payload = json!({"bytes": STANDARD.encode(event.to_string()), "p": padding});
        reel.send(eventstream::event("chunk", &payload.to_string()));
    }
    if script.end == End::Error {
        let payload = json!({"message": "The model is overloaded.", "originalStatusCode": 500});
        reel.send(eventstream::exception("modelStreamErrorException", &payload.to_string()));
    }
    reel.end(script).header("x-amzn-bedrock-content-type", "application/json")
}

fn nova(script: &Script) -> Vec<(Duration, Value)> {
    let events = bedrock_converse::events(script).into_iter();
    let wrap = |(wait, name, mut payload): (Duration, &'static str, Value)| {
        if name == "metadata" && script.usage {
            payload["usage"] = nova_usage(script);
        }
        (wait, json!({name: payload}))
    };
    events.map(wrap).collect()
}

fn nova_usage(script: &Script) -> Value {
    json!({
        "inputTokens": script.count.input - script.count.cached,
        "outputTokens": script.count.output,
        "totalTokens": script.count.input + script.count.output,
        "cacheReadInputTokenCount": script.count.cached,
        "cacheWriteInputTokenCount": 0,
    })
}

/// Titan sends a few large chunks, the counts in the last one.
fn titan(script: &Script) -> Vec<(Duration, Value)> {
    const GROUP: usize = 16;
    let groups: Vec<_> = script.pieces.chunks(GROUP).collect();
    let last = groups.len().saturating_sub(1);
    let chunk = |(i, group): (usize, &&[crate::upstream::script::Piece])| {
        let finished = i == last && script.end == End::Complete;
        let text: String = group.iter().filter_map(|piece| text(&piece.what)).collect();
        let event = json!({
            "outputText": text,
            "index": 0,
            "totalOutputTextTokenCount": finished.then_some(script.count.output),
            "completionReason": finished.then(|| titan_reason(script)),
            "inputTextTokenCount": (i == 0).then_some(script.count.input),
        });
        (group.iter().map(|piece| piece.gap).sum(), event)
    };
    groups.iter().enumerate().map(chunk).collect()
}

/// Llama's counter runs up; the prompt's count stands in the first chunk only.
fn llama(script: &Script) -> Vec<(Duration, Value)> {
    let last = script.pieces.len().saturating_sub(1);
    let chunk = |(i, piece): (usize, &crate::upstream::script::Piece)| {
        let finished = i == last && script.end == End::Complete;
        let event = json!({
            "generation": text(&piece.what).unwrap_or_default(),
            "prompt_token_count": (i == 0).then_some(script.count.input),
            "generation_token_count": if finished { script.count.output } else { i as u64 + 1 },
            "stop_reason": finished.then(|| llama_reason(script)),
        });
        (piece.gap, event)
    };
    script.pieces.iter().enumerate().map(chunk).collect()
}

fn text(what: &What) -> Option<&str> {
    match what {
        What::Reasoning(text) | What::Text(text) | What::Arguments(text) => Some(text),
        What::Call { .. } => None,
    }
}

fn titan_reason(script: &Script) -> &'static str {
    if script.finish == Finish::Length { "LENGTH" } else { "FINISH" }
}

fn llama_reason(script: &Script) -> &'static str {
    if script.finish == Finish::Length { "length" } else { "stop" }
}
