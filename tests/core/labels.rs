//! Label values are bounded, whatever clients make up.

use weir::labels::{Label, LabelSet, Labels, MAX_VALUE};
use weir::settings::Config;
use weir::worker::Worker;

use super::support::{Call, Known, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn configured_values_pass_then_others_up_to_the_cap_then_other() {
    let mut label = Label::new(["gpt-4o"], 2);
    let mut name = |value: &str, may_grow| {
        let number = label.number(Some(value), may_grow);
        label.value(number).to_owned()
    };
    assert_eq!(name("a", false), "other", "nobody vouched for it");
    assert_eq!(name("a", true), "a");
    assert_eq!(name("b", true), "b");
    assert_eq!(name("c", true), "other");
    assert_eq!(name("gpt-4o", false), "gpt-4o");
    assert_eq!(name("a", false), "a");
    let none = label.number(None, true);
    assert_eq!(label.value(none), "none");
}

#[test]
fn values_are_made_fit_for_a_metrics_name() {
    let mut label = Label::new([], 10);
    for (value, expected) in [
        ("meta/llama-3.1:free@x", "meta/llama-3.1:free@x".to_owned()),
        ("a;b=c d\n", "a_b_c_d_".to_owned()),
        ("é", "__".to_owned()),
        (&"x".repeat(1000), "x".repeat(MAX_VALUE)),
    ] {
        let number = label.number(Some(value), true);
        assert_eq!(label.value(number), expected);
    }
}

#[test]
fn a_hundred_thousand_made_up_models_add_no_value_beyond_the_cap() {
    let mut worker = Worker::new(Config::default());
    let mut sets = std::collections::HashSet::new();
    for i in 0..100_000 {
        let status = if i % 2 == 0 { "200" } else { "404" };
        let call = Call { request: format!(r#"{{"model":"made-up-{i}"}}"#), status, ..Call::default() };
        let (report, _) = call.play_on(&mut worker, &Known(vec![(&["upstream", "address"], b"a".to_vec())]));
        sets.insert(report.counts.set);
    }
    assert_eq!(worker.labels.model.len(), 52, "50, other and none");
    assert_eq!(sets.len(), 51, "50 and other");
}

#[test]
fn a_refused_name_takes_no_place() {
    let mut worker = Worker::new(Config::default());
    let call = |model: &str, status| Call { request: format!(r#"{{"model":"{model}"}}"#), status, ..Call::default() };
    call("typo", "404").play_on(&mut worker, &via_upstream());
    let (report, _) = call("real", "200").play_on(&mut worker, &via_upstream());
    assert_eq!(worker.labels.model.value(report.counts.set.model), "real");
    assert_eq!(worker.labels.model.len(), 3);
}

#[test]
fn combinations_are_bounded_too() {
    let label = || Label::new([], 100);
    let mut labels = Labels::new(label(), label(), label(), label(), 3);
    let set = |model| LabelSet { model, route: 2, tenant: 2, api: 5 };
    for model in 2..5 {
        assert_eq!(labels.bounded(set(model)), set(model));
    }
    assert_eq!(labels.bounded(set(9)), LabelSet { model: 0, route: 0, tenant: 0, api: 5 });
    assert_eq!(labels.bounded(set(2)), set(2));
}
