//! Upstreams fail behind a real Envoy: circuits open and close again, retries that would come too late are refused, and a budget
//! that was plenty holds Envoy's own retries when it runs out under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::failing::{Bench, Plan};
use crate::support::http::eventually;
use serde_json::{Value, json};
use weirctl::envoy::AccessLog;

/// What came back: the status and the headers.
type Answer = (u16, HashMap<String, String>);

fn ask(bench: &Bench, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.post(format!("{}{path}", bench.url())).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body.to_string()).unwrap();
    answer.body_mut().read_to_vec().unwrap();
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (answer.status().as_u16(), headers)
}

/// A call of a model with words that nobody else has.
fn chat(bench: &Bench, headers: &[(&str, &str)]) -> Answer {
    static QUESTIONS: AtomicU64 = AtomicU64::new(0);
    let question = format!("question {}", QUESTIONS.fetch_add(1, Ordering::Relaxed));
    let body = json!({"model": "m", "messages": [{"role": "user", "content": question}]});
    ask(bench, "/v1/chat/completions", headers, &body)
}

fn embeddings(bench: &Bench) -> Answer {
    ask(bench, "/v1/embeddings", &[], &json!({"model": "e", "input": "words"}))
}

/// The upstream knows no MCP, and says so: that is no failure.
const UNKNOWN: u16 = 404;

fn tool(bench: &Bench, name: &str) -> Answer {
    static IDS: AtomicU64 = AtomicU64::new(0);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": name, "arguments": {"number": id}}});
    ask(bench, "/mcp", &[("accept", "application/json, text/event-stream")], &call)
}

fn is_refused_by(answer: &Answer, circuit: &str) -> bool {
    answer.1.get("x-weir-limit").is_some_and(|name| name == circuit)
}

const PROBE: Duration = Duration::from_millis(300);

/// The circuit is open: who comes is refused at once and told different times, and the upstream gets a trickle of probes.
fn holds_back(bench: &Bench, upstream: usize, circuit: &str, call: impl Fn() -> Answer) {
    let (before, began) = (bench.faults[upstream].asked(), Instant::now());
    let mut told = Vec::new();
    let mut calls = 0;
    while told.len() < 55 {
        let answer = call();
        calls += 1;
        if is_refused_by(&answer, circuit) {
            let (status, headers) = answer;
            assert_eq!((status, headers["x-should-retry"].as_str()), (503, "false"), "{headers:?}");
            told.push(headers["retry-after-ms"].parse::<u64>().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let probes = bench.faults[upstream].asked() - before;
    let most = began.elapsed().as_millis() / PROBE.as_millis() + 1;
    assert!(u128::from(probes) <= most, "{circuit}: {probes} probes in {:?}", began.elapsed());
    assert_eq!(told.len() as u64 + probes, calls, "{circuit}: who is not refused is a probe");
    assert!(told.iter().all(|ms| (1000..=3000).contains(ms)), "{told:?}");
    let spread = told.iter().max().unwrap() - told.iter().min().unwrap();
    assert!(spread > 500, "they do not come again all at once: {told:?}");
}

/// It is well again: probes close the circuit, and everybody passes.
fn recovers(circuit: &str, well: u16, call: impl Fn() -> Answer) {
    eventually(circuit, || {
        let passes = (0..10).all(|_| call().0 == well);
        (!passes).then(|| std::thread::sleep(Duration::from_millis(50)));
        passes.then_some(())
    });
}

fn records(log: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

#[test]
fn circuits_of_clusters_and_of_tools_open_let_probes_through_and_close_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("records.jsonl");
    let circuit = |name: &str, min_calls: u32, scope: &str| {
        json!({"name": name, "scope": [scope], "min_calls": min_calls, "probe_ms": PROBE.as_millis() as u64,
            "close_after": 2, "window_s": 60, "retry_after_ms": 2000})
    };
    let config = json!({"circuits": [circuit("cluster", 10, "cluster"), circuit("tool", 4, "tool")]});
    let prefixes = &["/v1/chat", "/v1/embeddings", "/mcp"];
    let access_log = Some(AccessLog::Records(log.clone()));
    let bench = Bench::of(Plan { config: &config, prefixes, retries: 0, access_log, workers: 2 });
    let [models, _, tools] = [0, 1, 2];

    bench.faults[models].fail(1000);
    for call in 0..10 {
        assert!(!is_refused_by(&chat(&bench, &[]), "cluster"), "call {call}");
    }
    holds_back(&bench, models, "cluster", || chat(&bench, &[]));
    assert_eq!(embeddings(&bench).0, 200, "another cluster is not concerned");
    bench.faults[models].fail(0);
    recovers("cluster", 200, || chat(&bench, &[]));

    bench.faults[tools].fail(1000);
    for call in 0..4 {
        assert!(!is_refused_by(&tool(&bench, "search"), "tool"), "call {call}");
    }
    holds_back(&bench, tools, "tool", || tool(&bench, "search"));
    bench.faults[tools].fail(0);
    let asked = bench.faults[tools].asked();
    assert_eq!(tool(&bench, "fetch").0, UNKNOWN, "another tool is not concerned");
    assert_eq!(bench.faults[tools].asked(), asked + 1);
    recovers("tool", UNKNOWN, || tool(&bench, "search"));

    // Open once more: nothing of the good times counts against it.
    bench.faults[models].fail(1000);
    eventually("the circuit opens again", || is_refused_by(&chat(&bench, &[]), "cluster").then_some(()));
    let refused = |record: &&Value| record["retry"]["verdict"] == "circuit";
    let found = eventually("records of refused calls", || {
        let records = records(&log);
        (records.iter().filter(refused).count() > 100).then_some(records)
    });
    for record in found.iter().filter(refused) {
        assert_eq!((&record["ended"], &record["error_type"]), (&json!("refused"), &json!("circuit_open")));
    }
}

#[test]
fn a_retry_that_cannot_be_answered_in_time_is_refused_and_a_first_try_never() {
    let deadline = json!({"header": "x-request-deadline", "stainless_timeout": true, "grpc_timeout": true});
    let config = json!({
        "retries": {"deadline": deadline},
        "retry_budgets": [{"name": "all", "ratio": 100}],
    });
    // What is known of times is each worker's own.
    let bench = Bench::of(Plan { config: &config, prefixes: &["/"], retries: 0, access_log: None, workers: 1 });
    let slow = ("x-demo", "tokens=1,reasoning=0,tools=0,speed=1,prefill=400");
    let first = |more: &[(&str, &str)]| {
        let (status, _) = chat(&bench, &[&[slow], more].concat());
        status
    };
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..12).map(|_| scope.spawn(|| first(&[]))).collect();
        calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap(), 200));
    });
    let in_ms = |ms: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now + Duration::from_millis(ms)).as_millis().to_string()
    };
    let asked = || bench.faults[0].asked();
    for (name, short, long) in [
        ("x-request-deadline", in_ms(100), in_ms(60_000)),
        ("x-stainless-timeout", "0.1".to_owned(), "600".to_owned()),
        ("grpc-timeout", "100m".to_owned(), "60S".to_owned()),
    ] {
        let retry = ("x-stainless-retry-count", "1");
        let before = asked();
        let (status, headers) = chat(&bench, &[slow, retry, (name, &short)]);
        let stops = headers.get("x-should-retry").map(String::as_str);
        assert_eq!((status, stops), (503, Some("false")), "{name}");
        assert_eq!(asked(), before, "{name}: the upstream never hears of it");
        assert_eq!(chat(&bench, &[slow, retry, (name, &long)]).0, 200, "{name}");
        assert_eq!(first(&[(name, &short)]), 200, "{name}");
        assert_eq!(asked(), before + 2, "{name}");
    }
}

