//! The filter's configuration: parsed, not validated. What is out of range does not parse, and the error says where.
//!
//! Every section may be left out; `{}` and nothing at all are good configs.

pub mod audit;
pub mod kinds;
pub mod limits;
pub mod plan;
mod pointer;
pub mod prices;
mod read;
pub mod retry;
pub mod runs;
pub mod tools;
pub mod trail;

use std::num::{NonZeroU32, NonZeroU64};

use serde::Serialize;

pub use read::Json;

use audit::Audit;
use kinds::KindRule;
use limits::{Admission, Limit};
use plan::Plan;
use prices::Price;
use retry::{Circuit, Retries, RetryBudget};
use runs::Runs;
use tools::Tools;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// The whole configuration, as it stands in the Wasm plugin's `configuration` (a JSON string).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where in Envoy this plugin stands. Default `call`.
    pub role: Role,
    /// Who is calling. Each of the three is an ordered list of sources; the first that has a value wins.
    pub identity: Identity,
    /// Which label values metrics may have.
    pub labels: LabelBounds,
    /// How tokens are counted.
    pub usage: UsageOptions,
    /// What is timed, and how.
    pub timing: Timing,
    /// Bounds of what is read.
    pub read: Read,
    /// Objectives for the time to first token. At most 32.
    pub slo: Vec<Slo>,
    /// What may pass. At most 32.
    pub limits: Vec<Limit>,
    /// How calls are held to them.
    pub admission: Admission,
    /// How retries are told from first tries. Left out, and with neither budgets nor circuits, nobody looks.
    pub retries: Option<Retries>,
    /// How many retries there may be. At most 16.
    pub retry_budgets: Vec<RetryBudget>,
    /// Where calls fail fast. At most 16.
    pub circuits: Vec<Circuit>,
    /// What kinds calls are, beside what is known by itself (see docs/runs.md). The first rule that matches counts. At most 32. Left
    /// out, and with nothing else that wants to know, nobody looks.
    pub kinds: Option<Vec<KindRule>>,
    /// The accounts of runs. Left out, there are none.
    pub runs: Option<Runs>,
    /// What calls cost (see docs/cost.md). At most 256. With none, no cost is computed.
    pub prices: Vec<Price>,
    /// What a caller is told of its call, and how records are made tamper-evident.
    pub audit: Audit,
    /// How tool calls are told apart: asked for by models, and run. Left out, nobody looks.
    pub tools: Option<Tools>,
    /// Plans that runs declare, and what becomes of calls that are not in them. Left out, nobody looks.
    pub plan: Option<Plan>,
    /// What Envoy's other filters are told of a call, beside the record.
    pub filter_state: FilterState,
}

/// Where in Envoy a plugin stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Among the HTTP filters of a listener: it sees calls.
    #[default]
    Call,
    /// Among the `upstream_http_filters` of the router: it sees each of Envoy's own attempts at a call, and does nothing but
    /// note it for the record of the call, which the other plugin writes. Both must have the same `vm_config`, with a
    /// `vm_id`. All other keys are without effect.
    Attempt,
}

/// Sources of a call's identity.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Who pays: a label of every metric.
    pub tenant: Vec<Source>,
    /// The person or service that calls; in the record only.
    pub user: Vec<Source>,
    /// The agent's request tree that the call is part of; in the record only. Default: the W3C trace id.
    pub run: Vec<Source>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { tenant: Vec::new(), user: Vec::new(), run: vec![Source::TraceId] }
    }
}

/// One place where an identity may stand. Values are cut at 128 bytes; characters that are not printable become `_`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Source {
    /// A request header, by its name in any case.
    Header(HeaderName),
    /// The trace id of the W3C `traceparent` header.
    TraceId,
    /// A key of the W3C `baggage` header.
    Baggage(String),
    /// A claim of a JWT that Envoy's `jwt_authn` filter has verified (it needs `payload_in_metadata`).
    JwtClaim(JwtClaim),
    /// What the client's certificate says: the URI SAN, else the subject. Needs mTLS at this listener.
    MtlsPeer,
    /// A salted hash of the API key (`authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key`): 16 hex digits of SHA-256.
    ApiKeyHash(ApiKeyHash),
}

