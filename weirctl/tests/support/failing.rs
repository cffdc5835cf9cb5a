//! An Envoy with upstreams behind it that can fail.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};
use weirctl::prometheus;
use weirctl::upstream::faults::Faults;
use weirctl::upstream::{Options, Upstream};

/// What an upstream that fails tells who calls to wait; the SDKs keep to it.
const RETRY_AFTER_MS: u32 = 20;
/// Envoy's own bound on its retries (three at once in a cluster) is out of the way, as it is where more traffic has it raised.
const RETRIES_AT_ONCE: u32 = 10_000;

/// A stock Envoy with weir, and an upstream of its own behind each path prefix.
pub struct Bench {
    /// How the upstreams fail, and what they were asked, in the order of the prefixes.
    pub faults: Vec<Arc<Faults>>,
    pub envoy: Envoy,
    _upstreams: Vec<Upstream>,
}

/// What it is made of.
pub struct Plan<'a> {
    pub config: &'a Value,
    /// Route, cluster and upstream are called like the prefix, without the slashes.
    pub prefixes: &'a [&'a str],
    /// Envoy's own retries.
    pub retries: u32,
    pub access_log: Option<AccessLog>,
    pub workers: u32,
}

impl Bench {
    /// One upstream for all paths, two workers.
    pub fn start(config: &Value, retries: u32, access_log: Option<AccessLog>) -> Self {
        Self::of(Plan { config, prefixes: &["/"], retries, access_log, workers: 2 })
    }

    pub fn of(plan: Plan<'_>) -> Self {
        let Plan { config, prefixes, retries, access_log, workers } = plan;
        let faults: Vec<_> = prefixes.iter().map(|_| Arc::new(Faults::new(RETRY_AFTER_MS))).collect();
        let upstream = |faults: &Arc<Faults>| {
            let options = Options { at_once: true, faults: Some(Arc::clone(faults)), ..Options::default() };
            Upstream::start("127.0.0.1:0".parse().unwrap(), options).unwrap()
        };
        let upstreams: Vec<_> = faults.iter().map(upstream).collect();
        let names: Vec<String> = prefixes.iter().map(|prefix| format!("models{}", prefix.replace('/', "-"))).collect();
        let route = |(prefix, name): (&&str, &String)| Route { retries, ..Route::prefix(name, prefix, name) };
        let cluster = |(upstream, name): (&Upstream, &String)| Cluster {
            retries_at_once: Some(RETRIES_AT_ONCE),
            ..Cluster::plain(name, upstream.address())
        };
        let bootstrap = Bootstrap {
            filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(config).to_json()],
            routes: prefixes.iter().zip(&names).map(route).collect(),
            clusters: upstreams.iter().zip(&names).map(cluster).collect(),
            access_log,
            ..Bootstrap::default()
        };
        let envoy = Launch::new(&binary::bring().unwrap()).workers(workers).start(&bootstrap).unwrap();
        Self { faults, envoy, _upstreams: upstreams }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.envoy.address())
    }

    /// `weir_attempts_total` by outcome.
    pub fn attempts(&self) -> HashMap<String, u64> {
        let text = self.envoy.admin().get("/stats/prometheus?filter=weir_attempts").unwrap();
        let mut of = HashMap::new();
        for sample in prometheus::parse(&text).iter().filter(|sample| sample.name == "weir_attempts_total") {
            *of.entry(sample.label("outcome").to_owned()).or_default() += sample.value as u64;
        }
        of
    }
}
