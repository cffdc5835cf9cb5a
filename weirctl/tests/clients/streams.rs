//! The third ring: real clients stream through a real Envoy with weir in it and get what they got without it, and the
//! record of each call says what the client's own SDK understood.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::clients;
use crate::support::http::PATIENCE;
use serde_json::{Value, json};
use tempfile::TempDir;
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};
use weirctl::upstream::{Options, Upstream};

/// An upstream, and an Envoy with weir in front of it.
struct Bench {
    upstream: Upstream,
    envoy: Envoy,
    log: PathBuf,
    _dir: TempDir,
}

impl Bench {
    /// `behind` are filters between weir and the upstream: what they do to an answer, weir sees.
    fn start(behind: Vec<Value>) -> Self {
        Self::configured(&json!({}), behind)
    }

    /// The same with a config of weir's.
    fn configured(config: &Value, behind: Vec<Value>) -> Self {
        let options = Options { at_once: true, created: Some(1_800_000_000), ..Options::default() };
        let upstream = Upstream::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.jsonl");
        let mut filters = vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()];
        filters.extend(behind);
        let envoy = Envoy::start(&Bootstrap {
            filters,
            routes: vec![Route::all("models", "models")],
            clusters: vec![Cluster::plain("models", upstream.address())],
            access_log: Some(AccessLog::Json(log.clone())),
            trailers: true,
            ..Bootstrap::default()
        })
        .unwrap();
        Self { upstream, envoy, log, _dir: dir }
    }

    fn direct(&self) -> String {
        format!("http://{}", self.upstream.address())
    }

    fn through(&self) -> String {
        format!("http://{}", self.envoy.address())
    }

    /// The records by their calls' `x-case`.
    fn records(&self) -> BTreeMap<String, Value> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| {
                let record = serde_json::from_str(line["record"].as_str()?).ok()?;
                Some((line["case"].as_str()?.to_owned(), record))
            })
            .collect()
    }

    /// The records, once there are so many; those there are, if they do not come.
    fn all_records(&self, wanted: usize) -> BTreeMap<String, Value> {
        let begun = Instant::now();
        loop {
            let records = self.records();
            if records.len() >= wanted || begun.elapsed() > PATIENCE {
                return records;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a script that makes calls, and compares what it tells of them with one another and with the records.
    fn judge(&self, script: &mut Command) {
        let run = script.output().unwrap();
        assert!(run.status.success(), "{script:?}: {}", String::from_utf8_lossy(&run.stderr));
        let told: Vec<Value> =
            String::from_utf8(run.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!told.is_empty(), "{script:?} made no call");
        let records = self.all_records(told.len());
        let mut wrong = Vec::new();
        for call in &told {
            let case = call["case"].as_str().unwrap();
            if call["facts"]["ended"] == "complete" && !call["through"]["error"].is_null() {
                wrong.push(format!("{case}: {}", call["through"]["error"]));
            }
            if call["direct"] != call["through"] {
                wrong.push(format!("{case}: directly {}, through Envoy {}", call["direct"], call["through"]));
            }
            let Some(record) = records.get(case) else {
                wrong.push(format!("{case}: no record"));
                continue;
            };
            wrong.extend(unfit(record).map(|why| format!("{case}: {why}\n    {record}")));
            for (key, wanted) in call["facts"].as_object().unwrap() {
                let found = key.split('.').fold(record, |value, key| &value[key]);
                if !same(found, wanted) {
                    wrong.push(format!("{case}: {key} is {found} in the record, the SDK saw {wanted}\n    {record}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {} calls:\n{}", wrong.len(), told.len(), wrong.join("\n"));
        eprintln!("{} calls, each twice", told.len());
    }
}

/// What no record may have: something secret, a text, moments in the wrong order.
fn unfit(record: &Value) -> Option<String> {
    let text = record.to_string();
    // Keys and prompt of the scripts.
    let told = ["sk-test", "weather in Paris", "AWS4-HMAC"].into_iter().find(|words| text.contains(words));
    if let Some(told) = told {
        return Some(format!("`{told}` is in the record"));
    }
    let time = &record["time"];
    let order = ["headers_ms", "first_byte_ms", "first_token_ms", "first_text_ms", "last_token_ms", "total_ms"];
    let moments: Vec<f64> = order.iter().filter_map(|key| time[key].as_f64()).collect();
    (!moments.is_sorted()).then(|| format!("{order:?} are not in this order: {moments:?}"))
}

/// Whether two values are equal; whole and fractional numbers are one kind.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

/// Envoy's own compressor.
fn compressor(name: &str, library: &str) -> Value {
    json!({
        "name": "compressor",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
            "response_direction_config": {"common_config": {
                "min_content_length": 1,
                "content_type": ["text/event-stream", "application/json", "application/x-ndjson", "application/stream+json"],
            }},
            "compressor_library": {
                "name": name,
                "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.compression.{library}")},
            },
        },
    })
}

/// Runs the Python scripts; gives the Envoy they went through.
fn python(variant: &str, behind: Vec<Value>) -> Option<Bench> {
    let mut script = clients::python("main.py")?;
    let bench = Bench::start(behind);
    script.args(["--direct", &bench.direct(), "--through", &bench.through(), "--variant", variant]);
    if let Ok(only) = std::env::var("WEIR_CLIENTS") {
        script.args(["--only", &only]);
    }
    bench.judge(&mut script);
    Some(bench)
}

/// The same with answers that Envoy compresses before weir sees them.
fn python_compressed(variant: &str, library: &str) {
    let Some(bench) = python(variant, vec![compressor(variant, library)]) else { return };
    let stats = bench.envoy.admin().get("/stats?filter=compressor.*response.compressed").unwrap();
    let compressed: u64 = stats.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert!(compressed > 0, "nothing came in {variant}: {stats}");
}

#[test]
fn python_sdks_get_the_same_through_envoy_and_records_say_what_they_saw() {
    python("http1", Vec::new());
}

#[test]
fn clients_that_speak_http2_do_too() {
    python("http2", Vec::new());
}

#[test]
fn answers_that_come_in_brotli_do_too() {
    python_compressed("br", "brotli.compressor.v3.Brotli");
}

#[test]
fn answers_that_come_in_zstd_do_too() {
    python_compressed("zstd", "zstd.compressor.v3.Zstd");
}

#[test]
fn answers_that_come_in_envoys_gzip_do_too() {
    python_compressed("gzip", "gzip.compressor.v3.Gzip");
}

#[test]
fn npm_packages_get_the_same_through_envoy_and_records_say_what_they_saw() {
    let Some(mut script) = clients::node("main.mjs") else { return };
    let bench = Bench::start(Vec::new());
    script.args([bench.direct(), bench.through()]);
    bench.judge(&mut script);
}

#[test]
fn sdks_get_the_same_where_callers_are_told_in_headers_trailers_and_a_comment() {
    for variant in ["http1", "http2"] {
        let Some(mut script) = clients::python("main.py") else { return };
        let audit =
            json!({"headers": true, "trailers": true, "sse_comment": true, "chain": {"key": "0123456789abcdef"}});
        let bench = Bench::configured(&json!({"audit": audit}), Vec::new());
        script.args(["--direct", &bench.direct(), "--through", &bench.through(), "--variant", variant]);
        // Without those who compare raw bytes: the comment is one.
        script.args(["--only", "openai,anthropic,google,bedrock,cohere,ollama,mistral"]);
        bench.judge(&mut script);
    }
}
