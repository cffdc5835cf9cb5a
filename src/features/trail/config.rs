//! The key `trail` of the section `audit`.

mod read;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::pointer::{is_escaped, steps};
use crate::config::values::{HeaderName, Secret};

/// Keeps the trail of each run (the calls of an agent's request tree) for the person in front of the agent.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Trail {
    /// Where the trail of a run is read: this, and the run behind it. Default `/.weir/runs/`.
    #[serde(default)]
    pub path: TrailPath,
    /// What runs' tokens are made with, at least 16 characters: whoever has it reads every trail. Proxies with the same key hand
    /// out the same tokens; with another key all trails begin anew.
    pub key: Secret,
    /// To whom a run's token is handed in `x-weir-run-token`. Default `start`.
    #[serde(default)]
    pub tokens: HandOut,
    /// With this key in the header `operator_header` every trail is read, at least 16 characters. Left out, nobody may.
    #[serde(default)]
    pub operator_key: Option<Secret>,
    /// Default `x-weir-operator-key`.
    #[serde(default = "default_operator_header")]
    pub operator_header: HeaderName,
    /// Headers of answers that name the sources which were retrieved, separated by commas where there are several. At most 8.
    #[serde(default)]
    pub sources: Vec<HeaderName>,
    /// Places in the answers of calls of kind `tool`, `retrieval` and `rerank` that name sources, as JSON pointers (RFC 6901) in
    /// which `*` stands for each element of a list and each member of an object: `/results/*/url`. Read are JSON and events of
    /// JSON; of MCP's results `structuredContent`, and the texts in `content` that are JSON. At most 8.
    #[serde(default)]
    pub source_pointers: Vec<SourcePointer>,
    /// About how many runs are kept at once, 4 to 65,536. Default 1000. Each takes at most `records` times 322 bytes of Envoy's
    /// memory and 666 more, and as a rule half of that: 21 MB at most by default.
    #[serde(default)]
    pub runs: TrailRuns,
    /// How many calls of a run are kept, the last ones, 1 to 512. Default 64.
    #[serde(default)]
    pub records: TrailRecords,
    /// A run without a call for so long is forgotten, in seconds, 1 to 604,800. Default 3600.
    #[serde(default)]
    pub forget_after_s: Idle,
}

pub(super) fn default_operator_header() -> HeaderName {
    HeaderName::of("x-weir-operator-key")
}

/// Most headers, and most pointers, that name sources.
pub(super) const MAX_SOURCES: usize = 8;

/// To whom a run's token is handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HandOut {
    /// Those whose calls began before any call of the run was over: whoever learns of the run's id later gets none.
    #[default]
    Start,
    /// Every call of the run.
    Always,
}

/// A JSON pointer in which `*` stands for each element and member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^(/([^/~]|~[01])*){1,12}$")))]
#[serde(into = "String")]
pub struct SourcePointer(String);

impl SourcePointer {
    /// Most steps of a pointer: an MCP result lies two levels deep, and a reader has room for some more than these.
    const MAX_STEPS: usize = 12;
    /// Most bytes of a pointer: names that are longer than what is kept of a text are never found.
    const MAX_BYTES: usize = 255;

    /// The names on its way, without their escapes.
    pub fn steps(&self) -> Vec<String> {
        steps(&self.0).collect()
    }
}

impl From<SourcePointer> for String {
    fn from(pointer: SourcePointer) -> Self {
        pointer.0
    }
}

impl TryFrom<String> for SourcePointer {
    type Error = String;
    fn try_from(pointer: String) -> Result<Self, String> {
        let steps = pointer.split('/').count() - 1;
        if !pointer.starts_with('/')
            || !is_escaped(&pointer)
            || steps > Self::MAX_STEPS
            || pointer.len() > Self::MAX_BYTES
        {
            return Err(format!(
                "`{pointer}` is not a JSON pointer of at most {} steps, such as `/results/*/url`",
                Self::MAX_STEPS
            ));
        }
        Ok(Self(pointer))
    }
}

/// A path that ends where a run's id begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^/([^?#\\s]*/)?$")))]
#[serde(into = "String")]
pub struct TrailPath(String);

impl TrailPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrailPath {
    fn default() -> Self {
        Self("/.weir/runs/".to_owned())
    }
}

impl From<TrailPath> for String {
    fn from(path: TrailPath) -> Self {
        path.0
    }
}

impl TryFrom<String> for TrailPath {
    type Error = String;
    fn try_from(path: String) -> Result<Self, String> {
        let ends = path.len() > 1 && path.starts_with('/') && path.ends_with('/');
        let plain = |c: char| c.is_ascii_graphic() && c != '?' && c != '#';
        if !ends || !path.chars().all(plain) {
            return Err(format!("`{path}` is not a path that begins and ends with `/`, such as `/.weir/runs/`"));
        }
        Ok(Self(path))
    }
}

/// Numbers of a range, and what they are if nobody says so.
macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident: $least:literal to $most:literal, $default:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = $least, "maximum" = $most)))]
        #[serde(into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl From<$name> for u32 {
            fn from(number: $name) -> Self {
                number.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = String;
            fn try_from(number: u32) -> Result<Self, String> {
                if !($least..=$most).contains(&number) {
                    return Err(format!("{number} is not between {} and {}", $least, $most));
                }
                Ok(Self(number))
            }
        }
    )*};
}

ranges! {
    /// How many runs are kept.
    TrailRuns: 4 to 65_536, 1000;
    /// How many calls of a run are kept.
    TrailRecords: 1 to 512, 64;
    /// How long a run is kept without a call, in seconds.
    Idle: 1 to 604_800, 3600;
}
