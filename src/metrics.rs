//! The table of all metrics: the code, the bootstrap snippet in `envoy/` and docs/metrics.md come from it.
//!
//! A **series** is a metric with its own label's value (`weir_calls_total{ended="complete"}`). A **sample** is one of its
//! values of the row's other labels, by number, and an amount.

use crate::labels::LabelSet;
use crate::record::Ended;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of whole numbers, kept by Envoy.
    Histogram,
}

/// A label of a metric. All but the first have values that are known only while the filter runs, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The metric's own, whose values stand in its row.
    Own,
    /// As asked for; where a request names none, as answered.
    Model,
    /// Envoy's route name.
    Route,
    /// The tenant.
    Tenant,
    /// The kind of API.
    Api,
    /// A limit's name, by its place among the rules.
    Limit,
    /// A key of the limit in front of it.
    Key,
    /// Who made an attempt.
    Layer,
    /// The kind of call.
    Kind,
    /// How a run ended.
    Outcome,
    /// A tool.
    Tool,
    /// An objective, by its place in the config.
    Slo,
}

impl Label {
    /// Its name in Prometheus; that of a metric's own stands in its row.
    pub fn name(self) -> &'static str {
        match self {
            Label::Own => "",
            Label::Model => "model",
            Label::Route => "route",
            Label::Tenant => "tenant",
            Label::Api => "api",
            Label::Limit => "limit",
            Label::Key => "key",
            Label::Layer => "layer",
            Label::Kind => "kind",
            Label::Outcome => "outcome",
            Label::Tool => "tool",
            Label::Slo => "slo",
        }
    }
}

use Label::{Api, Key, Kind as CallKind, Layer, Limit, Model, Outcome, Own, Route, Slo, Tenant, Tool};

/// The labels that what every call has is counted by.
const ALL: &[Label] = &[Own, Model, Route, Tenant, Api];

