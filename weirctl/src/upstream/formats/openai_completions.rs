//! OpenAI's legacy completions.

use serde_json::{Value, json};

use super::flavour::answering;
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer. Tool calls and reasoning do not exist here; what a script has of them is told as text.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let finish = if script.finish == Finish::Length { "length" } else { "stop" };
    let count = script.count;
    let usage = json!({
        "prompt_tokens": count.input, "completion_tokens": count.output, "total_tokens": count.input + count.output,
    });
    let document = |choices: Value| {
        json!({
            "id": script.id("cmpl-", 29),
            "object": "text_completion",
            "created": script.created,
            "model": answering(&ask.model),
            "choices": choices,
        })
    };
    let choice = |text: &str, finish: Option<&str>| json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}]);
    if !ask.stream {
        let all: String = script.pieces.iter().filter_map(|piece| text(&piece.what)).collect();
        let mut whole = document(choice(&all, Some(finish)));
        if script.usage {
            whole["usage"] = usage;
        }
        return Answer::json(script, &whole);
    }
    let mut reel = Reel::new("text/event-stream", script.prefill);
    let last = script.pieces.len().saturating_sub(1);
    let include = ask.include_usage() && script.usage;
    for (i, piece) in script.pieces.iter().enumerate() {
        reel.wait(piece.gap);
        if let Some(text) = text(&piece.what) {
            // The last token carries the finish reason.
            let finish = (i == last && script.end == End::Complete).then_some(finish);
            let mut chunk = document(choice(text, finish));
            if include {
                chunk["usage"] = Value::Null;
            }
            reel.data(&chunk);
        }
    }
    match script.end {
        End::Complete => {
            if include {
                let mut tail = document(json!([]));
                tail["usage"] = usage;
                reel.data(&tail);
            }
            reel.send("data: [DONE]\n\n");
        }
        End::Error => reel.data(&json!({"error": {"message": "The server had an error while processing your request.",
            "type": "server_error", "param": null, "code": null}})),
        End::Cut | End::Reset | End::Hang => {}
    }
    reel.end(script)
}

fn text(what: &What) -> Option<&str> {
    match what {
        What::Reasoning(text) | What::Text(text) | What::Arguments(text) => Some(text),
        What::Call { .. } => None,
    }
}
