//! What limits say of themselves in Envoy's stats.

use serde_json::json;
use weir::metrics::METRICS;
use weirctl::prometheus::{Sample, parse};

use super::super::client::PATIENCE;
use super::super::raw::Step;
use super::super::rig::{Rig, Setup};
use super::{ASK, answer, begin, call, eventually, rig, status, with};

fn samples(rig: &Rig, name: &str) -> Vec<Sample> {
    let text = rig.envoy.admin().get("/stats/prometheus?filter=weir_").unwrap();
    parse(&text).into_iter().filter(|sample| sample.name == name).collect()
}

/// The one sample with these labels and no others gets this value.
pub fn becomes(rig: &Rig, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let what = format!("{name} {labels:?} = {wanted}");
    let last = std::cell::RefCell::default();
    let look = || {
        *last.borrow_mut() = samples(rig, name);
        let values: Vec<f64> = last.borrow().iter().filter(|sample| sample.labels == labels).map(|s| s.value).collect();
        (values == [wanted]).then_some(())
    };
    let begun = std::time::Instant::now();
    while look().is_none() {
        assert!(begun.elapsed() < PATIENCE, "{what}, not {:#?}", last.borrow());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn every_limit_counts_what_it_said_and_how_long_calls_waited() {
    let limits = json!([
        {"name": "rpm", "scope": ["tenant"], "unit": "calls", "rate": {"limit": 2, "per": "day"}},
        {"name": "new", "mode": "shadow", "unit": "calls", "rate": {"limit": 1, "per": "day"}},
        {"name": "wait", "scope": ["user"], "without": "skip", "unit": "calls", "max_wait_ms": 1000,
            "rate": {"limit": 10, "per": "second", "burst": 1}},
        {"name": "run", "scope": ["run"], "without": "refuse", "budget": {"limit": 10000}},
    ]);
    let counted = || {
        let rig = rig(limits.clone(), false);
        // Counters of what passes and what is refused are there before there is anything to count.
        becomes(&rig, "weir_limit_total", &[("limit", "rpm"), ("verdict", "refuse")], 0.0);
        for n in 0..3 {
            status(&rig, &format!("a {n}"), "acme");
        }
        for n in 0..2 {
            let headers = [("x-tenant", "other"), ("x-user", "u"), ("x-run", "r")];
            assert_eq!(call(&rig, &format!("b {n}"), &headers, ASK, answer()).status, 200);
        }
        let waited = rig.record("b 1")["limits"][2]["waited_ms"].as_f64().filter(|ms| *ms > 0.0)?;
        Some((rig, waited))
    };
    // Until the second of a user comes before its turn.
    let (rig, waited) = eventually("a call that waits", counted);
    for (limit, verdict, count) in [
        ("rpm", "pass", 4.0),
        ("rpm", "refuse", 1.0),
        ("new", "pass", 1.0),
        ("new", "shadow", 3.0),
        ("wait", "pass", 2.0),
        ("wait", "refuse", 0.0),
        ("run", "pass", 2.0),
        ("run", "open", 2.0),
    ] {
        becomes(&rig, "weir_limit_total", &[("limit", limit), ("verdict", verdict)], count);
    }
    becomes(&rig, "weir_limit_wait_ms_count", &[("limit", "wait")], 1.0);
    let buckets = METRICS.iter().find(|metric| metric.name == "weir_limit_wait_ms").unwrap().buckets;
    for (le, count) in [
        (buckets.iter().rfind(|le| (**le as f64) < waited.floor()), 0.0),
        (buckets.iter().find(|le| (**le as f64) > waited.ceil()), 1.0),
    ] {
        let Some(le) = le.map(u64::to_string) else { continue };
        becomes(&rig, "weir_limit_wait_ms_bucket", &[("limit", "wait"), ("le", &le)], count);
    }
    becomes(&rig, "weir_limit_remaining", &[("limit", "rpm"), ("key", "acme")], 0.0);
    becomes(&rig, "weir_limit_remaining", &[("limit", "rpm"), ("key", "other")], 0.0);
    becomes(&rig, "weir_limit_remaining", &[("limit", "new")], 0.0);
    let remaining = samples(&rig, "weir_limit_remaining");
    assert!(remaining.iter().all(|s| !["wait", "run"].contains(&s.label("limit"))), "too many keys: {remaining:?}");
}

#[test]
fn what_was_seen_of_the_store_is_counted() {
    let limits = json!([
        {"name": "few", "scope": ["user"], "without": "skip", "unit": "calls", "rate": {"limit": 1, "per": "day"}},
        {"name": "brief", "scope": ["run"], "without": "skip", "concurrency": 1},
    ]);
    let rig = with(limits, json!({"keys": 8}), Setup::default());
    for n in 0..40 {
        // The one set has 32 entries: so many keys find a place, and the others pass uncounted.
        assert_eq!(call(&rig, &format!("user {n}"), &[("x-user", &n.to_string())], ASK, answer()).status, 200);
        call(&rig, &format!("run {n}"), &[("x-run", &n.to_string())], ASK, answer());
        rig.record(&format!("run {n}"));
    }
    becomes(&rig, "weir_store_total", &[("event", "full")], 8.0);
    // A call at a time: each takes the entry that the one before left.
    becomes(&rig, "weir_store_total", &[("event", "taken_over")], 39.0);
    becomes(&rig, "weir_limit_total", &[("limit", "few"), ("verdict", "open")], 8.0);
}

#[test]
fn the_gauge_of_calls_in_flight_goes_down_again_after_a_wait() {
    let limits = json!([{"name": "places", "concurrency": 1, "max_wait_ms": 5000}]);
    let rig = rig(limits, true);
    let mut busy = begin(&rig, "busy", &[], ASK, vec![answer()[0].clone(), Step::Gone]);
    busy.head();
    let waits = begin(&rig, "waits", &[], ASK, answer());
    becomes(&rig, "weir_streams_active", &[("api", "openai.chat_completions")], 2.0);
    waits.reset();
    becomes(&rig, "weir_streams_active", &[("api", "openai.chat_completions")], 1.0);
    busy.reset();
    becomes(&rig, "weir_streams_active", &[("api", "openai.chat_completions")], 0.0);
    eventually("room", || (status(&rig, "next", "a") == 200).then_some(()));
}
