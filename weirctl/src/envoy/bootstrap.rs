//! Envoy's bootstrap, as far as weir wants it: listeners, filters, routes by path prefix, clusters, the access log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::stats;

/// Where the record stands in an access log's format.
pub const RECORD: &str = "%FILTER_STATE(wasm.weir.record:PLAIN)%";

/// A held request body, and what waits for a slow reader, in bytes. Envoy's default of 1 MiB is small for prompts with
/// pictures in them.
const BUFFER_BYTES: u32 = 32 << 20;

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

/// A bootstrap of Envoy: plain data, turned into JSON by [`Bootstrap::to_json`].
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where to listen; port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// HTTP filters in their order; the router is put behind them.
    pub filters: Vec<Value>,
    /// The first one that fits is taken.
    pub routes: Vec<Route>,
    /// The upstreams.
    pub clusters: Vec<Cluster>,
    /// The access log, if there is to be one.
    pub access_log: Option<AccessLog>,
    /// How often histograms are merged and seen at the admin interface, in milliseconds.
    pub stats_flush_ms: u32,
    /// Whether HTTP/1.1 trailers are passed on.
    pub trailers: bool,
}

impl Default for Bootstrap {
    /// One listener at any free port of 127.0.0.1, nothing behind it.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            filters: Vec::new(),
            routes: Vec::new(),
            clusters: Vec::new(),
            access_log: None,
            stats_flush_ms: 200,
            trailers: false,
        }
    }
}

/// Where one line per call goes.
#[derive(Clone, Debug)]
pub enum AccessLog {
    /// To Envoy's standard output: the record and nothing else (`-` where there is none).
    Stdout,
    /// To a file: the record and nothing else (`-` where there is none).
    Records(PathBuf),
    /// To a file: an object; the record stands in `record`, as a string, beside what Envoy itself knows: `method`,
    /// `path`, `code`, `details`, `flags`, `route`, `bytes`, `case` (the request's `x-case` header), `protocol` and `start`
    /// (seconds since the epoch, as a string).
    Json(PathBuf),
}

/// A route by path prefix.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Its name: weir's label `route`.
    pub name: String,
    /// What the path begins with.
    pub prefix: String,
    /// What goes in the prefix's place.
    pub rewrite: Option<String>,
    /// The `host` that the upstream gets instead of the client's.
    pub host: Option<String>,
    /// The cluster's name.
    pub cluster: String,
    /// Envoy's own retries, for connection failures and 5xx; none if 0.
    pub retries: u32,
}

impl Route {
    /// All paths to one cluster.
    pub fn all(name: &str, cluster: &str) -> Self {
        Self::prefix(name, "/", cluster)
    }

    /// A path prefix to a cluster; the prefix goes on to the upstream.
    pub fn prefix(name: &str, prefix: &str, cluster: &str) -> Self {
        Self { name: name.into(), prefix: prefix.into(), cluster: cluster.into(), ..Self::default() }
    }

    fn to_json(&self) -> Value {
        let mut action = json!({"cluster": self.cluster, "timeout": "0s", "idle_timeout": "0s"});
        if let Some(rewrite) = &self.rewrite {
            action["prefix_rewrite"] = json!(rewrite);
        }
        if let Some(host) = &self.host {
            action["host_rewrite_literal"] = json!(host);
        }
        if self.retries > 0 {
            action["retry_policy"] =
                json!({"retry_on": "connect-failure,refused-stream,reset,5xx", "num_retries": self.retries});
        }
        json!({"name": self.name, "match": {"prefix": self.prefix}, "route": action})
    }
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name: weir's `cluster`.
    pub name: String,
    /// A host name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS to it, or plain HTTP.
    pub tls: Option<Tls>,
    /// How many of Envoy's own retries may run at once; Envoy's default of 3 if there is none.
    pub retries_at_once: Option<u32>,
}

/// TLS to an upstream. Its name is sent (SNI) and wanted in its certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates of the CAs to trust, in one PEM file.
    pub trusted_ca: PathBuf,
}

impl Cluster {
    /// Plain HTTP/1.1 to an address.
    pub fn plain(name: &str, at: SocketAddr) -> Self {
        Self { name: name.into(), host: at.ip().to_string(), port: at.port(), tls: None, retries_at_once: None }
    }

    fn to_json(&self) -> Value {
        let is_ip = self.host.parse::<std::net::IpAddr>().is_ok();
        let mut cluster = json!({
            "name": self.name,
            "type": if is_ip { "STATIC" } else { "LOGICAL_DNS" },
            "connect_timeout": "10s",
            "per_connection_buffer_limit_bytes": BUFFER_BYTES,
            "load_assignment": {"cluster_name": self.name, "endpoints": [{"lb_endpoints": [{"endpoint": {
                "address": {"socket_address": {"address": self.host, "port_value": self.port}}
            }}]}]},
        });
        if let Some(most) = self.retries_at_once {
            cluster["circuit_breakers"] = json!({"thresholds": [{"max_retries": most}]});
        }
        if !is_ip {
            cluster["dns_lookup_family"] = json!("V4_PREFERRED");
        }
        let mut protocol = json!({"explicit_http_config": {"http_protocol_options": {"enable_trailers": true}}});
        if let Some(tls) = &self.tls {
            // ALPN says which protocol it is to be.
            protocol = json!({"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}});
            cluster["transport_socket"] = tls.to_json(&self.host, is_ip);
        }
        protocol["@type"] = json!(format!("{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"));
        cluster["typed_extension_protocol_options"] =
            json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol});
        cluster
    }
}

