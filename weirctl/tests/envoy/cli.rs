//! `weirctl` as people run it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use weirctl::envoy::{Bootstrap, Cluster, Launch, Route, binary};
use weirctl::upstream::{Options, Upstream};

fn weirctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weirctl")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("weir.json");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn check_says_by_path_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for (config, path, reason) in [
        (r#"{"slo":[{"first_token_ms":500,"objective":1.5}]}"#, "slo[0].objective", "1.5 is not between 0 and 1"),
        (r#"{"slo":[{"objective":0.5}]}"#, "slo[0]", "missing field `first_token_ms`"),
        (r#"{"identity":{"tenant":[{"headr":"x"}]}}"#, "identity.tenant[0]", "unknown variant `headr`"),
        (r#"{"identity":{"tenant":[{"header":"a b"}]}}"#, "identity.tenant[0].header", "`a b` is not a header name"),
        (r#"{"identity":{"user":[{"api_key_hash":{"salt":"short"}}]}}"#, "identity.user[0].api_key_hash.salt", "8"),
        (r#"{"timing":{"stall_ms":0}}"#, "timing.stall_ms", "nonzero"),
        (r#"{"read":{"max_event_bytes":7}}"#, "read.max_event_bytes", "7 is not between 1024 and 16777216"),
        (r#"{"labels":{"max_models":70000}}"#, "labels.max_models", "70000"),
        (r#"{"tenants":[]}"#, "tenants", "unknown field `tenants`"),
        (r#"{"slo":"#, "slo", "EOF"),
        ("no json", ".", "not a JSON object"),
    ] {
        let path_of_file = file(dir.path(), config);
        let told = weirctl(&["check", path_of_file.to_str().unwrap()]);
        assert_eq!(told.status.code(), Some(1), "{config}");
        let text = stdout(&told);
        assert!(text.contains(&format!("weir.json: {path}: ")) && text.contains(reason), "{config}: {text}");
        let told = weirctl(&["check", "--json", path_of_file.to_str().unwrap()]);
        let answer: Value = serde_json::from_str(&stdout(&told)).unwrap();
        assert_eq!((&answer["ok"], &answer["path"]), (&json!(false), &json!(path)), "{config}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
    }
}

#[test]
fn check_says_in_sentences_what_a_config_does() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "identity": {"tenant": [{"header": "X-Team"}, {"jwt_claim": {"payload": "jwt", "claim": "org"}}],
            "user": [{"api_key_hash": {"salt": "a-salt-of-some-length"}}]},
        "labels": {"models": ["gpt-4o"], "max_models": 7, "max_routes": 0},
        "usage": {"inject": true},
        "filter_state": {"tokens": true},
        "slo": [{"match": {"model": "gpt-4*", "tenant": "acme"}, "first_token_ms": 500, "objective": 0.999}],
    });
    let told = weirctl(&["check", file(dir.path(), &config.to_string()).to_str().unwrap()]);
    assert!(told.status.success());
    let text = stdout(&told);
    for sentence in [
        "The tenant is the first of these that is there: the request header `x-team`; the claim `org`",
        "The user is a salted hash of the API key.",
        "The run is the trace id of `traceparent`.",
        "Label `model`: gpt-4o; 7 more",
        "Label `route`: all others are `other`.",
        "the extra chunk is hidden from clients",
        "find each call's tokens in `wasm.weir.reserve` and `wasm.weir.charge`.",
        "Objective `slo-0`: of calls of model gpt-4*, tenant acme, 99.9 % have their first token within 500 ms.",
        "Warning: labels.max_routes",
    ] {
        assert!(text.contains(sentence), "{sentence}\n{text}");
    }
    assert!(!text.contains("a-salt-of-some-length"), "a salt is told to nobody");
    let empty = weirctl(&["check", file(dir.path(), "").to_str().unwrap()]);
    assert!(stdout(&empty).contains("Calls have no tenant.") && empty.status.success());
}

#[test]
fn check_says_what_calls_cost_and_what_is_odd_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"prices": [
        {"models": ["gpt-4o"], "per_million": {"input": 2.5, "cache_read": 1.25, "output": 10}, "cases": [
            {"tier": "batch", "per_million": {"input": 1.25}},
            {"tier": "priority", "above": 200_000, "per_million": {"output": 30}}]},
        {"models": ["a", "b", "c", "d", "e"], "per_million": {"input": 1}},
        {"match": {"kind": "tool", "tool": "search"}, "per_call": "0.005"},
        {"match": {"host": "gpu-*"}, "per_second": "0.0005"},
        {"models": ["gpt-4o"], "per_call": 1},
        {"models": ["text-embedding-3-small"], "per_million": {"input": 0.02}},
        {"models": ["o"], "per_million": {"output": 1}},
    ]});
    let told = weirctl(&["check", file(dir.path(), &config.to_string()).to_str().unwrap()]);
    assert!(told.status.success());
    let text = stdout(&told);
    for sentence in [
        "Price of `gpt-4o`: for a million tokens 2.5 $ input, 1.25 $ from a cache, 10 $ output; in tier `batch` for a million \
         tokens 1.25 $ input; in tier `priority` above 200,000 tokens of input for a million tokens 30 $ output.",
        "Price of `a`, `b`, `c` and 2 more models: for a million tokens 1 $ input.",
        "Price of kind `tool` with tool `search`: 0.005 $ a call that is answered.",
        "Price of host `gpu-*`: 0.0005 $ a second.",
        "rounded once to a nano-dollar",
        "the cost is that of the estimate.",
        "Warning: prices[1].per_million: without `output`: the output is free.",
        "Warning: prices[4].models: an earlier price has them all, and counts.",
        "Warning: prices[6].per_million: without `input`: the input is free.",
    ] {
        assert!(text.contains(sentence), "{sentence}\n{text}");
    }
    assert_eq!(text.matches("Warning").count(), 3, "{text}");
    let none = weirctl(&["check", file(dir.path(), "{}").to_str().unwrap()]);
    assert!(!stdout(&none).contains("cost"), "{}", stdout(&none));
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_the_code_gives() {
    let told = weirctl(&["schema"]);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.schema.json");
    assert_eq!(stdout(&told), std::fs::read_to_string(kept).unwrap(), "run: weirctl schema > docs/config.schema.json");
}

/// `weirctl run`, until this goes.
struct Running {
    process: Child,
    address: String,
    records: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weirctl"))
            .args(["run", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(process.stderr.take().unwrap());
        let mut all = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended:\n{all}");
            all.push_str(&line);
            if let Some((address, _)) = line.trim().strip_prefix("http://").and_then(|rest| rest.split_once(" goes to"))
            {
                break address.to_owned();
            }
        };
        // Whatever else it says goes nowhere, but must not fill a pipe.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        let records = BufReader::new(process.stdout.take().unwrap());
        Self { process, address, records }
    }

    fn ask(&self, path: &str, body: &Value) -> String {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nx-team: blue\r\nx-demo: tokens=9\r\ncontent-length: {}\r\nconnection: close",
            body.len()
        );
        connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        // An answer that comes before all of the request was read may end with a reset.
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn record(&mut self) -> Value {
        let mut line = String::new();
        self.records.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn signal(&self, signal: &str) -> bool {
        let kill = Command::new("kill").args([signal, &self.process.id().to_string()]).stderr(Stdio::null()).status();
        kill.is_ok_and(|status| status.success())
    }

    /// What Ctrl-C does to it.
    fn interrupt(mut self) {
        assert!(self.signal("-INT"));
        assert!(self.process.wait().unwrap().success());
        assert!(TcpStream::connect(&self.address).is_err(), "Envoy is gone too");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal("-TERM");
        let _ = self.process.wait();
    }
}

fn chat() -> Value {
    json!({"model": "gpt-4o-mini", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn run_puts_weir_before_an_endpoint_prints_records_and_ends_with_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), r#"{"identity":{"tenant":[{"header":"x-team"}]}}"#);
    let upstream =
        Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap();
    let url = format!("http://{}/v1", upstream.address());
    let mut running = Running::start(&["--upstream", &url, "--config", config.to_str().unwrap()]);
    let answer = running.ask("/chat/completions", &chat());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[DONE]"), "{answer}");
    let record = running.record();
    let facts = ["api", "tenant", "request_model", "ended"].map(|key| record[key].as_str().unwrap_or_default());
    assert_eq!(facts, ["openai.chat_completions", "blue", "gpt-4o-mini", "complete"], "{record}");
    assert_eq!(record["usage"]["output"], 9, "{record}");
    running.interrupt();
}

#[test]
fn run_refuses_a_wrong_config_before_it_starts_anything() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), r#"{"timing":{"stall_ms":-1}}"#);
    let told = weirctl(&["run", "--upstream", "https://api.openai.com", "--config", config.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(1));
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(error.contains("weir.json: timing.stall_ms: "), "{error}");
}

/// The embedded upstream behind a TLS listener: an Envoy with a certificate for `localhost`.
fn tls_upstream(dir: &Path) -> (weirctl::envoy::Envoy, Upstream, PathBuf) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let upstream =
        Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "Test CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let bootstrap = Bootstrap {
        routes: vec![Route::all("all", "upstream")],
        clusters: vec![Cluster::plain("upstream", upstream.address())],
        ..Bootstrap::default()
    };
    let mut json = bootstrap.to_json();
    json["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": certificate.pem()},
                    "private_key": {"inline_string": key.serialize_pem()},
                }],
            },
        },
    });
    let envoy = Launch::new(&binary::bring().unwrap()).workers(1).start_json(&json, 1).unwrap();
    (envoy, upstream, ca)
}

