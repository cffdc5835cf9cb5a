//! The section `limits`.

mod read;

use std::num::NonZeroU64;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::{Fail, Keys, LimitName, Match, Mode};

/// Most limits a config may have.
pub const MAX_LIMITS: usize = 32;

/// One limit: whose calls it counts together, what of them it counts, and how much may pass. Exactly one of `rate`,
/// `budget`, `concurrency` and `tree` says of which kind it is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Its name: the label `limit`, and what a refused client is told. Letters, digits, `-`, `_`, `.`; at most 64.
    pub name: LimitName,
    /// Whose calls are counted together: all that have the same values of these. Nothing: all calls.
    #[serde(default)]
    pub scope: Vec<Scope>,
    /// Which calls it counts: those that match every key given. An empty match counts all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What is counted. Default `tokens`. (`concurrency` and `tree` always count calls.)
    #[serde(default)]
    pub unit: Unit,
    /// What a token counts, by its kind; for the units `tokens` and `cost`.
    #[serde(default)]
    pub weigh: Weigh,
    /// So much in a time.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// So much in the scope's life.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// So many calls in flight at once.
    #[serde(default)]
    pub concurrency: Option<NonZeroU64>,
    /// How deep and how wide a run's tree of calls may be.
    #[serde(default)]
    pub tree: Option<Tree>,
    /// Divides a rate fairly: under pressure, those above their max-min fair share are refused first. Only for `rate`.
    #[serde(default)]
    pub share: Option<Share>,
    /// How long a call may be held until its turn comes, in milliseconds, at most 600,000. Default 0: it is refused at once.
    #[serde(default)]
    pub max_wait_ms: MaxWait,
    /// What happens to a running stream that uses more than the limit has left. Default `finish`.
    #[serde(default)]
    pub on_exceeded: OnExceeded,
    /// `shadow` decides and records, and lets pass. Default `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to a call that cannot be decided: the store does not answer, or the identity is missing where
    /// `without` is `refuse`. Default `open`.
    #[serde(default)]
    pub fail: Fail,
    /// What happens to a key that finds no place in the store because all entries of its set are in use. Default `allow`.
    #[serde(default)]
    pub on_full: OnFull,
    /// What happens to calls that have no value for a part of the scope. Default `share`. (Calls without a `tool` are never
    /// counted by a limit whose scope has it.)
    #[serde(default)]
    pub without: Without,
}

impl Limit {
    /// Whether it counts what calls cost by the section `prices`.
    pub fn goes_by_price(&self) -> bool {
        self.unit == Unit::Cost && self.weigh == Weigh::default()
    }

    /// What no limit can be, however well each key reads.
    pub(super) fn fits(&self) -> Result<(), String> {
        let Self { rate, budget, concurrency, tree, .. } = self;
        let kinds = [rate.is_some(), budget.is_some(), concurrency.is_some(), tree.is_some()];
        let tokens = self.unit != Unit::Calls && (rate.is_some() || budget.is_some());
        let from_parent = budget.is_some_and(|b| b.from_parent);
        let wrong = [
            (
                kinds.iter().filter(|k| **k).count() != 1,
                "exactly one of `rate`, `budget`, `concurrency` and `tree` is wanted",
            ),
            (self.share.is_some() && rate.is_none(), "`share` is for a `rate`"),
            (
                rate.is_some_and(|r| r.burst.is_some_and(|b| b.milli() > r.limit.milli().saturating_mul(MAX_BURST))),
                "`burst` is more than 100000 times `limit`",
            ),
            (from_parent && !self.scope.contains(&Scope::Run), "`from_parent` is for a scope with `run`"),
            (tree.is_some() && self.max_wait_ms.ms() > 0, "no wait makes a tree less deep"),
            (
                !tokens && self.on_exceeded != OnExceeded::Finish,
                "`on_exceeded` is for a `rate` or `budget` of tokens or cost",
            ),
            (
                (1..self.scope.len()).any(|at| self.scope.iter().take(at).any(|s| self.scope.get(at) == Some(s))),
                "a part of `scope` stands there twice",
            ),
        ];
        match wrong.iter().find(|(is, _)| *is) {
            Some((_, reason)) => Err((*reason).to_owned()),
            None => Ok(()),
        }
    }
}

/// A part of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
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
    /// The tool that is called: the name in an MCP `tools/call`.
    Tool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens, each as `weigh` says.
    #[default]
    Tokens,
    /// Calls.
    Calls,
    /// Money, in millionths of a dollar: what a call costs by the section `prices`. With `weigh`, that has the prices of a
    /// million tokens in dollars, and `match` the models that have them; `prices` is then not asked.
    Cost,
}

/// What one token counts, by its kind: 0 to 1000, to three places. Reserved is before it is known what comes from a cache
/// and what is reasoning: at `input` and `output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Weigh {
    /// A token of the prompt that is in no cache. Default 1.
    pub input: Weight,
    /// One that is read from a cache. Default: as `input`.
    pub cache_read: Option<Weight>,
    /// One that is written to a cache. Default: as `input`.
    pub cache_write: Option<Weight>,
    /// A token of the answer. Default 1.
    pub output: Weight,
    /// A token of reasoning. Default: as `output`.
    pub reasoning: Option<Weight>,
}

impl Default for Weigh {
    fn default() -> Self {
        Self { input: Weight(1000), cache_read: None, cache_write: None, output: Weight(1000), reasoning: None }
    }
}

/// A factor of 0 to 1000, kept in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 0, "maximum" = 1000)))]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(u32);

