//! The trail of a run in a real Envoy, read by programs and by a real browser.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::http::{PATIENCE, chat, eventually};
use crate::support::{root, skipped};
use serde_json::{Value, json};
use weir::features::trail::page;
use weir::features::trail::trails::{Shown, Trails};
use weir::record::{Cost, Ended, PlanStep, Record, Times, ToolCall, ToolRun, Usage};
use weir::settings::Config;
use weir::shared::{Broken, Events, Put, Store};
use weir::units::Nanos;
use weirctl::envoy::{Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};
use weirctl::upstream::{Options, Upstream};

const OPERATOR: &str = "fedcba9876543210";

fn envoy(upstream: &Upstream) -> Envoy {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        "kinds": [{"match": {"path": "/tools/*"}, "kind": "tool", "name": "lookup"}],
        "audit": {"trail": {"key": "0123456789abcdef", "operator_key": OPERATOR, "sources": ["x-source"]}},
    });
    let filter = WeirFilter::new(&wasm::build().unwrap()).config(config).to_json();
    let bootstrap = Bootstrap {
        filters: vec![filter],
        routes: vec![Route::all("all", "llm")],
        clusters: vec![Cluster::plain("llm", upstream.address())],
        ..Bootstrap::default()
    };
    Launch::new(&binary::bring().unwrap()).workers(2).start(&bootstrap).unwrap()
}

