//! The core reads what the embedded upstream says: two pieces of code that know the formats independently of each other.

use serde_json::{Value, json};
use weir::settings::Config;
use weir::worker::Worker;
use weirctl::play::{Exchange, play};
use weirctl::upstream::{Options, respond};

struct Call {
    api: &'static str,
    host: &'static str,
    path: &'static str,
    body: Value,
    model: &'static str,
}

fn call(api: &'static str, host: &'static str, path: &'static str, model: &'static str, body: Value) -> Call {
    Call { api, host, path, body, model }
}

fn calls(stream: bool) -> Vec<Call> {
    let messages = json!([{"role": "user", "content": "Is a weir a dam?"}]);
    let contents = json!([{"role": "user", "parts": [{"text": "Is a weir a dam?"}]}]);
    let converse = json!({"messages": [{"role": "user", "content": [{"text": "Is a weir a dam?"}]}]});
    let chat = |host, path, model: &'static str| {
        let body =
            json!({"model": model, "messages": messages, "stream": stream, "stream_options": {"include_usage": true}});
        call("openai.chat_completions", host, path, model, body)
    };
    let pick = |streamed, whole| if stream { streamed } else { whole };
    vec![
        chat("api.openai.com", "/v1/chat/completions", "gpt-4o-mini"),
        chat("api.groq.com", "/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
        chat("api.mistral.ai", "/v1/chat/completions", "mistral-small-latest"),
        chat("api.deepseek.com", "/chat/completions", "deepseek-chat"),
        chat("openrouter.ai", "/api/v1/chat/completions", "qwen/qwen3-8b"),
        chat("api.perplexity.ai", "/chat/completions", "sonar"),
        chat("x.openai.azure.com", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "gpt-4o"),
        chat("vllm.internal", "/v1/chat/completions", "meta-llama/Llama-3.1-8B-Instruct"),
        call(
            "openai.completions",
            "api.openai.com",
            "/v1/completions",
            "gpt-3.5-turbo-instruct",
            json!({"model": "gpt-3.5-turbo-instruct", "prompt": "A weir", "stream": stream, "stream_options": {"include_usage": true}}),
        ),
        call(
            "openai.responses",
            "api.openai.com",
            "/v1/responses",
            "gpt-4o",
            json!({"model": "gpt-4o", "input": "Is a weir a dam?", "stream": stream, "reasoning": {"summary": "auto"}}),
        ),
        call(
            "anthropic.messages",
            "api.anthropic.com",
            "/v1/messages",
            "claude-sonnet-4-5",
            json!({"model": "claude-sonnet-4-5", "max_tokens": 900, "messages": messages, "stream": stream}),
        ),
        call(
            "gemini.generate_content",
            "generativelanguage.googleapis.com",
            pick(
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                "/v1beta/models/gemini-2.5-flash:generateContent",
            ),
            "gemini-2.5-flash",
            json!({"contents": contents}),
        ),
        call(
            "gemini.generate_content",
            "us-central1-aiplatform.googleapis.com",
            pick(
                "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
                "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent",
            ),
            "gemini-2.5-pro",
            json!({"contents": contents}),
        ),
        call(
            "bedrock.converse",
            "bedrock-runtime.us-east-1.amazonaws.com",
            pick(
                "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream",
                "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            ),
            "anthropic.claude-3-haiku-20240307-v1:0",
            converse.clone(),
        ),
        call(
            "bedrock.invoke",
            "bedrock-runtime.us-east-1.amazonaws.com",
            pick("/model/us.anthropic.claude-v3/invoke-with-response-stream", "/model/us.anthropic.claude-v3/invoke"),
            "us.anthropic.claude-v3",
            json!({"messages": messages, "max_tokens": 900}),
        ),
        call(
            "bedrock.invoke",
            "bedrock-runtime.us-east-1.amazonaws.com",
            pick(
                "/model/amazon.nova-micro-v1%3A0/invoke-with-response-stream",
                "/model/amazon.nova-micro-v1%3A0/invoke",
            ),
            "amazon.nova-micro-v1:0",
            converse,
        ),
        call(
            "cohere.chat_v2",
            "api.cohere.com",
            "/v2/chat",
            "command-a-03-2025",
            json!({"model": "command-a-03-2025", "messages": messages, "stream": stream}),
        ),
        call(
            "ollama.chat",
            "localhost:11434",
            "/api/chat",
            "llama3.2",
            json!({"model": "llama3.2", "messages": messages, "stream": stream}),
        ),
        call(
            "ollama.generate",
            "localhost:11434",
            "/api/generate",
            "llama3.2",
            json!({"model": "llama3.2", "prompt": "A weir", "stream": stream}),
        ),
        call(
            "cohere.chat_v1",
            "api.cohere.com",
            "/v1/chat",
            "command",
            json!({"model": "command", "message": "Is a weir a dam?", "stream": stream}),
        ),
        call(
            "bedrock.invoke",
            "bedrock-runtime.us-east-1.amazonaws.com",
            pick("/model/meta.llama3-8b/invoke-with-response-stream", "/model/meta.llama3-8b/invoke"),
            "meta.llama3-8b",
            json!({"prompt": "Is a weir a dam?"}),
        ),
    ]
}

/// What the core makes of an answer, as the record's JSON, and the answer's times in nanoseconds after the request.
fn record(call: &Call, demo: &str) -> (Value, Vec<u64>) {
    let options = Options { seed: 1, at_once: false, created: Some(1_800_000_000), ..Options::default() };
    let body = call.body.to_string().into_bytes();
    let answer = respond(&options, "POST", call.host, call.path, Some(demo), &body).unwrap();
    let mut at = answer.head_after.as_nanos() as u64;
    let times: Vec<u64> = answer
        .parts
        .iter()
        .map(|part| {
            at += part.after.as_nanos() as u64;
            at
        })
        .collect();
    let exchange = Exchange {
        method: "POST".into(),
        path: call.path.into(),
        host: call.host.into(),
        request_headers: vec![("content-type".into(), "application/json".into())],
        request_body: body,
        status: answer.status,
        response_headers: answer.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        response_body: answer.parts.iter().map(|part| part.bytes.to_vec()).collect(),
        times: times.clone(),
    };
    let report = play(&exchange, &mut Worker::new(Config::default()));
    (serde_json::from_str(&report.record.to_json()).unwrap(), times)
}

#[test]
fn every_format_gives_its_api_model_tokens_and_end() {
    for stream in [true, false] {
        for call in calls(stream) {
            let (record, _) = record(&call, "tokens=30,prompt=2000,reasoning=0");
            let name = format!("{} {} stream={stream}: {record}", call.api, call.host);
            assert_eq!(record["api"], call.api, "{name}");
            assert_eq!(record["request_model"], call.model, "{name}");
            assert_eq!(record["ended"], "complete", "{name}");
            assert_eq!(record["stream"], stream, "{name}");
            assert_eq!(record["usage"]["source"], "reported", "{name}");
            assert_eq!(record["usage"]["input"], 2000, "{name}");
            assert_eq!(record["usage"]["output"], 30, "{name}");
            assert_eq!(record["unread"], 0, "{name}");
        }
    }
}

#[test]
fn the_first_token_comes_when_it_came() {
    for call in calls(true) {
        let (record, times) = record(&call, "speed=1,prefill=250,gap=20,tokens=30,reasoning=0");
        let name = format!("{} {}: {record}", call.api, call.host);
        let time = |key: &str| record["time"][key].as_f64().unwrap_or_else(|| panic!("{key} of {name}"));
        // Who sends tokens one by one sends the first 20 ms after the prefill; who sends them by the handful a bit later.
        let first = time("first_token_ms");
        assert!(times.contains(&((first * 1e6) as u64)) && (270.0..=250.0 + 16.0 * 20.0).contains(&first), "{name}");
        assert_eq!(first, time("first_text_ms"), "{name}");
        assert_eq!(time("last_token_ms"), 250.0 + 30.0 * 20.0, "{name}");
    }
}

#[test]
fn what_breaks_off_is_told_apart_from_what_is_complete() {
    let mut wrong = Vec::new();
    for call in calls(true) {
        for (end, ended) in [("error", "error"), ("cut", "truncated")] {
            let (record, _) = record(&call, &format!("tokens=40,reasoning=0,end={end}"));
            if record["ended"] != ended {
                wrong.push(format!("{} {} end={end}: {record}", call.api, call.host));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_is_an_error_without_tokens() {
    for call in calls(true) {
        let (record, _) = record(&call, "status=429");
        assert_eq!((&record["ended"], &record["status"]), (&json!("error"), &json!(429)), "{record}");
        assert_eq!(record["usage"]["source"], "none", "{record}");
    }
}
