//! Anthropic messages.

use std::time::Duration;

use serde_json::{Value, json};

use super::flavour::answering;
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Count, Finish, Script, What};
use crate::upstream::steer::End;

/// Tokens per delta: Anthropic sends them by the handful.
const GROUP: usize = 2;

/// Between two pings.
const PING: Duration = Duration::from_secs(10);

/// What message_start says of the output, before there is any.
const STARTED_OUTPUT: u64 = 3;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let answer = if ask.stream {
        let head = script.prefill.mul_f64(0.8);
        let mut reel = Reel::new("text/event-stream; charset=utf-8", head);
        reel.wait(script.prefill - head);
        let mut since_ping = Duration::ZERO;
        for (i, (wait, event)) in events(&ask.model, script).into_iter().enumerate() {
            // Padding, so that sizes say nothing: spaces before the last brace.
            let text = event.to_string();
            let spaces = " ".repeat(1 + text.len() * 7 % 15);
            let name = event["type"].as_str().unwrap_or_default();
            since_ping += wait;
            if since_ping > PING {
                since_ping = Duration::ZERO;
                reel.event("ping", &json!({"type": "ping"}));
            }
            reel.wait(wait);
            reel.send(format!("event: {name}\ndata: {}{spaces}}}\n\n", text.strip_suffix('}').unwrap_or(&text)));
            if i == 1 {
                reel.send("event: ping\ndata: {\"type\": \"ping\"}\n\n");
            }
        }
        reel.end(script)
    } else {
        Answer::json(script, &message(&ask.model, script))
    };
    answer.header("request-id", script.id("req_011", 21))
}

/// The whole message.
pub fn message(model: &str, script: &Script) -> Value {
    let mut content: Vec<Value> = Vec::new();
    if script.count.reasoning > 0 {
        content.push(json!({"type": "thinking", "thinking": script.reasoning(), "signature": script.id("E", 180)}));
    }
    let text = script.text();
    if !text.is_empty() {
        content.push(json!({"type": "text", "text": text}));
    }
    for (id, name, arguments) in script.calls() {
        let input: Value = serde_json::from_str(&arguments).unwrap_or(json!({}));
        content.push(json!({"type": "tool_use", "id": format!("toolu_01{}", &id[..22]), "name": name, "input": input}));
    }
    let mut message = begun(model, script);
    message["content"] = json!(content);
    message["stop_reason"] = json!(stop_reason(script));
    message["usage"]["output_tokens"] = json!(script.count.output);
    if !script.usage {
        message["usage"] = json!({"input_tokens": 0, "output_tokens": 0});
    }
    message
}

/// The events of a stream, each with the time before it.
pub fn events(model: &str, script: &Script) -> Vec<(Duration, Value)> {
    let mut out: Vec<(Duration, Value)> =
        vec![(Duration::ZERO, json!({"type": "message_start", "message": begun(model, script)}))];
    let mut block: Option<Block> = None;
    let mut number = 0;
    let mut wait = Duration::ZERO;
    for piece in &script.pieces {
        wait += piece.gap;
        let kind = match &piece.what {
            What::Reasoning(_) => "thinking",
            What::Text(_) => "text",
            What::Call { .. } | What::Arguments(_) => "tool_use",
        };
        let begins = matches!(piece.what, What::Call { .. }) || block.as_ref().is_none_or(|block| block.kind != kind);
        if begins {
            if let Some(block) = block.take() {
                block.close(&mut out, &mut wait, script);
                number += 1;
            }
            let start = match &piece.what {
                What::Reasoning(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
                What::Text(_) => json!({"type": "text", "text": ""}),
                What::Call { id, name } => {
                    json!({"type": "tool_use", "id": format!("toolu_01{}", &id[..22]), "name": name, "input": {}})
                }
                What::Arguments(_) => continue,
            };
            out.push((Duration::ZERO, json!({"type": "content_block_start", "index": number, "content_block": start})));
            block = Some(Block { kind, number, held: String::new(), pieces: 0 });
        }
        if let (Some(block), What::Reasoning(text) | What::Text(text) | What::Arguments(text)) =
            (&mut block, &piece.what)
        {
            block.held.push_str(text);
            block.pieces += 1;
            if block.pieces % GROUP == 1 {
                block.flush(&mut out, &mut wait);
            }
        }
    }
    match script.end {
        End::Complete => {
            if let Some(block) = block.take() {
                block.close(&mut out, &mut wait, script);
            }
            let mut usage = usage(script.count);
            usage["output_tokens"] = json!(script.count.output);
            if !script.usage {
                usage = json!({"output_tokens": 0});
            }
            let delta = json!({"stop_reason": stop_reason(script), "stop_sequence": null});
            out.push((wait, json!({"type": "message_delta", "delta": delta, "usage": usage})));
            out.push((Duration::ZERO, json!({"type": "message_stop"})));
        }
        End::Error => {
            out.push((wait, json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})));
        }
        End::Cut | End::Reset | End::Hang => {
            if let Some(mut block) = block.take() {
                block.flush(&mut out, &mut wait);
            }
        }
    }
    out
}

/// A content block that is being sent.
struct Block {
    kind: &'static str,
    number: usize,
    held: String,
    pieces: usize,
}

impl Block {
    fn flush(&mut self, out: &mut Vec<(Duration, Value)>, wait: &mut Duration) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let delta = match self.kind {
            "thinking" => json!({"type": "thinking_delta", "thinking": held}),
            "text" => json!({"type": "text_delta", "text": held}),
            _ => json!({"type": "input_json_delta", "partial_json": held}),
        };
        let event = json!({"type": "content_block_delta", "index": self.number, "delta": delta});
        out.push((std::mem::take(wait), event));
    }

    fn close(mut self, out: &mut Vec<(Duration, Value)>, wait: &mut Duration, script: &Script) {
        self.flush(out, wait);
        if self.kind == "thinking" {
            let delta = json!({"type": "signature_delta", "signature": script.id("E", 180)});
            out.push((Duration::ZERO, json!({"type": "content_block_delta", "index": self.number, "delta": delta})));
        }
        out.push((Duration::ZERO, json!({"type": "content_block_stop", "index": self.number})));
    }
}

fn begun(model: &str, script: &Script) -> Value {
    let mut usage = usage(script.count);
    usage["cache_creation"] = json!({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0});
    usage["output_tokens"] = json!(STARTED_OUTPUT);
    usage["service_tier"] = json!("standard");
    if !script.usage {
        usage = json!({"input_tokens": 0, "output_tokens": 0});
    }
    json!({
        "model": answering(model),
        "id": script.id("msg_01", 22),
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage,
    })
}

/// The prompt's side of it: what came from the cache is not in `input_tokens`.
fn usage(count: Count) -> Value {
    json!({
        "input_tokens": count.input - count.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": count.cached,
    })
}

fn stop_reason(script: &Script) -> &'static str {
    match script.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tools => "tool_use",
    }
}
