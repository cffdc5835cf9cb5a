//! Trails in the real shell over a fake host (see `fake_host`): who gets a token, who reads what, and what none of it costs.

use std::sync::Arc;

use crate::fake_host::{Goodbye, Headers, Left, Process, Vm, headers, vm};
use serde_json::{Value, json};

const ANSWER: &[u8] = br#"{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const OPERATOR: &str = "fedcba9876543210";

fn config(more: Value) -> String {
    let mut trail = json!({"key": "0123456789abcdef", "operator_key": OPERATOR, "sources": ["x-source"]});
    for (key, value) in more.as_object().unwrap() {
        trail[key] = value.clone();
    }
    let identity = json!({"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]});
    json!({"identity": identity, "audit": {"trail": trail}}).to_string()
}

fn set_up(vm: &Vm) {
    assert!(vm.configure(config(json!({}))), "{:?}", vm.logged());
}

/// A call of a run; what it left behind.
fn call(vm: &Vm, tenant: &str, run: &str) -> Left {
    let http = vm.exchange();
    let head = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("x-tenant", tenant),
        ("x-run", run),
        ("x-request-id", "call"),
    ];
    http.property("request.time", &1_700_000_000_000_000_000u64.to_le_bytes());
    http.request_headers(headers(&head), false).request_in_pieces(br#"{"model":"m"}"#, 5);
    let head =
        [(":status", "200"), ("content-type", "application/json"), ("x-source", "doc-1, doc-2"), ("x-source", "doc-3")];
    http.response_headers(headers(&head), false);
    http.response_in_pieces(ANSWER, 50);
    http.end(Goodbye::Logged)
}

fn ask(vm: &Vm, method: &str, path: &str, more: &[(&str, &str)]) -> Left {
    let http = vm.exchange();
    let base = [(":method", method), (":path", path), (":authority", "llm")];
    http.request_headers(headers(&[&base, more].concat()), true);
    http.end(Goodbye::Logged)
}

fn header(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v);
    value.map(|value| String::from_utf8(value.clone()).unwrap())
}

fn token(left: &Left) -> Option<String> {
    header(&left.response_headers, "x-weir-run-token")
}

fn status(left: &Left) -> u32 {
    left.local.as_ref().map_or(0, |local| local.status)
}

#[test]
fn a_run_is_read_by_who_began_it_and_by_operators_and_by_nobody_else() {
    vm(|vm| {
        set_up(vm);
        let acme = token(&call(vm, "acme", "run 1/a")).expect("a token at the run's start");
        let other = token(&call(vm, "other", "run 1/a")).expect("another tenant's run of that id begins too");
        assert_ne!(acme, other);
        let path = "/.weir/runs/run%201%2fa";
        let bearer = format!("Bearer {acme}");
        let query = |token: &str| format!("{path}?x=1&token={token}");
        let both = format!("{path}?tenant=acme");
        let absent = ask(vm, "GET", "/.weir/runs/nowhere", &[("x-tenant", "acme")]);
        assert_eq!(status(&absent), 404);
        for (what, path, more, expected) in [
            ("its token", path, &[("x-tenant", "acme"), ("x-weir-run-token", &acme)][..], 200),
            ("its token as a bearer", path, &[("x-tenant", "acme"), ("authorization", &bearer)], 200),
            ("its token in a link", &query(&acme), &[("x-tenant", "acme")], 200),
            (
                "another tenant, right token of its own run",
                path,
                &[("x-tenant", "other"), ("x-weir-run-token", &other)],
                200,
            ),
            ("another tenant with its token", path, &[("x-tenant", "other"), ("x-weir-run-token", &acme)], 404),
            ("no tenant with its token", path, &[("x-weir-run-token", &acme)], 404),
            ("another's token", path, &[("x-tenant", "acme"), ("x-weir-run-token", &other)], 404),
            ("no token", path, &[("x-tenant", "acme")], 404),
            ("its token for another run", "/.weir/runs/run", &[("x-tenant", "acme"), ("x-weir-run-token", &acme)], 404),
            ("no run", "/.weir/runs/", &[("x-tenant", "acme"), ("x-weir-run-token", &acme)], 404),
            ("an operator of that tenant", path, &[("x-tenant", "acme"), ("x-weir-operator-key", OPERATOR)], 200),
            ("an operator who names the tenant", &both, &[("x-weir-operator-key", OPERATOR)], 200),
            ("an operator who names none", path, &[("x-weir-operator-key", OPERATOR)], 404),
            ("no operator who names the tenant", &both, &[("x-tenant", "other"), ("x-weir-run-token", &acme)], 404),
            (
                "a wrong operator with the tenant's token",
                &both,
                &[("x-tenant", "other"), ("x-weir-operator-key", "fedcba9876543211"), ("x-weir-run-token", &acme)],
                404,
            ),
        ] {
            vm.calls("proxy_get_shared_data");
            vm.calls("proxy_set_shared_data");
            let left = ask(vm, "GET", path, more);
            assert_eq!(status(&left), expected, "{what}");
            let calls = (vm.calls("proxy_get_shared_data"), vm.calls("proxy_set_shared_data"));
            assert_eq!(calls, (1, 0), "{what}: what the store is asked tells nothing");
            if expected == 404 {
                assert_eq!(left.local, absent.local, "{what}: as if there were no such run");
            }
            let record = left.record.expect("it is logged");
            assert_eq!((&record["api"], &record["run"]), (&json!("other"), &Value::Null), "{what}: no call of any run");
        }
    });
}

#[test]
fn a_trail_has_each_call_with_its_sources() {
    vm(|vm| {
        set_up(vm);
        let shown = token(&call(vm, "acme", "r")).unwrap();
        let later = call(vm, "acme", "r");
        assert_eq!(token(&later), None, "who comes later gets none");
        let more = [("x-tenant", "acme"), ("x-weir-run-token", shown.as_str())];
        let left = ask(vm, "GET", "/.weir/runs/r", &more);
        let local = left.local.unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(header(&local.headers, name).as_deref(), Some(value));
        }
        let trail: Value = serde_json::from_slice(&local.body).unwrap();
        assert_eq!(trail["totals"]["calls"], 2);
        assert_eq!(trail["calls"][0]["sources"], json!(["doc-1", "doc-2", "doc-3"]));
        assert_eq!(trail["calls"][1]["tokens"], json!({"input": 9, "output": 1}));
        assert_eq!(trail["began_ms"], 1_700_000_000_000.0);
        // The same for people.
        let html = ask(vm, "GET", "/.weir/runs/r", &[&more[..], &[("accept", "text/html,*/*;q=0.8")]].concat());
        let local = html.local.unwrap();
        assert_eq!(header(&local.headers, "content-type").as_deref(), Some("text/html; charset=utf-8"));
        assert!(header(&local.headers, "content-security-policy").unwrap().starts_with("default-src 'none';"));
        assert!(String::from_utf8(local.body).unwrap().starts_with("<!doctype html>"));
        assert_eq!(status(&ask(vm, "HEAD", "/.weir/runs/r", &more)), 200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let left = ask(vm, method, "/.weir/runs/r", &more);
            assert_eq!(status(&left), 405, "{method}");
            assert_eq!(header(&left.local.unwrap().headers, "allow").as_deref(), Some("GET, HEAD"));
        }
    });
}

