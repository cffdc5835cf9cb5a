//! Answers in the upstream's place.

use crate::units::Span;
use crate::wire::refusal::Shaped;

/// A header of ours.
pub type Header = (&'static str, String);

/// An answer in the upstream's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// Status, content type and body, as the call's API has them.
    pub shaped: Shaped,
    /// What else clients are told.
    pub headers: Vec<Header>,
    /// What Envoy's access log says of it (`%RESPONSE_CODE_DETAILS%`).
    pub details: &'static str,
}

/// When to come again: `retry-after` in whole seconds, rounded up, and `retry-after-ms` in milliseconds, rounded up.
pub fn retry_after(after: Span) -> [Header; 2] {
    let seconds = after.0.div_ceil(1_000_000_000).max(1);
    let ms = after.0.div_ceil(1_000_000).max(1);
    [("retry-after", seconds.to_string()), ("retry-after-ms", ms.to_string())]
}
