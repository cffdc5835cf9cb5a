//! Calls that are held until their turn.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::client::Client;
use super::super::raw::{Step, chunked, head, send};
use super::super::rig::{EVENTS, Rig, SSE, Setup};
use super::{ASK, answer, arrives, begin, both, call, eventually, limit, rig, status, with, within};

/// What comes of a call that waits, once it has come.
fn soon(mut client: Client) -> JoinHandle<u16> {
    std::thread::spawn(move || client.answer("POST").status)
}

#[test]
fn a_rate_holds_calls_until_their_turn_in_the_order_in_which_they_came() {
    const EACH_MS: f64 = 200.0;
    for scope in ["tenant", "model"] {
        // By tenant the head tells all, by model the body has to.
        let limits = json!([{"name": "wait", "scope": [scope], "unit": "calls", "max_wait_ms": 900,
            "rate": {"limit": 5, "per": "second", "burst": 1}}]);
        for rig in both(&limits) {
            let cases: Vec<String> = (0..5).map(|n| format!("turn {n}")).collect();
            let (mut waiting, mut came_by) = (Vec::new(), Vec::new());
            let begun = Instant::now();
            for case in &cases {
                waiting.push(soon(arrives(&rig, case, &[("x-tenant", "a")], ASK, answer())));
                came_by.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            let other = br#"{"model":"other","messages":[]}"#;
            assert_eq!(call(&rig, "another", &[("x-tenant", "b")], other, answer()).status, 200);
            let statuses: Vec<_> = waiting.into_iter().map(|call| call.join().unwrap()).collect();
            assert_eq!(statuses, [200; 5]);
            let waited: Vec<_> = cases.iter().map(|case| limit(&rig, case)["waited_ms"].as_f64().unwrap()).collect();
            assert_eq!(waited[0], 0.0);
            for (n, (waited, came_by)) in waited.iter().zip(&came_by).enumerate() {
                let turn = n as f64 * EACH_MS;
                assert!(came_by + waited >= turn, "{n} came by {came_by} ms and is let go before {turn} ms: {waited}");
            }
            let order: Vec<String> = rig.upstream.order().into_iter().filter(|case| case != "another").collect();
            assert_eq!(order, cases, "{scope}");
            rig.has_no_failed_vm("waits");
        }
    }
}

#[test]
fn who_would_have_to_wait_too_long_is_refused_at_once() {
    let limits = json!([{"name": "wait", "scope": ["tenant"], "unit": "calls", "max_wait_ms": 300,
        "rate": {"limit": 5, "per": "second", "burst": 1}}]);
    for rig in both(&limits) {
        // A tenth of a second later, there is a turn for the third.
        let (others, third) = within(Duration::from_millis(100), |tenant| {
            let who = [("x-tenant", tenant)];
            let others =
                ["first", "second"].map(|name| soon(arrives(&rig, &format!("{name} {tenant}"), &who, ASK, answer())));
            (others, call(&rig, &format!("third {tenant}"), &who, ASK, answer()))
        });
        assert_eq!(third.status, 429);
        let ms: u64 = third.header("retry-after-ms").unwrap().parse().unwrap();
        assert!((301..=400).contains(&ms), "{ms}");
        assert_eq!(others.map(|call| call.join().unwrap()), [200, 200]);
    }
}

#[test]
fn what_a_call_reserved_that_goes_away_while_it_waits_is_the_next_ones() {
    let limits = json!([{"name": "wait", "scope": ["tenant"], "unit": "calls", "max_wait_ms": 1500,
        "rate": {"limit": 1, "per": "second", "burst": 1}}]);
    for rig in both(&limits) {
        let (tenant, too_late) = within(Duration::from_millis(500), |tenant| {
            assert_eq!(status(&rig, &format!("first {tenant}"), tenant), 200);
            let waits = arrives(&rig, &format!("waits {tenant}"), &[("x-tenant", tenant)], ASK, answer());
            let too_late = status(&rig, &format!("too late {tenant}"), tenant);
            waits.reset();
            (tenant.to_owned(), too_late)
        });
        assert_eq!(too_late, 429, "two seconds are too many");
        let waits = format!("waits {tenant}");
        let gone = rig.record(&waits);
        assert_eq!(status(&rig, &format!("next {tenant}"), &tenant), 200);
        assert_eq!((&gone["ended"], &gone["limits"][0]["charged"]), (&json!("client_abort"), &json!(0)), "{gone}");
        assert!(!rig.upstream.seen(&waits).is_some_and(|seen| seen.whole));
        rig.has_no_failed_vm("gone while waiting");
    }
}

#[test]
fn no_more_calls_wait_than_the_config_says() {
    // The next turn comes in half a minute.
    let limits = json!([{"name": "wait", "unit": "calls", "max_wait_ms": 60000, "rate": {"limit": 2, "per": "minute", "burst": 1}}]);
    let rig = with(limits, json!({"max_waiting": 2}), Setup::default());
    assert_eq!(status(&rig, "first", "a"), 200);
    let waits = |case: &str| arrives(&rig, case, &[], ASK, answer());
    let waiting = [waits("one"), waits("two")];
    assert_eq!(status(&rig, "three", "a"), 429);
    waiting.into_iter().for_each(Client::reset);
    rig.record("one");
    rig.record("two");
    waits("four").reset();
    assert_eq!(rig.ended("four"), "client_abort", "there is room to wait again");
}

/// An answer that takes a while.
fn slow() -> Vec<Step> {
    let mut steps = chunked(SSE, &EVENTS);
    steps.insert(1, Step::Wait(Duration::from_millis(4)));
    steps
}

#[test]
fn places_in_flight_go_round_and_nobody_overtakes() {
    let limits = json!([{"name": "in-flight", "scope": ["tenant"], "concurrency": 1, "max_wait_ms": 20000}]);
    for rig in both(&limits) {
        // Each client comes again at once, so that someone always asks just when the place comes free.
        let calls: Mutex<HashMap<String, (Instant, Instant)>> = Mutex::default();
        let rounds = |rig: &Rig, name: &str| {
            for n in 0..6 {
                let (case, sent) = (format!("{name} {n}"), Instant::now());
                assert_eq!(call(rig, &case, &[("x-tenant", "a")], ASK, slow()).status, 200, "{case}");
                calls.lock().unwrap().insert(case, (sent, Instant::now()));
            }
        };
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let (rig, rounds) = (&rig, &rounds);
                scope.spawn(move || rounds(rig, name));
            }
        });
        let order = rig.upstream.order();
        assert_eq!(order.len(), 24);
        // A call came after it was sent, and so long before its answer as its record says that the answer's head took.
        let (calls, records) = (calls.into_inner().unwrap(), order.iter().map(|case| (case, rig.record(case))));
        let came_by: HashMap<_, _> = records
            .map(|(case, record)| {
                (case, calls[case].1 - Duration::from_secs_f64(record["time"]["headers_ms"].as_f64().unwrap() / 1e3))
            })
            .collect();
        for (at, case) in order.iter().enumerate() {
            let overtaken = order[at + 1..].iter().find(|other| came_by[other] < calls[case].0);
            assert_eq!(overtaken, None, "{case} was sent when that had come, and is served before it: {order:?}");
        }
        rig.has_no_failed_vm("places go round");
    }
}

