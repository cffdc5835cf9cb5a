//! Plans behind a real Envoy: declared by a header, by baggage, by a tool that a model calls, by what a planner says; and calls
//! that are not in them, refused in the words of their own APIs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::http::{PATIENCE, eventually};
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter, wasm};

const PLAN: &str = "search>billing.history>answer?";

/// An upstream that streams what the header `x-say` wants said, and has every tool run well.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that hangs up early is no failure.
            std::thread::spawn(move || serve(client).ok());
        }
    });
    address
}

fn serve(mut client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header =
        |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    if head.first().is_some_and(|line| line.contains("/mcp")) {
        let answer = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
        let length = answer.len();
        return write!(
            client,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
        );
    }
    let text = json!({"plan": ["search", {"tool": "billing.history", "why": "é"}, "answer?"]}).to_string();
    let (front, back) = text.split_at(text.len() / 2);
    let said = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]}).to_string();
    let called = |function: Value| said(json!({"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}));
    let events = match header("x-say").as_deref() {
        Some("submit") => vec![
            called(json!({"name": "submit_plan", "arguments": ""})),
            called(json!({"arguments": front})),
            called(json!({"arguments": back})),
        ],
        Some("plan") => vec![
            said(json!({"content": "I would:\n```json\n"})),
            said(json!({"content": front})),
            said(json!({"content": format!("{back}\n```\n")})),
        ],
        _ => vec![said(json!({"content": "Fine."}))],
    };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string();
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )?;
    for data in events.into_iter().chain([end, "[DONE]".to_owned()]) {
        // Cut where it does not suit anybody.
        let event = format!("data: {data}\n\n");
        for piece in event.as_bytes().chunks(41) {
            write!(client, "{:x}\r\n", piece.len())?;
            client.write_all(piece)?;
            client.write_all(b"\r\n")?;
        }
    }
    client.write_all(b"0\r\n\r\n")
}

struct Rig {
    envoy: Envoy,
    log: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

/// What came back: status, headers, body.
struct Came(u16, Vec<(String, String)>, Vec<u8>);

impl Came {
    fn header(&self, name: &str) -> Option<&str> {
        self.1.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.2).unwrap()
    }
}

impl Rig {
    fn start(plan: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.jsonl");
        let config = json!({
            "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
            "plan": plan, "runs": {},
        });
        let envoy = Envoy::start(&Bootstrap {
            filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(&config).to_json()],
            routes: vec![Route::all("all", "all")],
            clusters: vec![Cluster::plain("all", upstream())],
            access_log: Some(AccessLog::Records(log.clone())),
            ..Bootstrap::default()
        })
        .unwrap();
        Self { envoy, log, _dir: dir }
    }

    fn call(&self, path: &str, run: &str, more: &[(&str, &str)], body: &Value) -> Came {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let mut request = agent.post(format!("http://{}{path}", self.envoy.address()));
        let own = [("content-type", "application/json"), ("x-run", run), ("x-tenant", "acme")];
        for (name, value) in own.iter().chain(more) {
            request = request.header(*name, *value);
        }
        let mut answer = request.send(body.to_string()).unwrap();
        let text = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
        };
        let headers = answer.headers().iter().map(text).collect();
        Came(answer.status().as_u16(), headers, answer.body_mut().read_to_vec().unwrap())
    }

    fn tool(&self, run: &str, name: &str, more: &[(&str, &str)]) -> Came {
        let accept = ("accept", "application/json, text/event-stream");
        let body =
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": {}}});
        self.call("/mcp", run, &[&[accept], more].concat(), &body)
    }

    fn chat(&self, run: &str, more: &[(&str, &str)]) -> Came {
        self.call("/v1/chat/completions", run, more, &crate::support::http::chat("m"))
    }

    /// The records so far, once there are so many.
    fn records(&self, count: usize) -> Vec<Value> {
        eventually("all records", || {
            let log = std::fs::read_to_string(&self.log).ok()?;
            let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (records.len() >= count).then_some(records)
        })
    }

    /// Waits until the metrics say all of this: a name, what stands in its labels, the sum.
    fn metrics(&self, wanted: &[(&str, &str, u64)]) {
        let mut last = String::new();
        let sum = |stats: &str, name: &str, label: &str| -> u64 {
            let named = stats.lines().filter_map(|line| line.strip_prefix(name)?.split_once('}'));
            named
                .filter(|(labels, _)| labels.contains(label))
                .map(|(_, value)| value.trim().parse::<u64>().unwrap())
                .sum()
        };
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            last = self.envoy.admin().get("/stats/prometheus?filter=weir_plan").unwrap();
            if wanted.iter().all(|(name, label, value)| sum(&last, name, label) == *value) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{wanted:?} in {last}");
    }
}

