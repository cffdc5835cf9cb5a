//! How a call ended, from what the filter saw and what Envoy says.
//!
//! # What Envoy says of a call's end
//! Seen in `on_log` of Envoy 1.40 in `response.flags` (8 bytes, little-endian) and `response.code_details`. "End" says
//! whether the callbacks told the end of an answer; `up` whether `upstream.address` was there. `response.code` is absent
//! where no answer began. `response.backend_latency` is there only when the upstream's own answer came whole.
//!
//! | what happened | flags | code_details | end | up |
//! |---|---|---|---|---|
//! | answer came whole (any status; HEAD, 204, 304, after 1xx, with trailers) | 0 | `via_upstream` | yes | yes |
//! | the same after all retries | 0x8000 | `via_upstream` | yes | yes |
//! | client closed the connection, at any moment | 0x4000 | `downstream_remote_disconnect` | no | yes |
//! | client reset its HTTP/2 stream | 0x1000_0000 | `http2.remote_reset` | no | yes |
//! | the same with NO_ERROR, before the answer | 0 | absent | no | yes |
//! | the same with NO_ERROR, in the answer | 0 | `via_upstream` | no | yes |
//! | client broke HTTP/2 | 0x4_0000 | `codec_error:…` | no | yes |
//! | upstream closed before its answer (503) | 0x40 | `upstream_reset_before_response_started{connection_termination}` | yes | yes |
//! | upstream closed in its answer, HTTP/1.1 | 0x80_0000 | `upstream_reset_after_response_started{protocol_error}` | no | yes |
//! | upstream closed in its answer, HTTP/2 | 0x40 | `upstream_reset_after_response_started{connection_termination}` | no | yes |
//! | upstream reset its HTTP/2 stream before its answer (503) | 0x10 | `upstream_reset_before_response_started{remote_reset}` | yes | yes |
//! | upstream reset its HTTP/2 stream in its answer | 0x10 | `upstream_reset_after_response_started{remote_reset}` | no | yes |
//! | upstream sent no HTTP (502) | 0x80_0000 | `upstream_reset_before_response_started{protocol_error}` | yes | yes |
//! | route timeout before the answer (504) | 0x4 | `response_timeout` | yes | yes |
//! | route timeout in the answer | 0x4 | `response_timeout` | no | yes |
//! | timeout of the last try (504) | 0x8004 | `upstream_per_try_timeout` | yes | yes |
//! | idle timeout of a try, in the answer | 0x4 | `upstream_per_try_idle_timeout` | no | yes |
//! | idle timeout of the stream (504 or in the answer) | 0x1_0000 | `stream_idle_timeout` | if 504 | yes |
//! | longest duration of the stream, in the answer | 0 | `max_duration_timeout` | no | yes |
//! | connection refused (503) | 0x20 | `upstream_reset_before_response_started{remote_connection_failure|…}` | yes | yes |
//! | no healthy host (503) | 0x2 | `no_healthy_upstream` | yes | no |
//! | no such cluster (503) | 0x100_0000 | `cluster_not_found` | yes | no |
//! | circuit breaker (503) | 0x80 | `upstream_reset_before_response_started{overflow}` | yes | no |
//! | direct response, redirect | 0 | `direct_response` | yes | no |
//! | another filter answered (here: fault, 429) | 0x400 | `fault_filter_abort` | yes | no |
//! | request's body never came (408) | 0 | `request_overall_timeout` | yes | yes |
//! | bad HTTP/1.1 (400, 431); no callback before `on_log` | 0x4_0000 | `http1.codec_error`, `http1.headers_too_large` | no | no |
//! | no host header (400); no callback before `on_log` | 0 | `missing_host_header` | no | no |
//! | websocket that the upstream closed (101) | 0x40 | `upstream_reset_after_response_started{connection_termination}` | no | yes |
//!
//! So neither flags nor details alone tell an aborted answer from a whole one: a client that resets with NO_ERROR looks
//! like `via_upstream`. That no end was seen does.

use crate::record::Ended;

/// What is known of a call's end.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The end of the answer was seen.
    pub ended: bool,
    /// The answer's status, if one began.
    pub status: Option<u16>,
    /// An upstream was chosen.
    pub reached: bool,
    /// Envoy's `response.code_details`, where it was asked for.
    pub details: Option<&'a str>,
    /// The document or stream said that something went wrong.
    pub failed: bool,
    /// The format's own end came, or there was nothing to read.
    pub whole: bool,
}

/// Answers that Envoy gives for an upstream which did not.
const BY_UPSTREAM: &[&str] = &["upstream_", "response_timeout", "stream_idle_timeout", "max_duration_timeout"];

/// How a call ended.
pub fn classify_end(end: &End<'_>) -> Ended {
    let details = end.details.unwrap_or_default();
    let by_upstream = BY_UPSTREAM.iter().any(|front| details.starts_with(front));
    if !end.ended {
        return match end.status {
            _ if by_upstream => Ended::UpstreamReset,
            // Bad HTTP, no host: answered before any filter saw it.
            None if !end.reached && !details.is_empty() && !is_client(details) => Ended::Refused,
            // A client may reset with NO_ERROR, of which Envoy says nothing: that no end was seen does.
            _ => Ended::ClientAbort,
        };
    }
    let own_answer = !details.is_empty() && details != "via_upstream";
    match end.status {
        _ if own_answer && by_upstream && end.reached => Ended::UpstreamReset,
        _ if own_answer && by_upstream && !details.ends_with("{overflow}") => Ended::UpstreamReset,
        _ if own_answer || !end.reached => Ended::Refused,
        Some(400..) => Ended::Error,
        _ if end.failed => Ended::Error,
        _ if !end.whole => Ended::Truncated,
        _ => Ended::Complete,
    }
}

fn is_client(details: &str) -> bool {
    details.starts_with("downstream_") || details.starts_with("http2.") || details.starts_with("codec_error")
}
