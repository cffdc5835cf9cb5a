//! Tools: the calls that models ask for, out of every dialect, with hashes that do not depend on how they were cut or spelled.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir::port::Headers;
use weir::report::Report;
use weir::settings::Config;
use weir::shared::Store;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::wire::arguments::{Arguments, Reading, redacted};
use weir::worker::Worker;

use super::memory::Memory;
use super::support::{every_split, ms, pairs, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ON: &str = r#"{"tools":{}}"#;
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

/// One exchange, as far as tools matter.
#[derive(Clone)]
pub struct Exchange<'a> {
    pub path: &'a str,
    pub head: Vec<(&'a str, &'a str)>,
    pub request: Vec<&'a [u8]>,
    pub status: &'a str,
    pub content_type: &'a str,
    pub answer: Vec<&'a [u8]>,
    pub ends: bool,
    pub at: Nanos,
}

impl Default for Exchange<'_> {
    fn default() -> Self {
        Self {
            path: "/v1/chat/completions",
            head: Vec::new(),
            request: vec![br#"{"model":"m","stream":true}"#],
            status: "200",
            content_type: SSE,
            answer: Vec::new(),
            ends: true,
            at: ms(0),
        }
    }
}

impl Exchange<'_> {
    pub fn play(&self, worker: &mut Worker, store: &dyn Store) -> Report {
        let mut stream = Stream::new(Rc::clone(&worker.config));
        let after = |ms: u64| Nanos(self.at.0 + ms * 1_000_000);
        let mut head = vec![(":method", "POST"), (":path", self.path), (":authority", "api.example.com")];
        head.extend(&self.head);
        let pairs_of = pairs(&head);
        let head = Headers(&pairs_of);
        stream.request_head(head, false, worker, &via_upstream(), store, after(0));
        for piece in &self.request {
            stream.request_body(piece, false, after(0));
        }
        stream.request_body(&[], true, after(0));
        let head = [(":status", self.status), ("content-type", self.content_type)];
        stream.response_head(Headers(&pairs(&head)), false, worker, after(1));
        for (at, piece) in (2..).zip(&self.answer) {
            stream.response_body(piece, false, after(at));
        }
        if self.ends {
            stream.response_body(&[], true, after(9));
        }
        stream.done(worker, &via_upstream(), store, after(10))
    }
}

pub fn worker(config: &str) -> Worker {
    Worker::new(Config::parse(config.as_bytes()).unwrap())
}

fn calls(exchange: &Exchange<'_>, config: &str) -> Value {
    serde_json::to_value(exchange.play(&mut worker(config), &Memory::default()).record.tool_calls).unwrap()
}

/// The hash that these arguments have under the salt that a [`Memory`] agrees on at the start.
pub fn hash_of(arguments: &str) -> Value {
    let mut reading = Reading::new(ms(0).0, 0);
    reading.push(arguments.as_bytes());
    reading.finish().hash.map_or(Value::Null, |hash| format!("{hash:016x}").into())
}

