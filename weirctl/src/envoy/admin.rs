//! Envoy's admin interface: small blocking reads.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of an answer; a full `/stats/prometheus` of many series takes a few MB.
const MOST: u64 = 256 << 20;

/// The admin interface of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    agent: ureq::Agent,
}

impl Admin {
    /// The one that listens there.
    pub fn at(address: SocketAddr) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None).build();
        Self { address, agent: config.into() }
    }

    /// The answer's text.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn get(&self, path: &str) -> Result<String> {
        let answer = self.agent.get(self.url(path)).call();
        Self::text(path, answer)
    }

    /// The same with POST, as admin wants it for what changes something.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn post(&self, path: &str) -> Result<String> {
        let answer = self.agent.post(self.url(path)).send_empty();
        Self::text(path, answer)
    }

    /// Whether Envoy is ready to serve.
    pub fn ready(&self) -> bool {
        self.get("/ready").is_ok()
    }

    /// Where the listeners listen, in the order of the bootstrap; fewer than there are while they are being bound.
    ///
    /// # Errors
    /// Nobody answers, or not in the form this knows.
    pub fn listeners(&self) -> Result<Vec<SocketAddr>> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json")?)?;
        let mut named: Vec<(&str, SocketAddr)> = Vec::new();
        for listener in listeners["listener_statuses"].as_array().into_iter().flatten() {
            let name = listener["name"].as_str().unwrap_or_default();
            let at = &listener["local_address"]["socket_address"];
            let host = at["address"].as_str().unwrap_or_default();
            let port = at["port_value"].as_u64().unwrap_or_default();
            let ip: std::net::IpAddr = host.parse().with_context(|| format!("a listener at `{host}`"))?;
            named.push((name, SocketAddr::new(ip, u16::try_from(port)?)));
        }
        // The bootstrap names them `0`, `1` …
        named.sort_by_key(|(name, _)| name.parse::<usize>().unwrap_or(usize::MAX));
        Ok(named.into_iter().map(|(_, at)| at).filter(|at| at.port() != 0).collect())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn text(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String> {
        let mut answer = answer.with_context(|| format!("Envoy's admin {path}"))?;
        let text = answer.body_mut().with_config().limit(MOST).read_to_string()?;
        match answer.status().as_u16() {
            200 => Ok(text),
            status => bail!("Envoy's admin {path}: {status} {text}"),
        }
    }
}
