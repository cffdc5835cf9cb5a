//! Who is calling: the first source of the config's list that has a value.
//!
//! `#[inline(never)]`, as in [`crate::wire::encoding`]: small functions load with less memory.

use sha2::{Digest, Sha256};

use crate::baggage;
use crate::config::identity::{ApiKeyHash, JwtClaim, Source};
use crate::port::{Headers, Properties};

/// The longest identity that is kept, in bytes.
const MAX_VALUE: usize = 128;

/// The first value that these sources have.
pub fn find(sources: &[Source], headers: Headers<'_>, properties: &dyn Properties) -> Option<String> {
    sources.iter().find_map(|source| value(source, headers, properties)).filter(|v| !v.is_empty())
}

fn value(source: &Source, headers: Headers<'_>, properties: &dyn Properties) -> Option<String> {
    match source {
        Source::Header(name) => printable(headers.get(name.as_str())?),
        Source::TraceId => trace_id(headers.get("traceparent")?),
        Source::Baggage(key) => printable(baggage::member(headers.get("baggage")?, key)?),
        Source::JwtClaim(JwtClaim { payload, claim }) => {
            let path = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", payload, claim];
            printable(&properties.property(&path)?)
        }
        Source::MtlsPeer => {
            let san = properties.property(&["connection", "uri_san_peer_certificate"]).and_then(|v| printable(&v));
            san.or_else(|| printable(&properties.property(&["connection", "subject_peer_certificate"])?))
        }
        Source::ApiKeyHash(ApiKeyHash { salt }) => {
            let mut hash = Sha256::new();
            hash.update(salt.as_bytes());
            hash.update(api_key(headers)?);
            Some(hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect())
        }
    }
}

/// A value of at most [`MAX_VALUE`] bytes in which nothing can break a log line; none if it is empty.
#[inline(never)]
pub fn printable(value: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(value.trim_ascii())
        .chars()
        .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '_' } else { c })
        .scan(0, |len, c| {
            *len += c.len_utf8();
            (*len <= MAX_VALUE).then_some(c)
        })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// The trace id of `00-<32 hex digits>-<16 hex digits>-<flags>`; an id of zeros is none.
#[inline(never)]
fn trace_id(traceparent: &[u8]) -> Option<String> {
    let id = traceparent.trim_ascii().split(|b| *b == b'-').nth(1)?;
    let fine = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) && id.iter().any(|b| *b != b'0');
    fine.then(|| String::from_utf8_lossy(id).to_ascii_lowercase())
}

#[inline(never)]
/// The API key that a request shows, wherever its provider wants it.
pub fn api_key<'a>(headers: Headers<'a>) -> Option<&'a [u8]> {
    let named = || ["x-api-key", "api-key", "x-goog-api-key"].iter().find_map(|name| headers.get(name));
    bearer(headers).or_else(named).filter(|key| !key.is_empty())
}

/// What stands behind `authorization: Bearer`.
pub fn bearer<'a>(headers: Headers<'a>) -> Option<&'a [u8]> {
    let (scheme, key) = headers.get("authorization")?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}
