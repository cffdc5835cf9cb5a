//! What Prometheus sees of known calls, exactly; and that nobody can make it see more than the bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, PATIENCE, post};
use super::raw::{Step, chunked, head, send};
use super::rig::{ASK, CHAT, EVENTS, Rig, SSE, Setup};

/// So many made-up model names; 100,000 take half a minute, so they are asked for by this variable.
fn made_up() -> usize {
    std::env::var("WEIR_MODELS").map_or(20_000, |n| n.parse().expect("WEIR_MODELS is a number"))
}

type Labels = BTreeMap<String, String>;

/// Weir's samples in Prometheus' text: name, labels, value.
fn samples(rig: &Rig) -> Vec<(String, Labels, f64)> {
    let text = rig.envoy.admin().get("/stats/prometheus").unwrap();
    let lines = text.lines().filter(|line| line.starts_with("weir_"));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
            let label = |pair: &str| {
                let (key, value) = pair.split_once("=\"").unwrap();
                (key.to_owned(), value.trim_end_matches('"').to_owned())
            };
            // No value of these tests has a comma in it.
            let labels = labels.split(',').filter(|pair| !pair.is_empty()).map(label).collect();
            (name.to_owned(), labels, value.parse().unwrap())
        })
        .collect()
}

/// The one sample with this name and these labels and no others gets this value; histograms are merged after a while.
fn becomes(rig: &Rig, name: &str, labels: &[(&str, &str)], number: f64) {
    let wanted: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let begun = Instant::now();
    loop {
        let samples = samples(rig);
        let found: Vec<f64> = samples.iter().filter(|(n, l, _)| n == name && *l == wanted).map(|s| s.2).collect();
        if found == [number] {
            return;
        }
        let late = begun.elapsed() > PATIENCE;
        assert!(!late, "{found:?}, not {number}, for {name} {labels:?} in {samples:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn document(status: &str) -> Vec<Step> {
    let body = match status.starts_with('2') {
        true => r#"{"model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#,
        false => r#"{"error":{"message":"no","type":"refused"}}"#,
    };
    let length = body.len().to_string();
    vec![head(status, &[("content-type", "application/json"), ("content-length", &length)]), send(body)]
}

#[test]
fn after_known_calls_every_series_has_its_number_and_there_are_no_others() {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}]},
        "slo": [{"name": "fast", "first_token_ms": 60000, "objective": 0.9}],
    });
    let rig = Rig::with(Setup { weir: Some(config), ..Setup::default() });
    let call = |case: &str, tenant: &str, steps: Vec<Step>| {
        rig.upstream.on(case, steps);
        let mut client = rig.connect();
        client.send(&post(CHAT, &[("x-case", case), ("x-tenant", tenant)], ASK));
        client.answer("POST");
        rig.record(case);
    };
    let cached = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"prompt_tokens_details\":{\"cached_tokens\":64},\"completion_tokens_details\":{\"reasoning_tokens\":8}}}\n\n";
    for i in 0..3 {
        call(&format!("whole {i}"), "acme", chunked(SSE, &EVENTS));
    }
    call("cached", "acme", chunked(SSE, &[cached]));
    call("cut", "acme", chunked(SSE, &EVENTS[..1]));
    call("junk", "acme", chunked(SSE, &[b"data: {\"choices\"\n\n", &EVENTS.concat()]));
    // Refused: the tenant is not vouched for.
    call("slow down", "made-up", document("429 Slow"));

    let shared = [("model", "m"), ("route", "all"), ("api", "openai.chat_completions")];
    let of = |tenant, own: &[(&'static str, &'static str)]| [&shared[..], &[("tenant", tenant)], own].concat();
    let acme = |own: &[(&'static str, &'static str)]| of("acme", own);
    type Expected<'a> = (&'a str, Vec<(&'a str, &'a str)>, f64);
    let expected: Vec<Expected<'_>> = vec![
        ("weir_calls_total", acme(&[("ended", "complete")]), 5.0),
        ("weir_calls_total", acme(&[("ended", "truncated")]), 1.0),
        ("weir_calls_total", of("other", &[("ended", "error")]), 1.0),
        ("weir_tokens_total", acme(&[("kind", "cache_read")]), 64.0),
        ("weir_tokens_total", acme(&[("kind", "reasoning")]), 8.0),
        ("weir_inter_token_ms_count", acme(&[]), 4.0),
        ("weir_inter_token_ms_bucket", acme(&[("le", "+Inf")]), 4.0),
        ("weir_first_byte_ms_count", acme(&[]), 6.0),
        ("weir_first_token_ms_count", acme(&[]), 6.0),
        ("weir_first_text_ms_count", acme(&[]), 6.0),
        ("weir_first_token_ms_bucket", acme(&[("le", "+Inf")]), 6.0),
        ("weir_first_token_ms_bucket", acme(&[("le", "600000")]), 6.0),
        ("weir_call_ms_count", acme(&[]), 6.0),
        ("weir_call_ms_count", of("other", &[]), 1.0),
        ("weir_no_first_token_total", of("other", &[("reason", "error")]), 1.0),
        ("weir_unread_total", acme(&[("reason", "json")]), 1.0),
        ("weir_filter_us_count", vec![("api", "openai.chat_completions")], 7.0),
        ("weir_streams_active", vec![("api", "openai.chat_completions")], 0.0),
        ("weir_slo_total", vec![("slo", "fast"), ("verdict", "good")], 6.0),
    ];
    for (name, labels, number) in &expected {
        becomes(&rig, name, labels, *number);
    }
    // The truncated call's tokens are an estimate; the record says how many they were.
    let estimate = |key: &str| rig.record("cut")["usage"][key].as_f64().unwrap_or(0.0);
    for (kind, reported) in [("input", 4.0 * 12.0 + 100.0), ("output", 4.0 * 34.0 + 50.0)] {
        let wanted = reported + estimate(kind);
        becomes(&rig, "weir_tokens_total", &acme(&[("kind", kind)]), wanted);
    }
    for (name, labels, _) in samples(&rig) {
        let has = |key: &str, values: &[&str]| labels.get(key).is_none_or(|value| values.contains(&value.as_str()));
        let known = has("model", &["m"]) && has("route", &["all"]) && has("tenant", &["acme", "other"]);
        assert!(known && has("api", &["openai.chat_completions"]), "{name} {labels:?}");
        let table = weir::metrics::METRICS.iter().any(|metric| name.starts_with(metric.name));
        assert!(table, "{name}");
    }
}

