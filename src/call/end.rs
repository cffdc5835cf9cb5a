//! How a call ended, from what the filter saw and what Envoy says. The table of what Envoy says stands in `host/shell.rs`.

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
