//! Bedrock Converse and ConverseStream.

use std::time::Duration;

use serde_json::{Value, json};

use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::eventstream;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let answer = if ask.stream {
        let mut reel = Reel::new("application/vnd.amazon.eventstream", script.prefill);
        for (wait, name, payload) in events(script) {
            reel.wait(wait);
            let mut payload = payload;
            payload["p"] = json!(script.id("", 1 + payload.to_string().len() * 7 % 40));
            reel.send(eventstream::event(name, &payload.to_string()));
        }
        if script.end == End::Error {
            let payload = json!({"message": "The system encountered an unexpected error during processing."});
            reel.send(eventstream::exception("modelStreamErrorException", &payload.to_string()));
        }
        reel.end(script)
    } else {
        Answer::json(script, &whole(script))
    };
    answer.header("x-amzn-requestid", script.uuid("request"))
}

fn whole(script: &Script) -> Value {
    let mut content: Vec<Value> = Vec::new();
    if script.count.reasoning > 0 {
        content.push(json!({"reasoningContent": {"reasoningText": {"text": script.reasoning(), "signature": script.id("E", 120)}}}));
    }
    let text = script.text();
    if !text.is_empty() {
        content.push(json!({"text": text}));
    }
    for (id, name, arguments) in script.calls() {
        let input: Value = serde_json::from_str(&arguments).unwrap_or(json!({}));
        content.push(json!({"toolUse": {"toolUseId": tool_use_id(id), "name": name, "input": input}}));
    }
    let mut document = json!({
        "metrics": {"latencyMs": latency(script)},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": stop_reason(script),
    });
    if script.usage {
        document["usage"] = usage(script);
    }
    document
}

/// The events of a stream, each with the time before it, without padding and error.
pub fn events(script: &Script) -> Vec<(Duration, &'static str, Value)> {
    let mut out = vec![(Duration::ZERO, "messageStart", json!({"role": "assistant"}))];
    let mut block: Option<(usize, u8)> = None;
    for piece in &script.pieces {
        let kind = match piece.what {
            What::Reasoning(_) => 0,
            What::Text(_) => 1,
            What::Call { .. } | What::Arguments(_) => 2,
        };
        let begins = matches!(piece.what, What::Call { .. }) || block.is_none_or(|(_, open)| open != kind);
        if begins {
            if let Some((number, open)) = block {
                close(&mut out, script, number, open);
            }
            block = Some((block.map_or(0, |(number, _)| number + 1), kind));
        }
        let number = block.map_or(0, |(number, _)| number);
        let delta = match &piece.what {
            What::Reasoning(text) => json!({"reasoningContent": {"text": text}}),
            What::Text(text) => json!({"text": text}),
            What::Arguments(part) => json!({"toolUse": {"input": part}}),
            What::Call { id, name } => {
                let start = json!({"toolUse": {"toolUseId": tool_use_id(id), "name": name}});
                out.push((piece.gap, "contentBlockStart", json!({"contentBlockIndex": number, "start": start})));
                continue;
            }
        };
        out.push((piece.gap, "contentBlockDelta", json!({"contentBlockIndex": number, "delta": delta})));
    }
    if script.end == End::Complete {
        if let Some((number, open)) = block {
            close(&mut out, script, number, open);
        }
        out.push((Duration::ZERO, "messageStop", json!({"stopReason": stop_reason(script)})));
        let mut metadata = json!({"metrics": {"latencyMs": latency(script)}});
        if script.usage {
            metadata["usage"] = usage(script);
        }
        out.push((Duration::ZERO, "metadata", metadata));
    }
    out
}

fn close(out: &mut Vec<(Duration, &'static str, Value)>, script: &Script, number: usize, kind: u8) {
    if kind == 0 {
        let signature = json!({"reasoningContent": {"signature": script.id("E", 120)}});
        out.push((Duration::ZERO, "contentBlockDelta", json!({"contentBlockIndex": number, "delta": signature})));
    }
    out.push((Duration::ZERO, "contentBlockStop", json!({"contentBlockIndex": number})));
}

fn tool_use_id(id: &str) -> String {
    format!("tooluse_{}", &id[..22])
}

fn stop_reason(script: &Script) -> &'static str {
    match script.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tools => "tool_use",
    }
}

fn latency(script: &Script) -> u64 {
    (script.prefill + script.decode()).as_millis() as u64
}

/// What came from the cache is not in `inputTokens`.
pub fn usage(script: &Script) -> Value {
    let count = script.count;
    json!({
        "inputTokens": count.input - count.cached,
        "outputTokens": count.output,
        "totalTokens": count.input + count.output,
        "cacheReadInputTokens": count.cached,
        "cacheWriteInputTokens": 0,
    })
}