impl Tls {
    fn to_json(&self, host: &str, is_ip: bool) -> Value {
        let kind = if is_ip { "IP_ADDRESS" } else { "DNS" };
        let mut context = json!({
            "@type": format!("{EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext"),
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": self.trusted_ca},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
            }},
        });
        if !is_ip {
            context["sni"] = json!(host);
        }
        json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
    }
}

/// Weir as an HTTP filter.
#[derive(Clone, Debug)]
pub struct WeirFilter {
    /// The .wasm.
    pub wasm: PathBuf,
    /// Weir's own configuration: JSON, or nothing.
    pub config: String,
    /// Lets the request's body come while its headers are held (Istio's WasmPlugin never does).
    pub hold_headers: bool,
}

impl WeirFilter {
    /// The .wasm with nothing configured.
    pub fn new(wasm: &Path) -> Self {
        Self { wasm: wasm.to_owned(), config: String::new(), hold_headers: false }
    }

    /// The same with a configuration.
    pub fn config(self, config: impl ToString) -> Self {
        Self { config: config.to_string(), ..self }
    }

    /// An entry of [`Bootstrap::filters`].
    pub fn to_json(&self) -> Value {
        let mut plugin = json!({
            "name": "weir",
            "root_id": "weir",
            "vm_config": {
                "vm_id": "weir",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": self.wasm}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": self.config},
            "failure_policy": "FAIL_RELOAD",
        });
        if self.hold_headers {
            plugin["allow_on_headers_stop_iteration"] = json!(true);
        }
        json!({
            "name": "weir",
            "typed_config": {"@type": format!("{EXTENSIONS}.filters.http.wasm.v3.Wasm"), "config": plugin},
        })
    }
}

impl AccessLog {
    fn to_json(&self) -> Value {
        let record = json!({"text_format_source": {"inline_string": format!("{RECORD}\n")}});
        let (path, format) = match self {
            Self::Stdout => {
                return json!({
                    "name": "envoy.access_loggers.stdout",
                    "typed_config": {
                        "@type": format!("{EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog"),
                        "log_format": record,
                    },
                });
            }
            Self::Records(path) => (path, record),
            Self::Json(path) => (
                path,
                json!({"json_format": {
                    "case": "%REQ(x-case)%",
                    "method": "%REQ(:METHOD)%",
                    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
                    "protocol": "%PROTOCOL%",
                    "route": "%ROUTE_NAME%",
                    "code": "%RESPONSE_CODE%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "flags": "%RESPONSE_FLAGS%",
                    "bytes": "%BYTES_SENT%",
                    "record": RECORD,
                    "start": "%START_TIME(%s.%3f)%",
                }}),
            ),
        };
        json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": format!("{EXTENSIONS}.access_loggers.file.v3.FileAccessLog"),
                "path": path,
                "log_format": format,
            },
        })
    }
}

impl Bootstrap {
    /// The bootstrap as Envoy reads it. The admin interface is at any free port of 127.0.0.1.
    pub fn to_json(&self) -> Value {
        let listeners: Vec<Value> = self.listen.iter().enumerate().map(|(i, at)| self.listener(i, *at)).collect();
        let clusters: Vec<Value> = self.clusters.iter().map(Cluster::to_json).collect();
        json!({
            "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "stats_config": stats::config(),
            "stats_flush_interval": format!("{}.{:03}s", self.stats_flush_ms / 1000, self.stats_flush_ms % 1000),
            "static_resources": {"listeners": listeners, "clusters": clusters},
        })
    }

    fn listener(&self, number: usize, at: SocketAddr) -> Value {
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{EXTENSIONS}.filters.http.router.v3.Router")},
        });
        let filters: Vec<Value> = self.filters.iter().cloned().chain([router]).collect();
        let routes: Vec<Value> = self.routes.iter().map(Route::to_json).collect();
        let access_log: Vec<Value> = self.access_log.iter().map(AccessLog::to_json).collect();
        let manager = json!({
            "@type": format!("{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "llm",
            // HTTP/1.1 and HTTP/2, as the client begins.
            "codec_type": "AUTO",
            "stream_idle_timeout": "0s",
            "http_protocol_options": {"enable_trailers": self.trailers},
            "access_log": access_log,
            "route_config": {"virtual_hosts": [{"name": "llm", "domains": ["*"], "routes": routes}]},
            "http_filters": filters,
        });
        json!({
            "name": number.to_string(),
            "address": address(at),
            "per_connection_buffer_limit_bytes": BUFFER_BYTES,
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
            ]}],
        })
    }
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}