/// Status, the run's token, and body.
fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut answer = agent.run(request.body(body).unwrap()).unwrap();
    let headers = answer.headers().clone();
    Answer { status: answer.status().as_u16(), headers, body: answer.body_mut().read_to_vec().unwrap() }
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An agent's run: it asks, looks something up, asks again, and gets an embedding. Gives the run's token.
fn run(at: SocketAddr, who: &[(&str, &str)]) -> String {
    let call = |path: &str, body: &Value, wanted: u16| {
        let headers = [who, &[("content-type", "application/json")]].concat();
        let answer = ask(at, "POST", path, &headers, Some(body));
        assert_eq!(answer.status, wanted, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.header("x-weir-run-token").map(str::to_owned)
    };
    let token = call("/v1/chat/completions", &chat("gpt-4o-mini"), 200).expect("the run begins");
    // The record is written when the call is over, which may be after its client has all of it.
    let headers = [who, &[("x-weir-run-token", token.as_str())]].concat();
    let kept = |calls: usize| {
        eventually("a call in the trail", || {
            let answer = ask(at, "GET", "/.weir/runs/r-1", &headers, None);
            let trail: Value = serde_json::from_slice(&answer.body).ok()?;
            (trail["totals"]["calls"] == calls).then_some(())
        });
    };
    kept(1);
    // The embedded upstream has no tools: this one fails.
    assert_eq!(call("/tools/lookup", &json!({"q": "x"}), 404), None, "it is handed out at the run's start");
    kept(2);
    call("/v1/chat/completions", &chat("gpt-4o"), 200);
    kept(3);
    call("/v1/embeddings", &json!({"model": "text-embedding-3-small", "input": "x"}), 200);
    kept(4);
    token
}

#[test]
fn a_run_through_envoy_is_read_by_its_token_and_by_nobody_else() {
    let upstream =
        Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap();
    let envoy = envoy(&upstream);
    let at = envoy.address();
    let who = [("x-tenant", "acme"), ("x-run", "r-1")];
    let token = run(at, &who);
    let look = |headers: &[(&str, &str)]| ask(at, "GET", "/.weir/runs/r-1", headers, None);
    let mine = [("x-tenant", "acme"), ("x-weir-run-token", token.as_str())];

    let answer = look(&mine);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-security-policy"), Some(page::POLICY));
    let trail: Value = serde_json::from_slice(&answer.body).unwrap();
    let told: Vec<_> = (trail["calls"].as_array().unwrap().iter())
        .map(|call| (call["kind"].as_str().unwrap(), call["ended"].as_str().unwrap(), call["status"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("model", "complete", 200),
        ("tool", "error", 404),
        ("model", "complete", 200),
        ("embedding", "complete", 200),
    ];
    assert_eq!(told, expected, "{trail:#}");
    let began: Vec<f64> =
        trail["calls"].as_array().unwrap().iter().map(|call| call["at_ms"].as_f64().unwrap()).collect();
    assert!(began.is_sorted() && began[0] == 0.0, "{began:?}");
    let input: u64 =
        trail["calls"].as_array().unwrap().iter().filter_map(|call| call["tokens"]["input"].as_u64()).sum();
    assert_eq!(trail["totals"]["input"], input);
    assert!(input > 0);

    // The same 404 for all who may not, headers too, but for those that no two answers have alike.
    let no_run = ask(at, "GET", "/.weir/runs/nowhere", &mine, None);
    assert_eq!(no_run.status, 404);
    let told = |answer: &Answer| {
        let headers = answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
        let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.sort();
        (answer.status, headers, answer.body.clone())
    };
    for (what, headers) in [
        ("nothing", &[][..]),
        ("the tenant alone", &[("x-tenant", "acme")]),
        ("another tenant", &[("x-tenant", "other"), ("x-weir-run-token", token.as_str())]),
        ("a wrong token", &[("x-tenant", "acme"), ("x-weir-run-token", "0123456789abcdef0123456789abcdef")]),
        ("a wrong operator", &[("x-tenant", "acme"), ("x-weir-operator-key", "0000000000000000")]),
    ] {
        assert_eq!(told(&look(headers)), told(&no_run), "{what}");
    }
    assert_eq!(look(&[("x-tenant", "acme"), ("x-weir-operator-key", OPERATOR)]).status, 200);
    assert_eq!(ask(at, "POST", "/.weir/runs/r-1", &mine, Some(&json!({}))).status, 405);
    let head = ask(at, "HEAD", "/.weir/runs/r-1", &mine, None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    envoy.stop();
}

/// What a knowledge base answers, in chunks that cut it anywhere.
const FOUND: &str = r#"{"results":[{"score":0.9,"metadata":{"source":"billing-faq.md"}},{"metadata":{"source":"tariffs \u003c 2025"}}]}"#;

/// A server that answers everything with [`FOUND`], a few bytes at a time. It ends with the test's process.
fn knowledge_base() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut asked = Vec::new();
                let mut buffer = [0; 4096];
                while !asked.ends_with(b"}") {
                    let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
                    asked.extend(&buffer[..read]);
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-source: kb\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                for piece in FOUND.as_bytes().chunks(13) {
                    let _ = stream.write_all(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                    let _ = stream.flush();
                    std::thread::sleep(Duration::from_millis(2));
                }
                let _ = stream.write_all(b"0\r\n\r\n");
            });
        }
    });
    address
}

#[test]
fn what_a_tool_found_is_read_out_of_its_answer_through_envoy() {
    let config = json!({
        "identity": {"run": [{"header": "x-run"}]},
        "kinds": [{"match": {"path": "/tools/*"}, "kind": "tool", "name": "kb.search"}],
        "tools": {},
        "audit": {"trail": {
            "key": "0123456789abcdef", "sources": ["x-source"], "source_pointers": ["/results/*/metadata/source"],
        }},
    });
    let bootstrap = Bootstrap {
        filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()],
        routes: vec![Route::all("all", "kb")],
        clusters: vec![Cluster::plain("kb", knowledge_base())],
        ..Bootstrap::default()
    };
    let envoy = Launch::new(&binary::bring().unwrap()).workers(2).start(&bootstrap).unwrap();
    let at = envoy.address();
    let answer = ask(at, "POST", "/tools/search", &[("x-run", "r")], Some(&json!({"q": "x"})));
    assert_eq!(String::from_utf8_lossy(&answer.body), FOUND, "the answer stays as it is");
    let token = answer.header("x-weir-run-token").unwrap().to_owned();
    let call = eventually("the call in the trail", || {
        let answer = ask(at, "GET", "/.weir/runs/r", &[("x-weir-run-token", &token)], None);
        let trail: Value = serde_json::from_slice(&answer.body).ok()?;
        trail["calls"].get(0).cloned()
    });
    assert_eq!(call["sources"], json!(["kb", "billing-faq.md", "tariffs < 2025"]));
    let run = &call["tools_run"][0];
    assert_eq!((&run["name"], &run["outcome"]), (&json!("kb.search"), &json!("ok")));
    assert!(run["ms"].as_f64().is_some_and(|ms| (10.0..10_000.0).contains(&ms)), "{run}");
    let page = ask(at, "GET", "/.weir/runs/r", &[("x-weir-run-token", &token), ("accept", "text/html")], None);
    let page = String::from_utf8(page.body).unwrap();
    for text in ["Source <code>tariffs &lt; 2025</code>", "kb.search ran for "] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    envoy.stop();
}

