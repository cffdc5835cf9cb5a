//! Envoy's Prometheus page has weir's metrics with the labels and the buckets that the table names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use weir::metrics::{Kind, METRICS, Metric};
use weirctl::envoy::{Bootstrap, Cluster, Envoy, Route, WeirFilter, stats, wasm};
use weirctl::prometheus::{Sample, parse};
use weirctl::upstream::{Options, Upstream};

use crate::support::http::PATIENCE;

/// Counts that must be there before the page is read: what the calls below leave behind.
const CALLS: f64 = 3.0;

fn page() -> Vec<Sample> {
    let options = Options { at_once: true, ..Options::default() };
    let upstream = Upstream::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let config = json!({
        "identity": {"tenant": [{"header": "x-team"}]},
        "timing": {"stall_ms": 20},
        "prices": [{"models": ["deepseek*"], "per_million": {"input": 0.27, "output": 1.1}}],
        "slo": [{"name": "quick", "first_token_ms": 60_000, "objective": 0.5}],
        "limits": [{"name": "turns", "scope": ["tenant"], "unit": "calls", "max_wait_ms": 1000,
            "rate": {"limit": 1, "per": "second", "burst": 1}}],
    });
    let bootstrap = Bootstrap {
        filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()],
        routes: vec![Route::all("chat.v1", "upstream")],
        clusters: vec![Cluster::plain("upstream", upstream.address())],
        ..Bootstrap::default()
    };
    let envoy = Envoy::start(&bootstrap).unwrap();
    let agent = ureq::Agent::new_with_defaults();
    let call = |demo: &str| {
        let body = json!({"model": "deepseek-v3.1", "stream": true, "messages": []});
        let mut answer = agent
            .post(format!("http://{}/v1/chat/completions", envoy.address()))
            .header("x-team", "blue.team")
            .header("x-demo", demo)
            .send(body.to_string())
            .unwrap();
        let _ = answer.body_mut().read_to_string();
    };
    for demo in
        ["tokens=20,speed=1,prefill=5,gap=2,stall=1000,cached=64,prompt=900", "tokens=9,end=error", "end=error,at=0"]
    {
        call(demo);
    }
    let begun = Instant::now();
    loop {
        let samples = parse(&envoy.admin().get("/stats/prometheus?filter=weir_").unwrap());
        let counted = |name: &str| samples.iter().filter(|s| s.name == name).map(|s| s.value).sum::<f64>();
        let all = ["weir_calls_total", "weir_call_ms_count", "weir_limit_total"];
        if all.iter().all(|name| counted(name) >= CALLS) && counted("weir_limit_wait_ms_count") > 0.0 {
            return samples;
        }
        assert!(begun.elapsed() < PATIENCE, "not counted:\n{samples:#?}");
        if counted("weir_limit_wait_ms_count") == 0.0 {
            // Each came when its turn had come already: this one comes at once.
            call("tokens=1,prefill=0");
            call("tokens=1,prefill=0");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The names under which a metric stands on the page.
fn names(metric: &Metric) -> Vec<String> {
    match metric.kind {
        Kind::Histogram => ["bucket", "sum", "count"].map(|end| format!("{}_{end}", metric.name)).to_vec(),
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
    }
}

#[test]
fn every_metric_has_the_labels_and_buckets_of_the_table() {
    let page = page();
    let known: BTreeSet<String> = METRICS.iter().flat_map(names).collect();
    let unknown: Vec<_> = page.iter().filter(|sample| !known.contains(&sample.name)).collect();
    assert!(unknown.is_empty(), "a name or a label that no regular expression took out: {unknown:?}");
    let mut seen = BTreeSet::new();
    for metric in METRICS.iter() {
        let wanted: BTreeSet<&str> = stats::of(metric).into_iter().collect();
        for sample in page.iter().filter(|sample| names(metric).contains(&sample.name)) {
            seen.insert(metric.name);
            let mut has: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
            if metric.kind == Kind::Histogram {
                has.remove("le");
            }
            assert_eq!(has, wanted, "{sample:?}");
            if let Some((label, values)) = metric.own {
                assert!(values.contains(&sample.label(label)), "{sample:?}");
            }
            for (label, value) in [("model", "deepseek-v3.1"), ("route", "chat.v1"), ("tenant", "blue.team")] {
                // A dot in a value is no border between names.
                assert!(!wanted.contains(label) || [value, "other"].contains(&sample.label(label)), "{sample:?}");
            }
        }
        if metric.kind == Kind::Histogram && seen.contains(metric.name) {
            let bounds: BTreeSet<String> = page
                .iter()
                .filter(|sample| sample.name == format!("{}_bucket", metric.name))
                .map(|sample| sample.label("le").to_owned())
                .collect();
            let table: BTreeSet<String> =
                metric.buckets.iter().map(u64::to_string).chain(["+Inf".to_owned()]).collect();
            assert_eq!(bounds, table, "{}", metric.name);
        }
    }
    // What these calls cannot leave behind: an unread event, a store that has no room, retries, runs, tools, plans. All the rest is there.
    let only_elsewhere =
        ["weir_unread_total", "weir_attempts", "weir_wasted", "weir_store", "weir_run_", "weir_tool_", "weir_plan"];
    let missing: Vec<_> = METRICS.iter().map(|m| m.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.iter().all(|name| only_elsewhere.iter().any(|front| name.starts_with(front))), "{missing:?}");
}

#[test]
fn the_counter_made_histogram_is_cumulative() {
    let page = page();
    let bucket = |le: &str| -> f64 {
        let of = |s: &&Sample| s.name == "weir_inter_token_ms_bucket" && s.label("le") == le;
        page.iter().filter(of).map(|s| s.value).sum()
    };
    let bounds = weir::metrics::INTER_TOKEN_LE.iter().map(|le| bucket(le)).collect::<Vec<f64>>();
    assert!(bounds.is_sorted(), "{bounds:?}");
    let count: f64 = page.iter().filter(|s| s.name == "weir_inter_token_ms_count").map(|s| s.value).sum();
    assert!(count > 0.0 && bucket("+Inf") == count, "{count} {bounds:?}");
    assert!(bucket("50") < count, "the stall of a second is beyond 50 ms: {bounds:?}");
}

#[test]
fn the_yaml_says_what_the_json_says() {
    let yaml = stats::yaml();
    let config = stats::config();
    for tag in config["stats_tags"].as_array().unwrap() {
        let line = format!(
            "- {{tag_name: {}, regex: '{}'}}",
            tag["tag_name"].as_str().unwrap(),
            tag["regex"].as_str().unwrap()
        );
        assert!(yaml.contains(&line), "{line}");
    }
    for histogram in config["histogram_bucket_settings"].as_array().unwrap() {
        let buckets = histogram["buckets"].to_string().replace(',', ", ");
        let lines =
            format!("- match: {{prefix: {}}}\n    buckets: {buckets}", histogram["match"]["prefix"].as_str().unwrap());
        assert!(yaml.contains(&lines), "{lines}");
    }
}
