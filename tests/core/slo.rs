//! TTFT objectives: what counts, and what is good.

use weir::features::slo::verdict::{Call, verdict};
use weir::record::Ended::{self, *};
use weir::settings::Config;
use weir::units::Span;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn judged(matches: &str, first_token: Option<u64>, total: u64, ended: Ended, status: Option<u16>) -> Option<bool> {
    let config =
        Config::parse(format!(r#"{{"slo":[{{"match":{matches},"first_token_ms":500,"objective":0.99}}]}}"#).as_bytes())
            .unwrap();
    let ms = |ms: u64| Span(ms * 1_000_000);
    let call = Call {
        models: [Some("gpt-4o"), Some("gpt-4o-2024-08-06")],
        route: Some("chat"),
        tenant: None,
        first_token: first_token.map(ms),
        total: ms(total),
        ended,
        status,
    };
    verdict(&config.slo[0], &call)
}

#[test]
fn a_first_token_in_time_is_good_and_a_late_one_bad() {
    for (first, expected) in [(0, true), (500, true), (501, false)] {
        for ended in [Complete, ClientAbort, UpstreamReset, Error, Truncated] {
            assert_eq!(judged("{}", Some(first), 1000, ended, Some(200)), Some(expected));
        }
    }
}

#[test]
fn without_a_token_it_depends_on_whose_fault_it_was() {
    for (total, ended, status, expected) in [
        (10, Complete, Some(200), Some(false)),
        (10, Truncated, Some(200), Some(false)),
        (10, UpstreamReset, Some(503), Some(false)),
        (10, Error, Some(500), Some(false)),
        (10, Error, Some(429), Some(false)),
        (10, Error, Some(200), Some(false)),
        (10, Error, Some(400), None),
        (10, Error, Some(401), None),
        (10, Refused, Some(429), None),
        (10, ClientAbort, None, None),
        (501, ClientAbort, None, Some(false)),
    ] {
        assert_eq!(judged("{}", None, total, ended, status), expected, "{ended:?} {status:?} after {total} ms");
    }
}

#[test]
fn every_key_of_a_match_has_to_fit() {
    for (matches, counts) in [
        (r#"{"model":"gpt-4o"}"#, true),
        (r#"{"model":"gpt-4o-2024-08-06"}"#, true),
        (r#"{"model":"gpt-*","route":"chat"}"#, true),
        (r#"{"model":"gpt-4"}"#, false),
        (r#"{"model":"gpt-4o","route":"other"}"#, false),
        (r#"{"tenant":"*"}"#, false),
    ] {
        assert_eq!(judged(matches, Some(1), 1, Complete, Some(200)).is_some(), counts, "{matches}");
    }
}
