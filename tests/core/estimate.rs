//! Estimates begin at four bytes a token and follow what the model's calls report.

use weir::record::UsageSource;
use weir::settings::Config;
use weir::signals::estimate::Estimator;
use weir::worker::Worker;

use super::support::{Call, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_model_nobody_has_heard_of_has_four_bytes_a_token() {
    let estimator = Estimator::default();
    for (bytes, tokens) in [(0, 0), (1, 1), (4, 1), (400, 100)] {
        assert_eq!((estimator.input("m", bytes), estimator.output("m", bytes)), (tokens, tokens));
    }
}

#[test]
fn reports_calibrate_their_own_model_and_no_other() {
    let mut estimator = Estimator::default();
    for _ in 0..50 {
        estimator.learn("dense", (3000, Some(1000)), (2000, Some(1000)));
    }
    assert_eq!(estimator.input("dense", 3000), 1000);
    assert_eq!(estimator.output("dense", 2000), 1000);
    assert_eq!(estimator.input("other", 4000), 1000);
}

#[test]
fn what_cannot_be_text_teaches_nothing() {
    let mut estimator = Estimator::default();
    for (bytes, tokens) in [(10, Some(1000)), (1_000_000, Some(10)), (0, Some(10)), (10, Some(0)), (10, None)] {
        estimator.learn("m", (bytes, tokens), (bytes, tokens));
    }
    assert_eq!(estimator.input("m", 400), 100);
}

#[test]
fn a_call_without_a_report_is_estimated_with_what_calls_with_one_have_taught() {
    let mut worker = Worker::new(Config::default());
    let call = Call {
        request: format!(r#"{{"model":"m","stream":true,"messages":[{{"content":"{}"}}]}}"#, "p".repeat(600)),
        ..Call::default()
    };
    let text = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":\"stop\"}}]}}\n\n",
        "a".repeat(500)
    );
    let report = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":100}}\n\n";
    for _ in 0..60 {
        call.answered([text.as_bytes(), report.as_bytes()]).play_on(&mut worker, &via_upstream());
    }
    let usage = call.answered([text.as_bytes()]).play_on(&mut worker, &via_upstream()).0.record.usage;
    assert_eq!((usage.source, usage.input, usage.output), (UsageSource::Estimated, Some(200), Some(100)));
    let refused = Call { status: "429", ..call.clone() }
        .answered([&b"{}"[..]])
        .play_on(&mut worker, &via_upstream())
        .0
        .record
        .usage;
    assert_eq!(refused.source, UsageSource::None);
}
