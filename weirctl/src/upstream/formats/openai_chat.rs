//! OpenAI chat completions, in the flavours of those who speak them.

use serde_json::{Map, Value, json};

use super::flavour::{Flavour, answering};
use crate::upstream::answer::{Answer, Reel};
use crate::upstream::ask::Ask;
use crate::upstream::script::{Finish, Script, What};
use crate::upstream::steer::End;

/// The answer.
pub fn answer(ask: &Ask, script: &Script) -> Answer {
    let chat = Chat { ask, script, flavour: Flavour::of(ask) };
    let answer = if ask.stream { chat.stream() } else { chat.whole() };
    let answer = answer.header("x-request-id", script.hex("req_", 32));
    match chat.flavour {
        Flavour::OpenAi | Flavour::Azure => answer.header("openai-processing-ms", script.prefill.as_millis()),
        _ => answer,
    }
}

struct Chat<'a> {
    ask: &'a Ask,
    script: &'a Script,
    flavour: Flavour,
}

impl Chat<'_> {
    fn whole(&self) -> Answer {
        let text = self.script.text();
        let calls: Vec<Value> = self
            .script
            .calls()
            .into_iter()
            .map(|(id, name, arguments)| {
                json!({"id": self.call_id(id), "type": "function", "function": {"name": name, "arguments": arguments}})
            })
            .collect();
        let mut message = Map::new();
        message.insert("role".into(), json!("assistant"));
        message.insert("content".into(), if calls.is_empty() { json!(text) } else { Value::Null });
        if let Some(key) = self.flavour.reasoning_key().filter(|_| self.script.count.reasoning > 0) {
            message.insert(key.into(), json!(self.script.reasoning()));
        }
        if !calls.is_empty() {
            message.insert("tool_calls".into(), json!(calls));
        }
        if self.flavour == Flavour::OpenAi {
            message.insert("refusal".into(), Value::Null);
            message.insert("annotations".into(), json!([]));
        }
        let mut document = json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.script.created,
            "model": answering(&self.ask.model),
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish()}],
        });
        if self.script.usage {
            document["usage"] = self.usage();
        }
        if let Some(print) = self.fingerprint() {
            document["service_tier"] = json!("default");
            document["system_fingerprint"] = json!(print);
        }
        if self.flavour == Flavour::Groq {
            document["x_groq"] = json!({"id": self.script.id("req_", 26).to_lowercase()});
        }
        Answer::json(self.script, &document)
    }

    fn stream(&self) -> Answer {
        let mut reel = Reel::new("text/event-stream; charset=utf-8", self.script.prefill);
        if self.flavour == Flavour::OpenRouter {
            // Its headers come at once, then comments while it waits for the provider behind it.
            reel = Reel::new("text/event-stream", self.script.prefill / 4);
            for _ in 0..3 {
                reel.send(": OPENROUTER PROCESSING\n\n");
                reel.wait(self.script.prefill / 4);
            }
        }
        if self.flavour == Flavour::Azure {
            let fine = json!({"hate": {"filtered": false, "severity": "safe"}, "jailbreak": {"detected": false, "filtered": false}});
            reel.data(&json!({"choices": [], "created": 0, "id": "", "model": "", "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": fine}]}));
        }
        let mut said = String::new();
        let mut call: Option<usize> = None;
        let mut first = true;
        let mut pending: Option<(String, String, String)> = None;
        for piece in &self.script.pieces {
            reel.wait(piece.gap);
            if std::mem::take(&mut first)
                && !matches!((&piece.what, self.flavour), (What::Call { .. }, Flavour::OpenAi))
            {
                self.chunk(&mut reel, self.role(), None, &said);
            }
            match &piece.what {
                What::Reasoning(text) => {
                    if let Some(key) = self.flavour.reasoning_key() {
                        let mut delta = Map::new();
                        delta.insert(key.into(), json!(text));
                        self.chunk(&mut reel, Value::Object(delta), None, &said);
                    }
                }
                What::Text(text) => {
                    said.push_str(text);
                    self.chunk(&mut reel, json!({"content": text}), None, &said);
                }
                What::Call { id, name } => {
                    self.flush_call(&mut reel, &mut pending, call);
                    let number = call.map_or(0, |n| n + 1);
                    if self.whole_calls() {
                        pending = Some((id.clone(), name.clone(), String::new()));
                    } else {
                        let mut delta = json!({});
                        if call.is_none() && self.flavour == Flavour::OpenAi && said.is_empty() {
                            delta = json!({"role": "assistant", "content": null});
                        }
                        delta["tool_calls"] = json!([{"index": number, "id": self.call_id(id), "type": "function",
                            "function": {"name": name, "arguments": ""}}]);
                        self.chunk(&mut reel, delta, None, &said);
                    }
                    call = Some(number);
                }
                What::Arguments(part) => match &mut pending {
                    Some((_, _, arguments)) => arguments.push_str(part),
                    None => {
                        let delta = json!({"tool_calls": [{"index": call, "function": {"arguments": part}}]});
                        self.chunk(&mut reel, delta, None, &said);
                    }
                },
            }
        }
        match self.script.end {
            End::Complete => {
                self.flush_call(&mut reel, &mut pending, call);
                self.close(&mut reel, &said);
            }
            End::Error => self.fail(&mut reel),
            End::Cut | End::Reset | End::Hang => {}
        }
        reel.end(self.script)
    }

    /// Whether a tool call comes in one chunk.
    fn whole_calls(&self) -> bool {
        matches!(self.flavour, Flavour::Mistral | Flavour::Groq)
    }

    fn flush_call(&self, reel: &mut Reel, pending: &mut Option<(String, String, String)>, number: Option<usize>) {
        if let Some((id, name, arguments)) = pending.take() {
            let call = json!({"index": number, "id": self.call_id(&id), "type": "function",
                "function": {"name": name, "arguments": arguments}});
            self.chunk(reel, json!({"tool_calls": [call]}), None, "");
        }
    }

    fn close(&self, reel: &mut Reel, said: &str) {
        let finish = Some(self.finish());
        let empty = match self.flavour {
            Flavour::Mistral | Flavour::DeepSeek | Flavour::OpenRouter => json!({"content": ""}),
            _ => json!({}),
        };
        let mut last = self.envelope(empty.clone(), finish, said);
        if !self.script.usage {
            self.put(reel, &last);
        } else if self.flavour.tells_usage() {
            match self.flavour {
                Flavour::Groq => {
                    last["x_groq"] = json!({"id": self.script.id("req_", 26).to_lowercase(), "usage": self.usage()});
                }
                Flavour::OpenRouter => {
                    self.put(reel, &last);
                    last["usage"] = self.usage();
                }
                _ => last["usage"] = self.usage(),
            }
            self.put(reel, &last);
            if self.flavour == Flavour::Groq && self.ask.include_usage() {
                let mut tail = self.envelope(json!({}), None, said);
                tail["choices"] = json!([]);
                tail["usage"] = self.usage();
                self.put(reel, &tail);
            }
        } else {
            self.put(reel, &last);
            if self.ask.include_usage() {
                let mut tail = self.envelope(json!({}), None, said);
                tail["choices"] = json!([]);
                tail["usage"] = self.usage();
                self.put(reel, &tail);
            }
        }
        if self.flavour != Flavour::Perplexity {
            reel.send("data: [DONE]\n\n");
        }
    }

    fn fail(&self, reel: &mut Reel) {
        const MESSAGE: &str = "The server had an error while processing your request. Sorry about that!";
        match self.flavour {
            Flavour::Groq => {
                let error = json!({"message": MESSAGE, "type": "server_error", "code": "stream_failed"});
                reel.event("error", &json!({"error": error, "status_code": 500}));
            }
            Flavour::OpenRouter => {
                let mut last = self.envelope(json!({"content": ""}), Some("error"), "");
                last["error"] = json!({"code": 502, "message": "Provider disconnected"});
                reel.data(&last);
                last["usage"] = self.usage();
                reel.data(&last);
                reel.send("data: [DONE]\n\n");
            }
            _ => {
                reel.data(&json!({"error": {"message": MESSAGE, "type": "server_error", "param": null, "code": null}}))
            }
        }
    }

    fn chunk(&self, reel: &mut Reel, delta: Value, finish: Option<&str>, said: &str) {
        self.put(reel, &self.envelope(delta, finish, said));
    }

    fn put(&self, reel: &mut Reel, chunk: &Value) {
        match self.flavour {
            Flavour::Perplexity => reel.send(format!("data: {chunk}\r\n\r\n")),
            _ => reel.data(chunk),
        }
    }

    fn envelope(&self, delta: Value, finish: Option<&str>, said: &str) -> Value {
        let mut choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        let mut chunk = json!({
            "id": self.id(),
            "object": "chat.completion.chunk",
            "created": self.script.created,
            "model": answering(&self.ask.model),
        });
        match self.flavour {
            Flavour::OpenAi | Flavour::Azure => {
                chunk["service_tier"] = json!("default");
                chunk["system_fingerprint"] = json!(self.fingerprint());
            }
            Flavour::Groq | Flavour::DeepSeek => chunk["system_fingerprint"] = json!(self.fingerprint()),
            Flavour::Perplexity => {
                choice["message"] = json!({"role": "assistant", "content": said});
                chunk["usage"] = self.usage();
            }
            Flavour::Vllm => {
                if finish.is_some() {
                    choice["stop_reason"] = Value::Null;
                }
            }
            Flavour::Mistral | Flavour::OpenRouter => {}
        }
        chunk["choices"] = json!([choice]);
        match self.flavour {
            Flavour::OpenAi | Flavour::Azure => {
                if self.ask.include_usage() && self.script.usage {
                    chunk["usage"] = Value::Null;
                }
                chunk["obfuscation"] = json!(self.padding(&chunk));
            }
            Flavour::Mistral => chunk["p"] = json!(self.padding(&chunk)),
            _ => {}
        }
        chunk
    }

    /// Random letters, so that a chunk's size says nothing of the token in it.
    fn padding(&self, chunk: &Value) -> String {
        let length = chunk.to_string().len();
        self.script.id("", 1 + length * 7 % 15)
    }

    fn role(&self) -> Value {
        match self.flavour {
            Flavour::Vllm => json!({"role": "assistant"}),
            Flavour::OpenAi | Flavour::Azure => json!({"role": "assistant", "content": "", "refusal": null}),
            _ => json!({"role": "assistant", "content": ""}),
        }
    }

    fn id(&self) -> String {
        match self.flavour {
            Flavour::OpenAi | Flavour::Azure => self.script.id("chatcmpl-", 29),
            Flavour::Mistral => self.script.hex("", 32),
            Flavour::Groq => format!("chatcmpl-{}", self.script.uuid("chat")),
            Flavour::DeepSeek | Flavour::Perplexity => self.script.uuid("chat"),
            Flavour::OpenRouter => self.script.id("gen-1776481268-", 20),
            Flavour::Vllm => self.script.hex("chatcmpl-", 32),
        }
    }

    fn call_id(&self, id: &str) -> String {
        match self.flavour {
            Flavour::Mistral => id.chars().take(9).collect(),
            Flavour::Vllm => format!("chatcmpl-tool-{id}"),
            _ => format!("call_{id}"),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        match self.flavour {
            Flavour::OpenAi | Flavour::Azure | Flavour::Groq => Some(self.script.hex("fp_", 10)),
            Flavour::DeepSeek => Some(format!("{}_prod0820_fp8_kvcache", self.script.hex("fp_", 10))),
            _ => None,
        }
    }

    fn finish(&self) -> &'static str {
        match self.script.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Tools => "tool_calls",
        }
    }

    fn usage(&self) -> Value {
        let count = self.script.count;
        let mut usage = json!({
            "prompt_tokens": count.input,
            "completion_tokens": count.output,
            "total_tokens": count.input + count.output,
        });
        match self.flavour {
            Flavour::Mistral | Flavour::Perplexity => {}
            Flavour::Groq => {
                let (queue, prompt, decode) =
                    (0.021, self.script.prefill.as_secs_f64(), self.script.decode().as_secs_f64());
                usage["queue_time"] = json!(queue);
                usage["prompt_time"] = json!(prompt);
                usage["completion_time"] = json!(decode);
                usage["total_time"] = json!(prompt + decode);
            }
            Flavour::Vllm => {
                if count.cached > 0 {
                    usage["prompt_tokens_details"] = json!({"cached_tokens": count.cached});
                }
            }
            Flavour::DeepSeek => {
                usage["prompt_tokens_details"] = json!({"cached_tokens": count.cached});
                usage["completion_tokens_details"] = json!({"reasoning_tokens": count.reasoning});
                usage["prompt_cache_hit_tokens"] = json!(count.cached);
                usage["prompt_cache_miss_tokens"] = json!(count.input - count.cached);
            }
            Flavour::OpenAi | Flavour::Azure | Flavour::OpenRouter => {
                usage["prompt_tokens_details"] = json!({"cached_tokens": count.cached, "audio_tokens": 0});
                usage["completion_tokens_details"] = json!({"reasoning_tokens": count.reasoning, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0});
            }
        }
        usage
    }
}
