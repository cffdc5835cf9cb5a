//! Calls that are held until their turn.

use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use super::super::client::Client;
use super::super::raw::{Step, chunked, head, send};
use super::super::rig::{EVENTS, Rig, SSE, Setup};
use super::{ASK, answer, begin, both, call, eventually, limit, rig, status, with};

/// What comes of a call that waits, once it has come.
fn soon(mut client: Client) -> JoinHandle<u16> {
    std::thread::spawn(move || client.answer("POST").status)
}

/// So long that what was sent before is surely at the filter.
fn a_moment() {
    std::thread::sleep(Duration::from_millis(15));
}

#[test]
fn a_rate_holds_calls_until_their_turn_in_the_order_in_which_they_came() {
    for scope in ["tenant", "model"] {
        // By tenant the head tells all, by model the body has to.
        let limits = json!([{"name": "wait", "scope": [scope], "unit": "calls", "max_wait_ms": 900,
            "rate": {"limit": 5, "per": "second", "burst": 1}}]);
        for rig in both(&limits) {
            let cases: Vec<String> = (0..5).map(|n| format!("turn {n}")).collect();
            let mut waiting = Vec::new();
            for case in &cases {
                waiting.push(soon(begin(&rig, case, &[("x-tenant", "a")], ASK, answer())));
                a_moment();
            }
            let other = br#"{"model":"other","messages":[]}"#;
            assert_eq!(call(&rig, "another", &[("x-tenant", "b")], other, answer()).status, 200);
            let statuses: Vec<_> = waiting.into_iter().map(|call| call.join().unwrap()).collect();
            assert_eq!(statuses, [200; 5]);
            let waited: Vec<_> = cases.iter().map(|case| limit(&rig, case)["waited_ms"].as_f64().unwrap()).collect();
            assert!(waited[0] == 0.0 && waited.is_sorted() && waited[4] < 900.0, "{waited:?}");
            let order: Vec<String> = rig.upstream.order().into_iter().filter(|case| case != "another").collect();
            assert_eq!(order, cases, "{scope}");
            rig.has_no_failed_vm("waits");
        }
    }
}

#[test]
fn who_would_have_to_wait_too_long_is_refused_at_once() {
    let limits = json!([{"name": "wait", "unit": "calls", "max_wait_ms": 300, "rate": {"limit": 5, "per": "second", "burst": 1}}]);
    for rig in both(&limits) {
        let first = soon(begin(&rig, "first", &[], ASK, answer()));
        a_moment();
        let second = soon(begin(&rig, "second", &[], ASK, answer()));
        a_moment();
        let third = call(&rig, "third", &[], ASK, answer());
        assert_eq!(third.status, 429);
        let ms: u64 = third.header("retry-after-ms").unwrap().parse().unwrap();
        assert!((301..=400).contains(&ms), "{ms}");
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    }
}

#[test]
fn what_a_call_reserved_that_goes_away_while_it_waits_is_the_next_ones() {
    let limits = json!([{"name": "wait", "unit": "calls", "max_wait_ms": 1500, "rate": {"limit": 1, "per": "second", "burst": 1}}]);
    for rig in both(&limits) {
        assert_eq!(status(&rig, "first", "a"), 200);
        let waits = begin(&rig, "waits", &[], ASK, answer());
        a_moment();
        assert_eq!(status(&rig, "too late", "a"), 429, "two seconds are too many");
        waits.reset();
        rig.record("waits");
        assert_eq!(status(&rig, "next", "a"), 200);
        let gone = rig.record("waits");
        assert_eq!((&gone["ended"], &gone["limits"][0]["charged"]), (&json!("client_abort"), &json!(0)), "{gone}");
        assert!(!rig.upstream.seen("waits").is_some_and(|seen| seen.whole));
        rig.has_no_failed_vm("gone while waiting");
    }
}

#[test]
fn no_more_calls_wait_than_the_config_says() {
    let limits = json!([{"name": "wait", "unit": "calls", "max_wait_ms": 60000, "rate": {"limit": 1, "per": "second", "burst": 1}}]);
    let rig = with(limits, json!({"max_waiting": 2}), Setup::default());
    assert_eq!(status(&rig, "first", "a"), 200);
    let waiting = [begin(&rig, "one", &[], ASK, answer()), begin(&rig, "two", &[], ASK, answer())];
    a_moment();
    assert_eq!(status(&rig, "three", "a"), 429);
    waiting.into_iter().for_each(Client::reset);
    rig.record("one");
    rig.record("two");
    assert_eq!(status(&rig, "four", "a"), 200);
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
        let rounds = |rig: &Rig, name: &str| {
            for n in 0..6 {
                let case = format!("{name} {n}");
                assert_eq!(call(rig, &case, &[("x-tenant", "a")], ASK, slow()).status, 200, "{case}");
            }
        };
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let rig = &rig;
                scope.spawn(move || rounds(rig, name));
            }
        });
        let order = rig.upstream.order();
        assert_eq!(order.len(), 24);
        // Whoever came in its n-th round before all were in their (n-2)-th has overtaken.
        let round = |case: &String| case.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap();
        for (at, case) in order.iter().enumerate() {
            let slowest =
                ["a", "b", "c", "d"].map(|name| order[..at].iter().filter(|case| case.starts_with(name)).count());
            let slowest = slowest.into_iter().min().unwrap();
            assert!(round(case) <= slowest + 1, "{case} overtook: {order:?}");
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
        let waits_for_x = begin(&rig, "waits for x", &[], &of("x"), answer());
        a_moment();
        let waits_for_y = soon(begin(&rig, "waits for y", &[], &of("y"), answer()));
        a_moment();
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
    for rig in both(&limits) {
        call(&rig, "short", &[("x-tenant", "u")], &of("s", 1), used(3));
        rig.record("short");
        let large = ["large 1", "large 2"]
            .map(|case| begin(&rig, case, &[("x-tenant", "t")], &of("l", 4000), vec![Step::Gone]));
        a_moment();
        let waits = soon(begin(&rig, "waits", &[("x-tenant", "t")], &of("s", 1), used(3)));
        a_moment();
        call(&rig, "long", &[("x-tenant", "u")], &of("s", 1), used(900));
        assert!(!waits.is_finished());
        assert_eq!(waits.join().unwrap(), 200);
        let limit = limit(&rig, "waits");
        assert!(limit["reserved"].as_u64() < Some(100), "what it reserved at first: {limit}");
        drop(large);
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
    let _ = rig;
}
