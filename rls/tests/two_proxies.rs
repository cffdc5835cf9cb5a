//! `envoy/global-limits/` as it stands, in two real Envoys that ask one Rate Limit Service.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use support::http::{PATIENCE, chat, eventually};
use support::{deploy, root};
use weir_rls::{Asked, Memory, Rls, Rules};
use weirctl::envoy::{Envoy, Launch, binary, wasm};
use weirctl::upstream::{Options, Upstream};

const ENVOY: &str = "envoy/global-limits/envoy.yaml";
const LIMITS: &str = "envoy/global-limits/ratelimit.yaml";
const ANYWHERE: &str = "127.0.0.1:0";

/// A Rate Limit Service with the shipped limits, and what it is asked.
fn service() -> (Rls, Receiver<Asked>) {
    let (tell, told) = channel();
    let rules = Rules::read(&root().join(LIMITS)).unwrap();
    let counters = Box::new(Memory::new(&rules).unwrap());
    (Rls::start(ANYWHERE.parse().unwrap(), rules, counters, tell).unwrap(), told)
}

fn upstream() -> Upstream {
    Upstream::start(ANYWHERE.parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap()
}

/// An Envoy with the shipped configuration, changed by `change`.
fn proxy(rls: SocketAddr, upstream: SocketAddr, change: impl Fn(&mut Value)) -> Envoy {
    let stage = deploy::stage(&wasm::build().unwrap());
    let at = |cluster: &str| if cluster == "ratelimit" { rls } else { upstream };
    let mut bootstrap = deploy::bootstrap(ENVOY, stage.path(), at);
    change(&mut bootstrap);
    Launch::new(&binary::bring().unwrap()).start_json(&bootstrap, 1).unwrap()
}

/// Two that ask the same service.
fn proxies(rls: &Rls, upstream: &Upstream) -> [Envoy; 2] {
    [(); 2].map(|()| proxy(rls.address(), upstream.address(), |_| ()))
}

/// What a client got.
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A streamed call; `demo` says what its answer is like.
fn call(at: SocketAddr, path: &str, headers: &[(&str, &str)], demo: &str) -> Got {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.post(format!("http://{at}{path}")).header("content-type", "application/json");
    for (name, value) in headers.iter().chain(&[("x-demo", demo)]) {
        request = request.header(*name, *value);
    }
    let body = match path {
        "/v1/messages" => json!({"model": "claude", "stream": true, "max_tokens": 1000, "messages": []}),
        _ => chat("gpt-4o"),
    };
    let mut answer = request.send(body.to_string()).unwrap();
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Got {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: answer.body_mut().read_to_vec().unwrap(),
    }
}

/// A call that is broken off by its client once the answer has begun.
fn broken_off_call(at: SocketAddr, tenant: &str) {
    let body = chat("gpt-4o").to_string();
    let mut socket = TcpStream::connect(at).unwrap();
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nx-tenant: {tenant}\r\nx-demo: tokens=9,end=hang");
    write!(socket, "{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&got).contains("\"content\":\"") {
        let read = socket.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
        got.extend(&piece[..read]);
    }
}

/// Waits until the service has been asked so many times.
fn asked(told: &Receiver<Asked>, times: usize) -> Vec<Asked> {
    let next = || told.recv_timeout(PATIENCE).expect("the service is asked");
    (0..times).map(|_| next()).collect()
}

/// Records of so many calls, from both access logs.
fn records(envoys: &[Envoy; 2], calls: usize) -> Vec<Value> {
    eventually("all records", || {
        let logs = envoys.each_ref().map(Envoy::log).concat();
        let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Some(lines.map(|line| line["record"].clone()).filter(Value::is_object).collect::<Vec<_>>())
            .filter(|records| records.len() == calls)
    })
}

fn counter(envoy: &Envoy, name: &str) -> u64 {
    let stats = envoy.admin().get(&format!("/stats?filter={name}")).unwrap();
    stats.lines().filter_map(|line| line.rsplit(": ").next()?.parse::<u64>().ok()).sum()
}

#[test]
fn one_limit_holds_over_two_proxies_and_for_each_tenant_apart() {
    let ((rls, told), upstream) = (service(), upstream());
    let [a, b] = &proxies(&rls, &upstream);
    // Of the million tokens an hour that a tenant has.
    let demo = "prompt=399990,tokens=10";
    for (envoy, path, tenant, status, charged, over) in [
        (a, "/v1/chat/completions", "globex", 200, 400_000, false),
        (b, "/v1/messages", "globex", 200, 400_000, false),
        // Less than a call is left, but something: it passes, and only then is the limit over.
        (a, "/v1/chat/completions", "globex", 200, 400_000, true),
        (a, "/v1/chat/completions", "globex", 429, 0, true),
        (b, "/v1/messages", "globex", 429, 0, true),
        (a, "/v1/chat/completions", "initech", 200, 400_000, false),
        (b, "/v1/messages", "initech", 200, 400_000, false),
        // It has five million.
        (a, "/v1/messages", "acme", 200, 400_000, false),
        (b, "/v1/chat/completions", "globex", 429, 0, true),
    ] {
        let got = call(envoy.address(), path, &[("x-tenant", tenant)], demo);
        assert_eq!(got.status, status, "{tenant}: {}", String::from_utf8_lossy(&got.body));
        let asked = asked(&told, 2);
        let descriptor = format!("unit=tokens,tenant={tenant}");
        assert!(asked.iter().all(|asked| asked.descriptor == descriptor), "{asked:?}");
        // A look at the request, the charge at the end.
        assert_eq!([asked[0].hits, asked[1].hits], [0, charged], "{tenant}");
        assert_eq!(asked[1].count.unwrap().over, over, "{tenant}");
        if status == 429 {
            let body: Value = serde_json::from_slice(&got.body).unwrap();
            let error = if path == "/v1/messages" { "/error/type" } else { "/error/code" };
            let kind = body.pointer(error).and_then(Value::as_str).unwrap_or_default();
            assert!(kind.starts_with("rate_limit_e"), "{body}");
            let seconds = |name: &str| got.headers[name].parse::<u64>().unwrap();
            assert!((3000..=3600).contains(&seconds("retry-after")), "{:?}", got.headers);
            assert_eq!(seconds("x-ratelimit-remaining"), 0);
        }
    }
}

#[test]
fn what_the_service_charged_is_the_sum_of_usage_in_both_access_logs() {
    let ((rls, told), upstream) = (service(), upstream());
    let envoys = proxies(&rls, &upstream);
    let answers = [
        ("/v1/chat/completions", "prompt=100,tokens=7"),
        ("/v1/messages", "prompt=90,cached=40,tokens=30"),
        ("/v1/chat/completions", "prompt=50,tokens=20,reasoning=64"),
        ("/v1/chat/completions", "tokens=12,usage=none"),
        ("/v1/chat/completions", "status=500"),
        ("/v1/messages", "prompt=70,tokens=30,end=error"),
        ("/v1/messages", "prompt=80,tokens=5,encoding=gzip"),
    ];
    for envoy in &envoys {
        for (path, demo) in &answers {
            call(envoy.address(), path, &[("x-tenant", "globex")], demo);
        }
        broken_off_call(envoy.address(), "globex");
    }
    let calls = envoys.len() * (answers.len() + 1);
    let asked = asked(&told, 2 * calls);
    let records = records(&envoys, calls);
    let tokens = |record: &Value, kind: &str| record["usage"][kind].as_u64().unwrap_or(0);
    let used: u64 = records.iter().map(|record| tokens(record, "input") + tokens(record, "output")).sum();
    let charged: u64 = asked.iter().map(|asked| asked.hits).sum();
    assert_eq!(charged, used);
    let least = asked.iter().map(|asked| asked.count.unwrap().left).min().unwrap();
    assert_eq!(1_000_000 - least, used);
    // All that can become of a call was there.
    let is =
        |key: &str, value: &str| records.iter().filter(|r| r["ended"] == value || r["usage"][key] == value).count();
    for value in ["complete", "client_abort", "error", "reported", "estimated", "none"] {
        assert!(is("source", value) > 0, "no call was {value}: {records:#?}");
    }
    let aborted = records.iter().find(|record| record["ended"] == "client_abort").unwrap();
    assert!(tokens(aborted, "output") > 0, "{aborted:#}");
}

#[test]
fn a_call_counts_for_its_tenant_for_its_user_within_it_and_without_a_tenant_for_nobody() {
    let ((rls, told), upstream) = (service(), upstream());
    let [a, _] = &proxies(&rls, &upstream);
    for (headers, descriptors) in [
        (&[("x-tenant", "acme")][..], &["unit=tokens,tenant=acme"][..]),
        (&[("x-tenant", "acme"), ("x-user", "ada")], &["unit=tokens,tenant=acme", "unit=tokens,tenant=acme,user=ada"]),
        (&[], &["unit=tokens,tenant=none"]),
        (&[("x-user", "ada")], &["unit=tokens,tenant=none"]),
    ] {
        assert_eq!(call(a.address(), "/v1/messages", headers, "prompt=10,tokens=5").status, 200);
        for hits in [0, 15] {
            let asked = asked(&told, descriptors.len());
            assert!(asked.iter().all(|asked| asked.hits == hits && asked.count.is_some()), "{asked:?}");
            let names: Vec<_> = asked.iter().map(|asked| asked.descriptor.as_str()).collect();
            assert_eq!(names, descriptors);
        }
    }
}

#[test]
fn while_the_service_is_away_calls_pass_or_are_refused_as_configured() {
    for (deny, status, counted) in [(false, 200, "failure_mode_allowed"), (true, 500, "ratelimit.error")] {
        let ((rls, told), upstream) = (service(), upstream());
        let configured = |bootstrap: &mut Value| {
            support::yaml::each(bootstrap, &mut |value| {
                if value.get("failure_mode_deny").is_some() {
                    value["failure_mode_deny"] = json!(deny);
                }
            });
        };
        let envoys = [(); 2].map(|()| proxy(rls.address(), upstream.address(), configured));
        let call =
            |envoy: &Envoy| call(envoy.address(), "/v1/messages", &[("x-tenant", "globex")], "prompt=1,tokens=1");
        for envoy in &envoys {
            assert_eq!(call(envoy).status, 200);
        }
        asked(&told, 4);
        drop(rls);
        for envoy in &envoys {
            assert_eq!(call(envoy).status, status);
            assert_eq!(counter(envoy, counted), 1, "{counted}");
        }
    }
}

/// A Redis at a socket of its own; it ends when this goes.
#[cfg(feature = "redis")]
struct Redis {
    server: std::process::Child,
    url: String,
    _dir: tempfile::TempDir,
}

#[cfg(feature = "redis")]
impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One that runs; nothing (said loudly) where there is none to start.
#[cfg(feature = "redis")]
fn redis() -> Option<Redis> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("redis.sock");
    let mut command = std::process::Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).current_dir(dir.path());
    let Ok(server) = command.stdout(std::process::Stdio::null()).spawn() else {
        let _ = writeln!(std::io::stderr().lock(), "\n!! SKIPPED: limits in Redis: there is no `redis-server`");
        return None;
    };
    let redis = Redis { server, url: format!("unix://{}", socket.display()), _dir: dir };
    eventually("Redis", || std::os::unix::net::UnixStream::connect(&socket).ok());
    Some(redis)
}