impl Weight {
    /// In thousandths.
    pub fn milli(self) -> u64 {
        self.0.into()
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        f64::from(weight.0) / 1000.0
    }
}

impl TryFrom<f64> for Weight {
    type Error = String;
    fn try_from(factor: f64) -> Result<Self, String> {
        if !(0.0..=1000.0).contains(&factor) {
            return Err("not between 0 and 1000".to_owned());
        }
        Ok(Self((factor * 1000.0).round() as u32))
    }
}

/// The largest burst, in times of the rate's `limit`. Of a rate per day such a bucket takes 270 years to fill, which is about as
/// long as 64 bits of nanoseconds can tell.
const MAX_BURST: u64 = 100_000;

/// So much in a time: a token bucket (GCRA).
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How much.
    pub limit: Amount,
    /// In which time.
    pub per: Per,
    /// The most that may pass at once, at most 100,000 times `limit`. Default: `limit`.
    #[serde(default)]
    pub burst: Option<Amount>,
}

/// From 1 to 1,000,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 1, "maximum" = 1_000_000_000_000u64)))]
#[serde(try_from = "u64", into = "u64")]
pub struct Amount(u64);

impl Amount {
    /// The largest.
    pub const MAX: u64 = 1_000_000_000_000;

    /// In thousandths.
    pub fn milli(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

impl From<Amount> for u64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl TryFrom<u64> for Amount {
    type Error = String;
    fn try_from(amount: u64) -> Result<Self, String> {
        if !(1..=Self::MAX).contains(&amount) {
            return Err(format!("{amount} is not between 1 and {}", Self::MAX));
        }
        Ok(Self(amount))
    }
}

/// A time in which a rate is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
    /// 86,400 s.
    Day,
}

impl Per {
    /// In seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
            Per::Day => 86_400,
        }
    }
}

/// So much in the life of a scope.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How much.
    pub limit: Amount,
    /// A scope that makes no call for so many seconds is forgotten, and begins anew. Default 3600.
    #[serde(default = "default_idle")]
    pub idle_s: NonZeroU64,
    /// Calls of a child run draw from the budget of the run that began the tree, if it is known from the `weir.run` member
    /// of the W3C `baggage`. Only for scopes with `run`. Default false.
    #[serde(default)]
    pub from_parent: bool,
}

/// See [`Budget::idle_s`].
pub(super) fn default_idle() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(3599)
}

/// How deep and how wide a tree of calls may be. At least one of the two is given.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The deepest call that passes; a call from outside has depth 0. Read from the `weir.depth` member of the W3C `baggage`.
    #[serde(default)]
    pub max_depth: Option<u16>,
    /// The most calls that one parent (one call, seen from above) may have in flight at once.
    #[serde(default)]
    pub max_fanout: Option<NonZeroU64>,
}

/// Among whom a rate is divided.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Each value of this has a share.
    pub of: Sharer,
}

/// Who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sharer {
    /// As `identity.tenant` finds it.
    Tenant,
    /// As `identity.user` finds it.
    User,
    /// As `identity.run` finds it.
    Run,
}

/// A wait of 0 to 600,000 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 0, "maximum" = 600_000)))]
#[serde(try_from = "u32", into = "u32")]
pub struct MaxWait(u32);

impl MaxWait {
    /// The longest.
    pub const MAX: u32 = 600_000;

    /// In milliseconds.
    pub fn ms(self) -> u64 {
        self.0.into()
    }
}

impl From<MaxWait> for u32 {
    fn from(wait: MaxWait) -> Self {
        wait.0
    }
}

impl TryFrom<u32> for MaxWait {
    type Error = String;
    fn try_from(ms: u32) -> Result<Self, String> {
        if ms > Self::MAX {
            return Err(format!("{ms} is more than {}", Self::MAX));
        }
        Ok(Self(ms))
    }
}

/// What happens to a running stream that uses more than the limit has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnExceeded {
    /// Nothing: it is paid for afterwards.
    #[default]
    Finish,
    /// The record says so.
    Warn,
    /// It is ended with the provider's own error event, and the upstream's work is cancelled.
    Cut,
}

/// What happens to a key that finds no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Its call passes, uncounted.
    #[default]
    Allow,
    /// Its call is refused.
    Refuse,
}

/// What happens to calls that have no value for a part of the scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Without {
    /// All of them are counted together.
    #[default]
    Share,
    /// They are not counted.
    Skip,
    /// They cannot be decided: see `fail`.
    Refuse,
}

/// Where limits keep their state, and how requests are held.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Envoy's Wasm plugin config has `allow_on_headers_stop_iteration: true`: requests are held with their headers until
    /// their body is known, and a refused call never reaches the upstream. Istio's WasmPlugin cannot set it. Default false.
    pub hold_headers: bool,
    /// The most of a body that is held together with its headers, in bytes. Of a larger call, and of one whose body takes
    /// more than two seconds to come, the upstream hears before all of it is decided, as without `hold_headers`. Keep it below
    /// Envoy's buffer limit (1 MiB by default), or what Envoy has no room for waits those two seconds. Default 524,288.
    pub max_held_bytes: u32,
    /// The most calls that one worker keeps waiting; further ones are refused. Default 1000.
    pub max_waiting: u16,
    /// About how many keys each kind of limit remembers at once, 8 to 1,048,576. Default 32,768.
    pub keys: Keys,
    /// Whether answers carry the tightest limit's `ratelimit` headers. Default true.
    pub headers: bool,
}

impl Default for Admission {
    fn default() -> Self {
        Self { hold_headers: false, max_held_bytes: 512 << 10, max_waiting: 1000, keys: Keys::default(), headers: true }
    }
}
