//! Gemini and Vertex: server-sent events with `alt=sse`, one JSON array without.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// Tokens per chunk: Gemini sends them by the sentence.
const GROUP: usize = 8;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    if !ask.stream {
        let document = chunk(
            ask,
            script,
            parts(ask, script, script.pieces.iter().map(|piece| &piece.what)),
            script.count.output,
            true,
        );
        return Answer::json(script, &document);
    }
    let sse = ask.query.split('&').any(|part| part == "alt=sse" || part == "$alt=sse");
    let content_type = if sse { "text/event-stream" } else { "application/json; charset=UTF-8" };
    let chunks = chunks(ask, script);
    // The headers come with the first chunk.
    let mut reel = Reel::new(content_type, script.prefill);
    let last = chunks.len().saturating_sub(1);
    for (i, (wait, chunk)) in chunks.iter().enumerate() {
        reel.wait(*wait);
        match sse {
            true => reel.send(format!("data: {chunk}\r\n\r\n")),
            false => {
                let open = if i == 0 { "[" } else { ",\r\n" };
                let close = if i == last && matches!(script.end, End::Complete | End::Error) { "\n]" } else { "\n" };
                reel.send(format!("{open}{chunk:#}{close}"));
            }
        }
    }
    reel.end(script)
}

/// The chunks of a stream, each with the time before it.
fn chunks(ask: &Ask, script: &Script) -> Vec<(Duration, Value)> {
    let mut out = Vec::new();
    let mut wait = Duration::ZERO;
    let mut held: Vec<&What> = Vec::new();
    let mut sent = 0;
    let total = script.pieces.len();
    for (i, piece) in script.pieces.iter().enumerate() {
        wait += piece.gap;
        held.push(&piece.what);
        let last = i + 1 == total;
        // A chunk holds thoughts or text, not both; a call is never cut.
        let turns = script.pieces.get(i + 1).is_some_and(|next| kind(&next.what) != kind(&piece.what));
        let call = matches!(piece.what, What::Call { .. } | What::Arguments(_));
        if (held.len() < GROUP || call) && !turns && !last {
            continue;
        }
        sent += held.len() as u64;
        let finished = last && script.end == End::Complete;
        let parts = parts(ask, script, held.drain(..));
        if parts.is_empty() && !finished {
            continue;
        }
        let output = if finished { script.count.output } else { sent.min(script.count.output) };
        out.push((std::mem::take(&mut wait), chunk(ask, script, parts, output, finished)));
    }
    if total == 0 && script.end == End::Complete {
        out.push((wait, chunk(ask, script, Vec::new(), 0, true)));
    } else if script.end == End::Error {
        let error = json!({"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"});
        out.push((wait, json!({"error": error})));
    }
    out
}

fn kind(what: &What) -> u8 {
    match what {
        What::Reasoning(_) => 0,
        What::Text(_) => 1,
        What::Call { .. } | What::Arguments(_) => 2,
    }
}

/// The parts that some pieces make. Thoughts that were not asked for take time and are counted, but not shown.
fn parts<'a>(ask: &Ask, script: &Script, pieces: impl Iterator<Item = &'a What>) -> Vec<Value> {
    let (mut thought, mut text, mut calls) = (String::new(), String::new(), Vec::new());
    for what in pieces {
        match what {
            What::Reasoning(part) => thought.push_str(part),
            What::Text(part) => text.push_str(part),
            What::Call { name, .. } => calls.push((name, String::new())),
            What::Arguments(part) => {
                if let Some((_, arguments)) = calls.last_mut() {
                    arguments.push_str(part);
                }
            }
        }
    }
    let mut parts = Vec::new();
    if !thought.is_empty() && ask.thinking {
        parts.push(json!({"text": thought, "thought": true}));
    }
    if !text.is_empty() {
        parts.push(json!({"text": text}));
    }
    for (name, arguments) in calls {
        // One that breaks off in the middle of its arguments never leaves: Gemini sends calls whole.
        if let Ok(arguments) = serde_json::from_str::<Map<String, Value>>(&arguments) {
            parts.push(
                json!({"functionCall": {"name": name, "args": arguments}, "thoughtSignature": script.id("C", 39)}),
            );
        }
    }
    parts
}

fn chunk(ask: &Ask, script: &Script, parts: Vec<Value>, output: u64, finished: bool) -> Value {
    let mut content = json!({"parts": parts, "role": "model"});
    if parts_are_empty(&content) {
        content = json!({"role": "model"});
    }
    let mut candidate = json!({"content": content});
    if finished {
        candidate["finishReason"] = json!(if script.finish == Finish::Length { "MAX_TOKENS" } else { "STOP" });
    }
    candidate["index"] = json!(0);
    let mut chunk = json!({"candidates": [candidate]});
    if script.usage {
        chunk["usageMetadata"] = usage(script, output);
    }
    chunk["modelVersion"] = json!(ask.model);
    chunk["responseId"] = json!(script.id("", 23));
    chunk
}

fn parts_are_empty(content: &Value) -> bool {
    content["parts"].as_array().is_none_or(Vec::is_empty)
}

fn usage(script: &Script, output: u64) -> Value {
    let count = script.count;
    let thoughts = count.reasoning.min(output);
    let mut usage = json!({"promptTokenCount": count.input});
    if count.cached > 0 {
        usage["cachedContentTokenCount"] = json!(count.cached);
    }
    if output > thoughts {
        usage["candidatesTokenCount"] = json!(output - thoughts);
    }
    usage["totalTokenCount"] = json!(count.input + output);
    usage["promptTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": count.input}]);
    if thoughts > 0 {
        usage["thoughtsTokenCount"] = json!(thoughts);
    }
    usage
}
