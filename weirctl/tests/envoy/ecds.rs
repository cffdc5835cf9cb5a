//! The filter's config and its .wasm are replaced in a running Envoy, by the shipped script, while calls go through it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::support::http::{chat, eventually, post};
use crate::support::{deploy, root, skipped, yaml};
use serde_json::{Value, json};
use weirctl::envoy::{Envoy, Launch, binary, wasm};
use weirctl::upstream::{Options, Upstream};

/// The header that names the tenant at first.
const FIRST: &str = "x-tenant";

struct Rollout {
    dir: tempfile::TempDir,
    upstream: Upstream,
    envoy: Envoy,
    replaced: u32,
}

impl Rollout {
    /// The shipped ECDS configuration in a directory of its own.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(root().join("envoy/ecds/replace.sh"), dir.path().join("replace.sh")).unwrap();
        fs::write(dir.path().join("weir.yaml"), resource(&config(FIRST), &wasm::build().unwrap(), 0)).unwrap();
        let upstream = Upstream::start("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap();
        let mut bootstrap = deploy::bootstrap("envoy/ecds/envoy.yaml", dir.path(), |_| upstream.address());
        yaml::each(&mut bootstrap, &mut |value| {
            if let Some(source) = value.get_mut("path_config_source") {
                *source = json!({"path": dir.path().join("weir.yaml"), "watched_directory": {"path": dir.path()}});
            }
        });
        let envoy = Launch::new(&binary::bring().unwrap()).start_json(&bootstrap, 1).unwrap();
        Self { dir, upstream, envoy, replaced: 0 }
    }

    /// Runs the script with a new resource; gives its exit code, 0 for taken and 1 for refused.
    fn replace(&mut self, config: &str, wasm: &Path) -> Option<i32> {
        self.replaced += 1;
        let new = self.dir.path().join("new");
        fs::write(&new, resource(config, wasm, self.replaced)).unwrap();
        let admin = format!("http://{}", self.envoy.admin().address);
        let script = self.dir.path().join("replace.sh");
        Command::new("sh").arg(script).arg(&new).arg(admin).status().unwrap().code()
    }

    /// A copy of the filter's file under another name.
    fn another_file(&self, name: &str) -> PathBuf {
        let copy = self.dir.path().join(name);
        fs::copy(wasm::build().unwrap(), &copy).unwrap();
        copy
    }

    fn records(&self) -> Vec<Value> {
        let log = self.envoy.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.map(|line| line["record"].clone()).filter(Value::is_object).collect()
    }
}

fn config(header: &str) -> String {
    json!({"identity": {"tenant": [{"header": header}]}}).to_string()
}

/// The shipped resource with another config, another file and another version.
fn resource(config: &str, wasm: &Path, version: u32) -> String {
    let mut resource = yaml::file("envoy/ecds/weir.yaml");
    resource["version_info"] = json!(version.to_string());
    let plugin = &mut resource["resources"][0]["typed_config"]["config"];
    plugin["configuration"]["value"] = json!(config);
    plugin["vm_config"]["code"]["local"]["filename"] = json!(wasm);
    resource.to_string()
}

/// One streamed call; true if it came whole.
fn call(at: SocketAddr, headers: &[(&str, &str)]) -> bool {
    let (status, body) = post(at, "/v1/chat/completions", headers, &chat("m"));
    status == 200 && body.ends_with(b"data: [DONE]\n\n")
}

fn has_curl() -> bool {
    let has = Command::new("curl").arg("--version").output().is_ok();
    if !has {
        skipped("replacing the filter by envoy/ecds/replace.sh", "there is no `curl`");
    }
    has
}

#[test]
fn no_call_fails_while_config_and_wasm_are_replaced_under_load() {
    if !has_curl() {
        return;
    }
    let mut rollout = Rollout::start();
    let at = rollout.envoy.address();
    let stop = AtomicBool::new(false);
    let (calls, failed) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut calls, mut failed) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let whole = call(at, &[("x-demo", "reasoning=0,tokens=20,prefill=5,gap=2")]);
                        calls += 1;
                        failed += u32::from(!whole);
                    }
                    (calls, failed)
                })
            })
            .collect();
        for round in 0..6 {
            let file = match round % 2 {
                0 => wasm::build().unwrap(),
                _ => rollout.another_file(&format!("weir-{round}.wasm")),
            };
            assert_eq!(rollout.replace(&config(&format!("x-{round}")), &file), Some(0), "{}", rollout.envoy.log());
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    assert!(calls > 0);
    assert_eq!(failed, 0, "of {calls}: {}", rollout.envoy.log());
    let records = eventually("all records", || Some(rollout.records()).filter(|r| r.len() >= calls as usize));
    assert_eq!(records.len(), calls as usize, "each call has one record, whichever filter it met");
}