#[test]
fn a_plan_counts_wherever_it_was_declared() {
    let rig = Rig::start(json!({
        "baggage": "agent.plan", "tool": {}, "answer": {"header": "x-planner"}, "enforce": "warn"
    }));
    let baggage = format!("userId=1, agent.plan={}", PLAN.replace('>', "%3E").replace('?', "%3F"));
    // Nothing is a step before there is a plan.
    assert_eq!(rig.tool("header", "search", &[]).header("x-weir-plan"), None);
    for (declares, run) in [
        (&[("x-agent-plan", PLAN)][..], "header"),
        (&[("baggage", &baggage)], "baggage"),
        (&[("x-say", "submit")], "tool"),
        (&[("x-say", "plan"), ("x-planner", "yes")], "answer"),
        // The same words of one who is no planner.
        (&[("x-say", "plan")], "nobody"),
    ] {
        let Came(status, ..) = rig.chat(run, declares);
        assert_eq!(status, 200, "{run}");
        let planned = run != "nobody";
        for (tool, told, warned) in [
            ("submit_plan", None, false),
            ("search", Some("step=1/3;verdict=matched;adherence=100"), false),
            ("orders.list", Some("step=2/3;verdict=unplanned;adherence=50"), true),
            ("billing.history", Some("step=2/3;verdict=matched;adherence=66"), false),
        ] {
            // Without the tool of its own it is one like any other: only where the config names it, it is no step.
            let came = rig.tool(run, tool, &[]);
            assert_eq!(came.header("x-weir-plan"), told.filter(|_| planned), "{run}: {tool}");
            assert_eq!(came.header("x-weir-plan-warning").is_some(), warned && planned, "{run}: {tool}");
        }
        rig.tool(run, "search", &[("x-weir-outcome", "resolved")]);
    }
    let records = rig.records(1 + 5 * 6);
    let of = |run: &str| -> Vec<&Value> { records.iter().filter(|r| r["run"] == run).map(|r| &r["plan"]).collect() };
    for run in ["baggage", "tool", "answer"] {
        assert_eq!(of(run), of("header")[1..], "{run}");
    }
    let left = json!({"step": 2, "of": 3, "verdict": "unplanned", "expected": "billing.history", "got": "orders.list", "adherence": 50});
    assert_eq!(of("tool")[3], &left);
    assert!(of("nobody").iter().all(|plan| plan.is_null()));
    // Steps done: three and one that is out of its order; the plan wants two, and there are two too many: 1 - 2 / (4 + 2).
    rig.metrics(&[
        ("weir_plans_total", r#"declared="new""#, 4),
        // `submit_plan`, called without any.
        ("weir_plans_total", r#"declared="unread""#, 5),
        ("weir_plan_steps_total", r#"verdict="matched""#, 8),
        ("weir_plan_steps_total", r#"verdict="unplanned""#, 4),
        ("weir_plan_steps_total", r#"verdict="out_of_order""#, 4),
        ("weir_plan_adherence_count", "", 4),
        ("weir_plan_adherence_bucket", r#"le="70""#, 4),
        ("weir_plan_adherence_bucket", r#"le="60""#, 0),
    ]);
}

#[test]
fn what_is_not_planned_is_refused_in_the_words_of_its_api_and_moves_nothing() {
    let rig = Rig::start(json!({"enforce": "refuse"}));
    // The model was asked already when it is asked again.
    let head = [("x-agent-plan", "model>search>billing.history")];
    assert_eq!(rig.chat("r", &head).0, 200);
    let said = "Not as planned: step 2 of 3, expected search, got all.";
    let openai = json!({"error": {"message": said, "type": "permission_error", "param": null, "code": "forbidden"}});
    let anthropic = json!({"type": "error", "error": {"type": "permission_error", "message": said}});
    let gemini = json!({"error": {"code": 403, "message": said, "status": "PERMISSION_DENIED"}});
    let turns = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    for (path, body, wanted) in [
        ("/v1/chat/completions", &turns, &openai),
        ("/v1/messages", &turns, &anthropic),
        ("/v1beta/models/g:generateContent", &json!({"contents": [{"parts": [{"text": "x"}]}]}), &gemini),
    ] {
        let came = rig.call(path, "r", &[], body);
        assert_eq!((came.0, &came.json()), (403, wanted), "{path}");
        assert_eq!(came.header("x-weir-plan"), Some("step=2/3;verdict=out_of_order"), "{path}");
        assert_eq!(came.header("x-should-retry"), Some("false"), "{path}");
    }
    let came = rig.tool("r", "orders.list", &[]);
    let message = "Not as planned: step 2 of 3, expected search, got orders.list.";
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": message}});
    assert_eq!((came.0, came.json()), (403, error));
    for tool in ["search", "billing.history"] {
        let came = rig.tool("r", tool, &[]);
        assert_eq!(came.0, 200);
        assert!(came.header("x-weir-plan").unwrap().ends_with("verdict=matched;adherence=100"), "{tool}");
    }
    let records = rig.records(7);
    let refused: Vec<_> = records.iter().filter(|record| record["error_type"] == "plan_violation").collect();
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|record| record["ended"] == "refused" && record["status"] == 403));
    rig.metrics(&[
        ("weir_plan_steps_total", r#"verdict="matched""#, 3),
        ("weir_plan_steps_total", r#"verdict="out_of_order""#, 3),
        ("weir_plan_steps_total", r#"verdict="unplanned""#, 1),
    ]);
}
