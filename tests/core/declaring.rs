//! Plans that models write: in a tool call that they ask for, or in what they say, out of every dialect at every split.

use serde_json::{Value, json};
use weir::features::plan::plans::{Declared, Seen};
use weir::features::plan::syntax::{MAX_TEXT, NoPlan};
use weir::report::Report;
use weir::shared::Events;
use weir::units::Nanos;
use weir::worker::Worker;

use super::memory::Memory;
use super::support::{counted, every_split};
use super::tools::{Exchange, frame, sse, worker};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";
const RUN: (&str, &str) = ("x-run", "r");

fn config(plan: Value) -> String {
    json!({"identity": {"run": [{"header": "x-run"}]}, "plan": plan}).to_string()
}

/// A run and what it declared.
struct At {
    worker: Worker,
    store: Memory,
    now: u64,
}

impl At {
    fn new(plan: Value) -> Self {
        Self { worker: worker(&config(plan)), store: Memory::default(), now: 1_000_000 }
    }

    /// What was declared by a call.
    fn play(&mut self, exchange: &Exchange<'_>) -> Vec<&'static str> {
        self.now += 20_000_000;
        let report = Exchange { at: Nanos(self.now), ..exchange.clone() }.play(&mut self.worker, &self.store);
        declared(&report)
    }

    /// Whether this, and nothing else, is the run's plan.
    fn has(&mut self, plan: &str) -> bool {
        let (mut seen, mut events) = (Seen::default(), Events::default());
        let plans = self.worker.shared.plan.plans().unwrap();
        let now = Nanos(self.now + 15_000_000);
        plans.declare((None, "r"), Ok(plan), &mut seen, &mut events, &self.store, now);
        seen.declared.is_empty()
    }
}

fn declared(report: &Report) -> Vec<&'static str> {
    let plans = counted(report, weir::metrics::Id::Plans);
    plans.iter().map(|(value, ..)| Declared::WORDS[usize::from(*value)]).collect()
}

const PLAN: &str = "search>fetch:billing.history>(rank,sum)>answer?";

/// Where models ask for tools or say something: path, content type, answer.
type Case = (&'static str, &'static str, Vec<u8>);

/// A string as JSON has it, cut in two at its middle.
fn halves(text: &str) -> [Value; 2] {
    let middle = text.floor_char_boundary(text.len() / 2);
    [json!(text[..middle]), json!(text[middle..])]
}

