//! The demo's figures, read back from Envoy: its Prometheus stats, and the records in its access log.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use weir::metrics::METRICS;

use crate::prometheus::{Sample, quantile};

/// What is known of the calls that share a label's value. Times in ms.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The label's value.
    pub name: String,
    /// Calls.
    pub calls: u64,
    /// Time to first token, the median.
    pub first_token_p50_ms: Option<f64>,
    /// Time to first token, the slowest in a hundred.
    pub first_token_p99_ms: Option<f64>,
    /// Time to first visible text, the median.
    pub first_text_p50_ms: Option<f64>,
    /// Gaps between tokens, the median.
    pub inter_token_p50_ms: Option<f64>,
    /// Gaps between tokens, the longest in a hundred.
    pub inter_token_p99_ms: Option<f64>,
    /// Time per output token, the median.
    pub tpot_p50_ms: Option<f64>,
    /// Tokens by kind.
    pub tokens: BTreeMap<String, u64>,
    /// Calls by how they ended.
    pub ended: BTreeMap<String, u64>,
}

/// An objective and how it was kept.
#[derive(Debug, Default, Serialize)]
pub struct Slo {
    /// Its name.
    pub name: String,
    /// Calls that kept it.
    pub good: u64,
    /// Calls that did not.
    pub bad: u64,
}

/// All tables.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// By model.
    pub models: Vec<Row>,
    /// By route.
    pub routes: Vec<Row>,
    /// By tenant.
    pub tenants: Vec<Row>,
    /// All together.
    pub total: Row,
    /// Objectives.
    pub slo: Vec<Slo>,
    /// Gaps longer than `stall_ms`.
    pub stalls: u64,
    /// The filter's own time per call, the median, in µs.
    pub filter_p50_us: Option<f64>,
    /// Calls that are in the stats.
    pub in_stats: u64,
    /// Records that are in the access log.
    pub in_access_log: u64,
    /// Input and output tokens of all these records; the stats have the same.
    pub tokens_in_access_log: BTreeMap<&'static str, u64>,
    /// One record of each way to end.
    pub samples: Vec<Value>,
}

impl Figures {
    /// From the stats and the access log's lines.
    pub fn read(stats: &[Sample], records: &[Value]) -> Self {
        let of = |label: &'static str| by(stats, label);
        let mut figures = Self {
            models: of("model"),
            routes: of("route"),
            tenants: of("tenant"),
            total: row("all", stats.iter()),
            stalls: sum(stats.iter().filter(|s| s.name == "weir_stalls_total")),
            filter_p50_us: quantile(&buckets(&stats.iter().collect::<Vec<_>>(), "weir_filter_us"), 0.5),
            in_access_log: records.len() as u64,
            ..Self::default()
        };
        figures.in_stats = figures.total.calls;
        for kind in ["input", "output"] {
            let tokens = records.iter().filter_map(|record| record["usage"][kind].as_u64()).sum();
            figures.tokens_in_access_log.insert(kind, tokens);
        }
        let mut slos: BTreeMap<&str, Slo> = BTreeMap::new();
        for sample in stats.iter().filter(|s| s.name == "weir_slo_total") {
            let slo = slos.entry(sample.label("slo")).or_default();
            slo.name = sample.label("slo").into();
            match sample.label("verdict") {
                "good" => slo.good += sample.value as u64,
                _ => slo.bad += sample.value as u64,
            }
        }
        figures.slo = slos.into_values().collect();
        for ended in ended_values() {
            figures
                .samples
                .extend(records.iter().find(|record| record["ended"] == ended && record["api"] != "other").cloned());
        }
        figures
    }
}

/// The ways to end, in the table's order.
pub fn ended_values() -> impl Iterator<Item = &'static str> {
    let own = METRICS.iter().find(|metric| metric.name == "weir_calls_total").and_then(|metric| metric.own);
    own.map_or(&[][..], |(_, values)| values).iter().copied()
}

/// A row per value of a label, the busiest first.
fn by(stats: &[Sample], label: &str) -> Vec<Row> {
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in stats.iter().filter(|sample| sample.labels.contains_key(label)) {
        groups.entry(sample.label(label)).or_default().push(sample);
    }
    let mut rows: Vec<Row> = groups.into_iter().map(|(name, samples)| row(name, samples.into_iter())).collect();
    rows.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.name.cmp(&b.name)));
    rows
}

fn row<'a>(name: &str, samples: impl Iterator<Item = &'a Sample>) -> Row {
    let samples: Vec<&Sample> = samples.collect();
    let counted = |metric: &str, label: &str| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for sample in samples.iter().filter(|s| s.name == metric && s.value > 0.0) {
            *counts.entry(sample.label(label).into()).or_default() += sample.value as u64;
        }
        counts
    };
    let at = |metric: &str, share| quantile(&buckets(&samples, metric), share);
    let ended = counted("weir_calls_total", "ended");
    Row {
        name: name.into(),
        calls: ended.values().sum(),
        first_token_p50_ms: at("weir_first_token_ms", 0.5),
        first_token_p99_ms: at("weir_first_token_ms", 0.99),
        first_text_p50_ms: at("weir_first_text_ms", 0.5),
        inter_token_p50_ms: at("weir_inter_token_ms", 0.5),
        inter_token_p99_ms: at("weir_inter_token_ms", 0.99),
        tpot_p50_ms: at("weir_time_per_output_token_us", 0.5).map(|us| us / 1000.0),
        tokens: counted("weir_tokens_total", "kind"),
        ended,
    }
}

/// The buckets of a histogram, all its series added up.
fn buckets(samples: &[&Sample], metric: &str) -> Vec<(f64, f64)> {
    let name = format!("{metric}_bucket");
    let mut buckets: BTreeMap<&str, f64> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name == name) {
        *buckets.entry(sample.label("le")).or_default() += sample.value;
    }
    buckets.into_iter().filter_map(|(bound, count)| Some((bound.parse().ok()?, count))).collect()
}

fn sum<'a>(samples: impl Iterator<Item = &'a Sample>) -> u64 {
    samples.map(|sample| sample.value as u64).sum()
}
