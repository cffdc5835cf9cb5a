//! A raw client, Envoy with weir, a raw upstream; and what Envoy says of it all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use weirctl::envoy::admin::Admin;
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};

use super::client::{Answer, Client, PATIENCE, post};
use super::raw::{Raw, Step, chunked};

pub const CHAT: &str = "/v1/chat/completions";
pub const ASK: &[u8] = br#"{"model":"m","stream":true}"#;
/// Answered by Envoy itself.
pub const OUTCOME: &str = "/.weir/outcome";
pub const SSE: &str = "text/event-stream";
/// A streamed chat answer, event by event.
pub const EVENTS: [&[u8]; 4] = [
    b"data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
    b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n",
    b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}\n\n",
    b"data: [DONE]\n\n",
];

/// How an Envoy is set up.
pub struct Setup {
    /// Weir's configuration; without one there is no weir.
    pub weir: Option<Value>,
    pub hold_headers: bool,
    /// HTTP/2 to the upstream.
    pub h2: bool,
    /// How much Envoy may hold back for a slow reader, in bytes per side; nothing for what people have.
    pub buffer: Option<u32>,
    /// The upstream's address, if it is no raw one.
    pub upstream: Option<SocketAddr>,
    pub workers: u32,
    /// The filter comes from a file that Envoy watches: see [`Rig::replace`].
    pub watched: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            weir: Some(json!({})),
            hold_headers: false,
            h2: false,
            buffer: Some(1 << 20),
            upstream: None,
            workers: 1,
            watched: false,
        }
    }
}

/// The file that is watched.
const RESOURCE: &str = "weir.json";
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

fn filter(wasm: &Path, config: &Value, hold_headers: bool) -> Value {
    WeirFilter { hold_headers, ..WeirFilter::new(wasm).config(config) }.to_json()
}

