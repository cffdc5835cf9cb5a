//! The section `plan`: what a run said it would do, and what becomes of calls that are something else.

use std::num::NonZeroU32;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::HeaderName;
use super::limits::Keys;

/// How many runs have a plan at once, if the config does not say.
const DEFAULT_RUNS: u32 = 4096;

/// Holds runs to the plans that they declare (docs/plan.md).
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The request header that declares a run's plan. Default `x-agent-plan`.
    pub header: HeaderName,
    /// The key of the W3C `baggage` header that declares it where the header does not. Its value is percent-encoded.
    pub baggage: Option<String>,
    /// The request header that says what a call is about: the target of its step (`fetch:billing.history`).
    pub target_header: Option<HeaderName>,
    /// What becomes of a call that is no step of its run's plan, out of its order, or has the wrong target. Default `off`.
    pub enforce: Enforce,
    /// Every answer to a step says where it stands, in the header `x-weir-plan`. Default true.
    pub headers: bool,
    /// About how many runs have a plan at once; each takes 1.3 KB of Envoy's memory. 8 to 1,048,576, default 4096.
    pub max: Keys,
    /// After so many seconds without a step a run's plan is forgotten. Default 3600.
    pub idle_s: NonZeroU32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            header: HeaderName("x-agent-plan".to_owned()),
            baggage: None,
            target_header: None,
            enforce: Enforce::default(),
            headers: true,
            max: Keys::try_from(DEFAULT_RUNS).unwrap_or_default(),
            idle_s: NonZeroU32::MIN.saturating_add(3599),
        }
    }
}

/// What becomes of a call that is not in its run's plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Enforce {
    /// It is recorded.
    #[default]
    Off,
    /// Its answer has the header `x-weir-plan-warning`, too.
    Warn,
    /// It is answered with 403, and not sent.
    Refuse,
}
