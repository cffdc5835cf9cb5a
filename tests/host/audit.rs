//! What callers are told of their calls, and how records are sealed, in the real shell over a fake host (see `fake_host`).

use std::sync::Arc;

use crate::fake_host::{Headers, Left, Process, Vm, headers, vm};
use serde_json::{Value, json};

const SSE: &str = "text/event-stream";
const EVENTS: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
const COMMENT: &str = ": weir call=c-1 ended=complete input=9 output=1\n\n";

fn head(more: &[(&str, &str)]) -> Headers {
    let base = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("x-request-id", "c-1"),
        ("x-run", "r\u{e9}\u{1} 1"),
    ];
    headers(&[&base, more].concat())
}

fn set_up(vm: &Vm, audit: Value) {
    assert!(
        vm.configure(
            json!({"audit": audit, "identity": {"run": [{"header": "x-run"}]}
        , "prices": [{"models": ["m*"], "per_million": {"input": "0.5", "output": "2"}}]})
            .to_string()
        )
    );
}

/// How a call goes.
#[derive(Clone, Copy)]
struct Case {
    request: &'static [(&'static str, &'static str)],
    response: &'static [(&'static str, &'static str)],
    protocol: &'static str,
    body: &'static str,
    trailers: bool,
}

const PLAIN: Case =
    Case { request: &[], response: &[("content-type", SSE)], protocol: "HTTP/2", body: EVENTS, trailers: false };

