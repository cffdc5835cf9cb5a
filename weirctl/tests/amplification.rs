//! How many calls reach an upstream that fails, for each that a user wanted: through a real Envoy whose route tries three times,
//! from the real OpenAI SDK that tries three times, under an agent that tries three times; with weir's budget and without.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::clients;
use weirctl::envoy::{Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};

const GOOD: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const BAD: &str = r#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}"#;

/// What an upstream was asked, and how much of it goes wrong.
#[derive(Default)]
struct State {
    calls: AtomicU64,
    /// In a thousand.
    failing: AtomicU64,
}

/// An upstream that fails as often as it is told to. Its refusals ask for a short wait, so that the SDK does not sleep.
fn upstream(state: &Arc<State>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), state) = (stream, Arc::clone(&state)) else { return };
            std::thread::spawn(move || serve(stream, &state));
        }
    });
    address
}

fn serve(stream: TcpStream, state: &State) {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        if reader.read_exact(&mut vec![0; length]).is_err() {
            return;
        }
        let call = state.calls.fetch_add(1, Ordering::Relaxed);
        // Spread evenly, whatever the order in which calls come.
        let fails = call * 617 % 1000 < state.failing.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        let (status, more, body) =
            if fails { ("500 Internal Server Error", "retry-after-ms: 5\r\n", BAD) } else { ("200 OK", "", GOOD) };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n{body}"
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn envoy(address: SocketAddr, config: Value) -> Envoy {
    let mut bootstrap = Bootstrap {
        filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()],
        routes: vec![Route { retries: 2, ..Route::all("all", "models") }],
        clusters: vec![Cluster::plain("models", address)],
        ..Bootstrap::default()
    }
    .to_json();
    // Envoy's own bound on retries, three at once for the whole cluster, is out of the way: not all set it so low.
    bootstrap["static_resources"]["clusters"][0]["circuit_breakers"] = json!({"thresholds": [{"max_retries": 1000}]});
    Launch::new(&binary::bring().unwrap()).workers(2).start_json(&bootstrap, 1).unwrap()
}

/// Of a phase: calls that reached the upstream per user action, and the share of actions that went well.
#[derive(Clone, Copy, Debug)]
struct Seen {
    per_action: f64,
    well: f64,
}

/// Phases in thousandths of failing calls, and how many users ask in each.
const PHASES: [(u64, u32); 4] = [(1000, 400), (500, 300), (20, 400), (0, 300)];

fn run(config: Value, part: u32) -> Option<Vec<Seen>> {
    let state = Arc::new(State::default());
    let envoy = envoy(upstream(&state), config);
    let mut seen = Vec::new();
    for (failing, actions) in PHASES.map(|(failing, actions)| (failing, actions / part)) {
        state.failing.store(failing, Ordering::Relaxed);
        let before = state.calls.load(Ordering::Relaxed);
        let mut python = clients::python("retrying.py")?;
        let url = format!("http://{}", envoy.address());
        let output = python.args([&url, &actions.to_string(), "8", &failing.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let calls = state.calls.load(Ordering::Relaxed) - before;
        seen.push(Seen {
            per_action: calls as f64 / f64::from(actions),
            well: told["well"].as_f64().unwrap() / f64::from(actions),
        });
    }
    Some(seen)
}

#[test]
fn three_layers_of_retries_are_held_to_a_tenth_and_users_lose_nothing_when_little_fails() {
    let budget = json!({"retry_budgets": [{"name": "upstream", "ratio": 0.1, "min_per_second": 0}]});
    let (Some(without), Some(with)) = (run(json!({}), 4), run(budget, 1)) else { return };
    eprintln!("upstream fails | calls per action: without, with | actions that went well: without, with");
    for (((failing, _), without), with) in PHASES.iter().zip(&without).zip(&with) {
        eprintln!(
            "{:>12} % | {:>23.2}, {:>5.3} | {:>30.1} %, {:.1} %",
            *failing as f64 / 10.0,
            without.per_action,
            with.per_action,
            without.well * 100.0,
            with.well * 100.0
        );
    }
    assert!((without[0].per_action - 27.0).abs() < 0.01, "three times three times three: {:?}", without[0]);
    assert!(with[0].per_action <= 1.11, "{:?}", with[0]);
    assert!(with[2].well >= without[2].well - 0.005, "{:?} {:?}", with[2], without[2]);
    assert_eq!((with[3].per_action, with[3].well), (1.0, 1.0), "well again");
}
