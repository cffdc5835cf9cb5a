//! Cohere v1 chat: lines of JSON.

use serde_json::{Value, json};

use super::cohere_v2;
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    if !ask.stream {
        let mut document = response(ask, script);
        document["finish_reason"] = json!(finish(script));
        return Answer::json(script, &document);
    }
    let mut reel = Reel::new("application/stream+json", script.prefill.mul_f64(0.7));
    let id = script.uuid("generation");
    reel.line(&json!({"is_finished": false, "event_type": "stream-start", "generation_id": id}));
    reel.wait(script.prefill - script.prefill.mul_f64(0.7));
    for piece in &script.pieces {
        reel.wait(piece.gap);
        if let What::Text(text) = &piece.what {
            reel.line(&json!({"is_finished": false, "event_type": "text-generation", "text": text}));
        }
    }
    match script.end {
        End::Complete => {
            let calls = calls(script);
            if !calls.is_empty() {
                let event = json!({"is_finished": false, "event_type": "tool-calls-generation", "tool_calls": calls});
                reel.line(&event);
            }
            let (reason, response) = (finish(script), response(ask, script));
            let end =
                json!({"is_finished": true, "event_type": "stream-end", "response": response, "finish_reason": reason});
            reel.line(&end);
        }
        End::Error => {
            reel.line(&json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "ERROR"}));
        }
        End::Cut | End::Reset | End::Hang => {}
    }
    reel.end(script)
}

fn response(ask: &Ask, script: &Script) -> Value {
    let text = script.text();
    let asked = ask.body["message"].as_str().unwrap_or_default();
    let mut meta = json!({"api_version": {"version": "1"}});
    if script.usage
        && let (Some(meta), Value::Object(mut usage)) = (meta.as_object_mut(), cohere_v2::usage(script))
    {
        meta.append(&mut usage);
    }
    let mut response = json!({
        "response_id": script.uuid("response"),
        "text": text,
        "generation_id": script.uuid("generation"),
        "chat_history": [{"role": "USER", "message": asked}, {"role": "CHATBOT", "message": text}],
    });
    let calls = calls(script);
    if !calls.is_empty() {
        response["tool_calls"] = json!(calls);
    }
    response["finish_reason"] = json!(finish(script));
    response["meta"] = meta;
    response
}

fn calls(script: &Script) -> Vec<Value> {
    let call = |(_, name, arguments): (&str, &str, String)| json!({"name": name, "parameters": serde_json::from_str::<Value>(&arguments).unwrap_or(json!({}))});
    script.calls().into_iter().map(call).collect()
}

fn finish(script: &Script) -> &'static str {
    if script.finish == Finish::Length { "MAX_TOKENS" } else { "COMPLETE" }
}
