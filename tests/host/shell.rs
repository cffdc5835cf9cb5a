//! The real shell and its exports over a fake host (see `fake_host`).

use std::sync::Arc;

use crate::fake_host::{Fault, Goodbye, Headers, Http, Left, Process, Vm, headers, vm};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value;

const ACTIVE: &str = "weir_streams_active";

fn ask() -> Headers {
    headers(&[
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("x-request-id", "35384a62-8b0e-4166-8c13-5fe15dc30928"),
    ])
}

const ASK: &[u8] = br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// Where this is cut in `stream_options`, it is held if usage is to be asked for.
const ASK_WITHOUT: &[u8] = br#"{"model":"gpt-4o","stream_options":{"include_usage":false},"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn answer(status: &str) -> Headers {
    headers(&[(":status", status), ("content-type", "text/event-stream")])
}

const ANSWER: &[u8] = b"data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n\
data: [DONE]\n\n";

/// One callback of an exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The head; is it all?
    Head(bool),
    /// An interim answer.
    Interim,
    /// Half of the body.
    Half(bool),
    /// An empty piece.
    Empty(bool),
    Trailers,
}

use Step::{Empty, Half, Head, Interim, Trailers};

/// All ways a request can come.
const REQUESTS: [&[Step]; 6] = [
    &[Head(true)],
    &[Head(false), Half(true)],
    &[Head(false), Half(false), Half(true)],
    &[Head(false), Half(false), Empty(true)],
    &[Head(false), Empty(false), Half(false), Trailers],
    &[Head(false), Trailers],
];

/// All ways an answer can come.
const ANSWERS: [&[Step]; 7] = [
    &[],
    &[Head(true)],
    &[Head(false), Half(true)],
    &[Head(false), Half(false), Half(false), Empty(true)],
    &[Head(false), Empty(false), Half(false), Trailers],
    &[Head(false), Trailers],
    &[Interim, Head(false), Half(true)],
];

/// Does steps of both sides in the order that `order` gives (true: the answer's turn). What was sent of each body.
fn play(http: &Http, request: &[Step], response: &[Step], order: &[bool]) -> (Vec<u8>, Vec<u8>) {
    let (mut request, mut response) = (request.iter(), response.iter());
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let (ask_half, answer_half) = (&ASK_WITHOUT[..50], &ANSWER[..ANSWER.len() / 2]);
    for &answers in order {
        match answers {
            false => match request.next() {
                Some(Head(end)) => drop(http.request_headers(ask(), *end)),
                Some(Half(end)) => {
                    asked.extend(ask_half);
                    http.request_body(ask_half, *end);
                }
                Some(Empty(end)) => drop(http.request_body(b"", *end)),
                Some(Trailers) => drop(http.request_trailers()),
                Some(Interim) | None => {}
            },
            true => match response.next() {
                Some(Interim) => drop(http.response_headers(answer("103"), false)),
                Some(Head(end)) => drop(http.response_headers(answer("200"), *end)),
                Some(Half(end)) => {
                    answered.extend(answer_half);
                    http.response_body(answer_half, *end);
                }
                Some(Empty(end)) => drop(http.response_body(b"", *end)),
                Some(Trailers) => drop(http.response_trailers()),
                None => {}
            },
        }
    }
    (asked, answered)
}

/// All orders of so many steps of the request and of the answer, and all their beginnings. The request's head is first:
/// Envoy has no answer before it.
fn orders(requests: usize, answers: usize) -> Vec<Vec<bool>> {
    let mut all = vec![vec![]];
    let mut last = vec![vec![false]];
    while !last.is_empty() {
        all.append(&mut last.clone());
        let longer = |order: &Vec<bool>| {
            let answered = order.iter().filter(|a| **a).count();
            let asked = order.len() - answered;
            let more = [(asked < requests, false), (answered < answers, true)];
            more.into_iter()
                .filter(|(fits, _)| *fits)
                .map(|(_, side)| [&order[..], &[side]].concat())
                .collect::<Vec<_>>()
        };
        last = last.iter().flat_map(longer).collect();
    }
    all
}