#[test]
fn made_up_names_add_no_series_beyond_the_cap_and_no_memory() {
    let config = json!({"identity": {"tenant": [{"header": "x-tenant"}]}});
    let rig = Rig::with(Setup { weir: Some(config), ..Setup::default() });
    rig.upstream.on("taken", document("200 OK"));
    rig.upstream.on("refused", document("404 Not Found"));
    let series = || -> BTreeSet<(String, Labels)> { samples(&rig).into_iter().map(|s| (s.0, s.1)).collect() };
    let run = |from: usize, count: usize| {
        std::thread::scope(|scope| {
            for part in 0..4 {
                let mut client: Client = rig.connect();
                scope.spawn(move || {
                    // A batch of requests at a time: the connection's latency is not what is tested.
                    let numbers: Vec<usize> = (from..from + count).skip(part).step_by(4).collect();
                    for batch in numbers.chunks(50) {
                        let mut requests = Vec::new();
                        for i in batch {
                            let case = if i % 3 == 0 { "refused" } else { "taken" };
                            let body = format!(r#"{{"model":"made-up-{i}-{}"}}"#, i.wrapping_mul(2_654_435_761));
                            let tenant = format!("tenant-{i}");
                            requests.extend(post(CHAT, &[("x-case", case), ("x-tenant", &tenant)], body.as_bytes()));
                        }
                        client.send(&requests);
                        for i in batch {
                            let answer = client.answer("POST");
                            assert!(answer.whole && matches!(answer.status, 200 | 404), "{i}");
                        }
                    }
                });
            }
        });
    };
    let warm = made_up() / 5;
    run(0, warm);
    rig.is_healthy_after("the first made-up names");
    let (before, memory) = (series(), rig.rss());
    run(warm, made_up() - warm);
    rig.is_healthy_after("made-up names");
    let grown = (rig.rss() as i64 - memory as i64) / 1024;
    let after = series();
    println!(
        "{} made-up names: {} series after {warm}, {} at the end; {grown} MB more",
        made_up(),
        before.len(),
        after.len()
    );
    for label in ["model", "tenant"] {
        let values: BTreeSet<&String> = after.iter().filter_map(|(_, labels)| labels.get(label)).collect();
        // 50 that were taken, `other`, and `none`.
        assert!(values.len() <= 52, "{label}: {values:?}");
        assert!(values.iter().any(|value| *value == "other"), "{label}");
    }
    let sets: BTreeSet<[Option<&String>; 4]> =
        after.iter().map(|(_, labels)| ["model", "route", "tenant", "api"].map(|key| labels.get(key))).collect();
    assert!(sets.len() <= 1010, "{} sets of labels", sets.len());
    let new: Vec<_> = after.difference(&before).collect();
    // What a later call may add to sets that are there: buckets and endings not met before; never a name.
    let names = |series: &BTreeSet<(String, Labels)>| -> BTreeSet<(Option<String>, Option<String>)> {
        series.iter().map(|(_, l)| (l.get("model").cloned(), l.get("tenant").cloned())).collect()
    };
    assert_eq!(names(&before), names(&after), "{new:#?}");
    assert!(grown < 8, "{grown} MB");
}