/// A header's name, kept in lower case.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^[A-Za-z0-9_.-]+$")))]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);

impl HeaderName {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<HeaderName> for String {
    fn from(name: HeaderName) -> Self {
        name.0
    }
}

impl TryFrom<String> for HeaderName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if name.is_empty() || !name.bytes().all(fine) {
            return Err(format!("`{name}` is not a header name (letters, digits, `-`, `_`, `.`)"));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// Where a JWT's claim stands.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwtClaim {
    /// The `payload_in_metadata` of the provider in Envoy's `jwt_authn`.
    pub payload: String,
    /// The claim's name, such as `sub`.
    pub claim: String,
}

/// How an API key is hashed.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiKeyHash {
    /// What is hashed in front of the key, so that nobody can look a hash up; at least 8 characters.
    pub salt: Salt,
}

/// A salt of at least 8 characters.
#[derive(Clone, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minLength" = 8)))]
#[serde(try_from = "String", into = "String")]
pub struct Salt(String);

impl Salt {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.0
    }
}

impl TryFrom<String> for Salt {
    type Error = String;
    fn try_from(salt: String) -> Result<Self, String> {
        if salt.len() < 8 {
            return Err("a salt has at least 8 characters".to_owned());
        }
        Ok(Self(salt))
    }
}

/// Label values that metrics may have. Values in the lists always pass; beyond them the first ones seen in successful
/// calls pass, up to the cap; the rest are `other`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LabelBounds {
    /// Models that always have their own label value.
    pub models: Vec<String>,
    /// Routes that always have their own label value.
    pub routes: Vec<String>,
    /// Tenants that always have their own label value.
    pub tenants: Vec<String>,
    /// Models beyond the list. Default 50.
    pub max_models: u16,
    /// Routes beyond the list. Default 50.
    pub max_routes: u16,
    /// Tenants beyond the list. Default 50.
    pub max_tenants: u16,
    /// Combinations of model, route, tenant and api that get series of their own; each costs some 60 to 100 stats in
    /// Envoy. Default 1000.
    pub max_sets: NonZeroU32,
}

impl Default for LabelBounds {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            routes: Vec::new(),
            tenants: Vec::new(),
            max_models: 50,
            max_routes: 50,
            max_tenants: 50,
            max_sets: NonZeroU32::MIN.saturating_add(999),
        }
    }
}

/// How tokens are counted.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UsageOptions {
    /// Adds `stream_options.include_usage` to streamed OpenAI-like chat and completions calls that leave it out or set it
    /// false, and hides the extra chunk from a client that did not ask for it. Takes `content-length` and
    /// `accept-encoding` off those requests. Default false.
    pub inject: bool,
    /// Estimates tokens where the provider reports none. Default true.
    pub estimate: bool,
}

impl Default for UsageOptions {
    fn default() -> Self {
        Self { inject: false, estimate: true }
    }
}

/// What is timed, and how.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A gap between tokens longer than this is a stall, in milliseconds. Default 1000.
    pub stall_ms: NonZeroU64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { stall_ms: NonZeroU64::MIN.saturating_add(999) }
    }
}

/// Bounds of what is read.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// An event of a stream larger than this is skipped and counted, in bytes; 1 KiB to 16 MiB. Default 1 MiB.
    pub max_event_bytes: EventCap,
}

impl Default for Read {
    fn default() -> Self {
        Self { max_event_bytes: EventCap(1 << 20) }
    }
}

/// A size between 1 KiB and 16 MiB.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 1024, "maximum" = 16_777_216)))]
#[serde(try_from = "u32", into = "u32")]
pub struct EventCap(u32);

impl EventCap {
    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }
}

impl From<EventCap> for u32 {
    fn from(cap: EventCap) -> Self {
        cap.0
    }
}

impl TryFrom<u32> for EventCap {
    type Error = String;
    fn try_from(bytes: u32) -> Result<Self, String> {
        if !(1 << 10..=1 << 24).contains(&bytes) {
            return Err(format!("{bytes} is not between 1024 and 16777216"));
        }
        Ok(Self(bytes))
    }
}

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

