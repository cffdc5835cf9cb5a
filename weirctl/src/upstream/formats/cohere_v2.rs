//! Cohere v2 chat.

use serde_json::{Value, json};

use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// What Cohere adds to a prompt and does not bill, in tokens.
pub const UNBILLED: u64 = 5;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let answer = if ask.stream { stream(script) } else { Answer::json(script, &whole(script)) };
    answer.header("cache-control", "no-cache, no-store, no-transform, must-revalidate, private, max-age=0")
}

fn whole(script: &Script) -> Value {
    let mut message = json!({"role": "assistant"});
    let mut content: Vec<Value> = Vec::new();
    if script.count.reasoning > 0 {
        content.push(json!({"type": "thinking", "thinking": script.reasoning()}));
    }
    let text = script.text();
    if !text.is_empty() {
        content.push(json!({"type": "text", "text": text}));
    }
    if !content.is_empty() {
        message["content"] = json!(content);
    }
    let calls: Vec<Value> =
        script.calls().into_iter().map(|(id, name, arguments)| call(id, name, &arguments)).collect();
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let mut document = json!({"id": script.uuid("chat"), "message": message, "finish_reason": finish(script)});
    if script.usage {
        document["usage"] = usage(script);
    }
    document
}

fn stream(script: &Script) -> Answer {
    let head = script.prefill.mul_f64(0.7);
    let mut reel = Reel::new("text/event-stream", head);
    let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    send(&mut reel, json!({"id": script.uuid("chat"), "type": "message-start", "delta": {"message": message}}));
    reel.wait(script.prefill - head);
    // What is open, and its number: contents and tool calls are counted apart.
    let mut open: Option<(&str, usize)> = None;
    let (mut contents, mut calls) = (0, 0);
    for piece in &script.pieces {
        reel.wait(piece.gap);
        let kind = match piece.what {
            What::Reasoning(_) => "thinking",
            What::Text(_) => "text",
            What::Call { .. } | What::Arguments(_) => CALL,
        };
        if matches!(piece.what, What::Call { .. }) || open.is_none_or(|(of, _)| of != kind) {
            if let Some((of, number)) = open {
                send(&mut reel, end(of, number));
            }
            let counter = if kind == CALL { &mut calls } else { &mut contents };
            if kind != CALL {
                let delta = json!({"message": {"content": {"type": kind, kind: ""}}});
                send(&mut reel, json!({"type": "content-start", "index": counter, "delta": delta}));
            }
            open = Some((kind, *counter));
            *counter += 1;
        }
        let number = open.map_or(0, |(_, number)| number);
        let (event, delta) = match &piece.what {
            What::Reasoning(text) | What::Text(text) => ("content-delta", json!({"content": {kind: text}})),
            What::Call { id, name } => ("tool-call-start", json!({"tool_calls": call(id, name, "")})),
            What::Arguments(part) => ("tool-call-delta", json!({"tool_calls": {"function": {"arguments": part}}})),
        };
        send(&mut reel, json!({"type": event, "index": number, "delta": {"message": delta}}));
    }
    let mut delta = match script.end {
        End::Complete => json!({"finish_reason": finish(script)}),
        End::Error => json!({"finish_reason": "ERROR", "error": "The generation failed."}),
        End::Cut | End::Reset | End::Hang => return reel.end(script),
    };
    if let Some((of, number)) = open.filter(|_| script.end == End::Complete) {
        send(&mut reel, end(of, number));
    }
    if script.usage {
        delta["usage"] = usage(script);
    }
    send(&mut reel, json!({"type": "message-end", "delta": delta}));
    reel.send("data: [DONE]\n\n");
    reel.end(script)
}

/// The kind of what is no content.
const CALL: &str = "call";

fn send(reel: &mut Reel, event: Value) {
    reel.event(event["type"].as_str().unwrap_or_default(), &event);
}

fn end(kind: &str, number: usize) -> Value {
    json!({"type": if kind == CALL { "tool-call-end" } else { "content-end" }, "index": number})
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": format!("{name}_{}", &id[..12]), "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn finish(script: &Script) -> &'static str {
    match script.finish {
        Finish::Stop => "COMPLETE",
        Finish::Length => "MAX_TOKENS",
        Finish::Tools => "TOOL_CALL",
    }
}

/// What is billed and what was read differ.
pub fn usage(script: &Script) -> Value {
    let count = script.count;
    json!({
        "billed_units": {"input_tokens": count.input.saturating_sub(UNBILLED), "output_tokens": count.output},
        "tokens": {"input_tokens": count.input, "output_tokens": count.output},
    })
}
