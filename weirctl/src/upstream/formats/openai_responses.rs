//! OpenAI Responses.

use serde_json::{Value, json};

use super::flavour::answering;
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let answer = if ask.stream { stream(ask, script) } else { whole(ask, script) };
    answer
        .header("x-request-id", script.hex("req_", 32))
        .header("openai-version", "2020-10-01")
        .header("openai-processing-ms", script.prefill.as_millis())
}

fn whole(ask: &Ask, script: &Script) -> Answer {
    let mut items = Items::new(ask, script);
    let mut output: Vec<Value> = Vec::new();
    for piece in &script.pieces {
        if let Some(item) = items.take(&piece.what) {
            output.push(item.done(script, "completed"));
        }
    }
    output.extend(items.current.take().map(|item| item.done(script, "completed")));
    let status = if script.finish == Finish::Length { "incomplete" } else { "completed" };
    Answer::json(script, &response(ask, script, status, output))
}

/// One entry of `output` in the making.
#[derive(Debug)]
struct Item {
    kind: Kind,
    id: String,
    text: String,
    number: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A reasoning item; whether its summary is shown.
    Reasoning(bool),
    Message,
    Call {
        id: String,
        name: String,
    },
}

/// Puts pieces together to items.
struct Items<'a> {
    ask: &'a Ask,
    script: &'a Script,
    current: Option<Item>,
    count: usize,
}

impl<'a> Items<'a> {
    fn new(ask: &'a Ask, script: &'a Script) -> Self {
        Self { ask, script, current: None, count: 0 }
    }

    /// Adds a piece; gives the item that ends with it beginning another.
    fn take(&mut self, what: &What) -> Option<Item> {
        let (fits, text) = match (what, self.current.as_ref().map(|item| &item.kind)) {
            (What::Reasoning(text), kind) => (matches!(kind, Some(Kind::Reasoning(_))), text.as_str()),
            (What::Text(text), kind) => (kind == Some(&Kind::Message), text.as_str()),
            (What::Call { .. }, _) => (false, ""),
            (What::Arguments(text), _) => (true, text.as_str()),
        };
        let mut ended = None;
        if !fits {
            let (kind, prefix) = match what {
                What::Reasoning(_) => (Kind::Reasoning(self.ask.thinking), "rs_"),
                What::Call { id, name } => (Kind::Call { id: format!("call_{id}"), name: name.clone() }, "fc_"),
                What::Text(_) | What::Arguments(_) => (Kind::Message, "msg_"),
            };
            let id = self.script.hex(&format!("{prefix}0{}", self.count), 48);
            ended = self.current.replace(Item { kind, id, text: String::new(), number: self.count });
            self.count += 1;
        }
        if let Some(item) = &mut self.current {
            item.text.push_str(text);
        }
        ended
    }
}

impl Item {
    fn started(&self) -> Value {
        match &self.kind {
            Kind::Reasoning(_) => json!({"id": self.id, "type": "reasoning", "summary": []}),
            Kind::Message => {
                json!({"id": self.id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"})
            }
            Kind::Call { id, name } => json!({"id": self.id, "type": "function_call", "status": "in_progress",
                "arguments": "", "call_id": id, "name": name}),
        }
    }

    fn done(&self, _: &Script, status: &str) -> Value {
        match &self.kind {
            Kind::Reasoning(true) => {
                json!({"id": self.id, "type": "reasoning", "summary": [{"type": "summary_text", "text": self.text}]})
            }
            Kind::Reasoning(false) => json!({"id": self.id, "type": "reasoning", "summary": []}),
            Kind::Message => json!({"id": self.id, "type": "message", "status": status, "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": self.text}]}),
            Kind::Call { id, name } => json!({"id": self.id, "type": "function_call", "status": status,
                "arguments": self.text, "call_id": id, "name": name}),
        }
    }
}

/// A stream with the numbers that its events carry.
struct Numbered {
    reel: Reel,
    next: u64,
}

impl Numbered {
    fn event(&mut self, kind: &str, mut fields: Value) {
        let mut event = json!({"type": kind});
        if let (Some(event), Some(fields)) = (event.as_object_mut(), fields.as_object_mut()) {
            event.append(fields);
        }
        event["sequence_number"] = json!(self.next);
        self.next += 1;
        self.reel.event(kind, &event);
    }

    fn open(&mut self, item: &Item) {
        self.event("response.output_item.added", json!({"item": item.started(), "output_index": item.number}));
        let place = |part: Value, index: &str| {
            let mut fields = json!({"item_id": item.id, "output_index": item.number, "part": part});
            fields[index] = json!(0);
            fields
        };
        match item.kind {
            Kind::Message => {
                let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": ""});
                self.event("response.content_part.added", place(part, "content_index"));
            }
            Kind::Reasoning(true) => {
                let part = json!({"type": "summary_text", "text": ""});
                self.event("response.reasoning_summary_part.added", place(part, "summary_index"));
            }
            Kind::Reasoning(false) | Kind::Call { .. } => {}
        }
    }

