//! The section `tools`.

mod read;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::{Keys, Seconds};

/// Most names, and most keys to redact, that a config may have.
pub const MAX_NAMES: usize = 1000;

/// How the tools of a run are told apart: those that models ask for, and those that run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    /// Tools that always have their own label value, whatever else is seen. At most 1000.
    pub names: Vec<String>,
    /// How many other tools get a label value of their own, once they have run with success; the rest are `other`. Default 50.
    pub max_names: u16,
    /// How long a tool that a model asked for is waited for, in seconds, 1 to 3600: if it has not run by then, it never ran.
    /// Default 600.
    pub window_s: Seconds,
    /// About how many asked tools are waited for at once; each takes 144 bytes of Envoy's memory. 8 to 1,048,576, default 8192.
    pub keys: Keys,
    /// Puts the arguments themselves into the record. Left out, nothing of them is kept but their size and a keyed hash.
    pub arguments: Option<ToolArguments>,
}

impl Default for Tools {
    fn default() -> Self {
        Self { names: Vec::new(), max_names: 50, window_s: Seconds::of(600), keys: Keys::of(8192), arguments: None }
    }
}

/// What of a tool's arguments reaches the record.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ToolArguments {
    /// The most bytes of one call's arguments. Default 1024.
    pub max_bytes: u16,
    /// JSON keys whose values become `***`, at any depth, in any case of letters; a `*` at either end stands for anything. Where
    /// this is not empty, arguments that are no JSON object or list become `***` as a whole. At most 1000.
    pub redact: Vec<String>,
}

impl Default for ToolArguments {
    fn default() -> Self {
        Self { max_bytes: 1024, redact: Vec::new() }
    }
}