/// `submit_plan` with these arguments, between other calls.
fn asking(arguments: &Value) -> Vec<Case> {
    let text = arguments.to_string();
    let [a, b] = halves(&text);
    let whole = json!(text);
    vec![
        (
            "/v1/chat/completions",
            SSE,
            sse(&[
                r#"{"choices":[{"index":0,"delta":{"content":"I plan."}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"other","arguments":"{\"plan\":[\"no\"]}"}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"y","function":{"name":"submit_plan","arguments":""}}]}}]}"#,
                &format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":1,"function":{{"arguments":{a}}}}}]}}}}]}}"#),
                &format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":1,"function":{{"arguments":{b}}}}}]}}}}]}}"#),
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
                "[DONE]",
            ])
            .into_bytes(),
        ),
        (
            "/v1/chat/completions",
            JSON,
            format!(r#"{{"choices":[{{"message":{{"tool_calls":[{{"id":"a","function":{{"arguments":{whole},"name":"mcp__agent__submit_plan"}}}}]}},"index":0,"finish_reason":"tool_calls"}}]}}"#)
                .into_bytes(),
        ),
        (
            "/v1/responses",
            SSE,
            sse(&[
                r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","arguments":"","call_id":"c","name":"submit_plan"}}"#,
                &format!(r#"{{"type":"response.function_call_arguments.delta","output_index":0,"delta":{a}}}"#),
                &format!(r#"{{"type":"response.function_call_arguments.delta","output_index":0,"delta":{b}}}"#),
                &format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{{"arguments":{whole},"call_id":"c","name":"submit_plan","type":"function_call"}}}}"#),
                r#"{"type":"response.completed","response":{"id":"r","status":"completed"}}"#,
            ])
            .into_bytes(),
        ),
        (
            "/v1/messages",
            SSE,
            sse(&[
                r#"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1,"output_tokens":1}}}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"submit_plan","input":{}}}"#,
                &format!(r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"input_json_delta","partial_json":{a}}}}}"#),
                &format!(r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"input_json_delta","partial_json":{b}}}}}"#),
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
                r#"{"type":"message_stop"}"#,
            ])
            .into_bytes(),
        ),
        (
            "/v1/messages",
            JSON,
            format!(r#"{{"id":"m","content":[{{"type":"tool_use","id":"t","name":"submit_plan","input":{arguments}}}],"stop_reason":"tool_use"}}"#).into_bytes(),
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            SSE,
            sse(&[
                &format!(r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"submit_plan","args":{arguments}}}}}]}}}}]}}"#),
                r#"{"candidates":[{"content":{"parts":[{"text":"."}]},"finishReason":"STOP"}]}"#,
            ])
            .into_bytes(),
        ),
        (
            "/v2/chat",
            SSE,
            sse(&[
                r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"f","function":{"name":"submit_plan","arguments":""}}}}}"#,
                &format!(r#"{{"type":"tool-call-delta","index":0,"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":{a}}}}}}}}}}}"#),
                &format!(r#"{{"type":"tool-call-delta","index":0,"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":{b}}}}}}}}}}}"#),
                r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL"}}"#,
            ])
            .into_bytes(),
        ),
        (
            "/api/chat",
            "application/x-ndjson",
            format!(
                "{{\"message\":{{\"content\":\"\",\"tool_calls\":[{{\"function\":{{\"name\":\"submit_plan\",\"arguments\":{arguments}}}}}]}},\"done\":false}}\n{{\"done\":true,\"done_reason\":\"stop\"}}\n"
            )
            .into_bytes(),
        ),
        (
            "/model/a/converse-stream",
            "application/vnd.amazon.eventstream",
            [
                ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"name":"submit_plan","toolUseId":"t"}}}"#.to_owned()),
                ("contentBlockDelta", format!(r#"{{"contentBlockIndex":0,"delta":{{"toolUse":{{"input":{a}}}}}}}"#)),
                ("contentBlockDelta", format!(r#"{{"contentBlockIndex":0,"delta":{{"toolUse":{{"input":{b}}}}}}}"#)),
                ("messageStop", r#"{"stopReason":"tool_use"}"#.to_owned()),
            ]
            .iter()
            .flat_map(|(event, payload)| frame(event, payload))
            .collect(),
        ),
    ]
}

/// The same text said, beside thoughts and another choice.
fn saying(text: &str) -> Vec<Case> {
    let [a, b] = halves(text);
    let whole = json!(text);
    vec![
        (
            "/v1/chat/completions",
            SSE,
            sse(&[
                r#"{"choices":[{"index":0,"delta":{"reasoning_content":"[\"thought\"]"}}]}"#,
                &format!(r#"{{"choices":[{{"delta":{{"content":{a}}},"index":0}},{{"delta":{{"content":"{{\"plan\":[\"no\"]}}"}},"index":1}}]}}"#),
                r#"{"choices":[{"delta":{"content":"[\"no\"]"},"index":1}]}"#,
                r#"{"choices":[{"delta":{"content":"[\"no\"]"},"index":1}]}"#,
                &format!(r#"{{"choices":[{{"delta":{{"content":{b}}},"index":0}}]}}"#),
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                "[DONE]",
            ])
            .into_bytes(),
        ),
        (
            "/v1/chat/completions",
            JSON,
            format!(r#"{{"choices":[{{"message":{{"content":{whole}}},"index":0,"finish_reason":"stop"}},{{"message":{{"content":"{{}}"}},"index":1}}]}}"#).into_bytes(),
        ),
        (
            "/v1/responses",
            SSE,
            sse(&[
                r#"{"type":"response.reasoning_summary_text.delta","delta":"{\"plan\":[\"no\"]}"}"#,
                &format!(r#"{{"type":"response.output_text.delta","output_index":0,"delta":{a}}}"#),
                r#"{"delta":"{\"plan\":[\"no\"]}","type":"response.function_call_arguments.delta"}"#,
                &format!(r#"{{"delta":{b},"output_index":0,"type":"response.output_text.delta"}}"#),
                r#"{"type":"response.completed","response":{"id":"r","status":"completed"}}"#,
            ])
            .into_bytes(),
        ),
        (
            "/v1/messages",
            SSE,
            sse(&[
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"[\"no\"]"}}"#,
                &format!(r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"text_delta","text":{a}}}}}"#),
                &format!(r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"text_delta","text":{b}}}}}"#),
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
                r#"{"type":"message_stop"}"#,
            ])
            .into_bytes(),
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            JSON,
            format!(
                r#"[{{"candidates":[{{"content":{{"parts":[{{"text":"{{\"plan\":[\"no\"]}}","thought":true}},{{"text":{a}}}]}},"index":0}}]}},{{"candidates":[{{"content":{{"parts":[{{"text":{b}}}]}},"finishReason":"STOP","index":0}}]}}]"#
            )
            .into_bytes(),
        ),
        (
            "/v2/chat",
            JSON,
            format!(r#"{{"id":"c","message":{{"content":[{{"type":"text","text":{whole}}}]}},"finish_reason":"COMPLETE"}}"#).into_bytes(),
        ),
        (
            "/api/chat",
            "application/x-ndjson",
            format!("{{\"message\":{{\"content\":{a}}}}}\n{{\"message\":{{\"content\":{b}}},\"done\":true,\"done_reason\":\"stop\"}}\n").into_bytes(),
        ),
    ]
}

