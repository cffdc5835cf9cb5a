//! Ollama's `/api/chat` and `/api/generate`: lines of JSON, with the server's own times in the last one.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::{Api, Ask};
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// What loading a model that is in memory takes.
const LOAD: Duration = Duration::from_millis(12);

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let ollama = Ollama { ask, script };
    if !ask.stream {
        let mut last =
            ollama.line(script.prefill + script.decode(), &script.text(), &script.reasoning(), &ollama.calls());
        ollama.finish(&mut last);
        return Answer::json(script, &last);
    }
    let mut reel = Reel::new("application/x-ndjson", script.prefill);
    let mut at = script.prefill;
    for piece in &script.pieces {
        at += piece.gap;
        reel.wait(piece.gap);
        match &piece.what {
            What::Reasoning(text) => reel.line(&ollama.line(at, "", text, &[])),
            What::Text(text) => reel.line(&ollama.line(at, text, "", &[])),
            // Calls come whole, at the end.
            What::Call { .. } | What::Arguments(_) => {}
        }
    }
    match script.end {
        End::Complete => {
            let calls = ollama.calls();
            if !calls.is_empty() {
                reel.line(&ollama.line(at, "", "", &calls));
            }
            let mut last = ollama.line(at, "", "", &[]);
            ollama.finish(&mut last);
            reel.line(&last);
        }
        End::Error => reel.line(&json!({"error": "an error was encountered while running the model: unexpected EOF"})),
        End::Cut | End::Reset | End::Hang => {}
    }
    reel.end(script)
}

struct Ollama<'a> {
    ask: &'a Ask,
    script: &'a Script,
}

impl Ollama<'_> {
    fn line(&self, at: Duration, text: &str, thinking: &str, calls: &[Value]) -> Value {
        let time = UNIX_EPOCH + Duration::from_secs(self.script.created) + at;
        let mut line =
            json!({"model": self.ask.model, "created_at": humantime::format_rfc3339_micros(time).to_string()});
        if self.ask.api == Api::OllamaGenerate {
            line["response"] = json!(text);
            if !thinking.is_empty() {
                line["thinking"] = json!(thinking);
            }
        } else {
            let mut message = json!({"role": "assistant", "content": text});
            if !thinking.is_empty() {
                message["thinking"] = json!(thinking);
            }
            if !calls.is_empty() {
                message["tool_calls"] = json!(calls);
            }
            line["message"] = message;
        }
        line["done"] = json!(false);
        line
    }

    fn finish(&self, line: &mut Value) {
        let (count, nanos) = (self.script.count, |time: Duration| time.as_nanos() as u64);
        line["done"] = json!(true);
        line["done_reason"] = json!(if self.script.finish == Finish::Length { "length" } else { "stop" });
        let (prefill, decode) = (self.script.prefill, self.script.decode());
        line["total_duration"] = json!(nanos(LOAD + prefill + decode));
        line["load_duration"] = json!(nanos(LOAD));
        if self.script.usage {
            line["prompt_eval_count"] = json!(count.input);
        }
        line["prompt_eval_duration"] = json!(nanos(prefill));
        if self.script.usage {
            line["eval_count"] = json!(count.output);
        }
        line["eval_duration"] = json!(nanos(decode));
    }

    fn calls(&self) -> Vec<Value> {
        let call = |(_, name, arguments): (&str, &str, String)| {
            let arguments: Value = serde_json::from_str(&arguments).unwrap_or(json!({}));
            json!({"function": {"name": name, "arguments": arguments}})
        };
        self.script.calls().into_iter().map(call).collect()
    }
}