#[test]
fn every_order_of_callbacks_cut_off_anywhere_leaves_a_record_and_no_stream_active() {
    for (config, unchanged) in [("{}", true), (r#"{"usage":{"inject":true}}"#, false)] {
        let process = Arc::new(Process::default());
        process.vm(|vm| {
            assert!(vm.configure(config));
            let played = every_order(vm, &process, unchanged);
            assert!(played > 4_000, "{played} exchanges");
        });
    }
}

/// Plays all of them; how many there are.
fn every_order(vm: &Vm, process: &Process, unchanged: bool) -> usize {
    let mut played = 0;
    for (request, response) in REQUESTS.iter().flat_map(|r| ANSWERS.iter().map(move |a| (*r, *a))) {
        for order in orders(request.len(), response.len()) {
            for goodbye in Goodbye::ALL {
                let case = format!("{request:?} {response:?} {order:?} {goodbye:?}");
                let http = vm.exchange();
                let (asked, answered) = play(&http, request, response, &order);
                assert_eq!(process.sum(ACTIVE), i64::from(!order.is_empty()), "in {case}");
                let left = http.end(goodbye);
                assert_eq!(process.sum(ACTIVE), 0, "after {case}");
                assert_eq!(left.record.is_some(), goodbye.is_logged(), "{case}");
                assert!(!unchanged || left.request_body == asked && left.response_body == answered, "{case}");
                played += 1;
            }
        }
    }
    played
}

#[test]
fn a_record_is_the_only_filter_state_and_an_object() {
    vm(|vm| {
        let http = vm.exchange();
        http.request_headers(ask(), false).request_in_pieces(ASK, 5);
        http.response_headers(answer("200"), false).response_in_pieces(ANSWER, 5);
        let left = http.log();
        assert_eq!(left.filter_state.keys().collect::<Vec<_>>(), ["weir.record"]);
        assert!(left.record.is_some_and(|record| record.is_object()));
    });
}

#[test]
fn tokens_are_published_for_other_filters_before_the_request_goes_on_and_when_the_call_is_over() {
    let told = |answered: Option<(&str, bool)>, goodbye: Goodbye| {
        vm(|vm| {
            assert!(vm.configure(r#"{"filter_state":{"tokens":true}}"#));
            let http = vm.exchange();
            http.request_headers(ask(), false);
            if let Some((status, ends)) = answered {
                http.request_body(ASK, true).response_headers(answer(status), false).response_body(ANSWER, ends);
            }
            let left = http.end(goodbye).filter_state;
            ["weir.reserve", "weir.charge"].map(|name| left.get(name).cloned())
        })
    };
    let text = |text: &str| Some(text.as_bytes().to_vec());
    // A VM that dies meanwhile logs nothing. Of the answer nothing is known yet: 256 tokens.
    assert_eq!(told(None, Goodbye::Dropped), [text("256"), None]);
    for (what, answered, charge) in [
        ("no answer", None, ["256", "0"]),
        ("a whole answer", Some(("200", true)), ["257", "10"]),
        ("a client that went away after the usage came", Some(("200", false)), ["257", "10"]),
        ("an error that looks like an answer", Some(("500", true)), ["257", "0"]),
    ] {
        assert_eq!(told(answered, Goodbye::Logged), charge.map(text), "{what}");
    }
}

#[test]
fn a_request_that_is_logged_without_a_callback_has_a_record_too() {
    vm(|vm| assert!(vm.exchange().log().record.is_some()));
}

#[test]
fn exchanges_that_run_side_by_side_do_not_meet() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        let all: Vec<Http> = (0..50).map(|_| vm.exchange()).collect();
        for http in &all {
            http.request_headers(ask(), false);
        }
        assert_eq!(process.sum(ACTIVE), 50);
        for (n, http) in all.iter().enumerate() {
            http.request_body(format!("{{\"n\":{n}}}").as_bytes(), true);
        }
        for (n, http) in all.into_iter().enumerate().rev() {
            assert_eq!(http.log().request_body, format!("{{\"n\":{n}}}").as_bytes());
            assert_eq!(process.sum(ACTIVE), n as i64);
        }
    });
}

