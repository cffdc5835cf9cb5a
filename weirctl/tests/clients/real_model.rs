//! A real model server through a real Envoy: the record says what the server itself counted and timed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use crate::support::http::{eventually, post};
use crate::support::llama::Llama;
use serde_json::{Value, json};
use tempfile::TempDir;
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};

const PROMPT: &str = "Name three rivers in Europe.";

struct Bench {
    llama: Llama,
    envoy: Envoy,
    log: PathBuf,
    _dir: TempDir,
}

impl Bench {
    fn start() -> Option<Self> {
        let llama = Llama::start()?;
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.jsonl");
        let envoy = Envoy::start(&Bootstrap {
            filters: vec![WeirFilter::new(&wasm::build().unwrap()).to_json()],
            routes: vec![Route::all("llama", "llama")],
            clusters: vec![Cluster::plain("llama", llama.address())],
            access_log: Some(AccessLog::Records(log.clone())),
            ..Bootstrap::default()
        })
        .unwrap();
        Some(Self { llama, envoy, log, _dir: dir })
    }

    /// The records so far.
    fn records(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Makes a call; gives the documents of its answer and its record.
    fn call(&self, path: &str, body: &Value) -> (Vec<Value>, Value) {
        let before = self.records().len();
        let (status, answer) = post(self.envoy.address(), path, &[], body);
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(status, 200, "{answer}");
        let record = eventually("the record", || self.records().get(before).cloned());
        let events =
            answer.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line)).ok());
        (events.collect(), record)
    }
}

fn chat(stream: bool) -> Value {
    let mut body = json!({"model": "smollm2", "temperature": 0, "max_tokens": 24, "stream": stream,
        "messages": [{"role": "user", "content": PROMPT}]});
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

#[test]
fn the_record_says_what_the_server_counted_and_timed() {
    let Some(bench) = Bench::start() else { return };
    let (prompt, predicted) = ("prompt_tokens_total", "tokens_predicted_total");
    let before = (bench.llama.counter(prompt), bench.llama.counter(predicted));
    let mut counted = (0, 0);

    for stream in [true, false] {
        let (documents, record) = bench.call("/v1/chat/completions", &chat(stream));
        let last = documents.iter().rfind(|document| document["usage"].is_object()).expect("the server reports usage");
        let (usage, timings) = (&last["usage"], &last["timings"]);
        assert_eq!(record["api"], "openai.chat_completions");
        assert_eq!((&record["ended"], &record["stream"]), (&json!("complete"), &json!(stream)), "{record}");
        assert_eq!(record["response_model"], last["model"]);
        assert_eq!(record["usage"]["source"], "reported");
        assert_eq!(record["usage"]["input"], usage["prompt_tokens"]);
        assert_eq!(record["usage"]["output"], usage["completion_tokens"]);
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default();
        assert_eq!(record["usage"]["cache_read"].as_u64().unwrap_or_default(), cached);
        for (ours, theirs) in [("prompt_ms", "prompt_ms"), ("decode_ms", "predicted_ms")] {
            let (ours, theirs) = (&record["time"]["server"][ours], &timings[theirs]);
            assert!((ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() < 0.001, "{record}: {timings}");
        }
        // What happens within the server happens within the call.
        let time = |path: &str| record["time"].pointer(path).and_then(Value::as_f64).unwrap();
        assert!(time("/server/prompt_ms") + time("/server/decode_ms") <= time("/total_ms") + 1.0, "{record}");
        if stream {
            assert!(time("/server/prompt_ms") <= time("/first_token_ms"), "{record}");
        }
        counted.0 += usage["prompt_tokens"].as_u64().unwrap() - cached;
        counted.1 += usage["completion_tokens"].as_u64().unwrap();
    }
    let after = (bench.llama.counter(prompt), bench.llama.counter(predicted));
    assert_eq!((after.0 - before.0, after.1 - before.1), counted, "the server's own counters agree");
}

#[test]
fn its_three_formats_agree_on_what_a_prompt_costs() {
    let Some(bench) = Bench::start() else { return };
    let (_, chat) = bench.call("/v1/chat/completions", &chat(true));
    let message = json!({"model": "smollm2", "temperature": 0, "max_tokens": 24, "stream": true,
        "messages": [{"role": "user", "content": PROMPT}]});
    let (_, message) = bench.call("/v1/messages", &message);
    let response =
        json!({"model": "smollm2", "temperature": 0, "max_output_tokens": 24, "stream": true, "input": PROMPT});
    let (_, response) = bench.call("/v1/responses", &response);
    let apis = ["openai.chat_completions", "anthropic.messages", "openai.responses"];
    for (record, api) in [&chat, &message, &response].into_iter().zip(apis) {
        assert_eq!((&record["api"], &record["ended"]), (&json!(api), &json!("complete")), "{record}");
        // The same template and prompt. Anthropic's format counts the cached part beside the input, OpenAI's within.
        assert_eq!(record["usage"]["input"], chat["usage"]["input"], "{record}");
        assert!(record["usage"]["output"].as_u64().unwrap() > 0, "{record}");
    }
    assert!(message["usage"]["cache_read"].as_u64().unwrap() > 0, "the prompt was cached by then: {message}");
}

#[test]
fn a_client_that_leaves_is_seen_by_the_record_and_frees_the_server() {
    let Some(bench) = Bench::start() else { return };
    let mut body = chat(true);
    body["max_tokens"] = json!(64);
    let body = body.to_string();
    let mut socket = TcpStream::connect(bench.envoy.address()).unwrap();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut seen = String::new();
    while seen.matches("data: ").count() < 4 {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).unwrap();
        assert!(read > 0, "the server ended first: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    drop(socket);
    let record = eventually("the record", || bench.records().first().cloned());
    assert_eq!(record["ended"], "client_abort", "{record}");
    assert_eq!(record["usage"]["source"], "estimated", "no usage had come yet: {record}");
    assert!(record["time"]["first_token_ms"].is_number(), "{record}");
}
