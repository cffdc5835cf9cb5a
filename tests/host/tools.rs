//! Tools in the real shell over a fake host (see `fake_host`): what is read, what is counted, and over workers who asked for what.

use std::sync::Arc;

use crate::fake_host::{Fault, Goodbye, Left, Process, Vm, headers, vm};
use serde_json::{Value, json};

const ON: &str = r#"{"tools":{},"identity":{"run":[{"header":"x-run"}]}}"#;
const ASKING: &str = r#"{"choices":[{"index":0,"message":{"tool_calls":[{"id":"call_1","function":{"name":"weather","arguments":"{ \"city\": \"Rome\" }"}}]},"finish_reason":"tool_calls"}]}"#;
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"weather","arguments":{"city":"Rome"}}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

fn exchange(vm: &Vm, path: &str, request: &str, (status, answer): (&str, &str), size: usize) -> Left {
    let http = vm.exchange();
    let head = [
        (":method", "POST"),
        (":path", path),
        (":authority", "tools"),
        ("accept", "application/json, text/event-stream"),
        ("x-run", "r"),
        ("x-request-id", path),
    ];
    http.request_headers(headers(&head), false);
    http.request_in_pieces(request.as_bytes(), size);
    vm.pass_ms(30);
    http.response_headers(headers(&[(":status", status), ("content-type", "application/json")]), false);
    http.response_in_pieces(answer.as_bytes(), size);
    http.property("upstream.address", b"10.0.0.1:80");
    http.end(Goodbye::Logged)
}

fn record(left: &Left) -> &Value {
    left.record.as_ref().expect("a record")
}

#[test]
fn a_tool_that_one_worker_saw_asked_for_and_another_saw_run_is_matched_and_counted() {
    for size in [1, 7, 1000] {
        let process = Arc::new(Process::default());
        process.vm(|vm| {
            assert!(vm.configure(ON), "{:?}", vm.logged());
            let asked = exchange(vm, "/v1/chat/completions", r#"{"model":"m"}"#, ("200", ASKING), size);
            assert_eq!(record(&asked)["tool_calls"][0]["id"], "call_1");
        });
        process.vm(|vm| {
            assert!(vm.configure(ON), "{:?}", vm.logged());
            let ran = exchange(vm, "/mcp", CALL, ("200", RESULT), size);
            let run = &record(&ran)["tool_runs"][0];
            assert_eq!((&run["asked_by"], &run["id"]), (&json!("/v1/chat/completions"), &json!("call_1")));
            assert!(run["ms"].as_f64().unwrap() >= 30.0);
            // What passed is what came.
            assert_eq!((&ran.request_body[..], &ran.response_body[..]), (CALL.as_bytes(), RESULT.as_bytes()));
            exchange(vm, "/mcp", CALL, ("500", "no"), size);
        });
        assert_eq!(process.sum("weir_tool_asked_total;tool=other"), 1);
        assert_eq!(process.sum("weir_tool_calls_total;outcome=ok;tool=weather"), 1);
        assert_eq!(process.sum("weir_tool_calls_total;outcome=failed;tool=weather"), 1);
        assert_eq!(process.sum("weir_tool_matched_total;verdict=matched"), 1);
        assert_eq!(process.sum("weir_tool_matched_total;verdict=unasked"), 0);
        assert!(process.metric("weir_tool_ms;tool=weather").is_some());
    }
}

#[test]
fn without_the_section_nothing_is_looked_at() {
    vm(|vm| {
        assert!(vm.configure("{}"), "{:?}", vm.logged());
        vm.calls("proxy_get_shared_data");
        for (path, request, answer) in [("/v1/chat/completions", r#"{"model":"m"}"#, ASKING), ("/mcp", CALL, RESULT)] {
            let left = exchange(vm, path, request, ("200", answer), 1000);
            assert_eq!((record(&left).get("tool_calls"), record(&left).get("tool_runs")), (None, None));
        }
        assert_eq!((vm.calls("proxy_get_shared_data"), vm.calls("proxy_set_shared_data")), (0, 0));
    });
}

#[test]
fn a_store_that_fails_breaks_no_call() {
    for call in ["proxy_get_shared_data", "proxy_set_shared_data"] {
        for status in [1, 7, 8, 10, 12] {
            vm(|vm| {
                assert!(vm.configure(ON), "{:?}", vm.logged());
                vm.fail(Some(Fault::Always(call, status)));
                for (path, request, answer) in
                    [("/v1/chat/completions", r#"{"model":"m"}"#, ASKING), ("/mcp", CALL, RESULT)]
                {
                    let left = exchange(vm, path, request, ("200", answer), 9);
                    assert_eq!(record(&left)["ended"], "complete");
                    assert_eq!(left.response_body, answer.as_bytes());
                }
                vm.fail(None);
            });
        }
    }
}

#[test]
fn a_tool_call_that_comes_again_after_an_error_in_a_200_is_a_retry_and_after_a_result_is_none() {
    let config = r#"{"tools":{},"retries":{"sources":["body"]},"identity":{"run":[{"header":"x-run"}]}}"#;
    let error = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
    for (first, attempt) in [(error, json!(2)), (RESULT, json!(null))] {
        vm(|vm| {
            assert!(vm.configure(config), "{:?}", vm.logged());
            exchange(vm, "/mcp", CALL, ("200", first), 1000);
            let again = exchange(vm, "/mcp", CALL, ("200", RESULT), 1000);
            assert_eq!(record(&again)["retry"]["attempt"], attempt, "{first}");
        });
    }
}