/// One metric, as people know it.
#[derive(Debug)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels, in the order of a stat's name.
    pub labels: &'static [Label],
    /// The label it has for itself, with all its values. No values: they come from the config.
    pub own: Option<(&'static str, &'static [&'static str])>,
    /// Upper bounds of its buckets, in its unit; empty for what is no histogram.
    pub buckets: &'static [u64],
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Its nearest OpenTelemetry GenAI name, and where the meaning differs.
    pub otel: &'static str,
}

/// Bounds from 1 ms to 10 min: fine where people wait for a first token, coarse where they have given up.
pub const MS_BUCKETS: &[u64] = &[
    1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000,
    30_000, 60_000, 120_000, 300_000, 600_000,
];

/// Bounds of a filter's own time per call and of the time per output token, in microseconds, up to 10 min.
pub const US_BUCKETS: &[u64] = &[
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    20_000,
    25_000,
    30_000,
    40_000,
    50_000,
    75_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// Upper bounds of the gaps between tokens, in ms; the last bucket is `+Inf`.
///
/// This histogram is made of counters: a stream has hundreds of gaps, a recording in Envoy's own histogram costs 120 ns
/// each, and what is wanted is a few additions per call. Prometheus reads both alike.
pub const INTER_TOKEN_MS: [u64; 24] = [
    1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
    300_000, 600_000,
];

/// The same as label values.
pub const INTER_TOKEN_LE: &[&str] = &[
    "1", "2", "5", "10", "15", "20", "25", "30", "40", "50", "75", "100", "150", "200", "300", "500", "1000", "2000",
    "5000", "10000", "30000", "60000", "300000", "600000", "+Inf",
];

/// Bounds of what runs cost, in nano-dollars: from a millionth of a dollar to a hundred.
pub const COST_BUCKETS: &[u64] = &[
    1_000,
    10_000,
    100_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    50_000_000_000,
    100_000_000_000,
];

/// Bounds of how many calls a run makes.
pub const CALLS_BUCKETS: &[u64] = &[1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000];

/// How tools come out.
pub const TOOL_OUTCOMES: &[&str] = &["ok", "error", "failed", "refused", "unread"];

/// Bounds of what is told in percent.
pub const PERCENT_BUCKETS: &[u64] = &[5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 99, 100];

macro_rules! metrics {
    ($($id:ident: $name:literal $kind:ident $labels:expr, $own:expr, $buckets:expr, $help:literal, $otel:literal;)*) => {
        /// The metrics by name; the number is the place in [`METRICS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Id { $(#[doc = $help] $id),* }

        /// The table itself.
        pub static METRICS: [Metric; [$(Id::$id),*].len()] = [$(Metric {
            name: $name, kind: Kind::$kind, labels: $labels, own: $own, buckets: $buckets, help: $help, otel: $otel,
        }),*];
    };
}

metrics! {
    Calls: "weir_calls_total" Counter ALL,
        Some(("ended", &Ended::WORDS)), &[],
        "Calls, by how they ended.",
        "Count of gen_ai.client.inference.duration; `ended` is finer than error.type.";
    Tokens: "weir_tokens_total" Counter ALL,
        Some(("kind", &["input", "output", "cache_read", "cache_write", "reasoning"])), &[],
        "Tokens, reported or estimated. Input includes cache_read and cache_write, output includes reasoning: never add kinds up.",
        "gen_ai.client.inference.usage.input_tokens, .output_tokens, .cache_read.input_tokens, .cache_write.input_tokens and .reasoning.output_tokens.";
    FirstByte: "weir_first_byte_ms" Histogram ALL, None, MS_BUCKETS,
        "Time from the complete request to the first byte of the answer's body.",
        "None; the time a span calls first byte.";
    FirstToken: "weir_first_token_ms" Histogram ALL, None, MS_BUCKETS,
        "Time from the complete request to the first generated content (TTFT): text, reasoning or a tool call's argument.",
        "gen_ai.server.time_to_first_token, in ms and seen at the proxy.";
    FirstText: "weir_first_text_ms" Histogram ALL, None, MS_BUCKETS,
        "Time from the complete request to the first text a user can see.",
        "None; first_token without reasoning and tool calls.";
    InterTokenBucket: "weir_inter_token_ms_bucket" Counter ALL, Some(("le", INTER_TOKEN_LE)), &[],
        "Gaps between one token's arrival and the next, all of them, as a cumulative histogram made of counters.",
        "gen_ai.client.inference.time_per_output_chunk, in ms and seen at the proxy.";
    InterTokenSum: "weir_inter_token_ms_sum" Counter ALL, None, &[],
        "Sum of the gaps, in ms.",
        "As weir_inter_token_ms_bucket.";
    InterTokenCount: "weir_inter_token_ms_count" Counter ALL, None, &[],
        "Number of the gaps.",
        "As weir_inter_token_ms_bucket.";
    TimePerOutputToken: "weir_time_per_output_token_us" Histogram ALL, None, US_BUCKETS,
        "(end - first token) / (output tokens - 1) of a streamed call, in microseconds (TPOT).",
        "gen_ai.server.time_per_output_token, in µs and seen at the proxy.";
    Call: "weir_call_ms" Histogram ALL, None, MS_BUCKETS,
        "Time from the complete request to the end of the call.",
        "gen_ai.client.inference.duration, in ms and seen at the proxy.";
    StreamsActive: "weir_streams_active" Gauge &[Api], None, &[],
        "Calls in flight.",
        "None.";
    Stalls: "weir_stalls_total" Counter ALL, None, &[],
        "Gaps between tokens longer than `stall_ms` of the config.",
        "None.";
    NoFirstToken: "weir_no_first_token_total" Counter ALL,
        Some(("reason", &["client_abort", "upstream_reset", "refused", "error", "truncated", "empty"])), &[],
        "Calls that ended before any content came, by why.",
        "None.";
    Unread: "weir_unread_total" Counter ALL,
        Some(("reason", &["oversize", "json", "crc", "frame", "encoding", "format", "request"])), &[],
        "Events or bodies that could not be read, by why; `request`: the request's body.",
        "None.";
    FilterTime: "weir_filter_us" Histogram &[Api], None, US_BUCKETS,
        "The filter's own time per call, in microseconds; body callbacks are sampled and scaled up.",
        "None.";
    Slo: "weir_slo_total" Counter &[Slo, Own], Some(("verdict", &["good", "bad"])), &[],
        "Calls that a TTFT objective counts, by objective (`slo`) and verdict.",
        "None.";
    Limit: "weir_limit_total" Counter &[Limit, Own], Some(("verdict", &["pass", "refuse", "shadow", "warn", "cut", "open", "closed"])), &[],
        "Calls that a limit counts, by limit (`limit`) and what it said.",
        "None.";
    LimitWait: "weir_limit_wait_ms" Histogram &[Limit], None, MS_BUCKETS,
        "How long calls that had to wait for a limit (`limit`) waited.",
        "None.";
    LimitRemaining: "weir_limit_remaining" Gauge &[Limit, Key], None, &[],
        "What was left of a limit (`limit`) after the last call under its key (`key`), for limits of few keys.",
        "None.";
    Attempts: "weir_attempts_total" Counter &[Layer, Own, Route], Some(("outcome", &["ok", "failed", "refused"])), &[],
        "Attempts, by route (`route`), by who made them (`layer`: first, sdk, envoy, agent, unknown; first is no retry) and how they ended; `refused` never reached an upstream. Only where retries are told.",
        "None.";
    WastedTokens: "weir_wasted_tokens_total" Counter ALL, Some(("why", &["failed", "repeated"])), &[],
        "Tokens of attempts that failed, and of those that repeated what had not failed; reported or estimated. Only where retries are told.",
        "None.";
    Cost: "weir_cost_nanodollars_total" Counter &[CallKind, Model, Tenant, Own],
        Some(("waste", &["none", "failed", "retried", "cancelled", "refused", "duplicated"])), &[],
        "What calls cost, in nano-dollars, by kind (`kind`), model (`model`), tenant (`tenant`), and why it bought nothing, if it did not (`waste`). Only calls that have a price.",
        "None.";
    RunCost: "weir_run_cost_nanodollars" Histogram &[Outcome], None, COST_BUCKETS,
        "What runs cost in all until a call said how they ended (`outcome`), in nano-dollars; only runs that have a price. Its sum is Envoy's estimate from the buckets; `weir_run_cost_by_kind_nanodollars_total` has it exactly.",
        "None.";
    RunCalls: "weir_run_calls" Histogram &[Outcome], None, CALLS_BUCKETS,
        "How many calls such runs sent, by outcome (`outcome`).",
        "None.";
    RunCostByKind: "weir_run_cost_by_kind_nanodollars_total" Counter &[Outcome, CallKind], None, &[],
        "What such runs cost, by outcome (`outcome`) and by the kind of call (`kind`), in nano-dollars.",
        "None.";
    RunWaste: "weir_run_waste_nanodollars_total" Counter &[Outcome], None, &[],
        "As much of what such runs cost as bought nothing, by outcome (`outcome`), in nano-dollars.",
        "None.";
    ToolCalls: "weir_tool_calls_total" Counter &[Own, Tool], Some(("outcome", TOOL_OUTCOMES)), &[],
        "Tools that ran, by tool (`tool`) and outcome: `error` says the tool, `failed` never came to an answer, `refused` never reached it. Only where tools are told apart.",
        "None; the number of execute_tool spans.";
    ToolTime: "weir_tool_ms" Histogram &[Tool], None, MS_BUCKETS,
        "Time from the complete request to the tool's result, by tool (`tool`).",
        "None; the duration of an execute_tool span, in ms and seen at the proxy.";
    ToolMatched: "weir_tool_matched_total" Counter &[Own], Some(("verdict", &["matched", "unasked", "never_run"])), &[],
        "MCP calls that came to an answer and that a model of the same run had asked for, or had not; and those asked for that did not run in time (seen when the run's place in the store is next used).",
        "None.";
    ToolAsked: "weir_tool_asked_total" Counter &[Tool], None, &[],
        "Tool calls that models asked for, by tool (`tool`). Only where tools are told apart.",
        "None.";
    PlanSteps: "weir_plan_steps_total" Counter ALL,
        Some(("verdict", &["matched", "skipped", "unplanned", "out_of_order", "wrong_target"])), &[],
        "Calls of runs that declared a plan, by what they are to it. Only where plans are looked at.",
        "None.";
    PlanAdherence: "weir_plan_adherence" Histogram &[], None, PERCENT_BUCKETS,
        "How far runs did what they planned, in percent, when they are over (docs/plan.md).",
        "None.";
    Plans: "weir_plans_total" Counter &[Own], Some(("declared", &["new", "replaces", "unread", "too_large", "no_place"])), &[],
        "Plans that were declared, by what became of them.",
        "None.";
    Store: "weir_store_total" Counter &[Own], Some(("event", &["contended", "full", "taken_over", "failed"])), &[],
        "What was seen of the store that workers share: changes made again because another worker was faster, keys that found no place, entries taken over, no answer.",
        "None.";
}

impl Id {
    /// The metric's row.
    pub fn metric(self) -> &'static Metric {
        // Id and METRICS come from the same macro, in the same order.
        METRICS.get(self as usize).unwrap_or(&METRICS[0])
    }
}

/// A metric with one value of its own label: what a host defines, once per label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// The metric.
    pub id: Id,
    /// Which of its own label's values; zero where it has none.
    pub value: u8,
}