#[test]
fn four_workers_count_into_one_store() {
    let process = Arc::new(Process::default());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let process = &process;
            scope.spawn(move || {
                process.vm(|vm| {
                    for call in 0..500 {
                        let http = vm.exchange();
                        http.request_headers(ask(), false).request_body(ASK, true);
                        http.response_headers(answer("200"), false).response_in_pieces(ANSWER, 40);
                        http.end(Goodbye::ALL[(call + worker) % 2]);
                    }
                });
            });
        }
    });
    assert_eq!(process.sum(ACTIVE), 0);
    let own_times: usize =
        process.names("weir_filter_us").iter().filter_map(|n| process.metric(n)).map(|m| m.samples.len()).sum();
    assert_eq!(own_times, 1_000, "each logged call counts once");
}

/// Calls of the host in one callback: reads of the clock, of a body, of headers.
fn costs(vm: &Vm) -> [usize; 3] {
    ["proxy_get_current_time_nanoseconds", "proxy_get_buffer_bytes", "proxy_get_header_map_pairs"].map(|f| vm.calls(f))
}

#[test]
fn a_callback_reads_the_clock_and_what_it_is_about_once() {
    vm(|vm| {
        let http = vm.exchange();
        costs(vm);
        http.request_headers(ask(), false);
        assert_eq!(costs(vm), [2, 0, 1], "the second look at the clock is the filter's own time");
        http.request_body(ASK, true);
        assert_eq!(costs(vm), [2, 1, 0], "the first pieces are timed each");
        http.response_headers(answer("200"), false);
        assert_eq!(costs(vm), [2, 0, 1]);
        let pieces = 1_000;
        for _ in 0..pieces {
            http.response_body(b"data: {}\n\n", false);
        }
        let [clock, body, head] = costs(vm);
        assert_eq!([body, head], [pieces, 0]);
        assert!((pieces..pieces + pieces / 10).contains(&clock), "{clock} looks at the clock");
        http.response_body(b"", true);
        assert_eq!(costs(vm), [1, 0, 0], "an empty piece has nothing to read");
        http.response_body(b"", true);
        assert_eq!(costs(vm), [0, 0, 0], "after the end there is nothing to say");
    });
}

#[test]
fn bytes_of_another_protocol_are_not_read() {
    let path = (":path", "/v1/chat/completions");
    let upgrade = [(":method", "POST"), path, ("connection", "upgrade"), ("upgrade", "websocket")];
    let websocket = [(":method", "GET"), path, ("connection", "upgrade"), ("upgrade", "websocket")];
    let connect = [(":method", "CONNECT"), path, (":authority", "llm:443")];
    let plain = [(":method", "POST"), path];
    for (request, status, asked, answered) in [
        // Nobody tunnels with a POST: what is none is read, and what is one is no JSON from its first byte on.
        (&upgrade[..], "101", 1, 0),
        // The upstream did not want to; its answer is HTTP.
        (&upgrade[..], "200", 1, 1),
        (&websocket[..], "101", 0, 0),
        (&connect[..], "200", 0, 0),
        (&plain[..], "200", 1, 1),
    ] {
        vm(|vm| {
            let http = vm.exchange();
            http.request_headers(headers(request), false).response_headers(answer(status), false);
            costs(vm);
            http.request_body(b"\x81\x85 frames", false);
            assert_eq!(costs(vm)[1], asked, "{request:?}");
            http.response_body(b"data: {}\n\n", false);
            assert_eq!(costs(vm)[1], answered, "{request:?} {status}");
            assert_eq!(http.log().response_body, b"data: {}\n\n");
        });
    }
}

#[test]
fn what_is_no_inference_is_not_read_but_has_a_record_and_counts() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        let http = vm.exchange();
        http.request_headers(headers(&[(":method", "POST"), (":path", "/v1/files")]), false);
        costs(vm);
        http.request_body(b"upload", false).request_body(b"upload", false);
        http.response_headers(answer("200"), false);
        http.response_body(b"{}", false).response_body(b"{}", false);
        assert_eq!(costs(vm)[1], 0);
        http.response_body(b"", true);
        let record = http.log().record.expect("a record");
        assert_eq!((&record["api"], &record["ended"]), (&"other".into(), &"complete".into()));
    });
    assert_eq!(process.sum("weir_calls_total;ended=complete;"), 1);
}