#[test]
fn run_speaks_tls_to_who_proves_its_name_and_to_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (envoy, _upstream, ca) = tls_upstream(dir.path());
    let port = envoy.address().port();
    let ca = ca.to_str().unwrap();
    let mut good = Running::start(&["--upstream", &format!("https://localhost:{port}"), "--ca", ca]);
    let answer = good.ask("/v1/chat/completions", &chat());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[DONE]"), "{answer}");
    assert_eq!(good.record()["ended"], "complete");
    // The certificate is for localhost, not for its address; and the system's CAs did not sign it.
    let address = format!("https://127.0.0.1:{port}");
    let local = format!("https://localhost:{port}");
    for arguments in [&["--upstream", &address, "--ca", ca][..], &["--upstream", &local][..]] {
        let mut bad = Running::start(arguments);
        let answer = bad.ask("/v1/chat/completions", &chat());
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_eq!(bad.record()["status"], 503);
    }
}

#[test]
fn the_demo_shows_what_envoy_counted() {
    let told = weirctl(&["demo", "--calls", "60", "--json"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
    let figures = &told["figures"];
    assert_eq!(figures["in_stats"], 60, "{told:#}");
    assert_eq!(figures["in_access_log"], 60);
    let rows = |table: &str| figures[table].as_array().unwrap().clone();
    for table in ["models", "routes", "tenants"] {
        let calls: u64 = rows(table).iter().map(|row| row["calls"].as_u64().unwrap()).sum();
        assert_eq!(calls, 60, "{table}: {:#}", figures[table]);
        let output: u64 = rows(table).iter().filter_map(|row| row["tokens"]["output"].as_u64()).sum();
        assert_eq!(Some(output), figures["total"]["tokens"]["output"].as_u64(), "{table}");
    }
    for kind in ["input", "output"] {
        assert_eq!(figures["tokens_in_access_log"][kind], figures["total"]["tokens"][kind], "{kind}");
    }
    // As the plan has it for so many calls; a rate limit, an overload and an error in a stream are all errors.
    let planned =
        json!({"client_abort": 2, "complete": 51, "error": 4, "refused": 1, "truncated": 1, "upstream_reset": 1});
    assert_eq!(figures["total"]["ended"], planned);
    assert!(figures["stalls"].as_u64().unwrap() >= 1);
    let total = &figures["total"];
    let time = |key: &str| total[key].as_f64().unwrap_or_else(|| panic!("{key}: {total}"));
    // The upstream takes at least 46 ms before it says anything; how much longer it took is the machine's business.
    assert!(time("first_token_p50_ms") > 46.0, "{total}");
    for key in ["first_token_p99_ms", "first_text_p50_ms", "inter_token_p50_ms", "inter_token_p99_ms", "tpot_p50_ms"] {
        assert!(time(key) > 0.0, "{key}: {total}");
    }
    assert!(total["tokens"]["reasoning"].as_u64().unwrap() > 0, "{total}");
    let text = told.to_string();
    assert!(!text.contains("sk-demo-key"), "no key reaches a record");
    assert!(!text.contains("How much water"), "no prompt reaches a record");
}

#[test]
fn in_the_demos_storm_no_user_is_refused_where_the_limit_is_shared() {
    let told = weirctl(&["demo", "--scenario", "storm", "--seconds", "8", "--json"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
    for side in ["share_off", "share_on"] {
        let side = &told[side];
        let number = |key: &str| side[key].as_u64().unwrap_or_else(|| panic!("{key}: {told:#}"));
        let [calls, refused, run_calls, run_refused] =
            ["users_calls", "users_refused", "run_calls", "run_refused"].map(number);
        // Whatever the machine's pace: each call is in the log and in the stats, and nothing but limits ended one.
        let in_stats = |verdict: &str| side["in_stats"][verdict].as_u64().unwrap_or(0);
        assert_eq!(number("failed"), 0, "{told:#}");
        assert_eq!(number("in_access_log"), calls + run_calls + run_refused, "{told:#}");
        assert_eq!(in_stats("pass"), calls - refused + run_calls, "{told:#}");
        assert_eq!(in_stats("refuse"), refused + run_refused, "{told:#}");
        assert!(calls > 100 && run_calls > 20, "{told:#}");
    }
    let on = &told["share_on"];
    assert_eq!((&on["users_refused"], &on["users_hit"]), (&json!(0), &json!(0)), "{told:#}");
    assert!(on["jain"].as_f64().unwrap() >= 0.99, "{told:#}");
}

#[test]
fn in_the_demos_outage_the_upstream_gets_a_tenth_more_calls_where_a_budget_holds_retries() {
    let told = weirctl(&["demo", "--scenario", "outage", "--seconds", "6", "--json"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
    let [off, on] = ["budget_off", "budget_on"].map(|side| {
        let side = &told[side];
        let number = |key: &str| side["total"][key].as_u64().unwrap_or_else(|| panic!("{key}: {told:#}"));
        // Whatever the machine's pace: Envoy's stats have what the upstream saw, and each user has a first try.
        assert_eq!(number("sent"), number("upstream"), "{told:#}");
        let phases = side["phases"].as_array().unwrap();
        assert_eq!(phases.len(), 5, "{told:#}");
        let actions: u64 = phases.iter().filter_map(|phase| phase["actions"].as_u64()).sum();
        assert_eq!((actions, number("first")), (120, 120), "{told:#}");
        ["sent", "refused"].map(number)
    });
    assert!(off[0] > 3 * 120 && off[1] == 0, "{told:#}");
    assert!(on[0] <= 120 + 120 / 10 && on[1] > 0, "{told:#}");
}
