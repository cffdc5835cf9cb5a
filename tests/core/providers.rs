//! What providers send besides what their documents say, each after a public report of it: what of it reaches the record, whole
//! and at every split.

use serde_json::{Value, json};
use weir::api::Api;
use weir::wire::body::{Body, BodyHead};
use weir::wire::calls::Calls;
use weir::wire::dialects;

use super::support::{Call, every_split};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";
const CHAT: &str = "/v1/chat/completions";
const ASKS: &str = r#"{"model":"asked","stream":true}"#;

/// Plays an answer at every split, and looks for what has to be in its record; a `null` must not be there.
fn holds(name: &str, call: &Call, answer: &str, expected: &Value) {
    for pieces in every_split(answer.as_bytes()) {
        let facts = call.answered(pieces.iter().copied()).facts();
        compare(name, expected, &facts);
    }
}

fn compare(name: &str, expected: &Value, got: &Value) {
    for (key, wanted) in expected.as_object().unwrap() {
        match wanted {
            Value::Object(_) => compare(&format!("{name}: {key}"), wanted, &got[key]),
            _ => assert_eq!(&got[key], wanted, "{name}: {key} of {got}"),
        }
    }
}

fn call(host: &'static str, path: &'static str, request: &str, content_type: &'static str) -> Call {
    Call {
        host,
        path,
        request: request.to_owned(),
        response_headers: vec![("content-type", content_type)],
        ..Call::default()
    }
}

fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

#[test]
fn reasoning_is_part_of_the_output_whoever_counts_it_beside() {
    for (name, host, usage, output) in [
        (
            "within",
            "up",
            r#"{"prompt_tokens":10,"completion_tokens":9,"total_tokens":19,"completion_tokens_details":{"reasoning_tokens":4}}"#,
            9,
        ),
        (
            "the total tells",
            "up",
            r#"{"prompt_tokens":10,"completion_tokens":9,"total_tokens":23,"completion_tokens_details":{"reasoning_tokens":4}}"#,
            13,
        ),
        (
            "more than all output",
            "up",
            r#"{"prompt_tokens":10,"completion_tokens":9,"total_tokens":19,"reasoning_tokens":50}"#,
            59,
        ),
        (
            "no total, and its host is known",
            "api.x.ai",
            r#"{"prompt_tokens":10,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4}}"#,
            13,
        ),
        (
            "no total, and its host is not known",
            "up",
            r#"{"prompt_tokens":10,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4}}"#,
            9,
        ),
        (
            "a total that leaves it out, and its host is known",
            "api.perplexity.ai",
            r#"{"prompt_tokens":10,"completion_tokens":9,"total_tokens":19,"reasoning_tokens":4}"#,
            13,
        ),
    ] {
        let answer =
            format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage}}}"#);
        let facts = call(host, CHAT, "{}", JSON).answered([answer.as_bytes()]).facts();
        assert_eq!(facts["usage"]["output"], json!(output), "{name}: {facts}");
    }
    for (name, usage, output) in [
        (
            "apart, as Gemini counts",
            r#"{"promptTokenCount":10,"candidatesTokenCount":9,"thoughtsTokenCount":4,"totalTokenCount":23}"#,
            13,
        ),
        (
            "within, as the total tells",
            r#"{"promptTokenCount":10,"candidatesTokenCount":9,"thoughtsTokenCount":4,"totalTokenCount":19}"#,
            9,
        ),
    ] {
        let answer = format!(r#"{{"candidates":[{{"finishReason":"STOP"}}],"usageMetadata":{usage}}}"#);
        let facts = call("up", "/v1beta/models/m:generateContent", "{}", JSON).answered([answer.as_bytes()]).facts();
        assert_eq!(facts["usage"]["output"], json!(output), "{name}: {facts}");
    }
}

