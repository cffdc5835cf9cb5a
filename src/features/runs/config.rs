//! The section `runs`: what a whole run took.

mod read;

use std::num::NonZeroU32;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::{HeaderName, Keys, KindName};

/// Most outcomes that a config may name: each is a value of a label.
pub const MAX_OUTCOMES: usize = 16;

/// The outcome of all that have no name of their own here.
pub const OTHER: &str = "other";

/// The accounts of runs. A call with the header `outcome` closes its run's account into histograms.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Runs {
    /// About how many runs have an account at once; each takes 208 bytes of Envoy's memory. 8 to 1,048,576, default 32,768.
    pub max: Keys,
    /// After so many seconds without a call a run's account is forgotten. Default 3600.
    pub idle_s: NonZeroU32,
    /// The request header that says how a run ended. It is taken off the request. Default `x-weir-outcome`.
    pub header: HeaderName,
    /// The outcomes that have a label value of their own, in any case; all others are `other`. At most 16. Default `resolved`,
    /// `escalated`, `abandoned`.
    pub outcomes: Vec<KindName>,
}

impl Default for Runs {
    fn default() -> Self {
        let outcome = |name: &str| KindName::try_from(name.to_owned()).unwrap_or_default();
        Self {
            max: Keys::default(),
            idle_s: NonZeroU32::MIN.saturating_add(3599),
            header: HeaderName::of("x-weir-outcome"),
            outcomes: ["resolved", "escalated", "abandoned"].map(outcome).to_vec(),
        }
    }
}

impl Runs {
    /// The number of the outcome that a header names, as [`Runs::words`] has them; none if it names nothing.
    pub fn outcome(&self, value: &[u8]) -> Option<u8> {
        let value = value.trim_ascii();
        let at = self.outcomes.iter().position(|name| name.as_str().as_bytes().eq_ignore_ascii_case(value));
        (!value.is_empty()).then(|| at.unwrap_or(self.outcomes.len()) as u8)
    }

    /// The outcomes, by their numbers; the last is all the others.
    pub fn words(&self) -> Vec<&str> {
        self.outcomes.iter().map(KindName::as_str).chain([OTHER]).collect()
    }

    /// What is wrong with it as a whole, behind the rest of the path.
    pub fn check(&self) -> Result<(), String> {
        if self.outcomes.len() > MAX_OUTCOMES {
            return Err(format!(": {} of them, at most {MAX_OUTCOMES}", self.outcomes.len()));
        }
        for (at, name) in self.outcomes.iter().enumerate() {
            if name.as_str() == OTHER || self.outcomes.iter().take(at).any(|other| other == name) {
                return Err(format!("[{at}]: `{}` is taken", name.as_str()));
            }
        }
        Ok(())
    }
}