#[test]
fn a_bad_config_is_refused_with_its_path_and_reason_by_every_worker() {
    for (config, expected) in [
        ("{", "EOF"),
        (r#"{"sloo":[]}"#, "unknown field `sloo`"),
        (r#"{"slo":[{"first_token_ms":0,"objective":0.9}]}"#, "slo[0].first_token_ms: "),
        (r#"{"slo":[{"first_token_ms":500,"objective":1.5}]}"#, "slo[0].objective: 1.5 is not between 0 and 1"),
        (r#"{"read":{"max_event_bytes":1}}"#, "read.max_event_bytes: 1 is not between"),
        (r#"{"identity":{"tenant":[{"header":"a b"}]}}"#, "identity.tenant[0]"),
        ("{} {}", "trailing"),
        ("\u{fffd}", "not a JSON object"),
    ] {
        let process = Arc::new(Process::default());
        for worker in 0..2 {
            process.vm(|vm| {
                assert!(vm.configure("{}") && vm.logged().is_empty());
                assert!(!vm.configure(config), "{config} in worker {worker}");
                let log = vm.logged();
                assert!(matches!(&log[..], [line] if line.contains(expected)), "{config}: {log:?}");
                assert!(vm.exchange().log().record.is_some(), "calls go on");
            });
        }
    }
    vm(|vm| assert!(!vm.configure([0xff, 0xfe]), "bytes that are no text"));
}

#[test]
fn no_config_and_an_empty_one_are_good() {
    for config in ["", " \n", "{}"] {
        vm(|vm| assert!(vm.configure(config) && vm.logged().is_empty(), "{config:?}"));
    }
}

/// A streamed chat call of a tenant for a model, from its first header to its record.
fn chat(vm: &Vm, tenant: &str, model: &str, status: &str) -> Value {
    let http = vm.exchange();
    let mut request = ask();
    request.extend(headers(&[("x-tenant", tenant)]));
    http.request_headers(request, false);
    http.request_body(format!(r#"{{"model":"{model}","stream":true,"messages":[]}}"#).as_bytes(), true);
    vm.pass_ms(100);
    http.response_headers(answer(status), false).response_in_pieces(ANSWER, 1000);
    http.log().record.expect("a record")
}

const BY_TENANT: &str =
    r#"{"identity":{"tenant":[{"header":"x-tenant"}]},"slo":[{"name":"quick","first_token_ms":500,"objective":0.9}]}"#;

#[test]
fn a_call_counts_in_series_named_after_its_labels() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(BY_TENANT));
        for _ in 0..3 {
            chat(vm, "acme", "gpt-4o.1", "200");
        }
    });
    let shared = ";model=gpt-4o.1;route=chat;tenant=acme;api=openai.chat_completions";
    let value = |name: &str| process.metric(name).map(|m| (m.value, m.samples));
    for (name, count) in [
        (format!("weir_calls_total;ended=complete{shared}"), 3),
        (format!("weir_tokens_total;kind=input{shared}"), 27),
        (format!("weir_tokens_total;kind=output{shared}"), 3),
        ("weir_slo_total;slo=quick;verdict=good".to_owned(), 3),
        ("weir_streams_active;api=openai.chat_completions".to_owned(), 0),
    ] {
        assert_eq!(value(&name), Some((count, vec![])), "{name}");
    }
    for name in ["weir_first_byte_ms", "weir_first_token_ms", "weir_first_text_ms", "weir_call_ms"] {
        assert_eq!(value(&format!("{name}{shared}")), Some((0, vec![100; 3])), "{name}");
    }
    let own = value("weir_filter_us;api=openai.chat_completions").expect("the filter's own time").1;
    assert_eq!(own.len(), 3);
    assert!(own.iter().all(|us| *us <= 10), "made of reads of the clock, 80 ns each: {own:?}");
    let slos = process.names("weir_slo_total");
    assert_eq!(slos, ["weir_slo_total;slo=quick;verdict=bad", "weir_slo_total;slo=quick;verdict=good"]);
    assert_eq!(process.sum(&slos[0]), 0, "there from the start, or a rate would miss its first count");
}

#[test]
fn a_metric_is_defined_once_and_then_only_counted() {
    vm(|vm| {
        assert!(vm.configure(BY_TENANT));
        chat(vm, "acme", "gpt-4o", "200");
        assert!(vm.calls("proxy_define_metric") > 5);
        for _ in 0..10 {
            chat(vm, "acme", "gpt-4o", "200");
        }
        assert_eq!(vm.calls("proxy_define_metric"), 0);
    });
}

#[test]
fn a_hundred_thousand_made_up_models_add_no_series_beyond_the_cap() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(r#"{"labels":{"models":["gpt-4o"],"max_models":7}}"#));
        let call =
            |n: u32| drop(chat(vm, "", &format!("made-up-{n}"), if n.is_multiple_of(2) { "200" } else { "404" }));
        (0..1_000).for_each(call);
        let (names, defined) = (process.names("weir_"), vm.calls("proxy_define_metric"));
        (1_000..100_000).for_each(call);
        assert_eq!(process.names("weir_"), names);
        assert_eq!(vm.calls("proxy_define_metric"), 0, "after {defined}");
        chat(vm, "", "gpt-4o", "200");
    });
    let models: std::collections::BTreeSet<_> = process
        .names("weir_calls_total;ended=complete;")
        .iter()
        .filter_map(|name| Some(name.split_once("model=")?.1.split_once(';')?.0.to_owned()))
        .collect();
    let mut expected: Vec<String> = (0..7).map(|n| format!("made-up-{}", 2 * n)).collect();
    expected.extend(["other".to_owned(), "gpt-4o".to_owned()]);
    expected.sort();
    assert_eq!(models.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(process.sum("weir_calls_total"), 100_001, "every call counts");
}

#[test]
fn a_bad_config_keeps_the_old_one() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(BY_TENANT));
        assert!(!vm.configure(r#"{"slo":[{"name":"new"}]}"#));
        assert_eq!(chat(vm, "acme", "m", "200")["tenant"], "acme");
    });
    assert!(process.names("weir_slo_total;slo=new").is_empty());
    assert_eq!(process.sum("weir_slo_total;slo=quick;verdict=good"), 1);
}

