//! Envoy's own attempts at a call, as the plugin in the upstream's chain sees them, over a fake host (see `fake_host`).

use std::sync::Arc;

use crate::fake_host::{Fault, Goodbye, Headers, Http, Process, Vm, headers, vm};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

const ATTEMPT: &str = r#"{"role":"attempt"}"#;

fn ask() -> Headers {
    headers(&[
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "llm"),
        ("x-request-id", "one for all"),
    ])
}

fn answer(status: &str) -> Headers {
    headers(&[(":status", status), ("content-type", "application/json")])
}

/// Both plugins in one VM: the one for calls, the one for attempts.
fn both<R: Send>(work: impl FnOnce(&Vm, &Vm) -> R + Send) -> R {
    vm(|calls| {
        let attempts = calls.beside();
        assert!(attempts.configure(ATTEMPT));
        work(calls, &attempts)
    })
}

/// A call that waits for its upstream, by when it began.
fn call(calls: &Vm, began: u64) -> Http {
    let http = calls.exchange();
    http.property("request.time", &began.to_le_bytes());
    http.request_headers(ask(), false).request_body(b"{}", true);
    http
}

/// An attempt at it that has begun.
fn attempt(attempts: &Vm, began: u64, address: &str) -> Http {
    let http = attempts.exchange();
    http.property("upstream.address", address.as_bytes()).property("request.time", &began.to_le_bytes());
    http.request_headers(ask(), false).request_body(b"{}", true);
    http
}

/// An attempt at it from its beginning to its end.
fn whole_attempt(attempts: &Vm, began: u64, status: &str) {
    let http = attempt(attempts, began, "10.0.0.1:80");
    http.response_headers(answer(status), true);
    http.end(Goodbye::Done);
}

/// What the record says of attempts.
fn told(call: Http) -> Value {
    call.log().record.expect("a record")["attempts"].clone()
}

#[test]
fn each_attempt_is_in_the_record_of_its_call_with_times_from_its_own_beginning() {
    both(|calls, attempts| {
        let call = call(calls, 1);
        calls.pass_ms(1_000);
        let first = attempt(attempts, 1, "10.0.0.1:80");
        calls.pass_ms(3);
        first.response_headers(answer("503"), false);
        calls.pass_ms(1);
        first.end(Goodbye::Done);
        calls.pass_ms(50);
        // Its connection is refused.
        let second = attempt(attempts, 1, "10.0.0.2:80");
        calls.pass_ms(2);
        second.end(Goodbye::Dropped);
        let third = attempt(attempts, 1, "10.0.0.3:80");
        calls.pass_ms(5);
        third.response_headers(answer("103"), false);
        calls.pass_ms(5);
        third.response_headers(answer("200"), false);
        call.response_headers(answer("200"), false);
        third.response_body(b"{}", true);
        call.response_body(b"{}", true);
        calls.pass_ms(7);
        third.end(Goodbye::Done);
        assert_eq!(
            told(call),
            json!([
                {"address": "10.0.0.1:80", "status": 503, "first_byte_ms": 3.0, "total_ms": 4.0},
                {"address": "10.0.0.2:80", "total_ms": 2.0},
                {"address": "10.0.0.3:80", "status": 200, "first_byte_ms": 10.0, "total_ms": 17.0},
            ])
        );
    });
}

#[test]
fn an_attempt_that_outlives_its_call_is_in_the_record_as_far_as_it_came() {
    both(|calls, attempts| {
        for (answers, expected) in [
            (false, json!([{"address": "10.0.0.1:80"}])),
            (true, json!([{"address": "10.0.0.1:80", "status": 200, "first_byte_ms": 9.0}])),
        ] {
            let first = call(calls, 1);
            let running = attempt(attempts, 1, "10.0.0.1:80");
            calls.pass_ms(9);
            if answers {
                running.response_headers(answer("200"), false);
            }
            let record = first.abort().record.expect("a record");
            assert_eq!(record["attempts"], expected);
            // What comes of it now is nobody's, not even that of a next call that seems the same.
            let next = call(calls, 1);
            running.response_headers(answer("500"), false);
            running.end(Goodbye::Done);
            assert_eq!(told(next), Value::Null);
        }
    });
}

