//! The section `plan`: what a run said it would do, and what becomes of calls that are something else.

mod read;

use std::num::NonZeroU32;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::json::Json;
use crate::config::pointer::{is_escaped, steps};
use crate::config::values::{HeaderName, Keys, Match};

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
    /// A tool with which a model declares its run's plan. Left out, there is none.
    pub tool: Option<PlanTool>,
    /// Answers of models that have their run's plan in what they say. Left out, none has.
    pub answer: Option<PlanAnswer>,
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
            header: HeaderName::of("x-agent-plan"),
            baggage: None,
            tool: None,
            answer: None,
            target_header: None,
            enforce: Enforce::default(),
            headers: true,
            max: Keys::try_from(DEFAULT_RUNS).unwrap_or_default(),
            idle_s: NonZeroU32::MIN.saturating_add(3599),
        }
    }
}

/// The tool with which a model declares its run's plan. Its arguments count when the answer that asks for it is over, and when it
/// has run over MCP. It is a step itself only in plans that name it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PlanTool {
    /// Its name, also behind `mcp__server__`. Default `submit_plan`.
    pub name: String,
    /// Where in its arguments the plan stands, a JSON pointer. Default `/plan`.
    pub pointer: Pointer,
}

impl Default for PlanTool {
    fn default() -> Self {
        Self { name: "submit_plan".to_owned(), pointer: Pointer::default() }
    }
}

/// Which answers have their run's plan in what they say, in JSON whatever stands around it. The first 8 KiB of their text are read.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PlanAnswer {
    /// To which calls: those that match every key given. An empty match counts all. The model is the one that was asked for.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Only to calls with this request header, whatever its value.
    pub header: Option<HeaderName>,
    /// Where in the JSON the plan stands, a JSON pointer: the first document in which something stands there counts. With the
    /// empty one, the first list. Default `/plan`.
    pub pointer: Pointer,
}

/// A JSON pointer (RFC 6901): `/plan/steps`, or empty for the whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^(/.*)?$")))]
#[serde(into = "String")]
pub struct Pointer(String);

impl Pointer {
    /// What stands there in a document.
    pub fn at<'a>(&self, json: &'a Json) -> Option<&'a Json> {
        steps(&self.0).try_fold(json, |json, step| match json {
            Json::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => json.member(&step),
        })
    }
}

impl Default for Pointer {
    fn default() -> Self {
        Self("/plan".to_owned())
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let begins = text.is_empty() || text.starts_with('/');
        if !begins || !is_escaped(&text) {
            return Err(format!("`{text}` is not a JSON pointer, such as `/plan`"));
        }
        Ok(Self(text))
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