#[test]
fn counts_are_found_under_every_name_and_in_every_place() {
    let chat = |usage: &str| {
        format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage}}}"#)
    };
    let cases = [
        ("gateways: Anthropic's names", CHAT, chat(r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"cache_creation_input_tokens":4,"cache_read_input_tokens":3}"#), json!({"cache_write": 4, "cache_read": 3, "input": 9})),
        ("gateways: in the details", CHAT, chat(r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3,"cache_creation_tokens":4},"cache_read_input_tokens":0}"#), json!({"cache_write": 4, "cache_read": 3})),
        ("DashScope", CHAT, chat(r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_input_tokens":5}}"#), json!({"cache_write": 5, "cache_read": 0})),
        ("in a choice", CHAT, r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop","usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"cached_tokens":1}}]}"#.to_owned(), json!({"input": 7, "output": 2, "cache_read": 1, "total": 9})),
        ("embeddings: a total alone", "/v1/embeddings", r#"{"data":[],"usage":{"total_tokens":5}}"#.to_owned(), json!({"input": 5, "total": 5, "output": null})),
        ("embeddings: Vertex counts each", "/v1/projects/p/locations/l/publishers/google/models/text-embedding-5:predict", r#"{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":4}}},{"embeddings":{"statistics":{"token_count":2},"values":[1]}}]}"#.to_owned(), json!({"input": 6})),
        ("embeddings: watsonx", "/ml/v1/text/embeddings", r#"{"model_id":"m","results":[{"embedding":[1]}],"input_token_count":8}"#.to_owned(), json!({"input": 8})),
        ("Bedrock's details", "/model/openai.gpt-oss/invoke", r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}}"#.to_owned(), json!({"input": 9, "output": 6, "reasoning": 2})),
        ("Cohere's reasoning", "/v2/chat", r#"{"message":{"content":[]},"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":3,"output_tokens":9,"reasoning_tokens":5}}}"#.to_owned(), json!({"input": 3, "output": 9, "reasoning": 5})),
    ];
    for (name, path, answer, usage) in cases {
        holds(name, &call("up", path, "{}", JSON), &answer, &json!({"usage": usage, "ended": "complete", "unread": 0}));
    }
}

#[test]
fn what_is_billed_stands_beside_what_was_read_and_written_and_is_what_a_call_costs() {
    let answer = r#"{"finish_reason":"COMPLETE","message":{"content":[]},"usage":{"billed_units":{"input_tokens":2,"output_tokens":3},"tokens":{"input_tokens":700,"output_tokens":9}}}"#;
    let config = r#"{"prices":[{"models":["*"],"per_million":{"input":"1","output":"10"}}]}"#;
    let call = Call { config, ..call("up", "/v2/chat", r#"{"model":"m"}"#, JSON) };
    let expected = json!({
        "usage": {"input": 700, "output": 9, "total": 709, "billed": {"input": 2, "output": 3}},
        "cost": {"total": 32_000, "input": 2_000, "output": 30_000},
    });
    holds("Cohere", &call, answer, &expected);
    let facts =
        call.answered([&br#"{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":2}}}"#[..]]).facts();
    assert_eq!(
        facts["usage"],
        json!({"source": "reported", "input": 2, "billed": {"input": 2}}),
        "nothing else was told"
    );
}

#[test]
fn the_body_tells_what_came_not_what_was_asked_for() {
    let whole = r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"Hello","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    let facts = |stream: bool| {
        json!({"stream": stream, "ended": "complete", "finish_reasons": ["tool_calls"], "tools": ["f"], "unread": 0,
        "usage": {"source": "reported", "input": 1, "output": 2, "total": 3}})
    };
    let chunks = sse(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":9,"total_tokens":17}}"#,
        "[DONE]",
    ]);
    for (name, content_type, answer, expected) in [
        ("a document for a stream", JSON, whole.to_owned(), facts(false)),
        ("a document that says it is events", SSE, whole.to_owned(), facts(false)),
        ("a document over several lines", SSE, serde_json::to_string_pretty(&serde_json::from_str::<Value>(whole).unwrap()).unwrap(), facts(false)),
        ("a document, and then the end", SSE, format!("{whole}\n\ndata: [DONE]\n\n"), facts(true)),
        ("a document in an event", SSE, sse(&[whole, "[DONE]"]), facts(true)),
        ("chunks that are lines", JSON, "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n".to_owned(), json!({"stream": true, "ended": "complete", "events": 2})),
        ("a document, and then events", JSON, format!("{{\"choices\":[]}}{chunks}"), json!({"stream": true, "ended": "complete", "finish_reasons": ["stop"], "usage": {"input": 8, "output": 9}, "unread": 0})),
        ("events, and then an error without its field", SSE, format!("{}{{\"error\":{{\"type\":\"overloaded\"}}}}\n\n", sse(&[r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#])), json!({"ended": "error", "error_type": "overloaded", "unread": 0})),
        ("events that are told as a document", JSON, chunks.clone(), json!({"stream": true, "usage": {"output": 9}})),
    ] {
        holds(name, &call("up", CHAT, ASKS, content_type), &answer, &expected);
    }
    let message = r#"{"type":"message","id":"m","model":"c","content":[{"type":"tool_use","name":"f","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
    for (name, content_type, answer, stream) in [
        ("a message for a stream", JSON, message.to_owned(), false),
        ("a message in an event", SSE, sse(&[message]), true),
    ] {
        let expected = json!({"stream": stream, "ended": "complete", "tools": ["f"], "usage": {"output": 2}});
        holds(name, &call("up", "/v1/messages", ASKS, content_type), &answer, &expected);
    }
}

#[test]
fn all_documents_of_an_event_are_read() {
    let last = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    for (name, answer, unread) in [
        ("lines", format!("data: {last}\ndata: {usage}\ndata: [DONE]\n\n"), 0),
        ("no event ever ends", format!("data: {last}\r\ndata: {usage}\r\ndata: [DONE]\r\n"), 0),
        ("behind a broken one", format!("data: {{\"choices\":[{{\ndata: {last}\ndata: {usage}\ndata: [DONE]\n\n"), 1),
        ("one behind the other", format!("data: {last} {usage}\n\ndata: [DONE]\n\n"), 0),
        (
            "one over several lines",
            format!("data: {}\n\ndata: {usage}\n\ndata: [DONE]\n\n", last.replace(":[", ":\ndata: [")),
            0,
        ),
    ] {
        let expected = json!({"ended": "complete", "finish_reasons": ["stop"], "unread": unread, "usage": {"source": "reported", "input": 1, "output": 2}});
        holds(name, &call("up", CHAT, ASKS, SSE), &answer, &expected);
    }
}

#[test]
fn errors_in_an_answer_of_status_200_are_errors_and_nothing_is_estimated() {
    let said = r#"{"choices":[{"index":0,"delta":{"content":"a long text that was said"}}]}"#;
    let request = r#"{"model":"m","stream":true,"messages":[{"content":"a prompt"}]}"#;
    for (name, path, content_type, answer, error) in [
        (
            "a status in the body",
            CHAT,
            JSON,
            r#"{"id":"x","choices":null,"base_resp":{"status_code":1008,"status_msg":"no"}}"#.to_owned(),
            "1008",
        ),
        ("a flat code", CHAT, JSON, r#"{"code":20012,"message":"no such model","data":null}"#.to_owned(), "20012"),
        (
            "a flat word",
            CHAT,
            JSON,
            r#"{"code":"InvalidApiKey","message":"x","request_id":"r"}"#.to_owned(),
            "InvalidApiKey",
        ),
        (
            "a flat type",
            CHAT,
            JSON,
            r#"{"object":"error","message":"x","type":"BadRequestError","code":400}"#.to_owned(),
            "BadRequestError",
        ),
        (
            "a field of its own",
            CHAT,
            SSE,
            "error: {\"code\":500,\"message\":\"x\",\"type\":\"server_error\"}\n\ndata: [DONE]\n\n".to_owned(),
            "server_error",
        ),
        (
            "the same in the event of the end",
            CHAT,
            SSE,
            "error: {\"code\":500,\"message\":\"x\",\"type\":\"server_error\"}\ndata: [DONE]\n\n".to_owned(),
            "server_error",
        ),
        (
            "an event of its name",
            CHAT,
            SSE,
            format!("{}event: error\ndata: {{\"type\":\"overloaded\",\"message\":\"x\"}}\n\n", sse(&[said])),
            "overloaded",
        ),
        (
            "in the middle",
            CHAT,
            SSE,
            sse(&[said, r#"{"error":{"type":"server_error","message":"x"}}"#]),
            "server_error",
        ),
        (
            "AWS has no such operation",
            "/model/m/converse",
            JSON,
            r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#.to_owned(),
            "UnknownOperationException",
        ),
    ] {
        let expected = json!({"ended": "error", "error_type": error, "status": 200, "usage": {"source": "none", "input": null, "output": null}});
        holds(name, &call("up", path, request, content_type), &answer, &expected);
    }
    let fine = r#"{"code":0,"message":"Success","base_resp":{"status_code":0},"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    holds(
        "codes of answers",
        &call("up", CHAT, request, JSON),
        fine,
        &json!({"ended": "complete", "error_type": null}),
    );
}

#[test]
fn reasoning_of_any_shape_is_content_once() {
    let chunk = |delta: &str| sse(&[&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)]);
    for delta in [
        r#"{"reasoning_content":"12345678"}"#,
        r#"{"reasoning_content":{"text":"12345678"}}"#,
        r#"{"reasoning_content":[{"type":"text","text":"12345678"}]}"#,
        r#"{"reasoning":"12345678"}"#,
        r#"{"reasoning":{"content":"12345678"}}"#,
        r#"{"reasoning_text":"12345678"}"#,
        r#"{"thinking":"12345678"}"#,
        r#"{"reasoning":"12345678","reasoning_details":[{"type":"reasoning.text","text":"12345678"}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.text","text":"1234"},{"type":"reasoning.text","text":"5678"}]}"#,
        r#"{"reasoning_content":"12345678","thinking_blocks":[{"type":"thinking","thinking":"12345678"}]}"#,
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"12345678"}]}]}"#,
        r#"{"content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"12345678"}]}]}"#,
        r#"{"content":[{"type":"reasoning","text":"12345678"}]}"#,
    ] {
        // Four alike: the third is known without being read.
        let answer = [chunk(delta), chunk(delta), chunk(delta), chunk(delta)].concat();
        for pieces in every_split(answer.as_bytes()) {
            let record = call("up", CHAT, ASKS, SSE).answered(pieces.iter().copied()).record();
            assert_eq!(record.usage.output, Some(8), "{delta}");
            assert!(record.time.first_token_ms.is_some() && record.time.first_text_ms.is_none(), "{delta}");
        }
    }
    let object = sse(&[r#"{"type":"response.reasoning_text.delta","delta":{"text":"12345678"}}"#]);
    let record = call("up", "/v1/responses", ASKS, SSE).answered([object.as_bytes()]).record();
    assert!(record.time.first_token_ms.is_some() && record.time.first_text_ms.is_none());
}

#[test]
fn calls_of_tools_are_told_apart_by_more_than_their_place() {
    let chunk = |call: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{call}]}}}}]}}"#);
    for (name, pieces, tools) in [
        (
            "the same place, other ids",
            vec![
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}"#,
            ],
            vec!["f", "f"],
        ),
        (
            "the same place, no ids",
            vec![
                r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"id":"","function":{"name":"g","arguments":"{}"}}"#,
            ],
            vec!["f", "g"],
        ),
        (
            "arguments in pieces",
            vec![
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{\"x\":"}}"#,
                r#"{"index":0,"function":{"arguments":"1}"}}"#,
            ],
            vec!["f"],
        ),
        (
            "all of it again with each piece",
            vec![
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}"#,
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}"#,
            ],
            vec!["f"],
        ),
        (
            "a name in pieces",
            vec![
                r#"{"index":0,"id":"a","function":{"name":"get_"}}"#,
                r#"{"index":0,"function":{"name":"weather","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{}"}}"#,
            ],
            vec!["get_weather"],
        ),
        (
            "pieces that take turns",
            vec![
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#,
                r#"{"index":1,"id":"b","function":{"name":"g","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{}"}}"#,
                r#"{"index":1,"function":{"arguments":"{}"}}"#,
            ],
            vec!["f", "g"],
        ),
    ] {
        let chunks: Vec<String> = pieces.iter().map(|piece| chunk(piece)).collect();
        let answer = sse(&chunks.iter().map(String::as_str).collect::<Vec<_>>());
        holds(name, &call("up", CHAT, ASKS, SSE), &answer, &json!({"tools": tools}));
        let head = BodyHead { content_type: SSE.as_bytes(), ok: true, ..BodyHead::default() };
        let mut body = Body::new(Api::OpenAiChat, dialects::of(Api::OpenAiChat).unwrap(), head, 1 << 20);
        body.tell_calls(Calls::new(1, 64, None));
        body.push(answer.as_bytes());
        let told = body.into_facts().calls.unwrap().finish();
        assert_eq!(told.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), tools, "{name}");
        let fine = told.iter().all(|call| serde_json::from_slice::<Value>(&call.arguments.kept).is_ok());
        assert!(fine, "{name}: {told:?}");
    }
}

