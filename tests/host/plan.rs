//! Plans in the real shell over a fake host (see `fake_host`): what agents are told, what is refused before it is sent, and what
//! stands in the record.

use crate::fake_host::{Goodbye, Headers, Http, Left, Vm, headers, vm};
use serde_json::{Value, json};

/// The modes of holding a request.
const MODES: [bool; 2] = [false, true];

fn set_up(vm: &Vm, plan: Value, hold: bool) {
    if hold {
        vm.allow_on_headers_stop_iteration();
    }
    let config = json!({
        "identity": {"run": [{"header": "x-run"}]}, "plan": plan, "runs": {},
        "kinds": [{"match": {"path": "/crm/orders"}, "kind": "tool", "name": "orders.list"}],
        "admission": {"hold_headers": hold},
    });
    assert!(vm.configure(config.to_string()), "{:?}", vm.logged());
}

const MCP: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/mcp"),
    (":authority", "tools"),
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("x-run", "r"),
];

fn mcp(vm: &Vm, body: Value, more: &[(&str, &str)], size: usize) -> Http {
    let http = vm.exchange();
    http.request_headers(headers(&[MCP, more].concat()), false);
    if !http.is_over() {
        http.request_in_pieces(body.to_string().as_bytes(), size);
    }
    http
}

fn calls(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {"q": "x"}}})
}

fn answered(http: Http, status: &str) -> Left {
    if !http.is_over() {
        http.property("upstream.address", b"10.0.0.1:443");
        http.response_headers(headers(&[(":status", status), ("content-type", "application/json")]), false);
        http.response_in_pieces(br#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#, 20);
        http.property("response.code_details", b"via_upstream");
    }
    http.end(Goodbye::Logged)
}

fn header(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v);
    value.map(|value| String::from_utf8(value.clone()).unwrap())
}

fn plan(left: &Left) -> Value {
    left.record.as_ref().expect("a record")["plan"].clone()
}

const PLAN: (&str, &str) = ("x-agent-plan", "search>billing.history>model?");

#[test]
fn each_tools_call_moves_along_and_the_first_divergence_is_named() {
    for hold in MODES {
        for size in [1, 17, 1000] {
            vm(|vm| {
                set_up(vm, json!({}), hold);
                let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
                assert_eq!(plan(&answered(mcp(vm, hello, &[PLAN], size), "200")), Value::Null, "no step");
                let first = plan(&answered(mcp(vm, calls("search"), &[PLAN], size), "200"));
                assert_eq!(first, json!({"step": 1, "of": 3, "verdict": "matched", "adherence": 100}));
                let failed = answered(mcp(vm, calls("billing.history"), &[], size), "503");
                assert_eq!(plan(&failed), Value::Null, "it comes again");
                let off = plan(&answered(mcp(vm, calls("orders.list"), &[], size), "200"));
                let expected = json!({"step": 2, "of": 3, "verdict": "unplanned", "expected": "billing.history",
                    "got": "orders.list", "adherence": 50});
                assert_eq!(off, expected);
            });
        }
    }
}

#[test]
fn an_unplanned_step_is_answered_before_it_is_sent_and_moves_nothing() {
    for hold in MODES {
        vm(|vm| {
            set_up(vm, json!({"enforce": "refuse"}), hold);
            answered(mcp(vm, calls("search"), &[PLAN], 30), "200");
            let refused = mcp(vm, calls("orders.list"), &[], 30);
            assert!(refused.is_over(), "hold {hold}");
            let left = answered(refused, "200");
            let local = left.local.as_ref().expect("an answer of its own");
            let error: Value = serde_json::from_slice(&local.body).unwrap();
            let why = "Not as planned: step 2 of 3, expected billing.history, got orders.list.";
            assert_eq!((local.status, &error["error"]["message"]), (403, &json!(why)));
            assert_eq!((&error["jsonrpc"], &error["id"]), (&json!("2.0"), &Value::Null));
            assert_eq!(header(&local.headers, "x-weir-plan").as_deref(), Some("step=2/3;verdict=unplanned"));
            let record = left.record.as_ref().unwrap();
            assert_eq!((&record["error_type"], &record["ended"]), (&json!("plan_violation"), &json!("refused")));
            assert_eq!(plan(&left)["adherence"], Value::Null);
            // A plain HTTP tool has no body that says more: it is refused at its head.
            let http = vm.exchange();
            let head = [(":method", "GET"), (":path", "/crm/orders"), (":authority", "crm"), ("x-run", "r")];
            http.request_headers(headers(&head), true);
            assert!(http.is_over());
            let error: Value = serde_json::from_slice(&http.end(Goodbye::Logged).local.unwrap().body).unwrap();
            assert_eq!((&error["detail"], &error["title"]), (&json!(why), &json!("Forbidden")));
            let next = plan(&answered(mcp(vm, calls("billing.history"), &[], 30), "200"));
            assert_eq!(next, json!({"step": 2, "of": 3, "verdict": "matched", "adherence": 100}));
        });
    }
}

