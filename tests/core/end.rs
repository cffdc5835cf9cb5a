//! How calls end, by what Envoy was seen to say.

use weir::call::end::{End, classify_end};
use weir::record::Ended::{self, *};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn what_envoy_says_becomes_one_of_six_words() {
    // The answer's end was seen, its status, an upstream was chosen, Envoy's details.
    let cases: &[(bool, Option<u16>, bool, &str, Ended)] = &[
        (true, Some(200), true, "via_upstream", Complete),
        (true, Some(204), true, "via_upstream", Complete),
        (true, Some(404), true, "via_upstream", Error),
        (true, Some(503), true, "via_upstream", Error),
        (false, Some(200), true, "downstream_remote_disconnect", ClientAbort),
        (false, None, true, "downstream_remote_disconnect", ClientAbort),
        (false, None, true, "http2.remote_reset", ClientAbort),
        (false, None, true, "", ClientAbort),
        (false, Some(200), true, "via_upstream", ClientAbort),
        (false, Some(200), true, "codec_error:The user callback function failed", ClientAbort),
        (true, Some(503), true, "upstream_reset_before_response_started{connection_termination}", UpstreamReset),
        (false, Some(200), true, "upstream_reset_after_response_started{protocol_error}", UpstreamReset),
        (true, Some(504), true, "response_timeout", UpstreamReset),
        (false, Some(200), true, "response_timeout", UpstreamReset),
        (true, Some(504), true, "upstream_per_try_timeout", UpstreamReset),
        (false, Some(200), true, "stream_idle_timeout", UpstreamReset),
        (false, Some(200), true, "max_duration_timeout", UpstreamReset),
        (true, Some(503), true, "upstream_reset_before_response_started{remote_connection_failure|x}", UpstreamReset),
        (true, Some(503), false, "upstream_reset_before_response_started{overflow}", Refused),
        (true, Some(503), false, "no_healthy_upstream", Refused),
        (true, Some(503), false, "cluster_not_found", Refused),
        (true, Some(404), false, "route_not_found", Refused),
        (true, Some(200), false, "direct_response", Refused),
        (true, Some(429), false, "fault_filter_abort", Refused),
        (false, None, false, "http1.codec_error", Refused),
        (false, None, false, "missing_host_header", Refused),
    ];
    for &(ended, status, reached, details, expected) in cases {
        let details = (!details.is_empty()).then_some(details);
        let end = End { ended, status, reached, details, failed: false, whole: true };
        assert_eq!(classify_end(&end), expected, "{end:?}");
    }
}

#[test]
fn an_answer_of_status_200_that_failed_or_has_no_end_is_not_complete() {
    let fine = End { ended: true, status: Some(200), reached: true, details: None, failed: false, whole: true };
    assert_eq!(classify_end(&fine), Complete);
    assert_eq!(classify_end(&End { failed: true, ..fine }), Error);
    assert_eq!(classify_end(&End { whole: false, ..fine }), Truncated);
    assert_eq!(classify_end(&End { failed: true, whole: false, ..fine }), Error);
}
