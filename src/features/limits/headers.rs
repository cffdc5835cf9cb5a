//! What clients are told of limits, in headers.
//!
//! - `ratelimit-policy` and `ratelimit`: draft-ietf-httpapi-ratelimit-headers-10: `"name";q=100;w=60`, `"name";r=12;t=5`;
//! - `x-ratelimit-limit-tokens`, `-remaining-`, `-reset-` and the same with `-requests`: what OpenAI sends, and SDKs read.

use super::claim::Claim;
use super::config::Unit;
use super::rule::Rule;
use crate::call::reply::Header;
use crate::units::Span;

/// A limit, and what is left of it: for who is refused.
pub fn left(rule: &Rule, claim: &Claim) -> Vec<Header> {
    let mut headers = remaining(rule, claim);
    if !headers.is_empty() {
        let (quota, window) = rule.policy();
        let mut policy = named(&rule.name);
        number(&mut policy, ";q=", quota);
        if let Some(window) = window {
            number(&mut policy, ";w=", window);
        }
        headers.insert(0, ("ratelimit-policy", policy));
    }
    headers
}

/// What is left of a limit: for who passes. Without its policy, which is the same each time: a header more is a microsecond
/// more.
pub fn remaining(rule: &Rule, claim: &Claim) -> Vec<Header> {
    let Some(left) = claim.left else { return Vec::new() };
    let (quota, _) = rule.policy();
    let remaining = rule.whole(left.amount);
    let mut limit = named(&rule.name);
    number(&mut limit, ";r=", remaining);
    if let Some(reset) = left.reset {
        number(&mut limit, ";t=", seconds(reset));
    }
    let mut headers = Vec::with_capacity(5);
    headers.push(("ratelimit", limit));
    let [quota_name, remaining_name, reset_name] = match (rule.counts_in_flight(), rule.unit) {
        (false, Unit::Tokens) => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        // OpenAI has no word for money.
        (false, Unit::Cost) => return headers,
        _ => ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    };
    headers.extend([(quota_name, quota.to_string()), (remaining_name, remaining.to_string())]);
    headers.extend(left.reset.map(|reset| (reset_name, duration(reset))));
    headers
}

fn named(name: &str) -> String {
    let mut out = String::with_capacity(name.len().saturating_add(24));
    out.push('"');
    out.push_str(name);
    out.push('"');
    out
}

fn number(to: &mut String, key: &str, value: u64) {
    to.push_str(key);
    to.push_str(&value.to_string());
}

fn seconds(span: Span) -> u64 {
    span.0.div_ceil(1_000_000_000)
}

fn ms(span: Span) -> u64 {
    span.0.div_ceil(1_000_000)
}

/// As OpenAI writes it: `90ms`, `7s`, `6m0s`.
fn duration(span: Span) -> String {
    let mut out = String::new();
    let whole = seconds(span);
    if span.0 < 1_000_000_000 {
        number(&mut out, "", ms(span));
        out.push_str("ms");
        return out;
    }
    if whole >= 60 {
        number(&mut out, "", whole / 60);
        out.push('m');
    }
    number(&mut out, "", whole % 60);
    out.push('s');
    out
}