fn call(vm: &Vm, case: Case, size: usize) -> Left {
    let http = vm.exchange();
    http.property("request.protocol", case.protocol.as_bytes());
    http.request_headers(head(case.request), false);
    http.request_body(br#"{"model":"m\u0007","stream":true}"#, true);
    http.response_headers(headers(&[&[(":status", "200")], case.response].concat()), false);
    http.property("response.code_details", b"via_upstream");
    for piece in case.body.as_bytes().chunks(size) {
        http.response_body(piece, false);
    }
    if case.trailers {
        http.response_trailers()
    } else {
        http.response_body(b"", true)
    };
    http.log()
}

fn header(headers: &Headers, name: &str) -> Option<String> {
    let mut found = headers.iter().filter(|(n, _)| n == name.as_bytes());
    let value = found.next().map(|(_, value)| String::from_utf8(value.clone()).unwrap());
    assert!(found.next().is_none(), "{name} is there once");
    value
}

#[test]
fn at_its_start_an_answer_says_what_is_known_cleaned_and_whatever_the_upstream_says() {
    vm(|vm| {
        set_up(vm, json!({"headers": true}));
        let case = Case { response: &[("content-type", SSE), ("x-weir-call", "theirs")], ..PLAIN };
        let left = call(vm, case, 20);
        for (name, value) in [("x-weir-call", "c-1"), ("x-weir-model", "m_")] {
            assert_eq!(header(&left.response_headers, name).as_deref(), Some(value));
        }
        let run = header(&left.response_headers, "x-weir-run").expect("the run");
        assert!(run.bytes().all(|b| b.is_ascii_graphic()), "{run:?}");
        assert_eq!(header(&left.response_headers, "x-weir-retry"), None, "a first try");
        assert!(left.response_trailers.is_empty() && left.response_body == EVENTS.as_bytes());
    });
}

#[test]
fn trailers_go_to_those_who_take_them() {
    for (protocol, request, trailers, expected) in [
        ("HTTP/2", &[][..], false, true),
        ("HTTP/2", &[], true, true),
        ("HTTP/3", &[], false, true),
        ("HTTP/1.1", &[], false, false),
        ("HTTP/1.1", &[], true, false),
        ("HTTP/1.1", &[("te", "gzip")], false, false),
        ("HTTP/1.1", &[("te", "gzip, trailers;q=0.5")], false, true),
        ("HTTP/1.0", &[], false, false),
    ] {
        for size in [1, 30, 1000] {
            vm(|vm| {
                set_up(vm, json!({"trailers": true}));
                let left = call(vm, Case { request, protocol, trailers, ..PLAIN }, size);
                let told = |name| header(&left.response_trailers, name);
                let record = left.record.as_ref().expect("a record");
                let usage = expected.then(|| "input=9,output=1".to_owned());
                assert_eq!((told("x-weir-ended").is_some(), told("x-weir-usage")), (expected, usage), "{protocol}");
                if expected {
                    assert_eq!(told("x-weir-ended").as_deref(), record["ended"].as_str());
                    // 9 tokens of 500 nano-dollars, one of 2,000.
                    assert_eq!(told("x-weir-cost").as_deref(), Some("6500"));
                    assert_eq!(record["cost"]["total"], 6500);
                    assert!(told("x-weir-ttft-ms").is_some());
                }
                assert_eq!(left.response_body, EVENTS.as_bytes(), "no byte of the body is another");
            });
        }
    }
}

#[test]
fn a_comment_stands_only_where_clients_take_it() {
    let gzip: &[(&str, &str)] = &[("content-type", SSE), ("content-encoding", "gzip")];
    let cases: [(Case, bool); 8] = [
        (PLAIN, true),
        (Case { trailers: true, ..PLAIN }, false),
        (Case { response: &[("content-type", SSE), ("content-length", "999")], ..PLAIN }, false),
        (Case { response: gzip, ..PLAIN }, false),
        (Case { response: &[("content-type", "application/json")], body: "{\"id\":\"c\"}", ..PLAIN }, false),
        (Case { response: &[("content-type", "application/x-ndjson")], body: "{\"id\":\"c\"}\n\n", ..PLAIN }, false),
        (Case { request: &[(":path", "/v1beta/models/m:streamGenerateContent")], ..PLAIN }, false),
        (Case { body: "data: {\"choices\":[]}\n\ndata: {", ..PLAIN }, false),
    ];
    for (at, (case, expected)) in cases.into_iter().enumerate() {
        for size in [1, 7, 1000] {
            vm(|vm| {
                set_up(vm, json!({"sse_comment": true}));
                let http_path = case.request.first().filter(|(name, _)| *name == ":path");
                let left = match http_path {
                    None => call(vm, case, size),
                    Some((_, path)) => {
                        let http = vm.exchange();
                        http.request_headers(
                            headers(&[(":method", "POST"), (":path", path), (":authority", "llm")]),
                            true,
                        );
                        http.response_headers(headers(&[(":status", "200"), ("content-type", SSE)]), false);
                        http.response_in_pieces(case.body.as_bytes(), size);
                        http.log()
                    }
                };
                let comment = if expected { COMMENT } else { "" };
                let got = String::from_utf8_lossy(&left.response_body).into_owned();
                assert_eq!(got, [case.body, comment].concat(), "case {at}, pieces of {size}");
            });
        }
    }
}

#[test]
fn records_of_a_worker_are_one_chain_and_a_new_config_goes_on_with_it() {
    vm(|vm| {
        let mut seals = Vec::new();
        for (reload, key) in ["0123456789abcdef", "fedcba9876543210"].into_iter().enumerate() {
            set_up(vm, json!({"chain": {"key": key, "key_id": format!("k{reload}")}}));
            for _ in 0..3 {
                let left = call(vm, PLAIN, 1000);
                let text = String::from_utf8(left.filter_state["weir.record"].clone()).unwrap();
                assert!(text.ends_with("\"}}"), "{text}");
                seals.push(left.record.unwrap()["chain"].clone());
            }
        }
        for (seq, seal) in seals.iter().enumerate() {
            assert_eq!((&seal["seq"], &seal["worker"]), (&json!(seq), &seals[0]["worker"]));
            assert_eq!(seal["key"], format!("k{}", seq / 3));
        }
        set_up(vm, json!({}));
        assert_eq!(call(vm, PLAIN, 1000).record.unwrap()["chain"], Value::Null);
    });
}

#[test]
fn chains_of_a_process_are_counted_over_its_workers_and_those_of_another_from_1() {
    let begun = |process: &Arc<Process>| {
        process.vm(|vm| {
            set_up(vm, json!({"chain": {"key": "0123456789abcdef"}}));
            let worker = call(vm, PLAIN, 1000).record.unwrap()["chain"]["worker"].as_str().unwrap().to_owned();
            let (process, count) = worker.split_at(12);
            (process.to_owned(), count.to_owned())
        })
    };
    let [one, other] = [Arc::new(Process::default()), Arc::new(Process::default())];
    let (of, first) = begun(&one);
    assert_eq!(first, "0001");
    assert_eq!([begun(&one), begun(&one)], ["0002", "0003"].map(|count| (of.clone(), count.to_owned())));
    // What stands in front is random, where there are random numbers: as Wasm.
    assert_eq!(begun(&other).1, "0001");
}
