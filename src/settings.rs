//! The filter's configuration: parsed, not validated. What is out of range does not parse, and the error says where.
//!
//! Every section may be left out; `{}` and nothing at all are good configs.

use std::num::{NonZeroU32, NonZeroU64};

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::identity::Identity;
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, choices, object, sections};
use crate::features::audit::Tells;
use crate::features::audit::config::Chain;
use crate::features::cost::config::{self as prices, Price};
use crate::features::kind::config::{self as kinds, KindRule};
use crate::features::limits::config::{self as limits, Admission, Limit};
use crate::features::plan::config::Plan;
use crate::features::retry::config::{self as retry, Circuit, Retries, RetryBudget};
use crate::features::runs::config::Runs;
use crate::features::slo::config::{MAX_SLOS, Slo};
use crate::features::tools::config::{self as tools, Tools};
use crate::features::trail::config::Trail;
use crate::units::Span;

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

impl Timing {
    /// A gap longer than this is a stall.
    pub fn stall(&self) -> Span {
        Span(self.stall_ms.get().saturating_mul(1_000_000))
    }
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

/// What a caller is told of its call, and how records are made tamper-evident (docs/audit.md).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Every answer says at its start what is known then: `x-weir-call`, `x-weir-run`, `x-weir-model`, `x-weir-limit`,
    /// `x-weir-retry`. Default false.
    pub headers: bool,
    /// Every answer with a body says at its end what is known then, in HTTP trailers: `x-weir-ended`, `x-weir-usage`,
    /// `x-weir-cost`, `x-weir-ttft-ms`. Over HTTP/1.1 they need Envoy's `enable_trailers` and a client that asks
    /// for them (`TE: trailers`). Default false.
    pub trailers: bool,
    /// Puts the same behind the last event of a stream, as an SSE comment, for APIs whose SDKs take one: OpenAI's,
    /// Anthropic's, Cohere's. Not for all clients of them: try yours. Default false.
    pub sse_comment: bool,
    /// Chains the records of each worker, so that a log from which one is missing, or in which one is changed, is found out
    /// by `weirctl audit verify`.
    pub chain: Option<Chain>,
    /// Keeps the trail of each run for the person in front of the agent. Left out, nothing is kept.
    pub trail: Option<Trail>,
}

impl Audit {
    /// Where clients are told of their calls.
    pub fn tells(&self) -> Tells {
        let Self { headers, trailers, sse_comment, .. } = *self;
        Tells { headers, trailers, comment: sse_comment }
    }
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
        let mut path = Path::default();
        let mut reader = serde_json::Deserializer::from_slice(json);
        let tree = Json::read(&mut reader, &mut path).map_err(|e| path.before(&e.to_string()))?;
        reader.end().map_err(|e| Path::default().before(&e.to_string()))?;
        let config = Self::read(&tree, &mut path).map_err(|reason| path.before(&reason))?;
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

    /// Whether a limit may cut a running answer.
    pub fn cuts_streams(&self) -> bool {
        self.limits.iter().any(|limit| limit.on_exceeded == limits::OnExceeded::Cut)
    }

    /// Whether a feature wants to know what kind a call is.
    pub fn tells_kinds(&self) -> bool {
        let points = self.audit.trail.as_ref().is_some_and(|trail| !trail.source_pointers.is_empty());
        self.kinds.is_some() || self.runs.is_some() || self.plan.is_some() || !self.prices.is_empty() || points
    }
}

choices! {
    Role { "call" => Call, "attempt" => Attempt }
}

sections! {
    LabelBounds { models, routes, tenants, max_models, max_routes, max_tenants, max_sets }
    UsageOptions { inject, estimate }
    Timing { stall_ms }
    Read { max_event_bytes }
    FilterState { tokens }
}

impl Made for EventCap {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

/// Sections, or keys of one, and whether the room that they are for is compiled in.
type Rooms = [(&'static str, &'static str, bool)];

const SECTIONS: &Rooms = &[
    ("slo", "slo", cfg!(feature = "slo")),
    ("limits", "limits", cfg!(feature = "limits")),
    ("retries", "retry", cfg!(feature = "retry")),
    ("retry_budgets", "retry", cfg!(feature = "retry")),
    ("circuits", "retry", cfg!(feature = "retry")),
    ("kinds", "kind", cfg!(feature = "kind")),
    ("runs", "runs", cfg!(feature = "runs")),
    ("prices", "cost", cfg!(feature = "cost")),
    ("tools", "tools", cfg!(feature = "tools")),
    ("plan", "plan", cfg!(feature = "plan")),
];

const OF_AUDIT: &Rooms = &[
    ("headers", "audit", cfg!(feature = "audit")),
    ("trailers", "audit", cfg!(feature = "audit")),
    ("sse_comment", "audit", cfg!(feature = "audit")),
    ("chain", "audit", cfg!(feature = "audit")),
    ("trail", "trail", cfg!(feature = "trail")),
];

/// Refuses what a room would read that this build leaves out: to do nothing in silence is no way to hold anything.
fn all_there(from: &Json, rooms: &Rooms, path: &mut Path) -> Result<(), String> {
    let Json::Object(entries) = from else { return Ok(()) };
    for (key, _) in entries {
        if let Some((_, room, _)) = rooms.iter().find(|(name, _, there)| name == key && !there) {
            path.key(key);
            return Err(format!("this build has no `{room}`"));
        }
    }
    Ok(())
}

impl Made for Config {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        all_there(from, SECTIONS, path)?;
        let mut config = Self::default();
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            ("role", &mut config.role),
            ("identity", &mut config.identity),
            ("labels", &mut config.labels),
            ("usage", &mut config.usage),
            ("timing", &mut config.timing),
            ("read", &mut config.read),
            #[cfg(feature = "slo")]
            ("slo", &mut config.slo),
            #[cfg(feature = "limits")]
            ("limits", &mut config.limits),
            // How calls are held, for limits, retries and plans alike.
            ("admission", &mut config.admission),
            #[cfg(feature = "retry")]
            ("retries", &mut config.retries),
            #[cfg(feature = "retry")]
            ("retry_budgets", &mut config.retry_budgets),
            #[cfg(feature = "retry")]
            ("circuits", &mut config.circuits),
            #[cfg(feature = "kind")]
            ("kinds", &mut config.kinds),
            #[cfg(feature = "runs")]
            ("runs", &mut config.runs),
            #[cfg(feature = "cost")]
            ("prices", &mut config.prices),
            ("audit", &mut config.audit),
            #[cfg(feature = "tools")]
            ("tools", &mut config.tools),
            #[cfg(feature = "plan")]
            ("plan", &mut config.plan),
            ("filter_state", &mut config.filter_state),
        ];
        object(from, path, fields)?;
        Ok(config)
    }
}

impl Made for Audit {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        all_there(from, OF_AUDIT, path)?;
        #[cfg_attr(not(any(feature = "audit", feature = "trail")), expect(unused_mut))]
        let mut audit = Self::default();
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            #[cfg(feature = "audit")]
            ("headers", &mut audit.headers),
            #[cfg(feature = "audit")]
            ("trailers", &mut audit.trailers),
            #[cfg(feature = "audit")]
            ("sse_comment", &mut audit.sse_comment),
            #[cfg(feature = "audit")]
            ("chain", &mut audit.chain),
            #[cfg(feature = "trail")]
            ("trail", &mut audit.trail),
        ];
        object(from, path, fields)?;
        Ok(audit)
    }
}
