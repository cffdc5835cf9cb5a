//! The embedded upstream's answers, read by other means than its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_smithy_eventstream::frame::read_message_from;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;
use serde_json::{Value, json};
use weirctl::upstream::answer::{Answer, Last};
use weirctl::upstream::{Options, Upstream, respond};

/// A wire format: where to ask, and where its facts stand.
struct Format {
    name: &'static str,
    /// The path of a streamed and of a whole call.
    paths: [&'static str; 2],
    body: Value,
    /// Where text stands in an event and in a document.
    text: [&'static str; 2],
    /// Where reasoning stands there, if it is shown.
    thinking: [&'static str; 2],
    /// Where arguments of a tool call stand there.
    arguments: [&'static str; 2],
    /// Where the counts of input and output stand, in any of its events or in the document; cached input is added if it
    /// stands apart.
    counts: [&'static [&'static str]; 2],
    /// What only the end of a whole stream has in it.
    terminal: &'static str,
    /// What an error in a stream has in it.
    error: &'static str,
}

const NOWHERE: [&str; 2] = ["/no", "/no"];

fn formats() -> Vec<Format> {
    let messages = json!([{"role": "user", "content": "Is a weir a dam?"}]);
    let converse = json!([{"role": "user", "content": [{"text": "Is a weir a dam?"}]}]);
    let chat = |name, model: &str, path: &'static str, thinking| Format {
        name,
        paths: [path; 2],
        body: json!({"model": model, "messages": messages, "stream_options": {"include_usage": true}}),
        text: ["/choices/0/delta/content", "/choices/0/message/content"],
        thinking,
        arguments: [
            "/choices/0/delta/tool_calls/0/function/arguments",
            "/choices/0/message/tool_calls/0/function/arguments",
        ],
        counts: [&["/usage/prompt_tokens"], &["/usage/completion_tokens"]],
        terminal: "\"finish_reason\":\"",
        error: "\"error\":{",
    };
    let invoke = |name, paths, body, text, counts, terminal| Format {
        name,
        paths,
        body,
        text,
        thinking: NOWHERE,
        arguments: NOWHERE,
        counts,
        terminal,
        error: "modelStreamErrorException",
    };
    let reasoning = ["/choices/0/delta/reasoning_content", "/choices/0/message/reasoning_content"];
    vec![
        chat("openai", "gpt-4o-mini", "/v1/chat/completions", NOWHERE),
        chat("mistral", "mistral-small-latest", "/v1/chat/completions", NOWHERE),
        chat("deepseek", "deepseek-chat", "/chat/completions", reasoning),
        chat("vllm", "meta-llama/Llama-3.1-8B-Instruct", "/v1/chat/completions", reasoning),
        chat("azure", "", "/openai/deployments/gpt-4o/chat/completions", NOWHERE),
        chat("perplexity", "sonar", "/chat/completions", NOWHERE),
        Format {
            name: "completions",
            paths: ["/v1/completions"; 2],
            body: json!({"model": "gpt-3.5-turbo-instruct", "prompt": "A weir", "stream_options": {"include_usage": true}}),
            text: ["/choices/0/text", "/choices/0/text"],
            thinking: NOWHERE,
            arguments: ["/choices/0/text", "/choices/0/text"],
            counts: [&["/usage/prompt_tokens"], &["/usage/completion_tokens"]],
            terminal: "[DONE]",
            error: "\"error\":{",
        },
        Format {
            name: "responses",
            paths: ["/v1/responses"; 2],
            body: json!({"model": "gpt-4o", "input": "Is a weir a dam?", "reasoning": {"summary": "auto"}}),
            text: ["@response.output_text.delta/delta", "@message/content/0/text"],
            thinking: ["@response.reasoning_summary_text.delta/delta", "@reasoning/summary/0/text"],
            arguments: ["@response.function_call_arguments.delta/delta", "@function_call/arguments"],
            counts: [
                &["/usage/input_tokens", "/response/usage/input_tokens"],
                &["/usage/output_tokens", "/response/usage/output_tokens"],
            ],
            terminal: "response.completed",
            error: "response.failed",
        },
        Format {
            name: "anthropic",
            paths: ["/v1/messages"; 2],
            body: json!({"model": "claude-sonnet-4-5", "max_tokens": 900, "messages": messages}),
            text: ["/delta/text", "@text/text"],
            thinking: ["/delta/thinking", "@thinking/thinking"],
            arguments: ["/delta/partial_json", "@tool_use/input"],
            counts: [&["/usage/input_tokens", "/usage/cache_read_input_tokens"], &["/usage/output_tokens"]],
            terminal: "message_stop",
            error: "overloaded_error",
        },
        Format {
            name: "gemini",
            paths: [
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                "/v1beta/models/gemini-2.5-flash:generateContent",
            ],
            body: json!({"contents": [{"role": "user", "parts": [{"text": "Is a weir a dam?"}]}],
                "generationConfig": {"thinkingConfig": {"includeThoughts": true}}}),
            text: ["@said/text"; 2],
            thinking: ["@thought/text"; 2],
            arguments: ["@said/functionCall/args"; 2],
            counts: [
                &["/usageMetadata/promptTokenCount"],
                &["/usageMetadata/candidatesTokenCount", "/usageMetadata/thoughtsTokenCount"],
            ],
            terminal: "finishReason",
            error: "UNAVAILABLE",
        },
        Format {
            name: "gemini array",
            paths: [
                "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
                "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent",
            ],
            body: json!({"contents": [{"role": "user", "parts": [{"text": "Is a weir a dam?"}]}]}),
            text: ["@said/text"; 2],
            thinking: NOWHERE,
            arguments: ["@said/functionCall/args"; 2],
            counts: [
                &["/usageMetadata/promptTokenCount"],
                &["/usageMetadata/candidatesTokenCount", "/usageMetadata/thoughtsTokenCount"],
            ],
            terminal: "finishReason",
            error: "UNAVAILABLE",
        },
        Format {
            name: "converse",
            paths: ["/model/anthropic.claude-v3%3A0/converse-stream", "/model/anthropic.claude-v3%3A0/converse"],
            body: json!({"messages": converse}),
            text: ["/delta/text", "/output/message/content/*/text"],
            thinking: ["/delta/reasoningContent/text", "/output/message/content/*/reasoningContent/reasoningText/text"],
            arguments: ["/delta/toolUse/input", "/output/message/content/*/toolUse/input"],
            counts: [&["/usage/inputTokens", "/usage/cacheReadInputTokens"], &["/usage/outputTokens"]],
            terminal: "messageStop",
            error: "modelStreamErrorException",
        },
        Format {
            name: "invoke anthropic",
            thinking: ["/delta/thinking", "@thinking/thinking"],
            arguments: ["/delta/partial_json", "@tool_use/input"],
            ..invoke(
                "",
                ["/model/us.anthropic.claude/invoke-with-response-stream", "/model/us.anthropic.claude/invoke"],
                json!({"messages": messages, "max_tokens": 900}),
                ["/delta/text", "@text/text"],
                [&["/usage/input_tokens", "/usage/cache_read_input_tokens"], &["/usage/output_tokens"]],
                "invocationMetrics",
            )
        },
        invoke(
            "invoke nova",
            ["/model/amazon.nova-micro-v1%3A0/invoke-with-response-stream", "/model/amazon.nova-micro-v1%3A0/invoke"],
            json!({"messages": converse}),
            ["/contentBlockDelta/delta/text", "/output/message/content/*/text"],
            [
                &[
                    "/metadata/usage/inputTokens",
                    "/metadata/usage/cacheReadInputTokenCount",
                    "/usage/inputTokens",
                    "/usage/cacheReadInputTokenCount",
                ],
                &["/metadata/usage/outputTokens", "/usage/outputTokens"],
            ],
            "invocationMetrics",
        ),
        invoke(
            "invoke titan",
            ["/model/amazon.titan-text-lite-v1/invoke-with-response-stream", "/model/amazon.titan-text-lite-v1/invoke"],
            json!({"inputText": "Is a weir a dam?"}),
            ["/outputText", "/results/0/outputText"],
            [&["/inputTextTokenCount"], &["/totalOutputTextTokenCount", "/results/0/tokenCount"]],
            "invocationMetrics",
        ),
        invoke(
            "invoke llama",
            ["/model/meta.llama3-8b/invoke-with-response-stream", "/model/meta.llama3-8b/invoke"],
            json!({"prompt": "Is a weir a dam?"}),
            ["/generation", "/generation"],
            [&["/prompt_token_count"], &["/generation_token_count"]],
            "invocationMetrics",
        ),
        Format {
            name: "cohere v2",
            paths: ["/v2/chat"; 2],
            body: json!({"model": "command-a-03-2025", "messages": messages}),
            text: ["/delta/message/content/text", "/message/content/*/text"],
            thinking: ["/delta/message/content/thinking", "/message/content/*/thinking"],
            arguments: ["/delta/message/tool_calls/function/arguments", "/message/tool_calls/0/function/arguments"],
            counts: [
                &["/usage/tokens/input_tokens", "/delta/usage/tokens/input_tokens"],
                &["/usage/tokens/output_tokens", "/delta/usage/tokens/output_tokens"],
            ],
            terminal: "message-end",
            error: "\"finish_reason\":\"ERROR\"",
        },
        Format {
            name: "cohere v1",
            paths: ["/v1/chat"; 2],
            body: json!({"model": "command", "message": "Is a weir a dam?"}),
            text: ["@text-generation/text", "/text"],
            thinking: NOWHERE,
            arguments: NOWHERE,
            counts: [
                &["/meta/tokens/input_tokens", "/response/meta/tokens/input_tokens"],
                &["/meta/tokens/output_tokens", "/response/meta/tokens/output_tokens"],
            ],
            terminal: "stream-end",
            error: "\"finish_reason\":\"ERROR\"",
        },
        Format {
            name: "ollama chat",
            paths: ["/api/chat"; 2],
            body: json!({"model": "llama3.2", "messages": messages}),
            text: ["/message/content", "/message/content"],
            thinking: ["/message/thinking"; 2],
            arguments: ["/message/tool_calls/0/function/arguments"; 2],
            counts: [&["/prompt_eval_count"], &["/eval_count"]],
            terminal: "\"done\":true",
            error: "{\"error\":",
        },
        Format {
            name: "ollama generate",
            paths: ["/api/generate"; 2],
            body: json!({"model": "llama3.2", "prompt": "Is a weir a dam?"}),
            text: ["/response"; 2],
            thinking: ["/thinking"; 2],
            arguments: NOWHERE,
            counts: [&["/prompt_eval_count"], &["/eval_count"]],
            terminal: "\"done\":true",
            error: "{\"error\":",
        },
    ]
}

fn options() -> Options {
    Options { seed: 1, at_once: true, created: Some(1_800_000_000), ..Options::default() }
}

impl Format {
    fn ask(&self, stream: bool, demo: &str) -> Answer {
        let mut body = self.body.clone();
        let by_path = self.paths[0] != self.paths[1];
        if !by_path {
            body["stream"] = json!(stream);
        }
        let path = self.paths[usize::from(!stream)];
        respond(&options(), "POST", "127.0.0.1", path, Some(demo), body.to_string().as_bytes()).unwrap()
    }

    /// All strings and objects at one of the places, put together. `*` stands for any place of a list; `@word` in front
    /// for what has that type, wherever it is.
    fn gather(&self, documents: &[Value], places: [&str; 2], stream: bool) -> String {
        let place = places[usize::from(!stream)];
        let mut found = Vec::new();
        match place.strip_prefix('@') {
            Some(rest) => {
                let (word, path) = rest.split_once('/').unwrap();
                documents.iter().for_each(|document| typed(document, word, path, &mut found));
            }
            None => documents.iter().for_each(|document| at(document, place.trim_start_matches('/'), &mut found)),
        }
        found
            .into_iter()
            .map(|value| match value {
                Value::String(text) => text,
                other => other.to_string(),
            })
            .filter(|text| text != "null" && text != "{}")
            .collect()
    }

    /// The sums of what stands last at each place.
    fn counts(&self, documents: &[Value]) -> [u64; 2] {
        self.counts.map(|places| {
            let last = |place: &&str| documents.iter().rev().find_map(|document| document.pointer(place)?.as_u64());
            // Titan and Llama tell the prompt's count first and null later; the rest repeat themselves.
            places.iter().filter_map(last).sum()
        })
    }
}

fn at(value: &Value, path: &str, found: &mut Vec<Value>) {
    let (key, rest) = path.split_once('/').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let next: Vec<&Value> = match (key, value) {
        ("*", Value::Array(items)) => items.iter().collect(),
        _ => value.pointer(&format!("/{key}")).into_iter().collect(),
    };
    for value in next {
        match rest {
            Some(rest) => at(value, rest, found),
            None => found.push(value.clone()),
        }
    }
}

fn typed(value: &Value, word: &str, path: &str, found: &mut Vec<Value>) {
    let is = match word {
        "said" => value.is_object() && value.get("thought").is_none(),
        "thought" => value["thought"] == true,
        _ => value["type"] == word || value["event_type"] == word,
    };
    if is {
        at(value, path, found);
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| typed(item, word, path, found)),
        // Responses repeats its whole output in its last event.
        Value::Object(entries) => entries
            .iter()
            .filter(|(key, _)| *key != "response" && *key != "item" && *key != "content_block")
            .for_each(|(_, item)| typed(item, word, path, found)),
        _ => {}
    }
}

/// The JSON documents of a body, whatever frames them.
fn documents(answer: &Answer) -> Vec<Value> {
    let body = answer.body();
    let content_type = &answer.headers.iter().find(|(name, _)| *name == "content-type").unwrap().1;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if content_type.contains("vnd.amazon.eventstream") {
        let mut rest = &body[..];
        let mut documents = Vec::new();
        while rest.has_remaining() {
            let message = read_message_from(&mut rest).expect("a frame with right checksums");
            let mut document = json(std::str::from_utf8(message.payload()).unwrap());
            if let Some(bytes) = document["bytes"].as_str() {
                document = json(std::str::from_utf8(&STANDARD.decode(bytes).unwrap()).unwrap());
            }
            documents.push(document);
        }
        return documents;
    }
    let text = String::from_utf8(body).unwrap();
    if content_type.contains("event-stream") {
        let text = text.replace("\r\n", "\n");
        let data = text.split("\n\n").filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
        return data.filter(|data| *data != "[DONE]").map(json).collect();
    }
    if content_type.contains("ndjson") || content_type.contains("stream+json") {
        return text.lines().map(json).collect();
    }
    match json(&text) {
        Value::Array(items) => items,
        document => vec![document],
    }
}

#[test]
fn a_streamed_answer_says_what_the_whole_one_says() {
    for format in formats() {
        for demo in ["seed=5,tokens=30,prompt=2000,cached=512,reasoning=9", "seed=6,tools=1,reasoning=0,prompt=50"] {
            let [stream, whole] = [true, false].map(|stream| {
                let answer = format.ask(stream, demo);
                assert_eq!((answer.status, answer.last), (200, Last::End), "{}", format.name);
                let documents = documents(&answer);
                let said = |places| format.gather(&documents, places, stream);
                // Objects and strings of arguments differ in their spaces only.
                let arguments = serde_json::from_str::<Value>(&said(format.arguments)).unwrap_or_default();
                (said(format.text), said(format.thinking), arguments, format.counts(&documents))
            });
            let (text, thinking, arguments, [input, output]) = stream.clone();
            assert_eq!(stream, whole, "{} {demo}", format.name);
            if demo.contains("tools") {
                let hidden = format.arguments == NOWHERE || format.name == "completions";
                assert!(hidden || arguments["city"] == "Reykjavík", "{}: {arguments}", format.name);
            } else {
                assert!(text.split(' ').count() > 15, "{}: {text}", format.name);
                assert_eq!(thinking.is_empty(), format.thinking == NOWHERE, "{}: {thinking}", format.name);
                assert_eq!((input, output), (2000, 39), "{}", format.name);
            }
        }
    }
}

#[test]
fn only_a_complete_stream_has_its_formats_end() {
    for format in formats() {
        for (demo, last) in [("end=cut", Last::End), ("end=reset", Last::Reset), ("end=hang", Last::Hang)] {
            let answer = format.ask(true, &format!("tokens=40,reasoning=0,{demo}"));
            let body = String::from_utf8_lossy(&answer.body()).into_owned();
            assert_eq!(answer.last, last, "{}", format.name);
            assert!(!body.contains(format.terminal), "{} {demo}: {body}", format.name);
            assert!(!answer.parts.is_empty(), "{} {demo}", format.name);
        }
        let answer = format.ask(true, "tokens=40");
        let all: String = match format.terminal {
            "invocationMetrics" => documents(&answer).iter().map(Value::to_string).collect(),
            _ => String::from_utf8_lossy(&answer.body()).into_owned(),
        };
        assert!(all.contains(format.terminal), "{}: {all}", format.name);
    }
}

#[test]
fn an_error_comes_in_the_providers_own_words() {
    for format in formats() {
        let stream = format.ask(true, "tokens=40,end=error");
        let body = String::from_utf8_lossy(&stream.body()).into_owned();
        assert_eq!(stream.status, 200, "{}", format.name);
        assert!(body.contains(format.error), "{}: {body}", format.name);
        assert_eq!(format.ask(false, "end=error").status, 500, "{}", format.name);
        let refused = format.ask(true, "status=429");
        assert_eq!(refused.status, 429, "{}", format.name);
        assert!(refused.headers.iter().any(|(name, _)| *name == "retry-after"));
        assert!(documents(&refused)[0].is_object());
    }
}

#[test]
fn the_same_request_gives_the_same_bytes_and_another_seed_others() {
    for format in formats() {
        for stream in [true, false] {
            let body = |demo| format.ask(stream, demo).body();
            assert_eq!(body("tokens=20"), body("tokens=20"), "{}", format.name);
            assert_ne!(body("tokens=20,seed=1"), body("tokens=20,seed=2"), "{}", format.name);
        }
    }
}

#[test]
fn times_are_as_they_are_steered() {
    for format in formats() {
        let answer = format.ask(true, "speed=1,prefill=300,gap=20,stall=900,tokens=10,reasoning=0");
        let body: Duration = answer.parts.iter().map(|part| part.after).sum();
        // OpenRouter and others may let bytes go earlier, but never a token.
        assert_eq!(answer.head_after + body, Duration::from_millis(300 + 10 * 20 + 900), "{}", format.name);
        let whole = format.ask(false, "speed=1,prefill=300,gap=20,tokens=10,reasoning=0");
        assert_eq!(whole.head_after, Duration::from_millis(500), "{}", format.name);
        let at_once = format.ask(true, "tokens=10");
        assert!(
            at_once.parts.iter().all(|part| part.after.is_zero()) && at_once.head_after.is_zero(),
            "{}",
            format.name
        );
    }
}

#[test]
fn cutting_and_compressing_change_no_byte_of_what_is_read() {
    for format in formats() {
        let plain = format.ask(true, "seed=3,tokens=12").body();
        let cut = format.ask(true, "seed=3,tokens=12,chunk=7");
        assert!(cut.parts.iter().all(|part| part.bytes.len() <= 7));
        assert_eq!(cut.body(), plain, "{}", format.name);
        for encoding in ["gzip", "deflate"] {
            let packed = format.ask(true, &format!("seed=3,tokens=12,encoding={encoding}"));
            assert!(packed.headers.contains(&("content-encoding", encoding.into())), "{}", format.name);
            let mut read = Vec::new();
            match encoding {
                "gzip" => flate2::read::GzDecoder::new(&packed.body()[..]).read_to_end(&mut read).unwrap(),
                _ => flate2::read::ZlibDecoder::new(&packed.body()[..]).read_to_end(&mut read).unwrap(),
            };
            assert_eq!(read, plain, "{} {encoding}", format.name);
        }
    }
}

#[test]
fn a_header_that_is_not_understood_is_refused() {
    let answer = respond(&options(), "POST", "x", "/v1/chat/completions", Some("tokns=3"), b"{}");
    assert!(answer.unwrap_err().contains("tokns"));
}

#[test]
fn over_a_socket_the_bytes_come_as_they_were_made_and_a_reset_cuts_them() {
    let upstream = Upstream::start("127.0.0.1:0".parse().unwrap(), options()).unwrap();
    let ask = |demo: &str| {
        let body = r#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
        let mut connection = TcpStream::connect(upstream.address()).unwrap();
        write!(
            connection,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-demo: {demo}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut text = Vec::new();
        // A reset may show as an end or as an error; both are one.
        let _ = connection.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    let whole = ask("tokens=5");
    assert!(whole.starts_with("HTTP/1.1 200 OK") && whole.contains("data: [DONE]") && whole.ends_with("\r\n0\r\n\r\n"));
    let broken = ask("tokens=20,end=reset");
    assert!(broken.contains("chat.completion.chunk") && !broken.ends_with("\r\n0\r\n\r\n"), "{broken}");
    let bad = ask("nonsense");
    assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("nonsense"), "{bad}");
}