/// The browser, if there is one; installed if that is possible.
fn chromium() -> Option<&'static str> {
    const PATH: &str = "/usr/bin/chromium";
    let there = || std::path::Path::new(PATH).is_file();
    if !there() {
        let install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium fonts-dejavu-core";
        let quiet = || Stdio::null();
        let _ = Command::new("sh").args(["-c", install]).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    }
    if !there() {
        skipped("the trail in a browser", "there is no chromium, and apt-get cannot install it");
        return None;
    }
    Some(PATH)
}

/// What the browser says: its document, or nothing with a picture, and its console.
fn browse(browser: &str, more: &[&str], url: &str) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

fn complaints(console: &str) -> Vec<&str> {
    console.lines().filter(|line| line.contains("CONSOLE") || line.contains("Content Security Policy")).collect()
}

#[test]
fn a_browser_shows_each_call_and_finds_nothing_that_the_policy_forbids() {
    let Some(browser) = chromium() else { return };
    let upstream =
        Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap();
    let envoy = envoy(&upstream);
    let at = envoy.address();
    // A person's browser sends no header of ours: its tenant is told otherwise, or there is but one.
    let token = run(at, &[("x-run", "r-1")]);
    let (document, console) = browse(browser, &["--dump-dom"], &format!("http://{at}/.weir/runs/r-1?token={token}"));
    for text in [
        "<h1>What the agent did</h1>",
        "<code>r-1</code>",
        "<h3><span class=\"n\">1</span> Asked <code>gpt-4o-mini",
        "<h3><span class=\"n\">2</span> Used ",
        "<em>failed</em>",
        "<h3><span class=\"n\">3</span> Asked <code>gpt-4o",
        "<h3><span class=\"n\">4</span> Turned text into numbers with <code>text-embedding-3-small</code>",
    ] {
        assert!(document.contains(text), "{text} is not in {document}");
    }
    assert_eq!(complaints(&console), Vec::<&str>::new());
    let (document, _) = browse(browser, &["--dump-dom"], &format!("http://{at}/.weir/runs/r-1?token=wrong"));
    assert!(document.contains("There is no such run."));
    envoy.stop();
    // And a browser does complain where there is a reason to.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.html");
    let meta = page::POLICY.replace("; frame-ancestors 'none'", "");
    std::fs::write(
        &file,
        format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{meta}\"><style>p{{}}</style>"),
    )
    .unwrap();
    let (_, console) = browse(browser, &["--dump-dom"], &format!("file://{}", file.display()));
    assert_eq!(complaints(&console).len(), 1, "{console}");
}

/// A store of one value.
#[derive(Default)]
struct One(std::cell::RefCell<Option<Vec<u8>>>);

impl Store for One {
    fn get(&self, _: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        Ok(self.0.borrow().clone().map(|value| (value, 1)))
    }

    fn set(&self, _: &str, value: &[u8], _: u32) -> Put {
        *self.0.borrow_mut() = Some(value.to_owned());
        Put::Done
    }
}

