//! Accounts of runs in the real shell over a fake host (see `fake_host`): which header closes them, and what is told of them.

use std::sync::Arc;

use crate::fake_host::{Fault, Goodbye, Headers, Left, Process, Vm, headers, vm};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

const ANSWER: &[u8] = br#"{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const ASK: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STORE: [&str; 2] = ["proxy_get_shared_data", "proxy_set_shared_data"];

fn configured(vm: &Vm, runs: bool) {
    let mut config = json!({"identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]}});
    if runs {
        config["runs"] = json!({"outcomes": ["resolved", "escalated"]});
    }
    assert!(vm.configure(config.to_string()), "{:?}", vm.logged());
}

fn call(vm: &Vm, more: &Headers, status: &str) -> Left {
    let http = vm.exchange();
    let base = headers(&[(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "llm")]);
    http.request_headers([base, more.clone()].concat(), false).request_in_pieces(ASK, 40);
    http.response_headers(headers(&[(":status", status), ("content-type", "application/json")]), false);
    http.response_in_pieces(ANSWER, 50);
    http.property("response.code_details", b"via_upstream");
    http.end(Goodbye::Logged)
}

fn of(run: &str, outcome: Option<&str>) -> Headers {
    let outcome = outcome.map(|outcome| ("x-weir-outcome", outcome));
    headers(&[("x-tenant", "acme"), ("x-run", run)].into_iter().chain(outcome).collect::<Vec<_>>())
}

/// How many calls the closed runs of this outcome had.
fn closed(process: &Process, outcome: &str) -> Vec<u64> {
    process.metric(&format!("weir_run_calls;outcome={outcome}")).expect("it is there from the start").samples
}

fn has_outcome(left: &Left) -> bool {
    left.request_headers.iter().any(|(name, _)| name == b"x-weir-outcome")
}

#[test]
fn a_run_over_several_workers_is_closed_once_and_the_upstream_hears_nothing_of_it() {
    let process = Arc::new(Process::default());
    for _ in 0..3 {
        process.vm(|vm| {
            configured(vm, true);
            for outcome in ["resolved", "escalated", "other"] {
                assert_eq!(closed(&process, outcome), [0; 0]);
            }
            call(vm, &of("a", None), "200");
            call(vm, &of("b", None), "200");
        });
    }
    process.vm(|vm| {
        configured(vm, true);
        // An error does not close it: the call comes again.
        assert!(!has_outcome(&call(vm, &of("a", Some("resolved")), "500")));
        assert_eq!(closed(&process, "resolved"), [0; 0]);
        assert!(!has_outcome(&call(vm, &of("a", Some("resolved")), "200")));
        assert_eq!(closed(&process, "resolved"), [5]);
        // Another tenant's run of the same name.
        let mut other = of("b", Some("Escalated"));
        other[0].1 = b"else".to_vec();
        call(vm, &other, "200");
        assert_eq!(closed(&process, "escalated"), [1]);
        call(vm, &of("b", Some("gave up")), "200");
        assert_eq!(closed(&process, "other"), [4]);
        // Begun anew.
        call(vm, &of("a", Some("resolved")), "200");
        assert_eq!(closed(&process, "resolved"), [5, 1]);
    });
    assert_eq!(process.names("weir_run_cost_nanodollars;").len(), 3);
    assert_eq!(process.metric("weir_run_cost_nanodollars;outcome=resolved").unwrap().samples, [0; 0], "no price");
}

#[test]
fn calls_in_flight_when_a_run_is_closed_belong_to_its_next_account() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        configured(vm, true);
        let slow = vm.exchange();
        let base = headers(&[(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "llm")]);
        slow.request_headers([base, of("a", None)].concat(), false).request_in_pieces(ASK, 40);
        call(vm, &of("a", Some("resolved")), "200");
        slow.response_headers(headers(&[(":status", "200")]), true);
        slow.property("response.code_details", b"via_upstream");
        slow.end(Goodbye::Logged);
        call(vm, &of("a", Some("resolved")), "200");
    });
    assert_eq!(closed(&process, "resolved"), [1, 2]);
}

