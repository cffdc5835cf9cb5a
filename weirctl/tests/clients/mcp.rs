//! The real MCP package as server and client, over a real Envoy with weir in it, and a model that asks for the server's tools:
//! the records tell each run, how it came out, and who asked for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::clients;
use crate::support::http::PATIENCE;
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};
use weirctl::prometheus::{Sample, parse};

/// The server; it ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(mut command: Command, answers: &str) -> Self {
        let mut child = command.arg(answers).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the server prints its port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The records of a log, once so many tools ran; those there are, if they do not come.
fn records(log: &std::path::Path, runs: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let records: Vec<Value> =
            lines.filter_map(|line| serde_json::from_str(line["record"].as_str()?).ok()).collect();
        let ran = records.iter().filter(|record| record.get("tool_runs").is_some()).count();
        if ran >= runs || begun.elapsed() > PATIENCE {
            return records;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What Envoy has counted of tools, once it is complete; what there is, if that does not come.
fn page(envoy: &Envoy, complete: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
    let begun = Instant::now();
    loop {
        let samples = parse(&envoy.admin().get("/stats/prometheus?filter=weir_tool").unwrap());
        if complete(&samples) || begun.elapsed() > PATIENCE {
            return samples;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_agents_tools_are_told_and_matched_as_json_and_as_sse_under_both_ages_of_the_protocol() {
    for answers in ["json", "sse"] {
        let Some(server) = clients::mcp("server.py") else { return };
        let server = Server::start(server, answers);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.jsonl");
        let config = json!({
            "tools": {"arguments": {"redact": ["city"]}},
            "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        });
        let envoy = Envoy::start(&Bootstrap {
            filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()],
            routes: vec![Route::all("tools", "tools")],
            clusters: vec![Cluster::plain("tools", server.address)],
            access_log: Some(AccessLog::Json(log.clone())),
            ..Bootstrap::default()
        })
        .unwrap();
        let mut seen = 0;
        for mode in ["legacy", "auto"] {
            let Some(mut client) = clients::mcp("client.py") else { return };
            let ran = client.arg(format!("http://{}", envoy.address())).arg(mode).output().unwrap();
            assert!(ran.status.success(), "{answers} {mode}: {}", String::from_utf8_lossy(&ran.stderr));
            let told: Vec<Value> = String::from_utf8(ran.stdout)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(told.len(), 4, "{told:?}");

            seen += 4;
            let own = format!("run-{mode}");
            let all = records(&log, seen);
            let all: Vec<&Value> = all.iter().filter(|record| record["run"] == *own).collect();
            let model = all.iter().find(|record| record.get("tool_calls").is_some()).expect("a model was asked");

            assert_eq!(model["tool_calls"][0]["arguments"], r#"{"city":"***","days":2}"#);
            let runs: Vec<&Value> =
                all.iter().filter_map(|record| record.get("tool_runs")).map(|runs| &runs[0]).collect();
            assert_eq!(runs.len(), told.len(), "{answers} {mode}: {all:#?}");
            for (run, told) in runs.iter().zip(&told) {
                // What the real client got.
                let expected = if told["error"] == true { "error" } else { "ok" };
                assert_eq!((&run["name"], &run["outcome"]), (&told["tool"], &json!(expected)), "{answers} {mode}");
                assert!(run["result_bytes"].as_u64().unwrap() >= told["text"].as_u64().unwrap(), "{run}");
                assert!(run["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{run}");
            }
            for (run, asked) in [(0, 0), (1, 1)] {
                assert_eq!(runs[run]["asked_by"], model["call"], "{answers} {mode}");
                for key in ["id", "hash", "bytes"] {
                    assert_eq!(runs[run][key], model["tool_calls"][asked][key], "{answers} {mode}: {key}");
                }
            }
            for run in [2, 3] {
                assert_eq!(runs[run].get("asked_by"), None, "{answers} {mode}");
            }
        }
        // A histogram stands on the page when Envoy has next merged it.
        let page = page(&envoy, |page| {
            let weather = page.iter().filter(|sample| sample.label("tool") == "weather");
            weather.filter(|sample| sample.name == "weir_tool_ms_count").map(|sample| sample.value).sum::<f64>() >= 2.0
        });
        let count = |name: &str, label: &str, value: &str, tool: Option<&str>| -> f64 {
            let fits = |sample: &&Sample| {
                sample.name == name
                    && sample.label(label) == value
                    && tool.is_none_or(|tool| sample.label("tool") == tool)
            };
            page.iter().filter(fits).map(|sample| sample.value).sum()
        };
        for (tool, outcome, expected) in [("weather", "ok", 2.0), ("large", "ok", 2.0), ("other", "error", 4.0)] {
            assert_eq!(count("weir_tool_calls_total", "outcome", outcome, Some(tool)), expected, "{tool}: {page:#?}");
        }
        for (verdict, expected) in [("matched", 4.0), ("unasked", 4.0)] {
            assert_eq!(count("weir_tool_matched_total", "verdict", verdict, None), expected, "{verdict}: {page:#?}");
        }
        assert_eq!(count("weir_tool_ms_count", "tool", "weather", None), 2.0);
    }
}
