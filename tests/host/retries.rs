//! Retries in the real shell over a fake host (see `fake_host`): who is taken for one, who is answered here, and what is told to
//! Envoy, budgets and people.

use std::sync::Arc;

use crate::fake_host::{Fault, Goodbye, Headers, Http, Left, Process, Vm, headers, vm};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

const ANSWER: &[u8] = br#"{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const FAILURE: &[u8] = br#"{"error":{"message":"no","type":"server_error","param":null,"code":null}}"#;

/// The modes of holding a request.
const MODES: [bool; 2] = [false, true];

fn body(what: &str) -> Vec<u8> {
    json!({"model": "m", "messages": [{"role": "user", "content": what}]}).to_string().into_bytes()
}

fn head(call: &str, more: &[(&str, &str)]) -> Headers {
    let base = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("authorization", "Bearer key-1"),
        ("x-request-id", call),
    ];
    headers(&[&base, more].concat())
}

fn config(budget: Value, more: Value, hold: bool) -> String {
    let mut base = json!({"name": "all", "ratio": 0.1, "min_per_second": 0});
    for (key, value) in budget.as_object().unwrap() {
        base[key] = value.clone();
    }
    let mut config = json!({"retry_budgets": [base], "admission": {"hold_headers": hold}});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config.to_string()
}

fn set_up(vm: &Vm, config: String, hold: bool) {
    if hold {
        vm.allow_on_headers_stop_iteration();
    }
    assert!(vm.configure(config), "{:?}", vm.logged());
}

fn asking(vm: &Vm, call: &str, what: &str, more: &[(&str, &str)], size: usize) -> Http {
    let http = vm.exchange();
    http.request_headers(head(call, more), false);
    if !http.is_over() {
        http.request_in_pieces(&body(what), size);
    }
    http
}

/// The upstream's answer, if it was asked.
fn answered(http: Http, status: &str) -> Left {
    if !http.is_over() {
        let body = if status == "200" { ANSWER } else { FAILURE };
        http.response_headers(headers(&[(":status", status), ("content-type", "application/json")]), false);
        http.response_in_pieces(body, 50);
        http.property("response.code_details", b"via_upstream");
    }
    http.end(Goodbye::Logged)
}

fn retry(left: &Left) -> Value {
    left.record.as_ref().expect("a record")["retry"].clone()
}

fn header(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v);
    value.map(|value| String::from_utf8(value.clone()).unwrap())
}

const NONE: &[(&str, &str)] = &[];

#[test]
fn the_same_request_after_a_failure_is_a_retry_and_is_answered_with_the_last_error_when_the_budget_is_out() {
    for hold in MODES {
        for size in [1, 30, 1000] {
            vm(|vm| {
                set_up(vm, config(json!({}), json!({}), hold), hold);
                let first = answered(asking(vm, "call-1", "a", NONE, size), "500");
                assert_eq!(retry(&first), Value::Null, "a first try");
                let second = asking(vm, "call-2", "a", NONE, size);
                assert!(second.is_over(), "hold {hold}, pieces of {size}");
                let left = answered(second, "200");
                let expected = json!({"attempt": 2, "source": "body", "of": "call-1", "verdict": "refuse"});
                assert_eq!(retry(&left), expected);
                let local = left.local.as_ref().expect("an answer of its own");
                assert_eq!(local.status, 500);
                assert_eq!(header(&local.headers, "x-should-retry").as_deref(), Some("false"));
                assert!(header(&local.headers, "retry-after").is_some());
                let error: Value = serde_json::from_slice(&local.body).expect("JSON");
                assert_eq!(error["error"]["type"], "server_error");
                let record = left.record.as_ref().unwrap();
                assert_eq!(
                    (&record["ended"], &record["error_type"]),
                    (&json!("refused"), &json!("retry_budget_exceeded"))
                );
                // Another request is a first try.
                assert_eq!(retry(&answered(asking(vm, "call-3", "b", NONE, size), "200")), Value::Null);
            });
        }
    }
}