fn steps() -> Value {
    json!(["search", {"name": "fetch", "target": "billing.history", "why": "é \"}] \\"}, [{"tool": "rank"}, "sum"], "answer?"])
}

fn exchange((path, content_type, _): &Case, answer: Vec<&'static [u8]>) -> Exchange<'static> {
    let streams = *content_type != JSON || path.contains("stream");
    let request: &[u8] = if streams { br#"{"model":"m","stream":true}"# } else { br#"{"model":"m"}"# };
    Exchange { path, content_type, head: vec![RUN], request: vec![request], answer, ..Exchange::default() }
}

#[test]
fn a_plan_is_read_out_of_a_tool_call_of_every_dialect_however_it_is_cut() {
    for case in asking(&json!({"plan": steps(), "why": "é"})) {
        let answer: &'static [u8] = case.2.clone().leak();
        for pieces in every_split(answer) {
            let mut at = At::new(json!({"tool": {}}));
            let cut: Vec<_> = pieces.iter().map(|piece| piece.len()).collect();
            assert_eq!(at.play(&exchange(&case, pieces)), ["new"], "{} as {cut:?}", case.0);
            assert!(at.has(PLAN), "{} as {cut:?}", case.0);
        }
    }
}

#[test]
fn a_plan_is_read_out_of_what_a_planner_says_in_every_dialect_however_it_is_cut() {
    let text = format!("The plan [1], in é:\n```json\n{:#}\n```\nThat {{is}} it.", json!({"plan": steps()}));
    for case in saying(&text) {
        let answer: &'static [u8] = case.2.clone().leak();
        for pieces in every_split(answer) {
            let mut at = At::new(json!({"answer": {}}));
            let cut: Vec<_> = pieces.iter().map(|piece| piece.len()).collect();
            assert_eq!(at.play(&exchange(&case, pieces)), ["new"], "{} as {cut:?}", case.0);
            assert!(at.has(PLAN), "{} as {cut:?}", case.0);
        }
    }
}

/// The first of the cases: chat, streamed.
fn chat(cases: Vec<Case>) -> Exchange<'static> {
    let case = cases.into_iter().next().unwrap();
    let answer: &'static [u8] = case.2.clone().leak();
    exchange(&case, vec![answer])
}

#[test]
fn what_stands_at_the_pointer_of_a_tools_arguments_becomes_a_plan_or_is_counted() {
    let long: Vec<_> = (0..40).map(|n| format!("step-{n}")).collect();
    for (pointer, arguments, told, plan) in [
        ("/plan", json!({"plan": "search>fetch[2]"}), "new", "search>fetch[2]"),
        ("/steps", json!({"plan": ["no"], "steps": ["a", "b:c"]}), "new", "a>b:c"),
        ("/a~1b/1/c~0d", json!({"a/b": [0, {"c~d": [{"action": "a", "name": "n"}]}]}), "new", "n"),
        ("", json!(["a", "b"]), "new", "a>b"),
        ("/plan", json!({"plan": []}), "unread", ""),
        ("/plan", json!({"plan": null}), "unread", ""),
        ("/plan", json!({"plan": ["Look for the orders"]}), "unread", ""),
        ("/plan", json!({"plan": ["sch\u{f6}n"]}), "unread", ""),
        ("/plan", json!({"plan": [1, 2]}), "unread", ""),
        ("/plan", json!({"plan": [{"title": "a"}]}), "unread", ""),
        ("/plan", json!({"plan": [["a", ["b"]]]}), "unread", ""),
        ("/plan", json!({"steps": ["a"]}), "unread", ""),
        ("/plan", json!({"plan": long}), "too_large", ""),
        ("/plan", json!({"plan": ["a"], "why": "x".repeat(9000)}), "too_large", ""),
    ] {
        let mut at = At::new(json!({"tool": {"pointer": pointer}}));
        assert_eq!(at.play(&chat(asking(&arguments))), [told], "{pointer} of {arguments:.60}");
        assert!(told != "new" || at.has(plan), "{pointer} of {arguments}");
    }
}

#[test]
fn what_a_planner_says_has_a_plan_where_the_pointer_leads_to_one() {
    let padding = "x".repeat(9000);
    let many = "[1] ".repeat(100);
    let nested = "[".repeat(5000);
    for (pointer, text, told, plan) in [
        ("/plan", r#"{"plan":["a","b"]}"#.to_owned(), "new", "a>b"),
        ("/plan", r#"{"result":{"plan":["a","b"]}}"#.to_owned(), "new", "a>b"),
        ("/plan", r#"{"plan":[1]} or rather {"plan":["a"]}"#.to_owned(), "new", "a"),
        ("", r#"Of [1] and {"steps":["a","b"]}"#.to_owned(), "new", "a>b"),
        ("", r#"["a","b"] ["c"]"#.to_owned(), "new", "a>b"),
        ("/plan", format!(r#"{{"plan":["a"]}} {padding}"#), "new", "a"),
        ("/plan", format!(r#"{padding} {{"plan":["a"]}}"#), "too_large", ""),
        ("/plan", r#"{"plan":["a","#.to_owned(), "unread", ""),
        ("/plan", r#"["a"]"#.to_owned(), "unread", ""),
        ("/plan", "What do you want to know?".to_owned(), "unread", ""),
        ("/plan", format!(r#"{many}{{"plan":["a"]}}"#), "unread", ""),
        ("/plan", nested, "unread", ""),
    ] {
        let mut at = At::new(json!({"answer": {"pointer": pointer}}));
        assert_eq!(at.play(&chat(saying(&text))), [told], "{pointer} of {text:.60}");
        assert!(told != "new" || at.has(plan), "{pointer} of {text:.60}");
    }
}

#[test]
fn only_answers_of_those_who_plan_are_read_and_only_such_as_end_well() {
    let said = chat(saying(r#"{"plan":["a"]}"#));
    let asked = chat(asking(&json!({"plan": ["a"]})));
    let silent = Exchange { answer: vec![b"data: [DONE]\n\n"], ..said.clone() };
    let with = |header: (&'static str, &'static str)| Exchange { head: vec![RUN, header], ..said.clone() };
    let none: [&str; 0] = [];
    for (what, plan, exchange, told) in [
        ("not wanted", json!({}), &said, &none[..]),
        ("not wanted", json!({}), &asked, &none),
        ("another tool", json!({"tool": {"name": "make_plan"}}), &asked, &none),
        ("its model", json!({"answer": {"match": {"model": "m"}}}), &said, &["new"]),
        ("another model", json!({"answer": {"match": {"model": "planner*"}}}), &said, &none),
        ("another route", json!({"answer": {"match": {"route": "planner"}}}), &said, &none),
        ("another tenant", json!({"answer": {"match": {"tenant": "acme"}}}), &said, &none),
        ("without its header", json!({"answer": {"header": "x-planner"}}), &said, &none),
        ("with an empty one", json!({"answer": {"header": "x-planner"}}), &with(("x-planner", "")), &none),
        ("with its header", json!({"answer": {"header": "x-planner"}}), &with(("x-planner", "1")), &["new"]),
        ("says nothing", json!({"answer": {}}), &silent, &none),
        ("an error", json!({"answer": {}, "tool": {}}), &Exchange { status: "500", ..said.clone() }, &none),
        ("broken off", json!({"answer": {}, "tool": {}}), &Exchange { ends: false, ..asked.clone() }, &none),
        ("no run", json!({"answer": {}, "tool": {}}), &Exchange { head: vec![], ..asked.clone() }, &none),
        ("both", json!({"answer": {"pointer": "/p"}, "tool": {}}), &asked, &["new"]),
        ("a header too", json!({"answer": {}}), &with(("x-agent-plan", "b")), &["new", "replaces"]),
        ("closes its run", json!({"answer": {}}), &with(("x-weir-outcome", "done")), &["new"]),
    ] {
        assert_eq!(At::new(plan.clone()).play(exchange), told, "{what}: {plan}");
    }
}

#[test]
fn a_plan_that_a_tool_is_called_with_over_mcp_counts_once_the_tool_has_run() {
    const REQUEST: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"plan": ["a", "b\u002f1"]},"name":"submit_plan"}}"#;
    const HEAD: [(&str, &str); 3] = [("accept", "application/json, text/event-stream"), ("content-type", JSON), RUN];
    for (plan, tools, answer, told) in [
        (json!({"tool": {}}), false, r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#, &["new"][..]),
        (json!({"tool": {}}), true, r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#, &["new"]),
        (json!({"tool": {}}), false, r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#, &[]),
        (json!({"tool": {}}), false, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, &[]),
        (json!({"tool": {"name": "other"}}), false, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[]),
        (json!({}), true, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[]),
    ] {
        for pieces in every_split(REQUEST) {
            let mut config: Value = serde_json::from_str(&config(plan.clone())).unwrap();
            if tools {
                config["tools"] = json!({});
            }
            let (mut at, answer) = (At::new(json!({})), answer.as_bytes());
            at.worker = worker(&config.to_string());
            let head = HEAD.to_vec();
            let mcp = Exchange {
                path: "/mcp",
                head,
                request: pieces,
                content_type: JSON,
                answer: vec![answer],
                ..Exchange::default()
            };
            let report = mcp.play(&mut at.worker, &at.store);
            assert_eq!(declared(&report), told, "{plan} {tools}");
            // Without the section `tools` nothing else is told of them.
            assert_eq!(report.record.tool_runs.len(), usize::from(tools), "{plan}");
            assert!(told.is_empty() || at.has("a>b/1"), "{plan}");
        }
    }
}

#[test]
fn asking_for_a_plans_tool_alone_puts_no_tool_calls_into_the_record() {
    let asked = chat(asking(&json!({"plan": ["a"]})));
    let record = asked.play(&mut worker(&config(json!({"tool": {}}))), &Memory::default()).record;
    assert_eq!((record.tool_calls.len(), record.tools.len()), (0, 2));
    // With the section, no more of the others' arguments is kept than it says.
    let mut both: Value = serde_json::from_str(&config(json!({"tool": {}}))).unwrap();
    both["tools"] = json!({"arguments": {"max_bytes": 4}});
    let record = asked.play(&mut worker(&both.to_string()), &Memory::default()).record;
    let kept: Vec<_> = record.tool_calls.iter().map(|call| call.arguments.as_deref()).collect();
    assert_eq!(kept, [Some("{\"pl"); 2]);
}

#[test]
fn a_plan_longer_than_any_is_too_large_before_it_is_kept() {
    let text = "a>".repeat(MAX_TEXT);
    let mut at = At::new(json!({"tool": {}}));
    assert_eq!(at.play(&chat(asking(&json!({"plan": text})))), ["too_large"]);
    assert_eq!(weir::features::plan::syntax::Plan::read(&text), Err(NoPlan::TooLarge));
}