    fn delta(&mut self, item: &Item, text: &str, padding: String) {
        let at = json!({"item_id": item.id, "output_index": item.number, "delta": text, "obfuscation": padding});
        let with = |mut at: Value, key: &str, value: Value| {
            at[key] = value;
            at
        };
        match item.kind {
            Kind::Message => {
                let at = with(at, "content_index", json!(0));
                self.event("response.output_text.delta", with(at, "logprobs", json!([])));
            }
            Kind::Reasoning(true) => {
                self.event("response.reasoning_summary_text.delta", with(at, "summary_index", json!(0)));
            }
            Kind::Reasoning(false) => {}
            Kind::Call { .. } => self.event("response.function_call_arguments.delta", at),
        }
    }

    fn close(&mut self, item: &Item, script: &Script) {
        let (id, number, text) = (&item.id, item.number, &item.text);
        match &item.kind {
            Kind::Message => {
                self.event(
                    "response.output_text.done",
                    json!({"content_index": 0, "item_id": id, "logprobs": [],
                    "output_index": number, "text": text}),
                );
                let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
                self.event(
                    "response.content_part.done",
                    json!({"content_index": 0, "item_id": id,
                    "output_index": number, "part": part}),
                );
            }
            Kind::Reasoning(true) => {
                self.event(
                    "response.reasoning_summary_text.done",
                    json!({"item_id": id, "output_index": number,
                    "summary_index": 0, "text": text}),
                );
                self.event(
                    "response.reasoning_summary_part.done",
                    json!({"item_id": id, "output_index": number,
                    "summary_index": 0, "part": {"type": "summary_text", "text": text}}),
                );
            }
            Kind::Reasoning(false) => {}
            Kind::Call { name, .. } => self.event(
                "response.function_call_arguments.done",
                json!({"item_id": id,
                "output_index": number, "name": name, "arguments": text}),
            ),
        }
        self.event(
            "response.output_item.done",
            json!({"item": item.done(script, "completed"), "output_index": number}),
        );
    }
}

fn stream(ask: &Ask, script: &Script) -> Answer {
    // The first event comes as soon as the request is taken.
    let head = script.prefill / 5;
    let mut out = Numbered { reel: Reel::new("text/event-stream; charset=utf-8", head), next: 0 };
    let begun = response(ask, script, "in_progress", Vec::new());
    out.event("response.created", json!({"response": begun}));
    out.event("response.in_progress", json!({"response": begun}));
    out.reel.wait(script.prefill - head);
    let mut items = Items::new(ask, script);
    let mut output: Vec<Value> = Vec::new();
    for (i, piece) in script.pieces.iter().enumerate() {
        out.reel.wait(piece.gap);
        let before = items.count;
        if let Some(ended) = items.take(&piece.what) {
            out.close(&ended, script);
            output.push(ended.done(script, "completed"));
        }
        let Some(item) = &items.current else { continue };
        if items.count > before {
            out.open(item);
        }
        let text = match &piece.what {
            What::Reasoning(text) | What::Text(text) | What::Arguments(text) => text,
            What::Call { .. } => continue,
        };
        out.delta(item, text, script.id("", 1 + (i * 7 + text.len()) % 16));
    }
    match script.end {
        End::Complete => {
            if let Some(item) = items.current.take() {
                out.close(&item, script);
                output.push(item.done(script, "completed"));
            }
            let status = if script.finish == Finish::Length { "incomplete" } else { "completed" };
            let kind = format!("response.{status}");
            out.event(&kind, json!({"response": response(ask, script, status, output)}));
        }
        End::Error => {
            let message = "The server had an error while processing your request.";
            out.event("error", json!({"code": "server_error", "message": message, "param": null}));
            let mut failed = response(ask, script, "failed", output);
            failed["error"] = json!({"code": "server_error", "message": message});
            failed["usage"] = Value::Null;
            out.event("response.failed", json!({"response": failed}));
        }
        End::Cut | End::Reset | End::Hang => {}
    }
    out.reel.end(script)
}

fn response(ask: &Ask, script: &Script, status: &str, output: Vec<Value>) -> Value {
    let ended = matches!(status, "completed" | "incomplete");
    let count = script.count;
    let usage = json!({
        "input_tokens": count.input,
        "input_tokens_details": {"cached_tokens": count.cached},
        "output_tokens": count.output,
        "output_tokens_details": {"reasoning_tokens": count.reasoning},
        "total_tokens": count.input + count.output,
    });
    let completed = (status == "completed").then(|| script.created + script.decode().as_secs());
    let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    let or = |key: &str, default: Value| ask.body.get(key).cloned().unwrap_or(default);
    json!({
        "id": script.hex("resp_0", 49),
        "object": "response",
        "created_at": script.created,
        "status": status,
        "background": false,
        "completed_at": completed,
        "error": null,
        "frequency_penalty": 0.0,
        "incomplete_details": incomplete,
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "max_tool_calls": null,
        "model": answering(&ask.model),
        "output": output,
        "parallel_tool_calls": true,
        "presence_penalty": 0.0,
        "previous_response_id": or("previous_response_id", Value::Null),
        "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "service_tier": "default",
        "store": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": if ended && script.usage { usage } else { Value::Null },
        "user": null,
        "metadata": {},
    })
}
