//! The section `slo`: objectives for the time to first token.

mod read;

use std::num::NonZeroU64;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::Match;

/// Most objectives a config may have.
pub const MAX_SLOS: usize = 32;

/// An objective for the time to first token.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Its name, the label `slo`. Default: `slo-` and its place in the list, from 0.
    #[serde(default)]
    pub name: Option<String>,
    /// Which calls it counts: those that match every key given. An empty match counts all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// A call is good if its first token came within so many milliseconds.
    pub first_token_ms: NonZeroU64,
    /// The share of good calls that is wanted, between 0 and 1, such as 0.99. The alerting rules use it.
    pub objective: Objective,
}

/// A share between 0 and 1, both excluded.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1)))]
#[serde(try_from = "f64", into = "f64")]
pub struct Objective(f64);

impl Objective {
    /// The share.
    pub fn share(self) -> f64 {
        self.0
    }
}

impl From<Objective> for f64 {
    fn from(objective: Objective) -> Self {
        objective.0
    }
}

impl TryFrom<f64> for Objective {
    type Error = String;
    fn try_from(share: f64) -> Result<Self, String> {
        if !(share > 0.0 && share < 1.0) {
            // As the record writes numbers: std's way to write them is 20 KB of code.
            let share = serde_json::to_string(&share).unwrap_or_default();
            return Err(format!("{share} is not between 0 and 1"));
        }
        Ok(Self(share))
    }
}
