//! The section `kinds`: what calls are to those who pay for them.

mod read;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::call::kind::{KNOWN, MAX_OWN};
use crate::config::values::{KindName, LimitName};

/// Most rules that a config may have: each is tried on each call.
pub const MAX_KINDS: usize = 32;
/// What kind the calls are that match.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KindRule {
    /// Which calls: those that match every key given. An empty match counts all.
    #[serde(default, rename = "match")]
    pub matches: KindMatch,
    /// `model`, `embedding`, `retrieval`, `rerank`, `tool`, `guardrail`, `observability`, `other`, or a word of your own; at most 8 of
    /// those.
    pub kind: KindName,
    /// Of a plain HTTP tool, its name.
    #[serde(default)]
    pub name: Option<LimitName>,
}

/// Which calls are of a kind. A value ending in `*` matches what begins with it.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct KindMatch {
    /// Envoy's route name.
    pub route: Option<String>,
    /// The request's path, without its query.
    pub path: Option<String>,
    /// The request's host, without its port, in any case.
    pub host: Option<String>,
    /// The request's method, such as `POST`.
    pub method: Option<String>,
}

/// What is wrong with these rules as a whole.
pub fn check(rules: &[KindRule]) -> Result<(), String> {
    if rules.len() > MAX_KINDS {
        return Err(format!("{} of them, at most {MAX_KINDS}", rules.len()));
    }
    let own = own(rules).len();
    if own > MAX_OWN {
        return Err(format!("{own} words of their own, at most {MAX_OWN}"));
    }
    Ok(())
}

/// The kinds that rules have beside [`KNOWN`], each once.
pub fn own(rules: &[KindRule]) -> Vec<&str> {
    let mut own = Vec::new();
    for name in rules.iter().map(|rule| rule.kind.as_str()) {
        if !KNOWN.contains(&name) && !own.contains(&name) {
            own.push(name);
        }
    }
    own
}
