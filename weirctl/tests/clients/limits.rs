//! Real SDKs behind a real Envoy whose limits refuse their calls and cut their streams.

use std::collections::HashMap;

use crate::support::clients;
use crate::support::http::eventually;
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};
use weirctl::upstream::{Options, Upstream};

/// What is raised by a stream that is cut.
const CUT: &[(&str, &str)] = &[
    ("openai chat stream", "APIError"),
    ("openai completions stream", "APIError"),
    ("openai responses stream", "APIError"),
    ("openai responses helper stream", "APIError"),
    ("anthropic messages stream", "APIStatusError"),
    ("anthropic messages helper stream", "APIStatusError"),
    ("google generate stream", "ClientError"),
    ("bedrock converse stream", "EventStreamError"),
    ("bedrock invoke stream", "EventStreamError"),
];

#[test]
fn sdks_raise_their_rate_limit_errors_wait_as_they_are_told_and_never_take_a_cut_answer_for_a_whole_one() {
    let Some(mut script) = clients::python("limits.py") else { return };
    let upstream = Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() });
    let upstream = upstream.unwrap();
    let calls = |name: &str, rate: Value| json!({"name": name, "scope": ["tenant"], "match": {"tenant": format!("{name}-*")}, "unit": "calls", "rate": rate});
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        "limits": [
            calls("once", json!({"limit": 1, "per": "day"})),
            calls("turns", json!({"limit": 10, "per": "minute", "burst": 1})),
            {"name": "run", "scope": ["run"], "without": "skip", "budget": {"limit": 120}, "on_exceeded": "cut"},
        ],
    });
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.jsonl");
    let envoy = Envoy::start(&Bootstrap {
        filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(&config).to_json()],
        routes: vec![Route::all("models", "models")],
        clusters: vec![Cluster::plain("models", upstream.address())],
        access_log: Some(AccessLog::Json(log.clone())),
        ..Bootstrap::default()
    })
    .unwrap();
    let run = script.arg(format!("http://{}", envoy.address())).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told = String::from_utf8(run.stdout).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines = || -> Vec<Value> {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // Two SDKs make four calls each, one of them twice.
    let lines = eventually("all records", || Some(lines()).filter(|lines| lines.len() >= 2 * 5 + CUT.len()));
    let mut attempts: HashMap<&str, Vec<&Value>> = HashMap::new();
    for line in &lines {
        attempts.entry(line["case"].as_str().unwrap()).or_default().push(&line["code"]);
    }
    for call in told.iter().filter(|call| call["way"] != "cut") {
        let (name, way) = (call["call"].as_str().unwrap(), call["way"].as_str().unwrap());
        let case = format!("{name} {way}");
        let (raised, wanted) = match way {
            "refused" => ("RateLimitError", vec![429]),
            "patient" => ("null", vec![429, 200]),
            _ => ("null", vec![200]),
        };
        assert_eq!(call["raised"][0].as_str().unwrap_or("null"), raised, "{call}");
        assert_eq!(attempts[&*case], wanted, "{case}: it comes again once, when there is a place for it");
        assert!(way != "refused" || call["says"].as_str().unwrap().contains("once"), "{call}");
    }
    let cut: Vec<_> = told.iter().filter(|call| call["way"] == "cut").collect();
    assert_eq!(cut.len(), CUT.len());
    for call in cut {
        let name = call["call"].as_str().unwrap();
        let (_, raised) = CUT.iter().find(|(call, _)| *call == name).unwrap_or_else(|| panic!("{call} is in no row"));
        assert_eq!(call["raised"][0], *raised, "{call}");
        let says = call["says"].as_str().unwrap();
        assert!(says.contains("run") && says.contains("unfinished"), "{call}");
        assert!(call["chunks"].as_u64() > Some(3), "all that came before reaches the client: {call}");
        let line = lines.iter().find(|line| line["case"] == name).unwrap();
        let record: Value = serde_json::from_str(line["record"].as_str().unwrap()).unwrap();
        let facts = [&record["ended"], &record["error_type"], &record["limits"][0]["verdict"]];
        assert_eq!(facts, ["truncated", "rate_limit_exceeded", "cut"], "{record}");
    }
    println!("{} calls of SDKs", told.len());
}