#[test]
fn who_waits_for_one_key_does_not_hold_up_who_waits_for_another() {
    let limits = json!([{"name": "in-flight", "scope": ["model"], "concurrency": 1, "max_wait_ms": 20000}]);
    for rig in both(&limits) {
        let of = |model: &str| format!(r#"{{"model":"{model}","stream":true}}"#).into_bytes();
        let busy = |case: &str, model: &str| {
            let start = answer()[0].clone();
            let mut client = begin(&rig, case, &[], &of(model), vec![start, Step::Gone]);
            assert_eq!(client.head().status, 200);
            client
        };
        let (x, y) = (busy("x", "x"), busy("y", "y"));
        let waits_for_x = arrives(&rig, "waits for x", &[], &of("x"), answer());
        let waits_for_y = soon(arrives(&rig, "waits for y", &[], &of("y"), answer()));
        y.reset();
        eventually("its turn", || waits_for_y.is_finished().then_some(()));
        assert_eq!(waits_for_y.join().unwrap(), 200);
        x.reset();
        assert_eq!(soon(waits_for_x).join().unwrap(), 200);
    }
}

#[test]
fn what_is_learned_meanwhile_does_not_send_a_waiting_call_to_the_back() {
    let limits = json!([{"name": "tps", "match": {"tenant": "t", "model": "*"}, "max_wait_ms": 5000, "rate": {"limit": 1000, "per": "second"}}]);
    let used = |tokens: u64| {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}});
        chunked(SSE, &[EVENTS[0], EVENTS[1], format!("data: {usage}\n\n").as_bytes(), EVENTS[3]])
    };
    let of = |model: &str, words: usize| {
        let prompt = "word ".repeat(words);
        format!(r#"{{"model":"{model}","stream":true,"messages":[{{"content":"{prompt}"}}]}}"#).into_bytes()
    };
    for hold_headers in [false, true] {
        // Until it was taught before its turn came.
        let taught = || {
            let rig = rig(limits.clone(), hold_headers);
            call(&rig, "short", &[("x-tenant", "u")], &of("s", 1), used(3));
            rig.record("short");
            let large = ["large 1", "large 2"]
                .map(|case| arrives(&rig, case, &[("x-tenant", "t")], &of("l", 4000), vec![Step::Gone]));
            let waits = soon(arrives(&rig, "waits", &[("x-tenant", "t")], &of("s", 1), used(3)));
            call(&rig, "long", &[("x-tenant", "u")], &of("s", 1), used(900));
            let in_time = !waits.is_finished();
            assert_eq!(waits.join().unwrap(), 200);
            let limit = limit(&rig, "waits");
            assert!(limit["reserved"].as_u64() < Some(100), "what it reserved at first: {limit}");
            drop(large);
            in_time
        };
        assert!((0..5).any(|_| taught()), "it never had to wait");
    }
}

#[test]
fn who_waits_in_vain_for_a_place_is_refused_when_its_time_is_over() {
    let limits = json!([{"name": "in-flight", "concurrency": 1, "max_wait_ms": 100}]);
    for rig in both(&limits) {
        let start = head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]);
        let mut busy = begin(&rig, "busy", &[], ASK, vec![start, Step::Gone]);
        busy.head();
        let refused = call(&rig, "in vain", &[], ASK, vec![send("never")]);
        assert_eq!((refused.status, refused.header("x-weir-limit")), (429, Some("in-flight".into())));
        let limit = limit(&rig, "in vain");
        assert!(limit["verdict"] == "refuse" && limit["waited_ms"].as_f64() >= Some(100.0), "{limit}");
        rig.has_no_failed_vm("in vain");
    }
}