pub fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// A dialect's answer and the calls in it: name, id, arguments as a program would write them.
struct Case {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    answer: Vec<u8>,
    expected: Vec<(&'static str, Option<&'static str>, &'static str)>,
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    (!crc).to_be_bytes()
}

/// A frame of AWS's event stream.
pub fn frame(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event), (":message-type", "event")] {
        headers.push(name.len() as u8);
        headers.extend(name.as_bytes());
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let mut frame = ((16 + headers.len() + payload.len()) as u32).to_be_bytes().to_vec();
    frame.extend((headers.len() as u32).to_be_bytes());
    frame.extend(crc(&frame));
    frame.extend(headers);
    frame.extend(payload.as_bytes());
    frame.extend(crc(&frame));
    frame
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add =
        |name, path, content_type, answer: String, expected: &[(&'static str, Option<&'static str>, &'static str)]| {
            cases.push(Case { name, path, content_type, answer: answer.into_bytes(), expected: expected.to_vec() });
        };
    let paris = r#"{"city":"Paris é","n":[1,2]}"#;
    add(
        "chat, two calls whose pieces take turns, after text that taught the shape",
        "/v1/chat/completions",
        SSE,
        sse(&[
            r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"ci"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ty\": \"Pa"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"time","arguments":"{}"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ris \\u00e9\",\n\"n\": [1, 2]}"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
        &[("weather", Some("call_a"), paris), ("time", Some("call_b"), "{}")],
    );
    add(
        "chat, whole, the choice's number behind, a custom tool",
        "/v1/chat/completions",
        JSON,
        r#"{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{ \"city\":\"Paris \u00e9\", \"n\":[1,2] }"}},{"id":"b","custom":{"name":"g","input":"free"}}]},"index":0,"finish_reason":"tool_calls"}]}"#.to_owned(),
        &[("f", Some("a"), paris), ("g", Some("b"), "free")],
    );
    add(
        "chat, two calls at the same place, told apart by their ids (Gemini's way to be like OpenAI)",
        "/v1/chat/completions",
        SSE,
        sse(&[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"y","function":{"name":"f","arguments":"{\"a\":2}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
        &[("f", Some("x"), r#"{"a":1}"#), ("f", Some("y"), r#"{"a":2}"#)],
    );
    add(
        "chat, pieces of two choices, the choice's number behind its pieces",
        "/v1/chat/completions",
        SSE,
        sse(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"p","function":{"name":"f","arguments":"{\"a\":"}}]},"index":0},{"delta":{"tool_calls":[{"index":0,"id":"q","function":{"name":"g","arguments":"{\"b\":"}}]},"index":1}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"2}"}}]},"index":1}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"index":0,"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
        &[("f", Some("p"), r#"{"a":1}"#), ("g", Some("q"), r#"{"b":2}"#)],
    );
    add(
        "chat, the old function call in pieces without a place",
        "/v1/chat/completions",
        SSE,
        sse(&[
            r#"{"choices":[{"index":0,"delta":{"function_call":{"name":"f","arguments":""}}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"function_call":{"arguments":"{\"a\""}}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"function_call":{"arguments":":1}"}},"finish_reason":"function_call"}]}"#,
            "[DONE]",
        ]),
        &[("f", None, r#"{"a":1}"#)],
    );
    add(
        "Mistral, arguments as an object",
        "/v1/chat/completions",
        JSON,
        r#"{"choices":[{"index":0,"message":{"tool_calls":[{"id":"m1","function":{"name":"f","arguments":{"city": "Paris \u00E9", "n": [1, 2]}}}]},"finish_reason":"tool_calls"}]}"#.to_owned(),
        &[("f", Some("m1"), paris)],
    );
    add(
        "responses, streamed: added without arguments, done with all of them; the provider's own calls are none",
        "/v1/responses",
        SSE,
        sse(&[
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"web_search_call","id":"ws","name":"no"}}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"fc","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"f"}}"#,
            r#"{"type":"response.function_call_arguments.delta","item_id":"fc","output_index":1,"delta":"{\"a\":"}"#,
            r#"{"type":"response.function_call_arguments.delta","item_id":"fc","output_index":1,"delta":"1}"}"#,
            r#"{"type":"response.function_call_arguments.done","item_id":"fc","output_index":1,"arguments":"{\"a\":1}"}"#,
            r#"{"type":"response.output_item.done","item":{"id":"fc","type":"function_call","status":"completed","arguments":"{\"a\":1}","call_id":"call_1","name":"f"},"output_index":1}"#,
            r#"{"type":"response.completed","response":{"id":"r","status":"completed","output":[{"type":"function_call","name":"f","arguments":"{\"a\":1}"}]}}"#,
        ]),
        &[("f", Some("call_1"), r#"{"a":1}"#)],
    );
    add(
        "responses, whole, the type behind the arguments",
        "/v1/responses",
        JSON,
        r#"{"id":"r","status":"completed","output":[{"arguments":"{\"a\":1}","call_id":"c1","name":"f","type":"function_call"},{"type":"custom_tool_call","call_id":"c2","name":"g","input":"free"},{"type":"mcp_call","name":"h","arguments":"{}"}]}"#.to_owned(),
        &[("f", Some("c1"), r#"{"a":1}"#), ("g", Some("c2"), "free")],
    );
    add(
        "messages, streamed: an empty object that the pieces replace, the provider's own tool between, a call without arguments",
        "/v1/messages",
        SSE,
        sse(&[
            r#"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"city\": \"Paris \\u00"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"e9\", \"n\": [1, 2]}"}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
            r#"{"type":"message_stop"}"#,
        ]),
        &[("f", Some("toolu_1"), paris), ("g", Some("toolu_2"), "{}")],
    );
    add(
        "messages, whole",
        "/v1/messages",
        JSON,
        r#"{"id":"m","content":[{"type":"text","text":"a"},{"name":"f","id":"t1","input":{"city":"Paris \u00e9","n":[1, 2]},"type":"tool_use"},{"type":"server_tool_use","id":"s","name":"no","input":{}}],"stop_reason":"tool_use"}"#.to_owned(),
        &[("f", Some("t1"), paris)],
    );
    add(
        "Gemini, one in each event, without an id, without arguments",
        "/v1beta/models/g:streamGenerateContent",
        SSE,
        sse(&[
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"city": "Paris é", "n": [1,2]}}}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"g","id":"i"}}]},"finishReason":"STOP"}]}"#,
        ]),
        &[("f", None, paris), ("g", Some("i"), "{}")],
    );
    add(
        "Gemini, one array",
        "/v1beta/models/g:streamGenerateContent",
        JSON,
        r#"[{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":{"b":"}"}},"name":"f"}}]}}]},{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}]}]"#.to_owned(),
        &[("f", None, r#"{"a":{"b":"}"}}"#), ("f", None, "{}")],
    );
    add(
        "Cohere v2, streamed",
        "/v2/chat",
        SSE,
        sse(&[
            r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"f_1","type":"function","function":{"name":"f","arguments":""}}}}}"#,
            r#"{"type":"tool-call-delta","delta":{"message":{"tool_calls":{"function":{"arguments":"{\"a\""}}}},"index":0}"#,
            r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":": 1}"}}}}}"#,
            r#"{"type":"tool-call-end","index":0}"#,
            r#"{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"f_2","type":"function","function":{"name":"f","arguments":"{}"}}}}}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL"}}"#,
        ]),
        &[("f", Some("f_1"), r#"{"a":1}"#), ("f", Some("f_2"), "{}")],
    );
    add(
        "Cohere v2, whole",
        "/v2/chat",
        JSON,
        r#"{"id":"c","message":{"tool_calls":[{"id":"f_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"TOOL_CALL"}"#.to_owned(),
        &[("f", Some("f_1"), r#"{"a":1}"#)],
    );
    add(
        "Ollama, lines",
        "/api/chat",
        "application/x-ndjson",
        concat!(
            r#"{"model":"l","message":{"content":"","tool_calls":[{"id":"o","function":{"index":0,"name":"f","arguments":{"a": 1}}}]},"done":false}"#,
            "\n",
            r#"{"model":"l","message":{"content":""},"done":true,"done_reason":"stop"}"#,
            "\n"
        )
        .to_owned(),
        &[("f", Some("o"), r#"{"a":1}"#)],
    );
    add(
        "Converse, whole",
        "/model/a/converse",
        JSON,
        r#"{"output":{"message":{"content":[{"text":"a"},{"toolUse":{"toolUseId":"tu","name":"f","input":{"a": 1}}},{"toolUse":{"toolUseId":"x","type":"server_tool_use","name":"no","input":{}}}]}},"stopReason":"tool_use"}"#.to_owned(),
        &[("f", Some("tu"), r#"{"a":1}"#)],
    );
    add(
        "Invoke, Anthropic's document",
        "/model/a/invoke",
        JSON,
        r#"{"id":"m","content":[{"type":"tool_use","id":"t1","name":"f","input":{"a": 1}}],"stop_reason":"tool_use"}"#
            .to_owned(),
        &[("f", Some("t1"), r#"{"a":1}"#)],
    );
    let converse = [
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"name":"f","toolUseId":"tu"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"a\""}}}"#),
        ("contentBlockDelta", r#"{"delta":{"toolUse":{"input":": 1}"}},"contentBlockIndex":0}"#),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":1,"start":{"toolUse":{"name":"no","toolUseId":"s","type":"server_tool_use"}}}"#,
        ),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"}}}"#),
        ("messageStop", r#"{"stopReason":"tool_use"}"#),
    ];
    cases.push(Case {
        name: "Converse, streamed",
        path: "/model/a/converse-stream",
        content_type: "application/vnd.amazon.eventstream",
        answer: converse.iter().flat_map(|(event, payload)| frame(event, payload)).collect(),
        expected: vec![("f", Some("tu"), r#"{"a":1}"#)],
    });
    cases
}

impl Case {
    fn exchange<'a>(&self, pieces: Vec<&'a [u8]>) -> Exchange<'a>
    where
        Self: 'a,
    {
        let request: &[u8] =
            if self.content_type == JSON { br#"{"model":"m"}"# } else { br#"{"model":"m","stream":true}"# };
        let (path, content_type) = (self.path, self.content_type);
        Exchange { path, content_type, request: vec![request], answer: pieces, ..Exchange::default() }
    }

    fn expected(&self) -> Value {
        let call = |(name, id, arguments): &(&str, Option<&str>, &str)| {
            let mut call = json!({"name": name, "bytes": arguments.len(), "hash": hash_of(arguments)});
            if let Some(id) = id {
                call["id"] = (*id).into();
            }
            call
        };
        self.expected.iter().map(call).collect()
    }
}

#[test]
fn every_dialect_tells_its_tool_calls_however_it_is_cut() {
    for case in cases() {
        for pieces in every_split(&case.answer) {
            let cut: Vec<_> = pieces.iter().map(|p| p.len()).collect();
            assert_eq!(calls(&case.exchange(pieces), ON), case.expected(), "{} as {cut:?}", case.name);
        }
    }
}

#[test]
fn telling_tool_calls_apart_changes_nothing_else_in_the_record_and_is_off_by_default() {
    for case in cases() {
        let play = |config: &str| {
            let exchange = case.exchange(vec![&case.answer]);
            serde_json::to_value(exchange.play(&mut worker(config), &Memory::default()).record).unwrap()
        };
        let (mut on, off) = (play(ON), play("{}"));
        assert!(on.as_object_mut().unwrap().remove("tool_calls").is_some(), "{}", case.name);
        assert_eq!(on, off, "{}", case.name);
    }
}

#[test]
fn arguments_that_broke_off_have_no_hash() {
    let answer = sse(&[
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"a\":\"x"}}]}}]}"#,
    ]);
    let exchange = Exchange { answer: vec![answer.as_bytes()], ends: false, ..Exchange::default() };
    let expected = json!([
        {"name": "f", "id": "a", "bytes": 2, "hash": hash_of("{}")},
        {"name": "g", "id": "b", "bytes": 7},
    ]);
    assert_eq!(calls(&exchange, ON), expected);
}

#[test]
fn a_store_that_does_not_answer_costs_the_hashes_and_nothing_else() {
    let case = cases().remove(0);
    let record = case.exchange(vec![&case.answer]).play(&mut worker(ON), &weir::shared::NullStore).record;
    let calls = serde_json::to_value(&record.tool_calls).unwrap();
    assert_eq!(calls[0], json!({"name": "weather", "id": "call_a", "bytes": 29}));
}

#[test]
fn arguments_stand_in_the_record_only_if_asked_for_and_then_cut_and_redacted() {
    let answer = sse(&[
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{ \"q\": \"a b\", \"api_\\u006bey\": {\"x\": [\"se}cret\"]}, \"Password\":\"p\\\"w\", \"n\": 1 }"}}]}}]}"#,
        "[DONE]",
    ]);
    let exchange = Exchange { answer: vec![answer.as_bytes()], ..Exchange::default() };
    for (config, expected) in [
        (r#"{"tools":{}}"#, None),
        (r#"{"tools":{"arguments":{}}}"#, Some(r#"{"q":"a b","api_key":{"x":["se}cret"]},"Password":"p\"w","n":1}"#)),
        (
            r#"{"tools":{"arguments":{"redact":["*KEY*","password"]}}}"#,
            Some(r#"{"q":"a b","api_key":"***","Password":"***","n":1}"#),
        ),
        (r#"{"tools":{"arguments":{"redact":["api*"],"max_bytes":20}}}"#, Some(r#"{"q":"a b","api_key""#)),
        (r#"{"tools":{"arguments":{"redact":["*y"],"max_bytes":25}}}"#, Some(r#"{"q":"a b","api_key":"***"#)),
        (r#"{"tools":{"arguments":{"redact":["q"],"max_bytes":0}}}"#, Some("")),
    ] {
        let calls = calls(&exchange, config);
        assert_eq!(calls[0].get("arguments").and_then(Value::as_str), expected, "{config}");
        assert_eq!(calls[0]["bytes"], 63, "{config}");
    }
}

#[test]
fn what_is_no_json_is_redacted_as_a_whole_if_anything_is() {
    let keys = ["k".to_owned()];
    for (kept, keys, expected) in [
        ("rm -rf", &keys[..], "***"),
        ("rm -rf", &[], "rm -rf"),
        (r#"["k",{"k":1}]"#, &keys, r#"["k",{"k":"***"}]"#),
        (r#"{"k":{"a":"#, &keys, r#"{"k":"***""#),
        (r#"{"k"#, &keys, r#"{"k"#),
        (r#"{"k":"\"#, &keys, r#"{"k":"***""#),
        ("", &keys, "***"),
    ] {
        assert_eq!(redacted(kept.as_bytes(), keys, 100), expected, "{kept}");
    }
}

fn read(pieces: &[&[u8]]) -> Arguments {
    let mut reading = Reading::new(7, 1 << 20);
    pieces.iter().for_each(|piece| reading.push(piece));
    reading.finish()
}

#[test]
fn arguments_have_one_spelling() {
    for (given, expected) in [
        ("", "{}"),
        (" {\n} ", "{}"),
        (r#"{ "a" : [ 1 , "b c" ] }"#, r#"{"a":[1,"b c"]}"#),
        (r#""\u00e9\u20AC\ud83d\ude00""#, "\"é€😀\""),
        (r#""\/\n\t\u000a\u0022\\""#, r#""/\u000a\u0009\u000a\"\\""#),
        (r#""\ud83d""#, "\"\u{fffd}\""),
        (r#""\ud83dx\ud83d\ud83d\ude00""#, "\"\u{fffd}x\u{fffd}😀\""),
    ] {
        assert_eq!(String::from_utf8(read(&[given.as_bytes()]).kept).unwrap(), expected, "{given}");
    }
    for broken in ["{", r#"{"a"#, r#"{"a":"\u00zz"}"#, "[["] {
        assert_eq!(read(&[broken.as_bytes()]).hash, None, "{broken}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        r#"[{}\[\]":,\\ \n]{0,8}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// As Python's `json.dumps` writes: all but ASCII escaped.
fn ascii(json: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' | '\n' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
    };
    json.chars().map(escaped).collect()
}

proptest! {
    #[test]
    fn the_hash_of_arguments_is_the_same_however_they_are_cut_spaced_and_escaped(
        value in prop::collection::hash_map(any::<String>(), value(), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let value = Value::Object(value.into_iter().collect());
        let compact = value.to_string();
        let expected = read(&[compact.as_bytes()]);
        prop_assert!(expected.hash.is_some());
        // The one spelling is JSON of the same value.
        prop_assert_eq!(serde_json::from_slice::<Value>(&expected.kept).unwrap(), value.clone());
        for spelled in [serde_json::to_string_pretty(&value).unwrap(), ascii(&compact), compact.clone()] {
            let bytes = spelled.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(&read(&pieces), &expected, "{}", spelled);
        }
        let other = read(&[format!("{compact} 1").as_bytes()]);
        prop_assert_ne!(other.hash, expected.hash);
    }

    #[test]
    fn no_bytes_are_too_much_for_arguments_or_their_redaction(bytes in any::<Vec<u8>>(), json in r#"[{}\[\]":,\\u0dk ]{0,40}"#) {
        for bytes in [&bytes[..], json.as_bytes()] {
            let whole = read(&[bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&read(&single), &whole);
            redacted(&whole.kept, &["k".to_owned()], 7);
        }
    }
}