impl From<Id> for Series {
    fn from(id: Id) -> Self {
        Series { id, value: 0 }
    }
}

impl Series {
    /// The own label and its value, where there is one.
    pub fn own(self) -> Option<(&'static str, &'static str)> {
        let (label, values) = self.id.metric().own?;
        Some((label, values.get(self.value as usize)?))
    }
}

/// How many series there are per set of the four labels that every call has: what one more set costs Envoy at most.
pub fn series_per_set() -> usize {
    let of_sets = METRICS.iter().filter(|metric| metric.labels == ALL);
    of_sets.map(|metric| metric.own.map_or(1, |(_, values)| values.len())).sum()
}

/// Numbers of the values of a row's labels, in the row's order, without its own.
pub type Numbers = [u16; 4];

/// One series with values of its row's labels. What a host defines once, and then knows by its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The series.
    pub series: Series,
    /// The values of its other labels.
    pub at: Numbers,
}

/// What calls are counted by.
#[derive(Debug)]
pub struct Counts {
    /// The labels that every call has.
    pub set: LabelSet,
    /// What to add to a counter, to record in a histogram, or to set a gauge to.
    pub samples: Vec<(Sample, u64)>,
}

impl Counts {
    /// Nothing yet, of a call with these labels.
    pub fn of(set: LabelSet) -> Self {
        Self { set, samples: Vec::with_capacity(48) }
    }