#[test]
fn a_new_config_is_for_new_calls_and_running_ones_keep_theirs() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(BY_TENANT));
        let old = vm.exchange();
        old.request_headers([ask(), headers(&[("x-tenant", "acme"), ("x-team", "blue")])].concat(), false);
        // The same place in the list is another objective now, and the numbers of labels begin anew.
        let new = BY_TENANT.replace("x-tenant", "x-team").replace("quick", "slow");
        assert!(vm.configure(new));
        let new = vm.exchange();
        new.request_headers([ask(), headers(&[("x-tenant", "acme"), ("x-team", "blue")])].concat(), false);
        for (http, tenant) in [(new, "blue"), (old, "acme")] {
            http.request_body(ASK, true).response_headers(answer("200"), false).response_in_pieces(ANSWER, 100);
            assert_eq!(http.log().record.expect("a record")["tenant"], tenant);
        }
    });
    assert_eq!(process.sum(ACTIVE), 0);
    for name in ["weir_slo_total;slo=quick;", "weir_slo_total;slo=slow;"] {
        assert_eq!(process.sum(name), 1, "{name}");
    }
    let shared = |tenant| format!("weir_calls_total;ended=complete;model=gpt-4o;route=chat;tenant={tenant};");
    assert_eq!((process.sum(&shared("acme")), process.sum(&shared("blue"))), (1, 1));
}