/// The run of docs/trail.png: a customer asks why a bill is higher than the last.
fn example() -> String {
    let config = Config::parse(br#"{"audit":{"trail":{"key":"0123456789abcdef","runs":4}}}"#).unwrap();
    let (trails, store) = (Trails::new(&config.audit.trail.unwrap()), One::default());
    let name = trails.name(Some("acme"), "ticket-48213");
    let start = 1_764_313_879_000_000u64;
    let put = |at_ms: u64, record: Record, sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| (*source).to_owned()).collect();
        trails.put(&name, (&record, &sources, start + at_ms * 1000), &store, &mut Events::default(), Nanos(at_ms + 1));
    };
    let plan = |step: u32, verdict: &'static str, adherence: u8| {
        Some(PlanStep { step: Some(step), of: 4, verdict, adherence: Some(adherence), ..PlanStep::default() })
    };
    let base = |kind: &str, total: f64, nano: u64| Record {
        kind: Some(kind.to_owned()),
        status: Some(200),
        time: Times { total_ms: Some(total), ..Times::default() },
        cost: Some(Cost { total: nano, ..Cost::default() }),
        ..Record::default()
    };
    let model = |name: &str, times: (f64, f64), tokens: (u64, u64), nano: u64, wants: &[&str]| Record {
        response_model: Some(name.to_owned()),
        usage: Usage { input: Some(tokens.0), output: Some(tokens.1), ..Usage::default() },
        time: Times { first_token_ms: Some(times.0), total_ms: Some(times.1), ..Times::default() },
        tool_calls: wants.iter().map(|name| ToolCall { name: (*name).to_owned(), ..ToolCall::default() }).collect(),
        ..base("model", 0.0, nano)
    };
    let tool = |name: &str, ms: f64, nano: u64, outcome: &'static str| Record {
        tool_runs: vec![ToolRun { name: name.to_owned(), outcome, ..ToolRun::default() }],
        ..base("tool", ms, nano)
    };
    put(0, model("gpt-4o", (412.0, 1840.0), (1860, 74), 5_390_000, &["kb.search"]), &[]);
    let search = Record { plan: plan(1, "matched", 100), ..tool("kb.search", 310.0, 1_000_000, "ok") };
    put(1900, search, &["billing-faq.md", "tariffs-2025.pdf"]);
    put(2260, model("gpt-4o", (530.0, 2210.0), (4120, 96), 11_260_000, &["orders.list"]), &[]);
    let mut stray = tool("orders.list", 95.0, 200_000, "ok");
    stray.plan = Some(PlanStep {
        expected: Some("billing.history".to_owned()),
        got: Some("orders.list".to_owned()),
        ..plan(2, "wrong_target", 50).unwrap()
    });
    put(4520, stray, &[]);
    let mut failed = model("gpt-4o", (570.0, 1310.0), (5240, 38), 13_480_000, &[]);
    failed.ended = Ended::UpstreamReset;
    failed.cost = Some(Cost { total: 13_480_000, waste: 13_480_000, waste_reason: Some("failed"), ..Cost::default() });
    put(4660, failed, &[]);
    put(6100, model("gpt-4o", (610.0, 2480.0), (5240, 121), 14_310_000, &["billing.history"]), &[]);
    put(8640, Record { plan: plan(2, "matched", 67), ..tool("billing.history", 420.0, 200_000, "ok") }, &[]);
    put(9120, model("gpt-4o", (580.0, 3950.0), (6480, 312), 19_320_000, &[]), &[]);
    let token = name.token();
    let run = trails.look(&name, Shown { token: token.as_bytes(), operator: b"" }, &store, Nanos(1)).unwrap();
    page::page(Some("acme"), "ticket-48213", &run)
}

/// With `WEIR_UPDATE=1` it draws docs/trail.png anew.
#[test]
fn the_picture_in_the_docs_is_small_and_is_drawn_from_the_page() {
    let picture = root().join("docs/trail.png");
    if std::env::var_os("WEIR_UPDATE").is_some()
        && let Some(browser) = chromium()
    {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trail.html");
        std::fs::write(&file, example()).unwrap();
        let to = format!("--screenshot={}", picture.display());
        browse(browser, &[&to, "--window-size=800,1800"], &format!("file://{}", file.display()));
    }
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() < 200_000, "{} bytes", bytes.len());
}