#[test]
#[cfg(feature = "redis")]
fn two_services_over_one_redis_hold_one_limit_and_a_new_one_finds_it_as_it_was() {
    let Some(redis) = redis() else { return };
    let serve = || {
        let (tell, told) = channel();
        let rules = Rules::read(&root().join(LIMITS)).unwrap();
        let counters = Box::new(weir_rls::Redis::new(&rules, &redis.url).unwrap());
        (Rls::start(ANYWHERE.parse().unwrap(), rules, counters, tell).unwrap(), told)
    };
    let upstream = upstream();
    let services = [serve(), serve()];
    let envoys = services.each_ref().map(|(rls, _)| proxy(rls.address(), upstream.address(), |_| ()));
    let call = |envoy: &Envoy| {
        call(envoy.address(), "/v1/messages", &[("x-tenant", "globex")], "prompt=399990,tokens=10").status
    };
    for (at, status, left) in [(0, 200, 600_000), (1, 200, 200_000), (0, 200, 0), (1, 429, 0), (0, 429, 0)] {
        assert_eq!(call(&envoys[at]), status);
        assert_eq!(asked(&services[at].1, 2)[1].count.unwrap().left, left);
    }
    drop(services);
    let (rls, _told) = serve();
    assert_eq!(call(&proxy(rls.address(), upstream.address(), |_| ())), 429);
}