#[test]
fn an_event_above_the_cap_is_read_as_it_passes() {
    let config = r#"{"read":{"max_event_bytes":1024}}"#;
    let picture = "A".repeat(3000);
    let completed = format!(
        r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","output":[{{"type":"image_generation_call","result":"{picture}"}}],"usage":{{"input_tokens":4,"output_tokens":5,"total_tokens":9}}}}}}"#
    );
    let small = r#"{"type":"response.output_text.delta","delta":"a"}"#;
    let expected = json!({"ended": "complete", "unread": 0, "finish_reasons": ["completed"], "usage": {"input": 4, "output": 5, "total": 9}});
    for (name, answer) in [
        ("one line", format!("event: x\ndata: {small}\n\nevent: response.completed\ndata: {completed}\n\n")),
        ("carriage returns", format!("data: {small}\r\n\r\nid: 1\r\ndata:{completed}\r\n\r\n")),
        ("no blank line at the end", format!("data: {completed}\n")),
        ("several lines", format!("data: {}\n\n", completed.replace(",\"usage\"", "\ndata: ,\"usage\""))),
        ("several documents", format!("data: {small}\ndata: {completed}\ndata: [DONE]\n\n")),
    ] {
        for size in [1, 7, 1000, 2000, answer.len()] {
            let call = Call { config, ..call("up", "/v1/responses", ASKS, SSE) };
            compare(name, &expected, &call.answered(answer.as_bytes().chunks(size)).facts());
        }
    }
    let endless: String =
        (0..60).map(|_| "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n").collect();
    let answer = format!(
        "{endless}data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":60}}}}\ndata: [DONE]\n"
    );
    for size in [1, 100, answer.len()] {
        let call = Call { config, ..call("up", CHAT, ASKS, SSE) };
        let expected = json!({"ended": "complete", "unread": 0, "events": 62, "usage": {"output": 60}});
        compare("events that never end", &expected, &call.answered(answer.as_bytes().chunks(size)).facts());
    }
    for broken in [format!("data: {{\"x\":\"{picture}\n\n"), format!("data: {picture}\n\n")] {
        let call = Call { config, ..call("up", CHAT, ASKS, SSE) };
        let facts = call.answered(broken.as_bytes().chunks(500)).facts();
        assert_eq!(facts["unread"], 1, "{broken:.20}");
    }
}