#[test]
fn what_went_well_is_forgotten_and_so_is_what_failed_long_ago() {
    for hold in MODES {
        vm(|vm| {
            set_up(vm, config(json!({"ratio": 1}), json!({}), hold), hold);
            assert_eq!(retry(&answered(asking(vm, "1", "a", NONE, 30), "503")), Value::Null);
            assert_eq!(retry(&answered(asking(vm, "2", "a", NONE, 30), "200"))["verdict"], "pass");
            assert_eq!(
                retry(&answered(asking(vm, "3", "a", NONE, 30), "503")),
                Value::Null,
                "the one before went well"
            );
            vm.pass_ms(61_000);
            assert_eq!(retry(&answered(asking(vm, "4", "a", NONE, 30), "503")), Value::Null, "a minute has passed");
            let another = [("authorization", "Bearer key-2")];
            let other = vm.exchange();
            let mut map = head("5", NONE);
            map.retain(|(name, _)| name != b"authorization");
            map.extend(headers(&another));
            other.request_headers(map, false).request_in_pieces(&body("a"), 30);
            assert_eq!(retry(&answered(other, "200")), Value::Null, "another caller");
            assert_eq!(retry(&answered(asking(vm, "6", "a", NONE, 30), "200"))["of"], "4");
        });
    }
}

#[test]
fn a_retry_that_its_head_tells_is_refused_before_its_body_comes() {
    for (name, value, source) in [
        ("x-stainless-retry-count", "1", "stainless"),
        ("x-envoy-attempt-count", "2", "envoy"),
        ("amz-sdk-request", "attempt=2; max=3", "amz_sdk"),
        ("x-mine", "1", "header"),
    ] {
        vm(|vm| {
            set_up(vm, config(json!({}), json!({"retries": {"header": "x-mine"}}), false), false);
            answered(asking(vm, "1", "a", NONE, 30), "529");
            let http = vm.exchange();
            http.request_headers(head("2", &[(name, value)]), false);
            assert!(http.is_over(), "{name}");
            let left = http.end(Goodbye::Logged);
            assert_eq!(retry(&left)["source"], source);
            // What the budget saw last.
            assert_eq!(left.local.expect("an answer").status, 529, "{name}");
        });
    }
}

#[test]
fn an_idempotency_key_makes_its_second_call_a_retry_whatever_came_of_the_first() {
    for hold in MODES {
        vm(|vm| {
            set_up(vm, config(json!({"ratio": 1}), json!({}), hold), hold);
            let key = [("idempotency-key", "k")];
            assert_eq!(retry(&answered(asking(vm, "1", "a", &key, 30), "200")), Value::Null);
            let second = answered(asking(vm, "2", "other words", &key, 30), "200");
            assert_eq!(
                retry(&second),
                json!({"attempt": 2, "source": "idempotency_key", "of": "1", "verdict": "pass"})
            );
        });
    }
}

#[test]
fn envoy_is_told_not_to_retry_once_the_budget_is_out_and_what_it_did_is_charged() {
    for hold in MODES {
        vm(|vm| {
            set_up(vm, config(json!({"ratio": 0.1}), json!({}), hold), hold);
            let stops = |left: &Left| header(&left.request_headers, "x-envoy-max-retries").as_deref() == Some("0");
            // Nine first tries are not enough for one retry, ten are.
            let well = |n: usize| {
                let left = answered(asking(vm, "c", &n.to_string(), NONE, 30), "200");
                stops(&left)
            };
            assert_eq!((0..12).map(well).filter(|stopped| *stopped).count(), if hold { 9 } else { 10 });
            let http = asking(vm, "c", "tried three times", NONE, 30);
            http.property("upstream.request_attempt_count", &3u64.to_le_bytes());
            assert!(!stops(&answered(http, "200")));
            assert!(well(100), "two were charged, where one was left");
            assert!((0..7).any(|n| well(200 + n)), "and the other is paid first");
        });
    }
}

#[test]
fn where_the_budget_is_short_envoy_may_retry_once_and_what_it_does_not_need_comes_back() {
    for hold in MODES {
        vm(|vm| {
            set_up(vm, config(json!({"ratio": 0, "min_per_second": 0.4, "ttl_s": 10}), json!({}), hold), hold);
            let may = |http: &Left| header(&http.request_headers, "x-envoy-max-retries");
            let at_once: Vec<Http> = (0..3).map(|n| asking(vm, "c", &n.to_string(), NONE, 30)).collect();
            let told: Vec<_> = at_once.into_iter().map(|http| may(&answered(http, "200"))).collect();
            assert_eq!(told, [Some("1"), Some("1"), Some("0")].map(|n| n.map(str::to_owned)), "two of four lie ready");
            let http = asking(vm, "c", "tried twice", NONE, 30);
            http.property("upstream.request_attempt_count", &2u64.to_le_bytes());
            assert_eq!(may(&answered(http, "200")).as_deref(), Some("1"), "both came back");
            for (what, expected) in [("one is used", "1"), ("and it came back", "1")] {
                assert_eq!(may(&answered(asking(vm, "c", what, NONE, 30), "200")).as_deref(), Some(expected), "{what}");
            }
            // With plenty, its route says.
            set_up(vm, config(json!({"name": "much", "ratio": 0, "min_per_second": 100}), json!({}), hold), hold);
            assert_eq!(may(&answered(asking(vm, "c", "plenty", NONE, 30), "200")), None);
        });
    }
}