#[test]
fn the_account_is_one_change_of_the_store_when_the_call_is_over_and_without_the_section_there_is_none() {
    vm(|vm| {
        configured(vm, true);
        // The first call asks for the key of all hashes, too.
        call(vm, &of("a", None), "200");
        let asked = || STORE.map(|function| vm.calls(function));
        assert_eq!(asked(), [2, 2]);
        call(vm, &of("a", None), "200");
        assert_eq!(asked(), [1, 1]);
        call(vm, &of("a", Some("resolved")), "200");
        assert_eq!(asked(), [1, 1]);
        // A call without a run has no account.
        call(vm, &headers(&[("x-weir-outcome", "resolved")]), "200");
        assert_eq!(asked(), [0, 0]);
    });
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        configured(vm, false);
        assert!(has_outcome(&call(vm, &of("a", Some("resolved")), "200")), "nobody asked for it to be taken off");
        assert_eq!(STORE.map(|function| vm.calls(function)), [0, 0]);
    });
    assert_eq!(process.names("weir_run_"), [""; 0]);
}

#[test]
fn whatever_stands_in_the_header_or_the_store_no_label_is_made_up_and_calls_go_through() {
    let process = Arc::new(Process::default());
    process.vm(|vm| {
        configured(vm, true);
        for value in [b"".to_vec(), b"\xff\xfe".to_vec(), vec![b'x'; 64 << 10], b"resolved;tenant=x".to_vec()] {
            let mut head = of("a", None);
            head.push((b"x-weir-outcome".to_vec(), value.clone()));
            head.push((b"x-weir-outcome".to_vec(), b"resolved".to_vec()));
            let left = call(vm, &head, "200");
            assert!(!has_outcome(&left), "{:?}", &value[..value.len().min(20)]);
            assert_eq!(left.record.expect("a record")["ended"], "complete");
        }
    });
    assert_eq!((closed(&process, "resolved").len(), closed(&process, "other")), (0, vec![2, 1, 1]));
    for junk in [Vec::new(), vec![0xff; 7], vec![0xff; 1 << 16]] {
        for key in process.shared_keys() {
            process.set_shared_value(&key, &junk);
        }
        process.vm(|vm| {
            configured(vm, true);
            call(vm, &of("a", None), "200");
            assert_eq!(call(vm, &of("a", Some("resolved")), "200").record.expect("a record")["status"], 200);
        });
    }
    assert!(process.names("weir_run_calls").len() == 3);
}

#[test]
fn a_host_that_fails_anyhow_breaks_no_call() {
    for seed in 0..40u8 {
        vm(|vm| {
            configured(vm, true);
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
            vm.fail(Some(Fault::Random(Box::new(rng))));
            (0..6).for_each(|n| drop(call(vm, &of("a", Some("resolved").filter(|_| n % 2 == 1)), "200")));
            vm.fail(None);
            let left = call(vm, &of("a", Some("resolved")), "200");
            assert!(!has_outcome(&left));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_runs_closed_is_what_they_called(calls in prop::collection::vec((0..3u8, 0..4u8, any::<bool>()), 1..30)) {
        let process = Arc::new(Process::default());
        let mut open = [0u64; 3];
        let mut expected = Vec::new();
        process.vm(|vm| {
            configured(vm, true);
            for (run, closes, fine) in &calls {
                let outcome = Some("resolved").filter(|_| *closes == 0);
                call(vm, &of(&run.to_string(), outcome), if *fine { "200" } else { "503" });
                open[usize::from(*run)] += 1;
                if outcome.is_some() && *fine {
                    expected.push(std::mem::take(&mut open[usize::from(*run)]));
                }
            }
        });
        prop_assert_eq!(closed(&process, "resolved"), expected);
    }
}
