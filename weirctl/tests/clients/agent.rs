//! An agent of a real OpenAI SDK and a real MCP client, its model and its tools behind one Envoy: what the trail, the records,
//! the plan and the chain say of what it did.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::http::{eventually, get};
use crate::support::{clients, root};
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};

/// What the agent did, as its script has it: kind, what the model asked for, what ran.
const DID: &[(&str, &[&str], &[&str])] = &[
    ("model", &["search"], &[]),
    ("tool", &[], &["search"]),
    ("model", &["fetch"], &[]),
    ("tool", &[], &["fetch"]),
    ("model", &["orders.list"], &[]),
    ("tool", &[], &["orders.list"]),
    ("model", &[], &[]),
];
/// A price per million tokens in dollars, input and output; and the tokens that the model says it took.
const PRICE: (u64, u64) = (150, 600);
const TOKENS: [(u64, u64); 4] = [(400, 20), (460, 24), (520, 18), (580, 64)];
const KEY: &str = "a key for the records of a test";

/// Ends with its guard.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_trail_tells_what_an_agent_did_what_it_cost_where_it_left_its_plan_and_a_changed_log_is_found_out() {
    let (Some(mut server), Some(mut agent)) = (clients::mcp("agent.py"), clients::mcp("agent.py")) else { return };
    let mut server = Server(server.arg("--serve").stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
    let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        "prices": [{"models": ["gpt-4o-mini*"], "per_million": {"input": 0.15, "output": 0.6}}],
        "runs": {"outcomes": ["resolved"]},
        "tools": {},
        "plan": {},
        "audit": {
            "headers": true,
            "trailers": true,
            "chain": {"key": KEY},
            "trail": {"key": "a key for the trails of a test", "tokens": "always"},
        },
    });
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.jsonl");
    let envoy = Envoy::start(&Bootstrap {
        filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(&config).to_json()],
        routes: vec![Route::all("shop", "shop")],
        clusters: vec![Cluster::plain("shop", address)],
        access_log: Some(AccessLog::Records(log.clone())),
        trailers: true,
        ..Bootstrap::default()
    })
    .unwrap();

    let ran = agent.args([format!("http://{}", envoy.address()), "r1".to_owned()]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let ran: Value = serde_json::from_slice(&ran.stdout).unwrap();
    println!("{ran}");
    let told = |name: &str| ran["told"][name].as_str().unwrap_or_else(|| panic!("no {name} in {ran}")).to_owned();
    assert_eq!(told("x-weir-run"), "r1");

    // Records of calls that are none of the agent's own (MCP's handshake) are no steps of it.
    let records = || -> Vec<Value> {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let is_step = |record: &Value| record["api"] == "openai.chat_completions" || !record["tool_runs"].is_null();
    let records = eventually("all records", || {
        Some(records()).filter(|all| all.iter().filter(|r| is_step(r)).count() >= DID.len())
    });
    let steps: Vec<_> = records.iter().filter(|record| is_step(record)).collect();
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|one| one.as_str().or(one["name"].as_str()).unwrap().to_owned()).collect()
    };
    for ((kind, asked, run), record) in DID.iter().zip(&steps) {
        assert_eq!(record["kind"], *kind, "{record}");
        assert_eq!(names(&record["tool_calls"]), *asked, "{record}");
        assert_eq!(names(&record["tool_runs"]), *run, "{record}");
    }
    // Each tool that ran is found again as what the model asked for.
    for pair in steps.windows(2).filter(|pair| pair[0]["kind"] == "model" && pair[1]["kind"] == "tool") {
        let (asked, ran) = (&pair[0]["tool_calls"][0], &pair[1]["tool_runs"][0]);
        assert_eq!([&ran["asked_by"], &ran["id"], &ran["hash"]], [&pair[0]["call"], &asked["id"], &asked["hash"]]);
    }
    let nano = |(input, output): &(u64, u64)| input * PRICE.0 + output * PRICE.1;
    let costs: Vec<u64> = steps.iter().filter_map(|record| record["cost"]["total"].as_u64()).collect();
    assert_eq!(costs, TOKENS.iter().map(nano).collect::<Vec<_>>(), "in nano-dollars");

    // The trail names each call in its order; its costs are the sum of the records'.
    let trail = |token: Option<&str>, tenant: &str| {
        let headers = [Some(("x-tenant", tenant)), token.map(|token| ("x-weir-run-token", token))];
        let (status, body) = get(envoy.address(), "/.weir/runs/r1", &headers.into_iter().flatten().collect::<Vec<_>>());
        (status, String::from_utf8(body).unwrap())
    };
    let token = told("x-weir-run-token");
    assert_eq!(trail(None, "acme").0, 404);
    assert_eq!(trail(Some(&token), "globex").0, 404);
    let (status, body) = trail(Some(&token), "acme");
    assert_eq!(status, 200, "{body}");
    let trail: Value = serde_json::from_str(&body).unwrap();
    println!("{trail:#}");
    let calls = trail["calls"].as_array().unwrap();
    let calls: Vec<_> = calls.iter().filter(|c| c["kind"] == "model" || !c["tools_run"].is_null()).collect();
    assert_eq!(calls.len(), DID.len());
    for (((kind, asked, run), call), record) in DID.iter().zip(&calls).zip(&steps) {
        assert_eq!(call["kind"], *kind);
        assert_eq!(
            (names(&call["tools_asked"]), names(&call["tools_run"])),
            (names(&json!(asked)), names(&json!(run)))
        );
        assert_eq!([&call["call"], &call["cost"]], [&record["call"], &record["cost"]["total"]]);
    }
    assert_eq!(trail["totals"]["cost"].as_u64().unwrap(), costs.iter().sum::<u64>());

    // The agent's plan wanted the bills in the third place; it asked for orders.
    let left = steps.iter().find(|record| !record["plan"].is_null() && record["plan"]["verdict"] != "matched").unwrap();
    assert_eq!(left["tool_runs"][0]["name"], "orders.list");
    assert_eq!([&left["plan"]["expected"], &left["plan"]["got"]], ["billing.history", "orders.list"]);
    assert_eq!([&left["plan"]["step"], &left["plan"]["of"]], [3, 4]);

    // What it cost to resolve it, by the call that said so.
    let stats = eventually("the run's account", || {
        let stats = envoy.admin().get("/stats/prometheus?filter=weir_run").unwrap();
        stats.contains(r#"weir_run_calls_count{outcome="resolved"} 1"#).then_some(stats)
    });
    assert!(stats.contains("weir_run_cost_nanodollars_sum"), "{stats}");

    // One byte of the log is changed: it is found, and nothing is wrong before.
    let key = dir.path().join("key");
    std::fs::write(&key, format!("default {KEY}\n")).unwrap();
    let verify = |log: &std::path::Path| {
        let mut weirctl = std::process::Command::new(env!("CARGO_BIN_EXE_weirctl"));
        let out =
            weirctl.args(["audit", "verify", "--key-file"]).arg(&key).arg(log).current_dir(root()).output().unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let (fine, said) = verify(&log);
    assert!(fine, "{said}");
    let whole = std::fs::read_to_string(&log).unwrap();
    let changed = dir.path().join("changed.jsonl");
    std::fs::write(&changed, whole.replacen("\"input\":520", "\"input\":521", 1)).unwrap();
    let (fine, said) = verify(&changed);
    assert!(!fine && said.contains("changed"), "{said}");
}