#[test]
fn sources_are_read_out_of_answers_where_the_config_points_and_answers_stay_as_they_are() {
    const FOUND: &[u8] = br#"{"matches":[{"id":"1","metadata":{"source":"doc-1"}},{"metadata":{"source":"doc-2"}}]}"#;
    let search = |vm: &Vm, size: usize| {
        let http = vm.exchange();
        let head = [(":method", "POST"), (":path", "/indexes/x/search"), (":authority", "kb"), ("x-run", "r")];
        http.request_headers(headers(&head), true);
        http.response_headers(headers(&[(":status", "200"), ("content-type", "application/json")]), false);
        vm.calls("proxy_get_buffer_bytes");
        http.response_in_pieces(FOUND, size);
        let left = http.end(Goodbye::Logged);
        assert_eq!(left.response_body, FOUND);
        (token(&left), vm.calls("proxy_get_buffer_bytes"))
    };
    for size in [1, 7, 1000] {
        vm(|vm| {
            assert!(vm.configure(config(json!({"source_pointers": ["/matches/*/metadata/source"]}))));
            let (shown, _) = search(vm, size);
            let left = ask(vm, "GET", "/.weir/runs/r", &[("x-weir-run-token", &shown.unwrap())]);
            let trail: Value = serde_json::from_slice(&left.local.unwrap().body).unwrap();
            assert_eq!(trail["calls"][0]["kind"], "retrieval");
            assert_eq!(trail["calls"][0]["sources"], json!(["doc-1", "doc-2"]));
        });
        vm(|vm| {
            set_up(vm);
            assert_eq!(search(vm, size).1, 0, "without pointers no answer of a tool is read");
        });
    }
}

#[test]
fn with_tokens_always_every_call_is_handed_the_token() {
    vm(|vm| {
        assert!(vm.configure(config(json!({"tokens": "always"}))));
        assert_eq!(token(&call(vm, "acme", "r")), token(&call(vm, "acme", "r")));
        assert!(token(&call(vm, "acme", "r")).is_some());
    });
}

#[test]
fn workers_share_trails() {
    let process = Arc::new(Process::default());
    let shown = process.vm(|vm| {
        set_up(vm);
        token(&call(vm, "acme", "r")).unwrap()
    });
    process.vm(|vm| {
        set_up(vm);
        assert_eq!(token(&call(vm, "acme", "r")), None);
        let left = ask(vm, "GET", "/.weir/runs/r", &[("x-tenant", "acme"), ("x-weir-run-token", &shown)]);
        let trail: Value = serde_json::from_slice(&left.local.unwrap().body).unwrap();
        assert_eq!(trail["totals"]["calls"], 2);
    });
}

#[test]
fn without_the_section_nothing_is_asked_and_the_path_is_the_upstreams() {
    vm(|vm| {
        assert!(vm.configure(r#"{"identity":{"run":[{"header":"x-run"}]}}"#));
        let left = call(vm, "acme", "r");
        assert_eq!(token(&left), None);
        assert_eq!(vm.calls("proxy_get_shared_data") + vm.calls("proxy_set_shared_data"), 0);
        let left = ask(vm, "GET", "/.weir/runs/r", &[]);
        assert_eq!(left.local, None);
    });
}

#[test]
fn with_the_section_a_call_reads_twice_and_writes_once() {
    vm(|vm| {
        set_up(vm);
        for _ in 0..5 {
            vm.calls("proxy_get_shared_data");
            vm.calls("proxy_set_shared_data");
            call(vm, "acme", "r");
            assert_eq!((vm.calls("proxy_get_shared_data"), vm.calls("proxy_set_shared_data")), (2, 1));
        }
    });
}