#[test]
fn attempts_are_counted_by_layer_and_the_tokens_of_those_in_vain_as_wasted() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        set_up(vm, config(json!({"ratio": 1}), json!({}), false), false);
        let sdk_first = [("x-stainless-retry-count", "0")];
        answered(asking(vm, "1", "a", &sdk_first, 30), "500");
        answered(asking(vm, "2", "a", &sdk_first, 30), "500");
        answered(asking(vm, "3", "b", NONE, 30), "200");
        let http = asking(vm, "4", "b2", &[("x-stainless-retry-count", "1")], 30);
        http.property("upstream.request_attempt_count", &3u64.to_le_bytes());
        answered(http, "200");
        answered(asking(vm, "5", "c", &[("x-stainless-retry-count", "1")], 30), "200");
    });
    let count =
        |layer: &str, outcome: &str| process.sum(&format!("weir_attempts_total;layer={layer};outcome={outcome}"));
    assert_eq!((count("first", "failed"), count("first", "ok")), (1, 1));
    assert_eq!(count("agent", "failed"), 1, "the SDK took it for a new call");
    assert_eq!((count("sdk", "failed"), count("envoy", "failed"), count("envoy", "ok")), (1, 1, 1));
    assert_eq!(count("sdk", "refused"), 1);
    assert!(process.sum("weir_wasted_tokens_total;why=failed") > 0);
}