/// What the upstream got and the client got of a call whose usage is asked for on the client's behalf.
fn injected(ask_for: &[u8], request_size: usize, answer_size: usize, trailers: bool) -> Left {
    vm(|vm| {
        assert!(vm.configure(r#"{"usage":{"inject":true}}"#));
        let http = vm.exchange();
        http.request_headers(
            [ask(), headers(&[("content-length", "77"), ("accept-encoding", "gzip")])].concat(),
            false,
        );
        for piece in ask_for.chunks(request_size) {
            http.request_body(piece, false);
        }
        if trailers {
            http.request_trailers()
        } else {
            http.request_body(b"", true)
        };
        http.response_headers(answer("200"), false);
        for piece in ANSWER.chunks(answer_size) {
            http.response_body(piece, false);
        }
        if trailers {
            http.response_trailers()
        } else {
            http.response_body(b"", true)
        };
        http.log()
    })
}

#[test]
fn a_held_request_and_a_replaced_answer_are_the_same_however_they_come() {
    for ask_for in [ASK, ASK_WITHOUT] {
        let whole = injected(ask_for, 1000, 1000, false);
        let asked: Value = serde_json::from_slice(&whole.request_body).expect("the upstream gets JSON");
        assert_eq!(asked["stream_options"]["include_usage"], true);
        let had: Value = serde_json::from_slice(ask_for).expect("JSON");
        assert_eq!(asked["messages"], had["messages"]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let (sent, got) = (text(ANSWER), text(&whole.response_body));
        let events: Vec<&str> = sent.split_inclusive("\n\n").filter(|event| !event.contains("usage")).collect();
        assert_eq!(got, events.concat(), "the client gets all but the chunk it did not ask for");
        let names: Vec<_> = whole.request_headers.iter().map(|(n, _)| String::from_utf8_lossy(n)).collect();
        assert!(!names.iter().any(|n| n == "content-length" || n == "accept-encoding"), "{names:?}");
        assert_eq!(whole.record.as_ref().expect("a record")["usage"]["input"], 9);
        for size in 1..ANSWER.len() {
            for trailers in [false, true] {
                let cut = injected(ask_for, size, size, trailers);
                assert_eq!(text(&cut.request_body), text(&whole.request_body), "pieces of {size}, trailers {trailers}");
                assert_eq!(text(&cut.response_body), got, "pieces of {size}, trailers {trailers}");
            }
        }
    }
}

#[test]
fn a_request_that_ends_before_its_json_does_is_not_held_for_ever() {
    let half = &ASK_WITHOUT[..50];
    for trailers in [false, true] {
        vm(|vm| {
            assert!(vm.configure(r#"{"usage":{"inject":true}}"#));
            let http = vm.exchange();
            http.request_headers(ask(), false).request_body(half, false);
            costs(vm);
            // That nothing stays held is checked by the fake host.
            if trailers {
                http.request_trailers()
            } else {
                http.request_body(b"", true)
            };
            assert_eq!(costs(vm)[1], 1, "what was held is shown again, with trailers too");
            assert_eq!(http.log().request_body, half);
        });
    }
}

#[test]
fn a_piece_that_the_host_will_not_show_passes() {
    vm(|vm| {
        assert!(vm.configure(r#"{"usage":{"inject":true}}"#));
        let http = vm.exchange();
        http.request_headers(ask(), false).request_body(ASK, true).response_headers(answer("200"), false);
        http.response_body(b"data: {\"choices\"", false);
        vm.fail(Some(Fault::Always("proxy_get_buffer_bytes", crate::fake_host::NOT_FOUND)));
        http.response_body(b"unseen", true);
        assert!(http.log().response_body.ends_with(b"unseen"));
    });
}

#[test]
fn a_metric_that_could_not_be_defined_is_tried_again_and_counts_nothing_meanwhile() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        assert!(vm.configure(BY_TENANT));
        vm.fail(Some(Fault::Always("proxy_define_metric", crate::fake_host::BAD_ARGUMENT)));
        chat(vm, "acme", "m", "200");
        assert_eq!(process.sum("weir_calls_total"), 0);
        vm.fail(None);
        chat(vm, "acme", "m", "200");
    });
    assert_eq!(process.sum("weir_calls_total"), 1);
    assert_eq!(process.sum("weir_slo_total"), 2, "defined with the config");
}

#[test]
fn times_are_from_the_end_of_the_request_to_the_answer_and_not_to_an_interim_one() {
    for trailers in [false, true] {
        vm(|vm| {
            let http = vm.exchange();
            http.request_headers(ask(), false).request_body(ASK, false);
            vm.pass_ms(1_000);
            if trailers {
                http.request_trailers()
            } else {
                http.request_body(b"", true)
            };
            vm.pass_ms(20);
            http.response_headers(answer("103"), false);
            vm.pass_ms(20);
            http.response_headers(answer("200"), false);
            vm.pass_ms(20);
            http.response_in_pieces(ANSWER, 1_000);
            let record = http.log().record.expect("a record");
            let ms = |time: &str| record["time"][time].as_f64().map(f64::round);
            let times = ["headers_ms", "first_byte_ms", "first_token_ms", "total_ms"].map(ms);
            assert_eq!(times, [40.0, 60.0, 60.0, 60.0].map(Some), "trailers {trailers}");
        });
    }
}

#[test]
fn an_interim_answer_is_no_answer_and_a_switch_of_protocols_is_one() {
    for (status, expected) in [("100", None), ("103", None), ("101", Some(101)), ("200", Some(200))] {
        vm(|vm| {
            let http = vm.exchange();
            http.request_headers(ask(), false).request_body(ASK, true).response_headers(answer(status), false);
            assert_eq!(http.log().record.expect("a record").get("status").and_then(Value::as_u64), expected);
        });
    }
}

#[test]
fn the_way_a_call_ends_is_told_by_what_was_seen_and_what_envoy_says() {
    let half = |http: &Http| {
        http.response_headers(answer("200"), false).response_body(&ANSWER[..50], false);
    };
    let whole = |http: &Http| {
        http.response_headers(answer("200"), false).response_in_pieces(ANSWER, 50);
    };
    let trailers = |http: &Http| {
        http.response_headers(answer("200"), false).response_body(ANSWER, false).response_trailers();
    };
    let nothing = |_: &Http| ();
    let local = |http: &Http| {
        http.response_headers(answer("503"), false).response_body(b"no", true);
    };
    type Answer<'a> = &'a (dyn Fn(&Http) + Sync);
    let cases: [(Answer<'_>, &str, bool, &str); 13] = [
        (&whole, "via_upstream", true, "complete"),
        (&trailers, "via_upstream", true, "complete"),
        (&nothing, "downstream_remote_disconnect", true, "client_abort"),
        (&half, "downstream_remote_disconnect", true, "client_abort"),
        (&half, "http2.remote_reset", true, "client_abort"),
        // A reset with NO_ERROR.
        (&half, "via_upstream", true, "client_abort"),
        (&half, "upstream_reset_after_response_started{protocol_error}", true, "upstream_reset"),
        (&half, "response_timeout", true, "upstream_reset"),
        (&half, "stream_idle_timeout", true, "upstream_reset"),
        (&local, "upstream_reset_before_response_started{connection_termination}", true, "upstream_reset"),
        (&local, "via_upstream", true, "error"),
        (&local, "fault_filter_abort", false, "refused"),
        (&nothing, "http1.codec_error", false, "refused"),
    ];
    for (respond, details, reached, expected) in cases {
        vm(|vm| {
            let http = vm.exchange();
            http.request_headers(ask(), false).request_body(ASK, true);
            respond(&http);
            http.property("response.code_details", details.as_bytes());
            if !reached {
                http.no_property("upstream.address");
            }
            assert_eq!(http.log().record.expect("a record")["ended"], expected, "{details}");
        });
    }
}

/// A whole call, in which each function of the host is called at least once where the core has reason to.
fn whole_call(vm: &Vm) {
    vm.configure(r#"{"slo":[{"first_token_ms":500,"objective":0.99}],"usage":{"inject":true}}"#);
    vm.configure("{");
    let http = vm.exchange();
    http.request_headers(ask(), false).request_in_pieces(ASK, 30);
    http.response_headers(answer("200"), false).response_in_pieces(ANSWER, 30);
    http.response_trailers();
    http.end(Goodbye::LoggedTwice);
}

const FUNCTIONS: [&str; 12] = [
    "proxy_get_buffer_bytes",
    "proxy_set_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_remove_header_map_value",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_log",
    "proxy_get_current_time_nanoseconds",
    "none",
];

#[test]
fn a_function_that_always_answers_the_same_status_stops_no_call() {
    for function in FUNCTIONS {
        for status in (0..=12).chain([255, u32::MAX]) {
            vm(|vm| {
                vm.fail(Some(Fault::Always(function, status)));
                whole_call(vm);
                vm.fail(None);
                whole_call(vm);
            });
        }
    }
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Heads that look like something, and heads that look like nothing.
fn any_headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![
        prop::sample::select(vec![
            ":path",
            ":method",
            ":status",
            "content-type",
            "content-encoding",
            "content-length",
            "upgrade",
            "traceparent",
            "authorization",
            "x-api-key",
            "baggage",
            "openai-processing-ms",
            "x-envoy-upstream-service-time",
        ])
        .prop_map(|n| n.as_bytes().to_vec()),
        any_bytes(12),
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "/v1/chat/completions",
            "/v1/messages",
            "/v1/responses",
            "/api/chat",
            "/v2/chat",
            "/v1/embeddings",
            "/v1beta/models/gemini-pro:streamGenerateContent?alt=sse",
            "/model/anthropic.claude%3A0/converse-stream",
            "POST",
            "GET",
            "CONNECT",
            "200",
            "429",
            "101",
            "204",
            "application/json",
            "text/event-stream",
            "application/x-ndjson",
            "application/vnd.amazon.eventstream",
            "gzip",
            "deflate",
            "br",
            "zstd",
            "gzip, br",
        ])
        .prop_map(|n| n.as_bytes().to_vec()),
        any_bytes(40),
    ];
    prop::collection::vec((name, value), 0..12)
}

/// Bodies that begin well, and bodies that never do.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let good =
        prop::sample::select(vec![ASK, ANSWER, b"{}", b"[", b"event: x\ndata: {\"a\":1}\n\n", &[0x1f, 0x8b, 8, 0]]);
    prop::collection::vec(prop_oneof![good.prop_map(<[u8]>::to_vec), any_bytes(60)], 0..5).prop_map(|p| p.concat())
}

/// An exchange of anything: heads, bodies, the sizes of their pieces, and how it goes.
fn any_exchange() -> impl Strategy<Value = (Headers, Vec<u8>, Headers, Vec<u8>, usize, usize)> {
    (any_headers(), any_body(), any_headers(), any_body(), 1..80usize, 0..Goodbye::ALL.len())
}

proptest! {
    #[test]
    fn anything_at_all_passes_unchanged(
        (request, ask, response, answer, size, goodbye) in any_exchange()
    ) {
        let process = Arc::new(Process::default());
        process.vm(|vm| {
            let http = vm.exchange();
            http.request_headers(request.clone(), false).request_in_pieces(&ask, size);
            http.response_headers(response.clone(), false).response_in_pieces(&answer, size);
            let left = http.end(Goodbye::ALL[goodbye]);
            assert_eq!(left.request_headers, request);
            assert_eq!(left.request_body, ask);
            assert_eq!(left.response_body, answer);
            assert_eq!(left.record.is_some(), Goodbye::ALL[goodbye].is_logged());
        });
        prop_assert_eq!(process.sum(ACTIVE), 0);
    }

    #[test]
    fn callbacks_in_an_order_that_no_host_has_leave_no_stream_active(
        steps in prop::collection::vec((0..6u8, any::<bool>()), 0..12), goodbye in 0..Goodbye::ALL.len()
    ) {
        let process = Arc::new(Process::default());
        process.vm(|vm| {
            let http = vm.exchange();
            for (step, end) in steps {
                match step {
                    0 => http.request_headers(ask(), end),
                    1 => http.request_body(ASK, end),
                    2 => http.request_trailers(),
                    3 => http.response_headers(answer("200"), end),
                    4 => http.response_body(ANSWER, end),
                    _ => http.response_trailers(),
                };
            }
            http.end(Goodbye::ALL[goodbye]);
        });
        prop_assert_eq!(process.sum(ACTIVE), 0);
    }

    #[test]
    fn a_host_that_fails_at_random_stops_no_call(
        (request, ask, response, answer, size, goodbye) in any_exchange(), seed in any::<[u8; 32]>()
    ) {
        vm(|vm| {
            vm.fail(Some(Fault::Random(Box::new(TestRng::from_seed(RngAlgorithm::ChaCha, &seed)))));
            whole_call(vm);
            let http = vm.exchange();
            http.request_headers(request, false).request_in_pieces(&ask, size);
            http.response_headers(response, false).response_in_pieces(&answer, size);
            http.end(Goodbye::ALL[goodbye]);
        });
    }
}
