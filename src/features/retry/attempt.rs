//! What a request's headers say of which try it is.
//!
//! | source | header | a retry if |
//! |---|---|---|
//! | `stainless` | `x-stainless-retry-count` (OpenAI's and Anthropic's SDKs) | above 0 |
//! | `envoy` | `x-envoy-attempt-count` (a proxy in front) | above 1 |
//! | `amz_sdk` | `amz-sdk-request: attempt=2; max=3`, with `amz-sdk-invocation-id` | above 1 |
//! | `header` | one of the user's own | a number above 0, or `true` |
//! | `idempotency_key` | `idempotency-key` | it was seen before |
//!
//! The first that tells of a retry counts. A first try of one layer may be another layer's retry, so "I am the first" is only
//! kept, and never ends the search.

use super::config::{Retries, RetrySource};
use crate::port::Headers;

/// Which layer tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Layer {
    /// Nobody: a first try.
    First,
    /// The client's SDK.
    Sdk,
    /// A proxy.
    Envoy,
    /// The program above the SDK.
    Agent,
    /// Who it was is not told.
    Unknown,
}

impl Layer {
    /// The words for them, by number.
    pub const WORDS: &[&str] = &["first", "sdk", "envoy", "agent", "unknown"];
}

/// Where it stands which try a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In one of these places.
    Of(RetrySource),
    /// In a header of the user's own.
    Header,
}

impl Source {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Source::Of(source) => source.word(),
            Source::Header => "header",
        }
    }
}

/// What the headers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// A retry, the first try being 1; and who says so.
    pub retry: Option<(u32, Source)>,
    /// The SDK says that it is its own first try.
    pub first_of_sdk: bool,
    /// What all tries of a call have in common, and whether a first try has it too and only repeats are retries.
    pub key: Option<(RetrySource, &'a [u8])>,
}

/// A try beyond this is written as this one: nobody tries so often, but a header may say anything.
const MAX_ATTEMPT: u32 = 1000;

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse::<u32>().ok().map(|n| n.min(MAX_ATTEMPT))
}

/// `attempt=2; max=3`.
fn amz_attempt(value: &[u8]) -> Option<u32> {
    let parts = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    parts.filter_map(|part| part.strip_prefix(b"attempt=")).find_map(number)
}

/// Reads the headers.
pub fn told<'a>(head: Headers<'a>, retries: &Retries) -> Told<'a> {
    let get = |source, name| if retries.sources.contains(&source) { head.get(name) } else { None };
    let stainless = get(RetrySource::Stainless, "x-stainless-retry-count").and_then(number).map(|n| n + 1);
    let envoy = get(RetrySource::Envoy, "x-envoy-attempt-count").and_then(number);
    let amz = get(RetrySource::AmzSdk, "amz-sdk-request").and_then(amz_attempt);
    let own = retries.header.as_ref().and_then(|name| head.get(name.as_str())).and_then(|value| match value {
        b"true" => Some(2),
        value => number(value).map(|n| n + 1),
    });
    let all = [
        (stainless, Source::Of(RetrySource::Stainless)),
        (envoy, Source::Of(RetrySource::Envoy)),
        (amz, Source::Of(RetrySource::AmzSdk)),
        (own, Source::Header),
    ];
    let retry = all.into_iter().find_map(|(attempt, source)| Some((attempt.filter(|n| *n > 1)?, source)));
    let filled = |value: &&[u8]| !value.is_empty();
    let invocation = get(RetrySource::AmzSdk, "amz-sdk-invocation-id").filter(filled);
    let idempotency = get(RetrySource::IdempotencyKey, "idempotency-key").filter(filled);
    Told {
        retry,
        first_of_sdk: [stainless, amz].contains(&Some(1)),
        key: (invocation.map(|id| (RetrySource::AmzSdk, id)))
            .or(idempotency.map(|key| (RetrySource::IdempotencyKey, key))),
    }
}

/// The layer of a retry that this source told of.
pub fn layer(source: Source, first_of_sdk: bool) -> Layer {
    match source {
        Source::Of(RetrySource::Stainless | RetrySource::AmzSdk) => Layer::Sdk,
        Source::Of(RetrySource::Envoy) => Layer::Envoy,
        Source::Header => Layer::Agent,
        // The SDK takes it for a new call: then it was its caller.
        Source::Of(_) if first_of_sdk => Layer::Agent,
        Source::Of(_) => Layer::Unknown,
    }
}