/// What Envoy's other filters are told of a call, as filter state.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FilterState {
    /// Publishes tokens as decimal numbers, for `hits_addend` of Envoy's own `ratelimit` filter: `wasm.weir.reserve` at the
    /// request's headers, what is reserved for the call; `wasm.weir.charge` when the call is over, input and output of its
    /// usage. Default false.
    pub tokens: bool,
}

/// Which calls an objective or a limit counts. A value ending in `*` matches what begins with it.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The model asked for, or the one that answered.
    pub model: Option<String>,
    /// Envoy's route name.
    pub route: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
}

/// Whether one of the values is what a [`Match`] wants there; without a wish every one is.
pub fn fits(wanted: &Option<String>, seen: &[Option<&str>]) -> bool {
    let Some(wanted) = wanted else { return true };
    seen.iter().flatten().any(|seen| match wanted.strip_suffix('*') {
        Some(front) => seen.starts_with(front),
        None => seen == wanted,
    })
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

/// Most objectives a config may have.
const MAX_SLOS: usize = 32;

impl Config {
    /// Reads a config; nothing at all is `{}`.
    ///
    /// # Errors
    /// What is wrong, behind the path where it stands: `slo[0].objective: 1.5 is not between 0 and 1`.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        if json.trim_ascii_start().first() != Some(&b'{') {
            // An array would pass for an object whose fields it lists.
            return Err(".: not a JSON object".to_owned());
        }
        let config = read::config(json)?;
        if config.slo.len() > MAX_SLOS {
            return Err(format!("slo: {} objectives, at most {MAX_SLOS}", config.slo.len()));
        }
        if config.limits.len() > limits::MAX_LIMITS {
            return Err(format!("limits: {} of them, at most {}", config.limits.len(), limits::MAX_LIMITS));
        }
        for (at, limit) in config.limits.iter().enumerate() {
            if config.limits.iter().take(at).any(|other| other.name == limit.name) {
                return Err(format!("limits[{at}].name: `{}` is taken", limit.name.as_str()));
            }
        }
        if config.prices.len() > prices::MAX_PRICES {
            return Err(format!("prices: {} of them, at most {}", config.prices.len(), prices::MAX_PRICES));
        }
        if let Some(at) = config.limits.iter().position(Limit::goes_by_price).filter(|_| config.prices.is_empty()) {
            return Err(format!("limits[{at}]: the unit `cost` wants the section `prices`, or prices in `weigh`"));
        }
        let budgets: Vec<_> = config.retry_budgets.iter().map(|budget| budget.name.as_str()).collect();
        let circuits: Vec<_> = config.circuits.iter().map(|circuit| circuit.name.as_str()).collect();
        for (section, names) in [("retry_budgets", budgets), ("circuits", circuits)] {
            if names.len() > retry::MAX_RULES {
                return Err(format!("{section}: {} of them, at most {}", names.len(), retry::MAX_RULES));
            }
            for (at, name) in names.iter().enumerate() {
                if names.iter().take(at).any(|other| other == name) {
                    return Err(format!("{section}[{at}].name: `{name}` is taken"));
                }
            }
        }
        if let Some(rules) = &config.kinds {
            kinds::check(rules).map_err(|reason| format!("kinds: {reason}"))?;
        }
        if let Some(runs) = &config.runs {
            runs.check().map_err(|reason| format!("runs.outcomes{reason}"))?;
        }
        if let Some(tools) = &config.tools {
            let redact = tools.arguments.as_ref().map_or(0, |arguments| arguments.redact.len());
            for (path, count) in [("tools.names", tools.names.len()), ("tools.arguments.redact", redact)] {
                if count > tools::MAX_NAMES {
                    return Err(format!("{path}: {count} of them, at most {}", tools::MAX_NAMES));
                }
            }
        }
        Ok(config)
    }

    /// Whether anybody wants to know what kind a call is.
    pub fn tells_kinds(&self) -> bool {
        let points = self.audit.trail.as_ref().is_some_and(|trail| !trail.source_pointers.is_empty());
        self.kinds.is_some() || self.runs.is_some() || self.plan.is_some() || !self.prices.is_empty() || points
    }
}