#[test]
fn an_mcp_tool_call_is_the_same_whatever_its_id() {
    let call = |vm: &Vm, id: u32, argument: &str| {
        let http = vm.exchange();
        let mut map = headers(&[
            (":method", "POST"),
            (":path", "/mcp"),
            (":authority", "tools"),
            ("accept", "application/json, text/event-stream"),
            ("x-request-id", &id.to_string()),
        ]);
        map.extend(headers(&[("content-type", "application/json")]));
        http.request_headers(map, false);
        // As clients write it, whatever order `json!` has.
        let params = format!(r#"{{"name":"t","arguments":{{"q":"{argument}"}}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        http.request_in_pieces(body.as_bytes(), 7);
        http
    };
    for hold in MODES {
        vm(|vm| {
            set_up(vm, config(json!({"scope": ["tool"], "ratio": 1}), json!({}), hold), hold);
            answered(call(vm, 1, "a"), "500");
            let second = answered(call(vm, 2, "a"), "200");
            assert_eq!(retry(&second), json!({"attempt": 2, "source": "body", "of": "1", "verdict": "pass"}));
            assert_eq!(retry(&answered(call(vm, 3, "b"), "200")), Value::Null);
        });
    }
}

#[test]
fn an_open_circuit_refuses_first_tries_too_but_for_probes_and_closes_when_they_go_well() {
    for hold in MODES {
        vm(|vm| {
            let circuit = json!({"name": "cluster", "min_calls": 4, "close_after": 2});
            set_up(vm, json!({"circuits": [circuit], "admission": {"hold_headers": hold}}).to_string(), hold);
            for n in 0..4 {
                answered(asking(vm, "c", &n.to_string(), NONE, 30), "503");
            }
            let left = answered(asking(vm, "c", "new", NONE, 30), "200");
            assert_eq!(retry(&left), json!({"attempt": 1, "verdict": "circuit"}));
            let local = left.local.as_ref().expect("an answer");
            assert_eq!((local.status, header(&local.headers, "x-weir-limit").as_deref()), (503, Some("cluster")));
            for _ in 0..2 {
                vm.pass_ms(1000);
                let (probe, other) = (asking(vm, "c", "p", NONE, 30), asking(vm, "c", "q", NONE, 30));
                assert!(!probe.is_over() && other.is_over(), "one of two");
                answered(probe, "200");
                answered(other, "200");
            }
            assert!(!asking(vm, "c", "r", NONE, 30).is_over(), "it is closed");
        });
    }
}

#[test]
fn a_retry_that_would_come_too_late_is_refused() {
    vm(|vm| {
        let more = json!({"retries": {"deadline": {"stainless_timeout": true}}});
        set_up(vm, config(json!({"ratio": 100}), more, false), false);
        for n in 0..10 {
            let http = asking(vm, "c", &n.to_string(), NONE, 1000);
            vm.pass_ms(2000);
            answered(http, "200");
        }
        let asked = |timeout: &str| {
            let more = [("x-stainless-retry-count", "1"), ("x-stainless-timeout", timeout)];
            retry(&answered(asking(vm, "c", "a", &more, 1000), "200"))["verdict"].clone()
        };
        assert_eq!((asked("1"), asked("10")), (json!("deadline"), json!("pass")));
    });
}

#[test]
fn shadow_records_and_lets_pass() {
    vm(|vm| {
        set_up(vm, config(json!({"mode": "shadow"}), json!({}), false), false);
        answered(asking(vm, "1", "a", NONE, 30), "500");
        let second = answered(asking(vm, "2", "a", NONE, 30), "200");
        assert_eq!((retry(&second)["verdict"].clone(), second.local.is_none()), (json!("shadow"), true));
        assert_eq!(header(&second.request_headers, "x-envoy-max-retries"), None);
    });
}

#[test]
fn a_retry_that_is_refused_takes_nothing_of_a_limit() {
    for hold in MODES {
        vm(|vm| {
            let limit =
                json!({"name": "calls", "scope": ["model"], "unit": "calls", "rate": {"limit": 3, "per": "hour"}});
            set_up(vm, config(json!({}), json!({"limits": [limit]}), hold), hold);
            answered(asking(vm, "1", "a", NONE, 30), "500");
            for _ in 0..5 {
                assert_eq!(retry(&answered(asking(vm, "2", "a", NONE, 30), "200"))["verdict"], "refuse");
            }
            for what in ["b", "c"] {
                assert!(!asking(vm, "3", what, NONE, 30).is_over(), "{what}");
            }
            assert!(asking(vm, "4", "d", NONE, 30).is_over(), "three have passed");
        });
    }
}

#[test]
fn a_first_try_that_a_limit_refused_is_none_the_less_a_first_try_when_it_comes_again() {
    for hold in MODES {
        let process = Arc::new(Process::default());
        process.vm(|vm| {
            let limit = json!({"name": "calls", "unit": "calls", "rate": {"limit": 1, "per": "second"}});
            set_up(vm, config(json!({"ratio": 0}), json!({"limits": [limit]}), hold), hold);
            let again = [("x-stainless-retry-count", "1")];
            answered(asking(vm, "1", "a", NONE, 30), "200");
            let refused = answered(asking(vm, "2", "b", NONE, 30), "200");
            assert_eq!(refused.local.expect("an answer").status, 429);
            // It comes too early, and is refused once more.
            let refused = answered(asking(vm, "3", "b", &again, 30), "200");
            assert_eq!(
                (refused.local.as_ref().expect("an answer").status, &retry(&refused)["verdict"]),
                (429, &json!("pass"))
            );
            vm.pass_ms(1500);
            let left = answered(asking(vm, "4", "b", &again, 30), "500");
            assert_eq!(retry(&left), json!({"attempt": 2, "source": "stainless", "verdict": "pass"}));
            vm.pass_ms(1500);
            // Now the upstream has heard of it.
            assert_eq!(retry(&answered(asking(vm, "5", "b", &again, 30), "200"))["verdict"], "refuse", "hold {hold}");
        });
        let count =
            |layer: &str, outcome: &str| process.sum(&format!("weir_attempts_total;layer={layer};outcome={outcome}"));
        assert_eq!((count("first", "ok"), count("first", "failed"), count("first", "refused")), (1, 1, 2));
        assert_eq!((count("sdk", "ok"), count("sdk", "failed"), count("sdk", "refused")), (0, 0, 1));
    }
}

#[test]
fn an_open_circuit_makes_no_retry_of_what_it_refused() {
    for hold in MODES {
        vm(|vm| {
            let circuit = json!({"name": "cluster", "min_calls": 1, "close_after": 1});
            set_up(vm, config(json!({"ratio": 0}), json!({"circuits": [circuit]}), hold), hold);
            answered(asking(vm, "1", "a", NONE, 30), "503");
            assert_eq!(retry(&answered(asking(vm, "2", "b", NONE, 30), "200"))["verdict"], "circuit");
            vm.pass_ms(1000);
            let probe = answered(asking(vm, "3", "b", &[("x-stainless-retry-count", "1")], 30), "200");
            assert_eq!(retry(&probe)["verdict"], "pass", "hold {hold}");
        });
    }
}

#[test]
fn workers_share_budgets_and_what_they_saw() {
    let process = Arc::new(Process::default());
    let count = 4;
    for n in 0..count {
        process.vm(|vm| {
            set_up(vm, config(json!({"ratio": 0.25}), json!({}), false), false);
            answered(asking(vm, &n.to_string(), &n.to_string(), NONE, 30), "500");
        });
    }
    let passed = (0..count).filter(|n| {
        process.vm(|vm| {
            set_up(vm, config(json!({"ratio": 0.25}), json!({}), false), false);
            // Each asks again what another asked first.
            let left = answered(asking(vm, "again", &((n + 1) % count).to_string(), NONE, 30), "500");
            assert_eq!(retry(&left)["of"], ((n + 1) % count).to_string());
            left.local.is_none()
        })
    });
    assert_eq!(passed.count(), 1);
}

#[test]
fn without_the_sections_nothing_is_looked_at() {
    vm(|vm| {
        assert!(vm.configure("{}"));
        vm.calls("proxy_get_shared_data");
        vm.calls("proxy_set_shared_data");
        answered(asking(vm, "1", "a", &[("x-stainless-retry-count", "2"), ("idempotency-key", "k")], 30), "500");
        let left = answered(asking(vm, "2", "a", NONE, 30), "500");
        assert_eq!(retry(&left), Value::Null);
        assert_eq!((vm.calls("proxy_get_shared_data"), vm.calls("proxy_set_shared_data")), (0, 0));
    });
}

fn all_kinds(hold: bool) -> String {
    let more = json!({
        "retries": {"header": "x-mine", "deadline": {"header": "x-request-deadline", "stainless_timeout": true}},
        "circuits": [{"name": "c", "min_calls": 2, "scope": ["cluster", "model"]}, {"name": "s", "min_calls": 1, "mode": "shadow"}],
        "limits": [{"name": "l", "unit": "calls", "rate": {"limit": 50, "per": "second"}}],
    });
    config(json!({"unit": "tokens", "scope": ["route", "cluster", "tenant"], "fail": "closed"}), more, hold)
}

fn some_calls(vm: &Vm, hold: bool) {
    vm.configure(all_kinds(hold));
    for (n, status) in ["500", "200", "500", "503"].iter().enumerate() {
        for more in
            [&[][..], &[("x-stainless-retry-count", "1")], &[("idempotency-key", "k"), ("x-stainless-timeout", "1")]]
        {
            let http = asking(vm, "c", &(n / 2).to_string(), more, 30);
            vm.pass_ticking_ms(20);
            if !http.is_over() && !http.is_held() {
                answered(http, status);
            } else {
                http.abort();
            }
        }
    }
}

const FUNCTIONS: [&str; 7] = [
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_send_local_response",
    "proxy_replace_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
];

#[test]
fn a_function_that_always_answers_the_same_status_stops_no_call() {
    for function in FUNCTIONS {
        for status in (0..=12).chain([255, u32::MAX]) {
            for hold in MODES {
                vm(|vm| {
                    if hold {
                        vm.allow_on_headers_stop_iteration();
                    }
                    vm.fail(Some(Fault::Always(function, status)));
                    some_calls(vm, hold);
                    vm.fail(None);
                    some_calls(vm, hold);
                });
            }
        }
    }
}

#[test]
fn junk_in_the_store_stops_no_call() {
    for junk in [&b""[..], b"x", &[0xff; 128], &[0xff; 456], &[0xff; 1664], &[0xff; 1632], &[0; 9]] {
        let process = Arc::new(Process::default());
        process.vm(|vm| some_calls(vm, false));
        for key in process.shared_keys() {
            process.set_shared_value(&key, junk);
        }
        process.vm(|vm| some_calls(vm, true));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_host_that_fails_at_random_stops_no_call(seed in any::<[u8; 32]>(), hold in any::<bool>()) {
        vm(|vm| {
            if hold {
                vm.allow_on_headers_stop_iteration();
            }
            vm.fail(Some(Fault::Random(Box::new(TestRng::from_seed(RngAlgorithm::ChaCha, &seed)))));
            some_calls(vm, hold);
            vm.fail(None);
            some_calls(vm, hold);
        });
    }
}