#[test]
fn a_retry_budget_outlives_new_configs_and_new_modules_and_loses_nothing() {
    if !has_curl() {
        return;
    }
    // Ten retries, whatever happens, within the hour that the test does not take.
    let budget = json!({"name": "few", "ratio": 0, "min_per_second": 0.01, "ttl_s": 1000});
    let with =
        |header: &str| json!({"identity": {"tenant": [{"header": header}]}, "retry_budgets": [budget]}).to_string();
    let mut rollout = Rollout::start();
    let at = rollout.envoy.address();
    assert_eq!(rollout.replace(&with(FIRST), &wasm::build().unwrap()), Some(0), "{}", rollout.envoy.log());
    let (stop, passed, refused) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let retry = || {
        let demo = ("x-demo", "reasoning=0,tokens=10,prefill=5,gap=5");
        let passes = call(at, &[demo, ("x-stainless-retry-count", "1")]);
        (if passes { &passed } else { &refused }).fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // While first tries are on their way, retries lie ready for Envoy, which come back.
                    assert!(call(at, &[("x-demo", "reasoning=0,tokens=10,prefill=5,gap=5")]));
                    if passed.load(Ordering::Relaxed) < 8 {
                        retry();
                    }
                }
            });
        }
        for round in 0..4 {
            let file = match round % 2 {
                0 => wasm::build().unwrap(),
                _ => rollout.another_file(&format!("weir-{round}.wasm")),
            };
            assert_eq!(rollout.replace(&with(&format!("x-{round}")), &file), Some(0), "{}", rollout.envoy.log());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(passed.load(Ordering::Relaxed) > 0);
    (0..20).for_each(|_| retry());
    assert_eq!(passed.load(Ordering::Relaxed), 10, "{} were refused", refused.load(Ordering::Relaxed));
}

#[test]
fn a_stream_ends_with_the_config_it_began_with_and_later_ones_have_the_new_one() {
    if !has_curl() {
        return;
    }
    // Longer, until the stream outlives the change.
    let tenants =
        [30, 90, 270, 810].into_iter().find_map(tenants_around_a_change).expect("a stream that outlives the change");
    assert_eq!(tenants, ["new", "old"]);
}

/// The tenants of two calls in the order in which they end: one of so many events ten times a second, around which the config is
/// changed, and one after the change; nothing if the first was over before.
fn tenants_around_a_change(events: u32) -> Option<Vec<String>> {
    let mut rollout = Rollout::start();
    let at = rollout.envoy.address();
    let both = [(FIRST, "old"), ("x-team", "new")];
    let long = std::thread::spawn(move || {
        call(at, &[both[0], both[1], ("x-demo", &format!("reasoning=0,tokens={events},prefill=50,gap=100"))])
    });
    eventually("the long stream", || {
        let stats = rollout.envoy.admin().get("/stats?filter=upstream_rq_active").unwrap();
        stats.contains("cluster.models.upstream_rq_active: 1").then_some(())
    });
    assert_eq!(rollout.replace(&config("x-team"), &wasm::build().unwrap()), Some(0));
    assert!(call(at, &[both[0], both[1], ("x-demo", "tokens=1,prefill=0")]));
    let outlives = !long.is_finished();
    assert!(long.join().unwrap());
    let records = eventually("both records", || Some(rollout.records()).filter(|r| r.len() == 2));
    outlives.then(|| records.iter().map(|record| record["tenant"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn what_is_refused_leaves_the_old_filter_at_work() {
    if !has_curl() {
        return;
    }
    let mut rollout = Rollout::start();
    let good = wasm::build().unwrap();
    let broken = rollout.another_file("broken.wasm");
    fs::write(&broken, &fs::read(&good).unwrap()[..1000]).unwrap();
    let wrong: [(&str, &str, &Path); 4] = [
        ("a value out of range", r#"{"timing": {"stall_ms": 0}}"#, &good),
        ("an unknown key", r#"{"identity": {"tennant": []}}"#, &good),
        ("no JSON", "{", &good),
        ("half a module", "{}", &broken),
    ];
    for (what, config, wasm) in wrong {
        assert_eq!(rollout.replace(config, wasm), Some(1), "{what}");
        assert!(call(rollout.envoy.address(), &[(FIRST, what), ("x-demo", "tokens=1,prefill=0")]), "{what}");
    }
    let log = rollout.envoy.log();
    for reason in ["timing.stall_ms", "identity.tennant"] {
        assert!(log.contains(reason), "the log names {reason}: {log}");
    }
    let records = eventually("the records", || Some(rollout.records()).filter(|r| r.len() == wrong.len()));
    let tenants: Vec<_> = records.iter().map(|record| record["tenant"].as_str().unwrap_or_default()).collect();
    assert_eq!(tenants, wrong.map(|(what, _, _)| what), "the first config is still in force");
    assert_eq!(rollout.replace(&config("x-team"), &good), Some(0), "and a good one is taken afterwards");
    drop(rollout.upstream);
}