    /// Adds to a series that is counted by the labels that every call has.
    pub fn add(&mut self, series: impl Into<Series>, amount: u64) {
        let LabelSet { model, route, tenant, api } = self.set;
        self.sample(series, [model, route, tenant, api], amount);
    }

    /// Adds to a series with these values of its row's labels.
    pub fn sample(&mut self, series: impl Into<Series>, at: Numbers, amount: u64) {
        self.samples.push((Sample { series: series.into(), at }, amount));
    }
}

/// The text of a label's value, for a stat's name. `at` are the numbers of the whole sample, of which this is one.
pub trait Names {
    /// The text.
    fn text(&self, label: Label, number: u16, at: Numbers) -> std::borrow::Cow<'_, str>;
}

/// A stat's name: the metric, then its labels, as `;label=value`.
pub fn stat_name(sample: Sample, names: &dyn Names) -> String {
    let Sample { series, at } = sample;
    let metric = series.id.metric();
    let mut name = String::from(metric.name);
    let mut numbers = at.iter();
    for label in metric.labels {
        let (label, value) = match (label, series.own()) {
            (Label::Own, Some((label, value))) => (label, value.into()),
            (Label::Own, None) => continue,
            _ => (label.name(), names.text(*label, numbers.next().copied().unwrap_or(0), at)),
        };
        // A scope of nothing has one key, which needs no label.
        if value.is_empty() {
            continue;
        }
        for part in [";", label, "=", &value] {
            name.push_str(part);
        }
    }
    name
}