#[test]
fn the_host_alone_tells_whose_api_it_is() {
    for (host, path, provider) in [
        ("api.minimax.io", "/anthropic/v1/messages", None),
        ("api.anthropic.com", "/v1/messages", Some("anthropic")),
        ("gateway.internal", "/v1/messages", None),
        ("gateway.internal", "/v1beta/models/m:generateContent", None),
        ("localhost:11434", "/api/chat", None),
        ("api.deepseek.com", "/anthropic/v1/messages", Some("deepseek")),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", Some("aws.bedrock")),
        ("my-alb-1.us-east-1.elb.amazonaws.com", CHAT, None),
        (
            "us-east5-aiplatform.googleapis.com",
            "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
            Some("gcp.vertex_ai"),
        ),
        ("not-x.ai", CHAT, None),
    ] {
        let facts = call(host, path, "{}", JSON).facts();
        assert_eq!(facts["provider"].as_str(), provider, "{host}{path}");
    }
}

#[test]
fn what_has_a_price_of_its_own_is_a_tier() {
    for (usage, tier) in [
        (r#"{"input_tokens":1,"output_tokens":1,"service_tier":"standard","speed":"fast"}"#, "fast"),
        (r#"{"input_tokens":1,"output_tokens":1,"speed":"fast","service_tier":"standard"}"#, "fast"),
        (r#"{"input_tokens":1,"output_tokens":1,"service_tier":"priority","speed":"standard"}"#, "priority"),
    ] {
        let answer = format!(r#"{{"type":"message","content":[],"stop_reason":"end_turn","usage":{usage}}}"#);
        holds(usage, &call("up", "/v1/messages", "{}", JSON), &answer, &json!({"service_tier": tier}));
    }
}

#[test]
fn a_request_tells_what_a_path_does_not() {
    for (request, api) in [
        (r#"{"input":["a","b"]}"#, "embeddings"),
        (r#"{"input":"a"}"#, "embeddings"),
        (r#"{"input":[[1,2],[3]]}"#, "embeddings"),
        (r#"{"messages":[{"content":"a"}]}"#, "openai.chat_completions"),
        (r#"{"input":[{"role":"user","content":"a"}]}"#, "openai.chat_completions"),
        (r#"{"messages":[{"content":"a"}],"input":"a"}"#, "openai.chat_completions"),
        ("", "openai.chat_completions"),
    ] {
        let facts = call("up", "/serving-endpoints/mine/invocations", request, JSON).facts();
        assert_eq!(facts["api"], api, "{request}");
    }
}
