//! `weirctl run`: a real endpoint behind Envoy and weir, with one command.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper::Uri;

use crate::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, Tls, WeirFilter, binary, wasm};
use crate::{check, stop};

/// Between two looks at whether Envoy still runs.
const LOOK: Duration = Duration::from_millis(200);

/// Where systems keep the certificates of the CAs they trust, in one file.
const CA_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Arguments of `weirctl run`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The endpoint: http:// or https://, a host, maybe a port and a path that goes in front of every request's.
    #[arg(long)]
    upstream: Upstream,
    /// Weir's configuration, a JSON file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where clients come in, with HTTP/1.1 or HTTP/2.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The file that gets a record per call, a line each. Default: standard output.
    #[arg(long)]
    records: Option<PathBuf>,
    /// The PEM file of CAs to trust instead of the system's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Envoy's worker threads.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// An endpoint, as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    tls: bool,
    host: String,
    port: u16,
    /// Begins with `/` and does not end with one; empty if there is none.
    path: String,
}

impl FromStr for Upstream {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let uri: Uri = text.parse().with_context(|| format!("`{text}` is no URL"))?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => bail!("`{text}` begins with neither http:// nor https://"),
        };
        ensure!(uri.query().is_none(), "an upstream has no query");
        let authority = uri.authority().context("the URL names no host")?;
        ensure!(!authority.as_str().contains('@'), "keys and passwords belong in the client's requests");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "the URL names no host");
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(port), path })
    }
}

impl Upstream {
    /// What stands in `host`: the port only where it is not the scheme's own.
    fn authority(&self) -> String {
        let host = if self.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Runs until it is interrupted.
///
/// # Errors
/// The config is wrong, there are no CAs to trust, or Envoy cannot be brought or started.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let config = match &arguments.config {
        Some(path) => check::read(path)?,
        None => String::new(),
    };
    let upstream = &arguments.upstream;
    let cluster = cluster(upstream, arguments.ca.as_deref())?;
    resolves(upstream);
    let wasm = wasm::build_aloud()?;
    let records = arguments.records.as_deref().map(std::path::absolute).transpose()?;
    let filter = WeirFilter::new(&wasm).config(config);
    let bootstrap = bootstrap(arguments.listen, upstream, cluster, filter, records.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = stop::signal(&runtime);
    let launch = Launch::new(&binary::bring()?).workers(arguments.workers).show_output(records.is_none());
    let mut envoy = launch.start(&bootstrap)?;
    tell(&envoy, upstream, records.as_deref());
    runtime.block_on(async {
        loop {
            if let Some(status) = envoy.exited()? {
                // The same Ctrl-C goes to Envoy.
                if stop.raised() || status.success() {
                    return Ok(ExitCode::SUCCESS);
                }
                bail!("Envoy ended by itself ({status}):\n{}", envoy.log());
            }
            tokio::select! {
                () = stop.wait() => return Ok(ExitCode::SUCCESS),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    })
}

fn cluster(upstream: &Upstream, ca: Option<&Path>) -> Result<Cluster> {
    let tls = match (upstream.tls, ca) {
        (false, Some(_)) => bail!("--ca is for an https upstream"),
        (false, None) => None,
        (true, Some(path)) => {
            ensure!(path.is_file(), "{} is no file", path.display());
            Some(Tls { trusted_ca: std::path::absolute(path)? })
        }
        (true, None) => Some(Tls { trusted_ca: system_cas()? }),
    };
    Ok(Cluster {
        name: "upstream".into(),
        host: upstream.host.clone(),
        port: upstream.port,
        tls,
        retries_at_once: None,
    })
}

fn system_cas() -> Result<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = CA_FILES.iter().map(PathBuf::from);
    named
        .into_iter()
        .chain(usual)
        .find(|path| path.is_file())
        .context("no file of trusted CAs at the usual places; name one with --ca or SSL_CERT_FILE")
}

/// Says so if the host's name does not resolve; it may later, so it is no error.
fn resolves(upstream: &Upstream) {
    if let Err(error) = (upstream.host.as_str(), upstream.port).to_socket_addrs() {
        eprintln!("weirctl: {} does not resolve now ({error}); Envoy will go on trying", upstream.host);
    }
}

fn bootstrap(
    listen: SocketAddr,
    upstream: &Upstream,
    cluster: Cluster,
    filter: WeirFilter,
    records: Option<&Path>,
) -> Bootstrap {
    let route = Route {
        rewrite: (!upstream.path.is_empty()).then(|| format!("{}/", upstream.path)),
        host: Some(upstream.authority()),
        ..Route::all("all", &cluster.name)
    };
    Bootstrap {
        listen: vec![listen],
        filters: vec![filter.to_json()],
        routes: vec![route],
        clusters: vec![cluster],
        access_log: Some(records.map_or(AccessLog::Stdout, |path| AccessLog::Records(path.to_owned()))),
        stats_flush_ms: 1000,
        trailers: true,
    }
}

fn tell(envoy: &Envoy, upstream: &Upstream, records: Option<&Path>) {
    let at = envoy.address();
    // What clients can reach: an address that means all is none to go to.
    let shown = if at.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())) } else { at };
    let records = records.map_or("standard output".into(), |path| path.display().to_string());
    eprintln!("  http://{shown} goes to {} through Envoy and weir", upstream.url());
    eprintln!("  records go to {records}, a line per call");
    eprintln!("  metrics are at http://{}/stats/prometheus?filter=weir_", envoy.admin().address);
    eprintln!("  Ctrl-C ends it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_read_from_its_url() {
        for (url, authority, path, shown) in [
            ("https://api.openai.com", "api.openai.com", "", "https://api.openai.com"),
            ("https://api.groq.com/openai/", "api.groq.com", "/openai", "https://api.groq.com/openai"),
            ("http://localhost:11434", "localhost:11434", "", "http://localhost:11434"),
            ("http://x:80/", "x", "", "http://x"),
            ("https://[::1]:8443/a/b", "[::1]:8443", "/a/b", "https://[::1]:8443/a/b"),
        ] {
            let upstream: Upstream = url.parse().unwrap();
            assert_eq!((upstream.authority().as_str(), upstream.path.as_str()), (authority, path), "{url}");
            assert_eq!(upstream.url(), shown);
        }
        for wrong in ["api.openai.com", "ftp://x", "https://", "https://x/?a=b", "https://key:secret@x", ""] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
    }
}