#[test]
fn no_tool_gets_by_in_a_batch_or_without_saying_what_it_accepts() {
    let batch = |tools: &[&str]| Value::from_iter(tools.iter().map(|tool| calls(tool)));
    let many: Vec<&str> = std::iter::repeat_n("search", 64).chain(["orders.list"]).collect();
    for hold in MODES {
        for (what, body, head, verdict) in [
            ("a batch as planned", batch(&["search", "billing.history"]), PLAN, None),
            ("one tool in a batch", batch(&["orders.list"]), PLAN, Some("unplanned")),
            ("behind what is planned", batch(&["search", "orders.list"]), PLAN, Some("unplanned")),
            ("behind more than is kept", batch(&many), ("x-agent-plan", "search*"), Some("unplanned")),
            ("no tool at all", json!([{"id": 1, "method": "ping"}, 5, [], {"params": {"name": "x"}}]), PLAN, None),
        ] {
            vm(|vm| {
                set_up(vm, json!({"enforce": "refuse"}), hold);
                let http = mcp(vm, body, &[head], 30);
                assert_eq!(http.is_over(), verdict.is_some(), "{what}");
                let seen = plan(&answered(http, "200"));
                match verdict {
                    Some(verdict) => assert_eq!(seen["verdict"], verdict, "{what}"),
                    None => assert!(seen["verdict"] == "matched" || what == "no tool at all", "{what}: {seen}"),
                }
            });
        }
        for more in [
            ("mcp-session-id", "s"),
            ("mcp-method", "tools/call"),
            ("accept", "*/*"),
            ("accept", "application/*"),
            ("accept", "APPLICATION/JSON, TEXT/EVENT-STREAM"),
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
            ("x-nothing", "at all"),
        ] {
            for method in ["POST", "post"] {
                vm(|vm| {
                    set_up(vm, json!({"enforce": "refuse"}), hold);
                    let http = vm.exchange();
                    let head = [(":method", method), (":path", "/mcp"), (":authority", "tools"), ("x-run", "r")];
                    http.request_headers(headers(&[&head[..], &[more, PLAN]].concat()), false);
                    http.request_in_pieces(calls("orders.list").to_string().as_bytes(), 30);
                    assert!(http.is_over(), "its body is MCP's, whatever its head says: {more:?}");
                    let left = http.end(Goodbye::Logged);
                    assert_eq!(plan(&left)["verdict"], "unplanned", "{more:?}");
                    let error: Value = serde_json::from_slice(&left.local.unwrap().body).unwrap();
                    assert_eq!(error["jsonrpc"], "2.0", "{more:?}");
                });
            }
        }
    }
}

#[test]
fn answers_say_where_their_call_stands_and_warn_where_the_config_says_so() {
    for (config, tool, said, warning) in [
        (json!({}), "search", Some("step=1/3;verdict=matched;adherence=100"), None),
        (json!({"enforce": "warn"}), "search", Some("step=1/3;verdict=matched;adherence=100"), None),
        (json!({"headers": false}), "x", None, None),
        (
            json!({"enforce": "warn"}),
            "x\n\u{e9}",
            Some("step=1/3;verdict=unplanned;adherence=0"),
            Some("Not as planned: step 1 of 3, expected search, got x__."),
        ),
    ] {
        vm(|vm| {
            set_up(vm, config.clone(), false);
            let http = mcp(vm, calls(tool), &[PLAN], 30);
            http.response_headers(headers(&[(":status", "200")]), true);
            let seen = http.end(Goodbye::Logged).response_headers;
            assert_eq!(header(&seen, "x-weir-plan").as_deref(), said, "{config}");
            assert_eq!(header(&seen, "x-weir-plan-warning").as_deref(), warning, "{config}");
        });
    }
}

#[test]
fn without_the_section_no_header_is_looked_at_and_the_store_is_not_asked() {
    vm(|vm| {
        assert!(vm.configure(r#"{"identity":{"run":[{"header":"x-run"}]}}"#));
        let left = answered(mcp(vm, calls("search"), &[PLAN], 30), "200");
        assert_eq!((plan(&left), left.local.is_some()), (Value::Null, false));
    });
}
