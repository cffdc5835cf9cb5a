//! The sections `retries`, `retry_budgets` and `circuits`.

mod read;

use std::num::NonZeroU32;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::{Fail, HeaderName, Keys, LimitName, Match, Mode, Seconds, Thousandths};

/// Most budgets, and most circuits, that a config may have.
pub const MAX_RULES: usize = 16;

/// How a retry is told from a first try, and what becomes of those that come too late.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Who is believed. Default: all.
    pub sources: Vec<RetrySource>,
    /// One more source: a request header that your own programs count their retries in. A number above 0, or `true`, is a retry.
    pub header: Option<HeaderName>,
    /// How long a failed request is remembered, in seconds, 1 to 3600: the same request within that time is a retry.
    /// Default 60.
    pub window_s: Seconds,
    /// About how many failed requests are remembered at once; each takes 57 bytes of Envoy's memory. 8 to 1,048,576, default 32,768.
    pub keys: Keys,
    /// A retry that would probably come too late, by the median of recent answers of its model and route, is refused.
    pub deadline: Deadline,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            sources: RetrySource::ALL.to_vec(),
            header: None,
            window_s: Seconds::of(60),
            keys: Keys::default(),
            deadline: Deadline::default(),
        }
    }
}

/// Where it stands which try a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetrySource {
    /// `x-stainless-retry-count`, of OpenAI's and Anthropic's SDKs.
    Stainless,
    /// `x-envoy-attempt-count`, of a proxy in front.
    Envoy,
    /// `amz-sdk-request`, of AWS's SDKs.
    AmzSdk,
    /// An `idempotency-key` that was seen before.
    IdempotencyKey,
    /// The same caller sends the same request (by a keyed hash of method, path and body) after it failed.
    Body,
}

impl RetrySource {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stainless, Self::Envoy, Self::AmzSdk, Self::IdempotencyKey, Self::Body];

    /// The name in config and record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stainless => "stainless",
            Self::Envoy => "envoy",
            Self::AmzSdk => "amz_sdk",
            Self::IdempotencyKey => "idempotency_key",
            Self::Body => "body",
        }
    }
}

/// Where it stands until when an answer is wanted. The earliest counts; nothing: no call has a deadline.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Deadline {
    /// A request header with a moment, in milliseconds since 1970, such as `x-request-deadline`.
    pub header: Option<HeaderName>,
    /// `x-stainless-timeout`: seconds, of OpenAI's and Anthropic's SDKs (600 if their user does not choose). Default false.
    pub stainless_timeout: bool,
    /// `grpc-timeout`: such as `100m`, of gRPC. Default false.
    pub grpc_timeout: bool,
}

/// One retry budget: first tries deposit, retries withdraw.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// Its name: what a refused client is told. Letters, digits, `-`, `_`, `.`; at most 64.
    pub name: LimitName,
    /// Whose calls have a budget together: all that have the same values of these. Default `["route", "cluster"]`.
    #[serde(default = "default_budget_scope")]
    pub scope: Vec<RetryScope>,
    /// Which calls it counts: those that match every key given. An empty match counts all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// How many retries there may be for each first try, 0 to 1000, such as 0.1.
    pub ratio: Thousandths,
    /// Retries that may be without any first try, per second, so that little traffic may retry at all. Default 0.1.
    #[serde(default = "default_min_per_second")]
    pub min_per_second: Thousandths,
    /// The window over which both are counted, in seconds, 1 to 3600. Default 10.
    #[serde(default = "default_ttl")]
    pub ttl_s: Seconds,
    /// What is counted. Default `calls`.
    #[serde(default)]
    pub unit: RetryUnit,
    /// `shadow` decides and records, and lets pass. Default `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to a retry when the store does not answer. Default `open`.
    #[serde(default)]
    pub fail: Fail,
    /// With which status a retry is refused. Default `last_error`.
    #[serde(default)]
    pub refuse_with: RefuseWith,
}

pub(super) fn default_budget_scope() -> Vec<RetryScope> {
    vec![RetryScope::Route, RetryScope::Cluster]
}

/// What a retry budget counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryUnit {
    /// Calls.
    #[default]
    Calls,
    /// Tokens that a call will probably take: a retry of a long prompt is not a retry of a short one.
    Tokens,
}

/// With which status a retry is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RefuseWith {
    /// That of the request's own last failure, if it is known; else of the last one under the same budget; else 503.
    #[default]
    LastError,
    /// 429.
    TooManyRequests,
    /// 503.
    Unavailable,
}

/// A part of the scope of a budget or a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryScope {
    /// As `identity.tenant` finds it.
    Tenant,
    /// As `identity.user` finds it.
    User,
    /// The agent's request tree, as `identity.run` finds it.
    Run,
    /// The model asked for, in the body or the path.
    Model,
    /// Envoy's route name.
    Route,
    /// Envoy's cluster.
    Cluster,
    /// The tool that is called: the name in an MCP `tools/call`.
    Tool,
}

/// A circuit: where too many calls fail, first tries are refused too, but for a trickle of probes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    /// Its name: what a refused client is told. Letters, digits, `-`, `_`, `.`; at most 64.
    pub name: LimitName,
    /// Whose calls are counted together. Default `["cluster"]`.
    #[serde(default = "default_circuit_scope")]
    pub scope: Vec<RetryScope>,
    /// Which calls it counts: those that match every key given. An empty match counts all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// The share of failures (status 500 and above, and answers that broke off) at which it opens, 0 to 1000. Default 0.5.
    #[serde(default = "default_failures")]
    pub failures: Thousandths,
    /// The least number of calls in the window for that. Default 20.
    #[serde(default = "default_min_calls")]
    pub min_calls: NonZeroU32,
    /// The window over which calls are counted, in seconds, 1 to 3600. Default 10.
    #[serde(default = "default_ttl")]
    pub window_s: Seconds,
    /// While it is open, one call passes in so many milliseconds. Default 1000.
    #[serde(default = "default_probe_ms")]
    pub probe_ms: NonZeroU32,
    /// It closes when so many probes in a row went well. Default 3.
    #[serde(default = "default_close_after")]
    pub close_after: NonZeroU32,
    /// When a refused client is told to come again, in milliseconds; each is told another time, between a half and one and a
    /// half of it. Default 2000.
    #[serde(default = "default_retry_after_ms")]
    pub retry_after_ms: NonZeroU32,
    /// `shadow` decides and records, and lets pass. Default `enforce`.
    #[serde(default)]
    pub mode: Mode,
}

pub(super) fn default_circuit_scope() -> Vec<RetryScope> {
    vec![RetryScope::Cluster]
}

pub(super) fn default_min_calls() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(19)
}

pub(super) fn default_probe_ms() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(999)
}

pub(super) fn default_close_after() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2)
}

pub(super) fn default_retry_after_ms() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(1999)
}

pub(super) fn default_min_per_second() -> Thousandths {
    Thousandths::of(100)
}

pub(super) fn default_failures() -> Thousandths {
    Thousandths::of(500)
}

pub(super) fn default_ttl() -> Seconds {
    Seconds::of(10)
}
