//! The configurations of `envoy/` as tests start them: as they are, but for ports, addresses and paths.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{root, yaml};

/// Where the configurations want the filter, seen from the repository's root.
const WASM: &str = "target/weir.wasm";

/// A directory that looks like the repository's root to what is started in it, wherever the filter was really built.
///
/// # Panics
/// If it cannot be made.
pub fn stage(wasm: &Path) -> tempfile::TempDir {
    let stage = tempfile::tempdir().unwrap();
    let built = stage.path().join(WASM);
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(wasm, built).unwrap();
    std::os::unix::fs::symlink(root().join("envoy"), stage.path().join("envoy")).unwrap();
    stage
}

/// A bootstrap of `envoy/` for a test: it listens at free ports, every cluster is at the address that `cluster` gives
/// for its name (in plain HTTP), and paths are those of `stage`.
///
/// # Panics
/// If the file is not as this expects.
pub fn bootstrap(path: &str, stage: &Path, cluster: impl Fn(&str) -> SocketAddr) -> Value {
    let mut bootstrap = yaml::file(path);
    yaml::each(&mut bootstrap, &mut |value| {
        if value.get("address").is_some_and(Value::is_string) && value.get("port_value").is_some() {
            value["port_value"] = json!(0);
        }
        for key in ["filename", "path"] {
            if let Some(relative) = value.get(key).and_then(Value::as_str).and_then(relative) {
                value[key] = json!(stage.join(relative));
            }
        }
    });
    for entry in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
        let at = cluster(entry["name"].as_str().unwrap());
        entry["type"] = json!("STATIC");
        entry["load_assignment"]["endpoints"] = json!([{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}}
        }}]}]);
        let entry = entry.as_object_mut().unwrap();
        if entry.remove("transport_socket").is_some() {
            // Without TLS there is no ALPN to say which protocol it is to be.
            entry.remove("typed_extension_protocol_options");
        }
    }
    bootstrap
}

/// A path that is meant from the repository's root; not `/dev/stdout`, and not a path of a route.
fn relative(path: &str) -> Option<PathBuf> {
    (path.starts_with("target/") || path.starts_with("envoy/")).then(|| PathBuf::from(path))
}
