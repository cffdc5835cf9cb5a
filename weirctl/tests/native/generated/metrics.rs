//! docs/metrics.md, from the table of metrics.

use weir::metrics::{Kind, METRICS, Metric};
use weirctl::envoy::stats;

use crate::support::committed;

const HEAD: &str = "<!-- Generated from src/metrics.rs. Write it again with: WEIR_UPDATE=1 cargo test --package weirctl -->
# Metrics

Weir's metrics are Envoy's own stats: whatever reads those (`/stats/prometheus`, a statsd or OpenTelemetry sink) has them. An Envoy
needs `stats_config` of [`envoy/stats.yaml`](../envoy/stats.yaml) in its bootstrap to make labels and buckets of them.

## Labels
| label | value |
|---|---|
| `model` | the model asked for; where a request names none, the one that answered |
| `route` | Envoy's route name |
| `tenant` | who pays, as the config's `identity.tenant` finds it |
| `api` | the wire format: `openai.chat_completions`, `anthropic.messages`, …; `other` for calls that are no inference |

All are bounded: values that the config names always pass, others up to a cap (`labels` in [config.md](config.md)) and only from a call
that an upstream answered with success; the rest are `other`. A call without the fact has `none`. Characters that a model's name
does not have become `_`, and a value is cut at 64 bytes.

`slo` and `limit` are names in the config; a `tree` of both kinds is two limits, `x.depth` and `x.fanout`. `key` says whose part of a
limit it is, by the values of its `scope` with `/` between them: of the first 16 that a worker meets, and only of limits whose scope
has nothing but tenant, model and route.

Histograms carry whole numbers in the unit of their name. A histogram `x` gives `x_bucket`, `x_sum` and `x_count` in Prometheus;
`weir_inter_token_ms` does too, though it is made of counters (a stream has hundreds of gaps). Times begin when the request was
complete at the filter, as in the [record](record.md).

";

const OTEL: &str = "
## In OpenTelemetry's words
The nearest metric of the GenAI semantic conventions, and where the meaning differs. OpenTelemetry measures in seconds, at the client
or the server; weir in milliseconds or microseconds, at the proxy between them. The attributes `gen_ai.request.model`,
`gen_ai.operation.name` and `gen_ai.provider.name` are here in `model` and, both together, in `api`.

| metric | OpenTelemetry GenAI |
|---|---|
";

#[test]
fn the_page_lists_every_metric_of_the_table() {
    let mut page = String::from(HEAD);
    page.push_str("## All of them\n| metric | kind | labels | what it counts |\n|---|---|---|---|\n");
    for metric in &METRICS {
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            kind(metric),
            labels(metric),
            cell(metric.help)
        ));
    }
    page.push_str("\n### Values of a metric's own label\n| metric | label | values |\n|---|---|---|\n");
    for metric in &METRICS {
        if let Some((label, values)) = metric.own {
            let values: Vec<_> = values.iter().map(|v| format!("`{v}`")).collect();
            page.push_str(&format!("| `{}` | `{label}` | {} |\n", metric.name, values.join(" ")));
        }
    }
    page.push_str("\n### Buckets\n");
    for (bounds, metrics) in buckets() {
        let bounds: Vec<_> = bounds.iter().map(u64::to_string).collect();
        page.push_str(&format!("- {}: {}\n", metrics.join(", "), bounds.join(" ")));
    }
    page.push_str(OTEL);
    for metric in &METRICS {
        page.push_str(&format!("| `{}` | {} |\n", metric.name, cell(metric.otel)));
    }
    committed::is("docs/metrics.md", &page);
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn labels(metric: &Metric) -> String {
    stats::of(metric).iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ")
}

/// Histograms by their bounds, so that equal ones stand once.
fn buckets() -> Vec<(&'static [u64], Vec<String>)> {
    let mut all: Vec<(&'static [u64], Vec<String>)> = Vec::new();
    for metric in METRICS.iter().filter(|m| !m.buckets.is_empty()) {
        let name = format!("`{}`", metric.name);
        match all.iter_mut().find(|(bounds, _)| *bounds == metric.buckets) {
            Some((_, names)) => names.push(name),
            None => all.push((metric.buckets, vec![name])),
        }
    }
    all
}

/// Text as it may stand in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