/// A filter as Envoy reads it from a watched file.
fn resource(filter: Value, version: u32) -> String {
    let mut filter = filter;
    filter["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
    json!({"version_info": version.to_string(), "resources": [filter]}).to_string()
}

/// The number of requests that an Envoy has heard of since its start.
pub fn heard_of(admin: &Admin) -> u64 {
    let stats = admin.get("/stats?filter=^http.llm.downstream_rq_total$").unwrap();
    stats.trim().rsplit(' ').next().unwrap().parse().unwrap()
}

pub struct Rig {
    pub envoy: Envoy,
    pub upstream: Raw,
    log: PathBuf,
    dir: TempDir,
    hold_headers: bool,
    /// The VMs that were there at the start.
    vms: Vec<String>,
}

impl Rig {
    /// Weir with nothing configured.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.jsonl");
        let upstream = Raw::start();
        let filter = |config: &Value| {
            let filter = filter(&wasm::build().unwrap(), config, setup.hold_headers);
            if !setup.watched {
                return filter;
            }
            let (path, watched) = (dir.path().join(RESOURCE), json!({"path": dir.path()}));
            std::fs::write(&path, resource(filter, 0)).unwrap();
            let source = json!({"path_config_source": {"path": path, "watched_directory": watched}, "resource_api_version": "V3"});
            json!({"name": "weir", "config_discovery": {"config_source": source, "type_urls": [WASM_FILTER]}})
        };
        let bootstrap = Bootstrap {
            filters: setup.weir.iter().map(filter).collect(),
            routes: vec![Route::all("all", "llm")],
            clusters: vec![Cluster::plain("llm", setup.upstream.unwrap_or(upstream.address))],
            access_log: Some(AccessLog::Json(log.clone())),
            trailers: true,
            ..Bootstrap::default()
        };
        let mut bootstrap = bootstrap.to_json();
        bootstrap["node"] = json!({"id": "weir", "cluster": "llm"});
        let manager =
            &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]);
        manager["proxy_100_continue"] = json!(true);
        // A connection ends when its last bytes are written. Else a client waits a second for the end of one whose answer broke off; and with
        // less than a second, an Envoy that a busy machine leaves no time to write closes it with nothing written.
        manager["delayed_close_timeout"] = json!("0s");
        manager["max_request_headers_kb"] = json!(512);
        manager["common_http_protocol_options"] = json!({"max_headers_count": 2000});
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
        let mut connect = routes[0].clone();
        connect["match"] = json!({"connect_matcher": {}});
        routes.push(connect);
        // How an application says that a run is over without a call of its own (docs/runs.md).
        routes.insert(0, json!({"name": "outcome", "match": {"path": OUTCOME}, "direct_response": {"status": 204}}));
        for side in ["listeners", "clusters"] {
            if let Some(bytes) = setup.buffer {
                bootstrap["static_resources"][side][0]["per_connection_buffer_limit_bytes"] = json!(bytes);
            }
        }
        let cluster = &mut bootstrap["static_resources"]["clusters"][0];
        let protocol =
            &mut cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        protocol["common_http_protocol_options"] = json!({"max_headers_count": 2000, "max_response_headers_kb": 512});
        if setup.h2 {
            protocol["explicit_http_config"] = json!({"http2_protocol_options": {}});
        }
        let envoy = Launch::new(&binary::bring().unwrap()).workers(setup.workers).start_json(&bootstrap, 1).unwrap();
        let mut rig = Self { envoy, upstream, log, dir, hold_headers: setup.hold_headers, vms: Vec::new() };
        rig.vms = rig.vms();
        assert_eq!(rig.vms.is_empty(), setup.weir.is_none(), "{:?}", rig.vms);
        rig
    }

    /// Replaces the filter of a watched rig: another config, and if wanted another file of it, so another VM.
    pub fn replace(&self, version: u32, config: &Value, other_file: bool) {
        let mut file = wasm::build().unwrap();
        if other_file {
            let copy = self.dir.path().join(format!("weir-{version}.wasm"));
            std::fs::copy(&file, &copy).unwrap();
            file = copy;
        }
        let new = self.dir.path().join("new.json");
        std::fs::write(&new, resource(filter(&file, config, self.hold_headers), version)).unwrap();
        std::fs::rename(new, self.dir.path().join(RESOURCE)).unwrap();
        let begun = Instant::now();
        loop {
            let taken = format!("http_filter.weir.config_reload: {}", version + 1);
            if self.envoy.admin().get("/stats?filter=config_reload").unwrap().contains(&taken) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not replaced: {}", self.envoy.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.envoy.address())
    }

    /// A streamed chat call, answered by these steps.
    pub fn chat(&self, case: &str, steps: Vec<Step>) -> Answer {
        self.upstream.on(case, steps);
        let mut client = self.connect();
        client.send(&post(CHAT, &[("x-case", case)], ASK));
        client.answer("POST")
    }

    /// Waits until Envoy has heard of so many requests since its start, whatever becomes of them: with one worker, all of them are
    /// at the filter before it looks at what is sent afterwards.
    pub fn hears_of(&self, requests: u64) {
        let begun = Instant::now();
        while self.heard_of() < requests {
            assert!(begun.elapsed() < PATIENCE, "no {requests} requests: {}", self.envoy.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The number of requests that Envoy has heard of since its start.
    pub fn heard_of(&self) -> u64 {
        heard_of(self.envoy.admin())
    }

    /// The call's records so far, by case.
    pub fn records(&self) -> HashMap<String, Value> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let record = |line: &Value| serde_json::from_str(line["record"].as_str()?).ok();
        lines.filter_map(|line| Some((line["case"].as_str().unwrap_or("-").to_owned(), record(&line)?))).collect()
    }

    /// The access log so far, as it stands in its file.
    pub fn log_bytes(&self) -> Vec<u8> {
        std::fs::read(&self.log).unwrap()
    }

    /// A case's record, as soon as it is there.
    pub fn record(&self, case: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(record) = self.records().remove(case) {
                return record;
            }
            assert!(begun.elapsed() < PATIENCE, "no record of `{case}`: {}", self.envoy.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How a case ended.
    pub fn ended(&self, case: &str) -> String {
        self.record(case)["ended"].as_str().unwrap().to_owned()
    }

    /// An ordinary call comes through, and no VM has failed since the start.
    pub fn is_healthy_after(&self, case: &str) {
        let healthy = format!("healthy after {case}");
        let answer = self.chat(&healthy, chunked(SSE, &EVENTS));
        assert_eq!((answer.status, answer.whole), (200, true), "{healthy}: {}", self.envoy.log());
        assert_eq!(answer.body, EVENTS.concat(), "{healthy}");
        self.has_no_failed_vm(case);
    }

    /// No VM has failed since the start.
    pub fn has_no_failed_vm(&self, case: &str) {
        let log = self.envoy.log();
        for word in ["in-VM failure", "Uncaught", "panicked", "RuntimeError", "bad configuration"] {
            assert!(!log.contains(word), "{case}: {log}");
        }
        assert_eq!(self.vms(), self.vms, "{case}: VMs came and went: {log}");
    }

    /// Envoy's own numbers of its VMs.
    fn vms(&self) -> Vec<String> {
        let stats = self.envoy.admin().get("/stats?filter=wasm\\.").unwrap();
        let lines = stats.lines().filter(|line| !line.starts_with("wasmcustom."));
        lines.map(str::to_owned).collect()
    }

    /// Resident memory of the Envoy process, in KB.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.envoy.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}
