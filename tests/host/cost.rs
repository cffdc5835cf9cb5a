//! What calls cost, in the real shell over a fake host (see `fake_host`): record, metric and limits say the same.

use std::sync::Arc;

use crate::fake_host::{Goodbye, Left, Process, Vm, headers, vm};
use serde_json::{Value, json};

const ANSWER: &[u8] = br#"{"id":"c1","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#;

fn call(vm: &Vm, tenant: &str, ends: bool) -> Left {
    let http = vm.exchange();
    let head = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("x-tenant", tenant),
    ];
    http.request_headers(headers(&head), false);
    http.request_in_pieces(&json!({"model": "m", "max_tokens": 100, "messages": []}).to_string().into_bytes(), 1000);
    if !http.is_over() {
        http.response_headers(headers(&[(":status", "200"), ("content-type", "application/json")]), false);
        if ends {
            http.response_in_pieces(ANSWER, 50);
            http.property("response.code_details", b"via_upstream");
        }
    }
    http.end(Goodbye::Logged)
}

fn config(limits: Value, prices: bool) -> String {
    let mut config = json!({"identity": {"tenant": [{"header": "x-tenant"}]}, "limits": limits});
    if prices {
        config["prices"] =
            json!([{"models": ["m"], "per_million": {"input": "2.5", "output": "10"}, "per_call": "0.001"}]);
    }
    config.to_string()
}

/// 1000 tokens at 2500 each, 100 at 10000, and the call.
const COST: u64 = 2_500_000 + 1_000_000 + 1_000_000;

#[test]
fn the_metric_says_what_the_records_say() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(config(json!([]), true)), "{:?}", vm.logged());
        for _ in 0..3 {
            let left = call(vm, "blue", true);
            assert_eq!(left.record.as_ref().expect("a record")["cost"]["total"], COST);
        }
        let name = "weir_cost_nanodollars_total;kind=model;model=m;tenant=blue;waste=none";
        assert_eq!(process.sum(name), 3 * i64::try_from(COST).unwrap());
    });
}

#[test]
fn without_prices_there_is_no_cost_no_kind_and_no_metric() {
    vm(|vm| {
        assert!(vm.configure(config(json!([]), false)), "{:?}", vm.logged());
        let left = call(vm, "blue", true);
        let record = left.record.as_ref().expect("a record");
        assert_eq!((&record["cost"], &record["kind"]), (&Value::Null, &Value::Null));
    });
}

#[test]
fn an_mcp_tool_has_the_price_of_its_name_with_nothing_else_configured() {
    let config = json!({"prices": [
        {"match": {"tool": "search"}, "per_call": "0.005"}, {"match": {"kind": "tool"}, "per_call": "0.000001"}
    ]});
    let accept = ("accept", "application/json, text/event-stream");
    let called = |name: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}});
    for (what, more, body, total) in [
        ("its name", accept, called("search"), 5_000_000),
        ("in a session", ("mcp-session-id", "s"), called("search"), 5_000_000),
        ("the first of a batch", accept, json!([called("search"), called("other")]), 5_000_000),
        ("another", accept, called("other"), 1_000),
        ("no tool", accept, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), 1_000),
    ] {
        vm(|vm| {
            assert!(vm.configure(config.to_string()), "{:?}", vm.logged());
            let http = vm.exchange();
            http.request_headers(headers(&[(":method", "POST"), (":path", "/mcp"), (":authority", "t"), more]), false);
            http.request_in_pieces(body.to_string().as_bytes(), 20);
            http.response_headers(headers(&[(":status", "200"), ("content-type", "application/json")]), false);
            http.response_in_pieces(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, 50);
            http.property("response.code_details", b"via_upstream");
            let left = http.end(Goodbye::Logged);
            assert_eq!(left.record.expect("a record")["cost"]["total"], total, "{what}");
        });
    }
}

#[test]
fn what_bought_nothing_is_in_the_metric_under_its_reason() {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}]}, "retries": {"sources": ["idempotency_key"]},
        "retry_budgets": [{"name": "b", "ratio": 1}], "prices": [{"models": ["m"], "per_million": {"input": 1, "output": 1}, "per_second": 1}],
        "limits": [{"name": "cut", "scope": ["tenant"], "match": {"tenant": "cut"}, "budget": {"limit": 60}, "on_exceeded": "cut"}],
    });
    let event = format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": "x".repeat(40)}}]}));
    let (stream, done) = (event.repeat(30), format!("{event}data: [DONE]\n\n"));
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(config.to_string()), "{:?}", vm.logged());
        for (tenant, key, status, answer, ends, reason) in [
            ("t", "a", "200", &done, true, Value::Null),
            ("t", "a", "200", &done, true, json!("duplicated")),
            ("t", "b", "500", &done, true, json!("failed")),
            ("t", "b", "500", &done, true, json!("retried")),
            ("t", "b", "200", &done, true, Value::Null),
            ("t", "c", "200", &event, true, json!("failed")),
            ("t", "d", "200", &event, false, json!("cancelled")),
            ("cut", "e", "200", &stream, true, json!("refused")),
        ] {
            let http = vm.exchange();
            let head =
                [(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "llm"), ("x-tenant", tenant)];
            http.request_headers(headers(&[&head[..], &[("idempotency-key", key)]].concat()), false);
            http.request_in_pieces(json!({"model": "m", "stream": true}).to_string().as_bytes(), 1000);
            http.response_headers(headers(&[(":status", status), ("content-type", "text/event-stream")]), false);
            for piece in answer.as_bytes().chunks(40) {
                if !http.is_over() {
                    http.response_body(piece, false);
                }
                vm.pass_ticking_ms(12);
            }
            if ends && !http.is_over() {
                http.response_body(b"", true);
                http.property("response.code_details", b"via_upstream");
            }
            let record = http.end(Goodbye::Logged).record.expect("a record");
            assert_eq!(record["cost"]["waste_reason"], reason, "{key}: {record}");
            let wasted = if reason.is_null() { Value::Null } else { record["cost"]["total"].clone() };
            assert_eq!(record["cost"]["waste"], wasted, "{key}: {record}");
        }
        for reason in ["none", "failed", "retried", "cancelled", "refused", "duplicated"] {
            let tenant = if reason == "refused" { "cut" } else { "t" };
            let name = format!("weir_cost_nanodollars_total;kind=model;model=m;tenant={tenant};waste={reason}");
            assert!(process.sum(&name) > 0, "{name}");
        }
    });
}

#[test]
fn a_limit_of_cost_is_charged_what_the_call_cost_and_refuses_when_that_is_used_up() {
    let limits = json!([{"name": "spend", "scope": ["tenant"], "unit": "cost", "budget": {"limit": 9_000}}]);
    vm(|vm| {
        assert!(vm.configure(config(limits, true)), "{:?}", vm.logged());
        for _ in 0..2 {
            let left = call(vm, "blue", true);
            let limit = &left.record.as_ref().expect("a record")["limits"][0];
            assert_eq!((&limit["verdict"], &limit["charged"]), (&json!("pass"), &json!(COST / 1000)));
        }
        // Nothing is left of 9000 millionths of a dollar.
        let left = call(vm, "blue", true);
        assert_eq!(left.local.as_ref().map(|local| local.status), Some(429));
        // It is refused at its head, before anybody knows its model.
        assert_eq!(left.record.as_ref().expect("a record")["cost"], Value::Null);
        let other = call(vm, "green", true);
        assert_eq!(other.record.as_ref().expect("a record")["limits"][0]["verdict"], "pass");
    });
}
