//! The `stats_config` that turns weir's stat names into Prometheus metrics with labels and buckets, made from the same
//! table as the filter's metrics.

use std::fmt::Write;

use serde_json::{Value, json};
use weir::metrics::{Kind, Label, METRICS, Metric};

/// A metric's labels, as its row has them.
pub fn of(metric: &Metric) -> Vec<&'static str> {
    let own = metric.own.map(|(label, _)| label);
    metric.labels.iter().filter_map(|label| if *label == Label::Own { own } else { Some(label.name()) }).collect()
}

/// All of weir's label names, each once.
pub fn labels() -> Vec<&'static str> {
    let mut labels = Vec::new();
    for label in METRICS.iter().flat_map(of) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

/// The regular expression by which Envoy takes a label out of a stat's name: the first group goes, the second stays
/// as the value.
fn regex(label: &str) -> String {
    format!(r"^wasmcustom\.weir_.*?(;{label}=([^;]*))")
}

fn histograms() -> impl Iterator<Item = (String, &'static [u64])> {
    METRICS.iter().filter(|m| m.kind == Kind::Histogram).map(|m| (format!("wasmcustom.{}", m.name), m.buckets))
}

/// The `stats_config` of an Envoy bootstrap, as JSON.
pub fn config() -> Value {
    let tags: Vec<Value> =
        labels().into_iter().map(|label| json!({"tag_name": label, "regex": regex(label)})).collect();
    let buckets: Vec<Value> =
        histograms().map(|(prefix, buckets)| json!({"match": {"prefix": prefix}, "buckets": buckets})).collect();
    json!({"stats_tags": tags, "histogram_bucket_settings": buckets})
}

/// The same as YAML, to be put into a bootstrap: what `envoy/` ships.
pub fn yaml() -> String {
    let mut out = String::from("stats_config:\n  stats_tags:\n");
    for label in labels() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  - {{tag_name: {label}, regex: '{}'}}", regex(label));
    }
    out.push_str("  histogram_bucket_settings:\n");
    for (prefix, buckets) in histograms() {
        let _ = writeln!(out, "  - match: {{prefix: {prefix}}}\n    buckets: {buckets:?}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_histograms_name_begins_with_anothers() {
        let names: Vec<String> = histograms().map(|(name, _)| name).collect();
        for name in &names {
            let matching: Vec<_> = names.iter().filter(|other| name.starts_with(*other)).collect();
            assert_eq!(matching, [name], "Envoy takes the buckets of the first prefix that fits");
        }
    }

    #[test]
    fn bounds_of_buckets_grow_from_above_zero() {
        for (name, buckets) in histograms() {
            assert!(buckets.first().is_some_and(|first| *first > 0), "{name}: Envoy would not start");
            assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
        }
    }

    #[test]
    fn every_label_that_a_metric_has_is_a_tag_once() {
        let mut labels = labels();
        for (own, _) in METRICS.iter().filter_map(|m| m.own) {
            assert!(labels.contains(&own), "{own}");
        }
        let all = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), all);
    }
}