#[test]
fn a_budget_that_was_plenty_holds_envoys_own_retries_when_it_runs_out_under_load() {
    const CLIENTS: u64 = 8;
    const WELL: u64 = 400;
    const FAILING: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("records.jsonl");
    // A window that the test does not outlive.
    let budget = json!({"name": "upstream", "ratio": 0.1, "min_per_second": 0, "ttl_s": 600});
    let config = json!({"retry_budgets": [budget]});
    let bench = Bench::start(&config, 3, Some(AccessLog::Records(log.clone())));
    let load = |calls: u64| {
        std::thread::scope(|scope| {
            let client = || (0..calls / CLIENTS).for_each(|_| drop(chat(&bench, &[])));
            (0..CLIENTS).for_each(|_| drop(scope.spawn(client)));
        });
    };
    load(WELL);
    assert_eq!(bench.faults[0].asked(), WELL);
    bench.faults[0].fail(1000);
    load(FAILING);
    let found = eventually("all records", || Some(records(&log)).filter(|all| all.len() as u64 == WELL + FAILING));
    let mut by_attempts = [0u64; 5];
    for record in found.iter().filter(|record| record["status"] == 503) {
        by_attempts[record["upstream"]["attempts"].as_u64().unwrap() as usize] += 1;
    }
    eprintln!("failing calls by their attempts: {by_attempts:?}");
    let retries = bench.faults[0].asked() - WELL - FAILING;
    let told: u64 = by_attempts.iter().skip(1).zip(0..).map(|(calls, retries)| calls * retries).sum();
    assert_eq!(retries, told);
    let [_, one, _, _, four] = by_attempts;
    assert!(
        (1..=CLIENTS * 2).contains(&four),
        "the route's own number holds until the first of those in flight has failed"
    );
    assert!(one > FAILING / 2, "and then Envoy has to stop");
    // What it did unasked is in the books: together it is a tenth, but for what was in flight at once.
    assert!(retries <= (WELL + FAILING) / 10 + CLIENTS * 3, "{retries}");
    assert!(retries >= WELL / 20, "{retries}: what was earned may be used");
}