#[test]
fn an_attempt_leaves_no_record_no_count_and_no_change() {
    let process = Arc::new(Process::default());
    process.vm(|calls| {
        let attempts = calls.beside();
        assert!(attempts.configure(
            r#"{"role":"attempt","usage":{"inject":true},"limits":[{"name":"l","rate":{"limit":1,"per":"day"}}]}"#
        ));
        for goodbye in Goodbye::ALL {
            let http = attempts.exchange();
            http.request_headers(ask(), false).request_body(br#"{"stream":true}"#, true);
            http.response_headers(answer("200"), false).response_body(b"{}", true);
            let left = http.end(goodbye);
            assert!(left.filter_state.is_empty() && left.local.is_none(), "{left:?}");
            assert_eq!((left.request_headers, left.response_headers), (ask(), answer("200")));
            assert_eq!((left.request_body, left.response_body), (br#"{"stream":true}"#.to_vec(), b"{}".to_vec()));
        }
        assert_eq!(calls.calls("proxy_get_buffer_bytes"), 1, "the configuration");
    });
    assert_eq!(process.names(""), Vec::<String>::new());
}

#[test]
fn sixteen_attempts_of_a_call_are_noted_and_the_rest_pass() {
    both(|calls, attempts| {
        let call = call(calls, 1);
        for n in 0..40 {
            whole_attempt(attempts, 1, &(500 + n).to_string());
        }
        let told = told(call);
        let statuses: Vec<_> = told.as_array().unwrap().iter().map(|a| a["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, (500..516).collect::<Vec<_>>());
    });
}

#[test]
fn an_attempt_of_no_call_that_is_known_is_nobodys() {
    both(|calls, attempts| {
        whole_attempt(attempts, 1, "503");
        let other = call(calls, 1);
        whole_attempt(attempts, 2, "503");
        assert_eq!(told(other), Value::Null);
        // Where the host does not say when a call began, or in no number.
        for time in [None, Some(&b""[..]), Some(b"1234567"), Some(b"123456789")] {
            let (call, attempt) = (calls.exchange(), attempts.exchange());
            for http in [&call, &attempt] {
                time.inspect(|time| _ = http.property("request.time", time));
            }
            call.request_headers(ask(), true);
            attempt.request_headers(ask(), true).response_headers(answer("200"), true);
            attempt.end(Goodbye::Done);
            assert_eq!(told(call), Value::Null);
        }
        // Nothing was asked of it.
        attempts.exchange().end(Goodbye::Done);
        attempts.exchange().end(Goodbye::Dropped);
    });
}

#[test]
fn two_calls_that_began_in_the_same_nanosecond_have_no_attempts_and_the_next_has() {
    both(|calls, attempts| {
        let first = call(calls, 1);
        whole_attempt(attempts, 1, "503");
        let second = call(calls, 1);
        whole_attempt(attempts, 1, "200");
        assert_eq!(told(first), Value::Null);
        whole_attempt(attempts, 1, "200");
        assert_eq!(told(second), Value::Null);
        let third = call(calls, 1);
        whole_attempt(attempts, 1, "200");
        assert_eq!(told(third).as_array().map(Vec::len), Some(1));
    });
}

#[test]
fn calls_side_by_side_have_each_their_own() {
    both(|calls, attempts| {
        let all: Vec<_> = (0..50u64).map(|n| (n, call(calls, n))).collect();
        let running: Vec<_> = (0..50).map(|n| attempt(attempts, n, &format!("10.0.0.{n}:80"))).collect();
        for (n, http) in running.into_iter().enumerate().rev() {
            http.response_headers(answer(&(200 + n).to_string()), true);
            http.end(Goodbye::Done);
        }
        for (n, call) in all {
            let told = told(call);
            assert_eq!((&told[0]["status"], &told[0]["address"]), (&json!(200 + n), &json!(format!("10.0.0.{n}:80"))));
        }
    });
}

#[test]
fn so_many_calls_are_kept_and_their_places_come_back() {
    const MOST: u64 = 4096;
    both(|calls, attempts| {
        let noted = |call, began| {
            whole_attempt(attempts, began, "200");
            told(call).as_array().map_or(0, Vec::len)
        };
        let mut all: Vec<_> = (0..MOST).map(|n| call(calls, n)).collect();
        assert_eq!(noted(call(calls, MOST), MOST), 0);
        for (goodbye, http) in Goodbye::ALL.into_iter().zip(all.drain(..4)) {
            http.end(goodbye);
        }
        let new: Vec<_> = (MOST..MOST + 5).map(|n| (n, call(calls, n))).collect();
        let counts: Vec<_> = new.into_iter().map(|(began, call)| noted(call, began)).collect();
        assert_eq!(counts, [1, 1, 1, 1, 0], "also the places of calls that were never logged came back");
        all.into_iter().for_each(|call| drop(call.log()));
    });
}

#[test]
fn nothing_is_kept_where_no_plugin_sees_attempts() {
    both(|calls, attempts| {
        // This one becomes one for calls, the other goes.
        let gone = calls.beside();
        assert!(gone.configure(ATTEMPT) && attempts.configure("{}"));
        let before = call(calls, 1);
        let late = attempt(&gone, 1, "10.0.0.1:80");
        gone.delete();
        late.end(Goodbye::Done);
        assert_eq!(told(before).as_array().map(Vec::len), Some(1));
        // Now only this says whether calls are kept.
        let during = call(calls, 1);
        assert!(attempts.configure(ATTEMPT));
        whole_attempt(attempts, 1, "200");
        assert_eq!(told(during), Value::Null);
        let after = call(calls, 1);
        whole_attempt(attempts, 1, "200");
        assert_eq!(told(after).as_array().map(Vec::len), Some(1));
    });
}

#[test]
fn a_host_that_fails_takes_facts_away_and_nothing_else() {
    for (function, expected) in [
        // Nothing says whose it is.
        ("proxy_get_property", Value::Null),
        ("proxy_get_header_map_pairs", json!([{"address": "10.0.0.1:80", "first_byte_ms": 0.0, "total_ms": 0.0}])),
        (
            "proxy_get_current_time_nanoseconds",
            json!([{"address": "10.0.0.1:80", "status": 200, "first_byte_ms": 0.0, "total_ms": 0.0}]),
        ),
    ] {
        both(|calls, attempts| {
            calls.fail(Some(Fault::Always(function, 2)));
            let call = call(calls, 1);
            whole_attempt(attempts, 1, "200");
            assert_eq!(told(call), expected, "{function}");
        });
    }
    both(|calls, attempts| {
        let (call, nowhere) = (call(calls, 1), attempts.exchange());
        nowhere.property("request.time", &1u64.to_le_bytes()).no_property("upstream.address");
        nowhere.request_headers(ask(), true);
        nowhere.end(Goodbye::Done);
        assert_eq!(told(call), json!([{"total_ms": 0.0}]));
    });
}

/// One step of many calls and attempts at once.
#[derive(Clone, Debug)]
enum Step {
    Call(u8),
    Attempt(u8),
    Answer(usize, u16),
    EndAttempt(usize, bool),
    EndCall(usize, usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let at = || 0..8usize;
    prop_oneof![
        (0..4u8).prop_map(Step::Call),
        (0..4u8).prop_map(Step::Attempt),
        (at(), 100..600u16).prop_map(|(at, status)| Step::Answer(at, status)),
        (at(), any::<bool>()).prop_map(|(at, done)| Step::EndAttempt(at, done)),
        (at(), 0..Goodbye::ALL.len()).prop_map(|(at, goodbye)| Step::EndCall(at, goodbye)),
    ]
}

/// What the oracle knows of one that runs.
struct Live {
    http: Http,
    began: u8,
    /// Of a call: two began at once, and the statuses of its attempts. Of an attempt: which call's, and the place.
    mixed: bool,
    statuses: Vec<Option<u64>>,
    of: Option<(usize, usize)>,
    number: usize,
}

proptest! {
    #[test]
    fn any_interleaving_gives_each_call_that_was_alone_its_own_attempts(steps in prop::collection::vec(any_step(), 0..60)) {
        both(|calls, attempts| {
            let (mut live, mut running): (Vec<Live>, Vec<Live>) = (Vec::new(), Vec::new());
            let plain = |http, began, number| Live { http, began, mixed: false, statuses: Vec::new(), of: None, number };
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Call(began) => {
                        let mut new = plain(call(calls, began.into()), began, number);
                        for other in live.iter_mut().filter(|other| other.began == began) {
                            (other.mixed, new.mixed) = (true, true);
                        }
                        live.push(new);
                    }
                    Step::Attempt(began) => {
                        let mut new = plain(attempt(attempts, began.into(), "10.0.0.1:80"), began, number);
                        let of = live.iter_mut().find(|call| call.began == began && !call.mixed && call.statuses.len() < 16);
                        if let Some(call) = of {
                            new.of = Some((call.number, call.statuses.len()));
                            call.statuses.push(None);
                        }
                        running.push(new);
                    }
                    Step::Answer(at, status) => {
                        let Some(one) = running.get_mut(at).filter(|one| one.statuses.is_empty()) else { continue };
                        one.http.response_headers(answer(&status.to_string()), false);
                        if status >= 200 || status == 101 {
                            one.statuses.push(Some(status.into()));
                            if let Some((number, place)) = one.of
                                && let Some(call) = live.iter_mut().find(|call| call.number == number)
                            {
                                call.statuses[place] = Some(status.into());
                            }
                        }
                    }
                    Step::EndAttempt(at, done) if at < running.len() => {
                        running.remove(at).http.end(if done { Goodbye::Done } else { Goodbye::Dropped });
                    }
                    Step::EndCall(at, goodbye) if at < live.len() => {
                        let Live { http, mixed, statuses, .. } = live.remove(at);
                        let Some(record) = http.end(Goodbye::ALL[goodbye]).record else { continue };
                        let told = record["attempts"].as_array().cloned().unwrap_or_default();
                        let told: Vec<_> = told.iter().map(|attempt| attempt["status"].as_u64()).collect();
                        assert_eq!(told, if mixed { Vec::new() } else { statuses });
                    }
                    Step::EndAttempt(..) | Step::EndCall(..) => {}
                }
            }
            running.into_iter().chain(live).for_each(|one| drop(one.http.end(Goodbye::Done)));
        });
    }

    #[test]
    fn a_host_that_fails_at_random_stops_no_attempt(seed in any::<[u8; 32]>()) {
        both(|calls, attempts| {
            calls.fail(Some(Fault::Random(Box::new(TestRng::from_seed(RngAlgorithm::ChaCha, &seed)))));
            for _ in 0..3 {
                let call = call(calls, 1);
                whole_attempt(attempts, 1, "503");
                let running = attempt(attempts, 1, "10.0.0.1:80");
                call.log();
                running.response_headers(answer("200"), true);
                assert_eq!(running.end(Goodbye::Done).request_body, b"{}");
            }
        });
    }
}
