//! The configurations of `envoy/` in a real Envoy: each is valid as it stands, serves, and shows what it promises.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::support::collector::Collector;
use crate::support::http::{chat, eventually, get, post};
use crate::support::{deploy, root, yaml};
use serde_json::{Value, json};
use weirctl::envoy::{Envoy, Launch, binary, wasm};
use weirctl::upstream::{Options, Upstream};

const STANDALONE: &str = "envoy/standalone/envoy.yaml";
const LIMITS: &str = "envoy/limits/envoy.yaml";
const RETRIES: &str = "envoy/retries/envoy.yaml";
const AUDIT: &str = "envoy/audit/envoy.yaml";
const OTEL: &str = "envoy/otel/envoy.yaml";
const ECDS: &str = "envoy/ecds/envoy.yaml";
const GLOBAL: &str = "envoy/global-limits/envoy.yaml";

fn start(bootstrap: &Value) -> Envoy {
    Launch::new(&binary::bring().unwrap()).start_json(bootstrap, 1).unwrap()
}

fn upstream() -> Upstream {
    Upstream::start("127.0.0.1:0".parse().unwrap(), Options { at_once: true, ..Options::default() }).unwrap()
}

/// The records in a log whose lines are objects with a `record` in them, among other lines.
fn records(log: &str) -> Vec<Value> {
    let objects = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.map(|line| line["record"].clone()).filter(Value::is_object).collect()
}

/// The samples of a metric in Prometheus' text, with their labels as they stand there.
fn samples(envoy: &Envoy, metric: &str) -> Vec<String> {
    let text = envoy.admin().get("/stats/prometheus").unwrap();
    let begin = format!("{metric}{{");
    text.lines().filter(|line| line.starts_with(&begin)).map(str::to_owned).collect()
}

#[test]
fn envoy_finds_every_bootstrap_valid_as_it_stands() {
    let stage = deploy::stage(&wasm::build().unwrap());
    for bootstrap in [STANDALONE, LIMITS, RETRIES, AUDIT, OTEL, ECDS, GLOBAL] {
        let run = Command::new(binary::bring().unwrap())
            .args(["--mode", "validate", "--config-path", bootstrap])
            .current_dir(stage.path())
            .output()
            .unwrap();
        assert!(run.status.success(), "{bootstrap}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn every_bootstrap_gives_each_path_one_spelling() {
    for bootstrap in [STANDALONE, LIMITS, RETRIES, AUDIT, OTEL, ECDS, GLOBAL] {
        let mut managers = 0;
        yaml::each(&mut yaml::file(bootstrap), &mut |value| {
            let kind = value.get("@type").and_then(Value::as_str).unwrap_or_default();
            if kind.ends_with(".HttpConnectionManager") {
                managers += 1;
                assert_eq!(value["normalize_path"], true, "{bootstrap}");
                assert_eq!(value["merge_slashes"], true, "{bootstrap}");
                assert_eq!(value["path_with_escaped_slashes_action"], "UNESCAPE_AND_FORWARD", "{bootstrap}");
            }
        });
        assert!(managers > 0, "{bootstrap}");
    }
    assert_eq!(
        yaml::file("envoy/istio/meshconfig.yaml")["pathNormalization"]["normalization"],
        "DECODE_AND_MERGE_SLASHES"
    );
}

#[test]
fn standalone_logs_the_record_and_counts_by_label() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let upstream = upstream();
    let envoy = start(&deploy::bootstrap(STANDALONE, stage.path(), |_| upstream.address()));
    let (status, _) = post(envoy.address(), "/v1/chat/completions", &[("x-tenant", "acme")], &chat("gpt-4o.1"));
    assert_eq!(status, 200);
    let message =
        json!({"model": "claude", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let (status, _) = post(envoy.address(), "/v1/messages", &[("anthropic-version", "2023-06-01")], &message);
    assert_eq!(status, 200);

    let records = eventually("both records", || Some(records(&envoy.log())).filter(|r| r.len() == 2));
    let facts: Vec<_> = (records.iter())
        .map(|r| ["api", "route", "tenant", "request_model", "ended"].map(|key| r[key].as_str().unwrap_or("absent")))
        .collect();
    assert_eq!(
        facts,
        [
            ["openai.chat_completions", "openai", "acme", "gpt-4o.1", "complete"],
            ["anthropic.messages", "anthropic", "absent", "claude", "complete"]
        ]
    );

    let calls = samples(&envoy, "weir_calls_total");
    for labels in [
        &[r#"model="gpt-4o.1""#, r#"route="openai""#, r#"tenant="acme""#, r#"ended="complete""#],
        &[r#"model="claude""#, r#"route="anthropic""#, r#"tenant="none""#, r#"api="anthropic.messages""#],
    ] {
        let matching = calls.iter().filter(|sample| labels.iter().all(|label| sample.contains(label)));
        assert_eq!(matching.count(), 1, "{labels:?} in {calls:#?}");
    }
    let buckets = eventually("merged histograms", || {
        Some(samples(&envoy, "weir_first_token_ms_bucket")).filter(|buckets| !buckets.is_empty())
    });
    assert!(buckets.iter().any(|bucket| bucket.contains(r#"le="600000""#)), "{buckets:#?}");
    let slos = samples(&envoy, "weir_slo_total");
    for (slo, counted) in [("interactive", 1), ("all", 2)] {
        let label = format!(r#"slo="{slo}""#);
        let count: u64 = slos.iter().filter(|s| s.contains(&label)).map(|s| last_number(s)).sum();
        assert_eq!(count, counted, "{slo} in {slos:#?}");
    }
}

#[test]
fn limits_hold_each_user_to_its_calls_and_say_so() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let upstream = upstream();
    let envoy = start(&deploy::bootstrap(LIMITS, stage.path(), |_| upstream.address()));
    let call = |user| {
        post(envoy.address(), "/v1/chat/completions", &[("x-tenant", "acme"), ("x-user", user)], &chat("gpt-4o"))
    };
    // Twenty at once, and one more every half second.
    let begun = Instant::now();
    let mut passed = 0;
    let refused = eventually("a refusal", || match call("ada").0 {
        429 => Some(1),
        status => {
            assert_eq!(status, 200);
            passed += 1;
            None
        }
    });
    let came_back = begun.elapsed().as_millis() / 500;
    assert!(passed >= 20 && passed <= 20 + came_back, "{passed} passed, {came_back} came back");
    assert_eq!(call("bob").0, 200, "another user has calls of his own");
    let of = |labels: &[&str]| {
        let counts = samples(&envoy, "weir_limit_total");
        let fits = counts.iter().filter(|sample| labels.iter().all(|label| sample.contains(label)));
        fits.map(|sample| last_number(sample)).sum::<u64>()
    };
    let counted = eventually("the refusals' counts", || {
        let count = of(&[r#"limit="user-rpm""#, r#"verdict="refuse""#]);
        (count > 0).then_some(count)
    });
    assert_eq!(counted, refused);
    assert_eq!(of(&[r#"limit="tenant-tpm""#, r#"verdict="refuse""#]), 0);
}

/// What a client of HTTP/1.1 that asks for trailers gets, as it comes; nothing in it ends the answer but its connection.
fn with_trailers(envoy: &Envoy) -> String {
    let body = chat("gpt-4o").to_string();
    let mut stream = TcpStream::connect(envoy.address()).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nte: trailers\r\nconnection: te, close\r\nx-tenant: acme\r\nx-run: r-1\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn audit_tells_http1_clients_in_trailers_seals_records_and_keeps_the_trail() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let upstream = upstream();
    let envoy = start(&deploy::bootstrap(AUDIT, stage.path(), |_| upstream.address()));
    let answer = with_trailers(&envoy);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (_, trailers) = body.rsplit_once("\r\n0\r\n").unwrap();
    for told in ["x-weir-call: ", "x-weir-run: r-1", "x-weir-model: gpt-4o"] {
        assert!(head.contains(told), "{told} is not in {head}");
    }
    for told in ["x-weir-ended: complete", "x-weir-usage: input=", "x-weir-ttft-ms: "] {
        assert!(trailers.contains(told), "{told} is not in {trailers}");
    }
    let token = head.lines().find_map(|line| line.strip_prefix("x-weir-run-token: ")).expect("the run's token");
    let trail = eventually("the call in the trail", || {
        let (status, body) =
            get(envoy.address(), "/.weir/runs/r-1", &[("x-tenant", "acme"), ("x-weir-run-token", token)]);
        (status == 200).then(|| serde_json::from_slice::<Value>(&body).unwrap())
    });
    assert_eq!((&trail["totals"]["calls"], &trail["calls"][0]["ended"]), (&json!(1), &json!("complete")));
    let records = eventually("the records", || Some(records(&envoy.log())).filter(|r| r.len() >= 2));
    assert!(records.iter().all(|record| record["chain"]["key"] == "2026-11"), "{records:#?}");
    let dir = tempfile::tempdir().unwrap();
    let (log, keys) = (dir.path().join("access.log"), dir.path().join("keys"));
    std::fs::write(&log, envoy.log()).unwrap();
    std::fs::write(&keys, "2026-11 change me: 32 random characters").unwrap();
    let verify = Command::new(env!("CARGO_BIN_EXE_weirctl"))
        .args(["audit", "verify"])
        .args([&log, &"--key-file".into(), &keys])
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

fn last_number(sample: &str) -> u64 {
    sample.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn no_label_is_left_inside_a_metrics_name() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let upstream = upstream();
    let envoy = start(&deploy::bootstrap(STANDALONE, stage.path(), |_| upstream.address()));
    post(envoy.address(), "/v1/chat/completions", &[], &chat("m"));
    let text = eventually("weir's stats", || {
        Some(envoy.admin().get("/stats/prometheus").unwrap()).filter(|text| text.contains("weir_call_ms_bucket{"))
    });
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let known = weir::metrics::METRICS.iter().map(|metric| metric.name);
    let known: std::collections::BTreeSet<_> = known.collect();
    for name in names.filter(|name| name.starts_with("weir")) {
        assert!(known.contains(name), "{name} is no metric of the table");
    }
}

#[test]
fn otel_sends_the_record_and_the_labelled_metrics_to_the_collector() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let (upstream, collector) = (upstream(), Collector::start());
    let mut bootstrap = deploy::bootstrap(OTEL, stage.path(), |cluster| match cluster {
        "collector" => collector.address(),
        _ => upstream.address(),
    });
    bootstrap["stats_flush_interval"] = json!("0.2s");
    let envoy = start(&bootstrap);
    let (status, _) = post(envoy.address(), "/v1/chat/completions", &[("baggage", "user.id=ada")], &chat("gpt-4o"));
    assert_eq!(status, 200);

    let record = eventually("a log record", || {
        let messages = collector.messages("LogsService/Export");
        messages.iter().find_map(|message| embedded_object(message, b"weir.record"))
    });
    assert_eq!((record["user"].as_str(), record["request_model"].as_str()), (Some("ada"), Some("gpt-4o")));
    eventually("labelled metrics", || {
        let messages = collector.messages("MetricsService/Export");
        messages.into_iter().find(|m| {
            ["weir_calls_total", "ended", "complete", "model", "gpt-4o"].iter().all(|word| contains(m, word.as_bytes()))
        })
    });
}

/// The JSON object that follows `key` in a message whose strings stand in it as they are.
fn embedded_object(message: &[u8], key: &[u8]) -> Option<Value> {
    let at = message.windows(key.len()).position(|window| window == key)?;
    let begin = at + message[at..].iter().position(|byte| *byte == b'{')?;
    serde_json::Deserializer::from_slice(&message[begin..]).into_iter().next()?.ok()
}

fn contains(message: &[u8], word: &[u8]) -> bool {
    message.windows(word.len()).any(|window| window == word)
}

#[test]
fn what_istio_makes_of_the_wasmplugin_runs_in_envoy() {
    let stage = deploy::stage(&wasm::build().unwrap());
    let wanted = yaml::file("envoy/istio/ecds.yaml");
    assert_eq!(wanted["resources"][0], as_istiod_does(&yaml::file("envoy/istio/wasmplugin.yaml"), "target/weir.wasm"));

    // The listener as it is with ECDS, but with Istio's name of the resource, and with the bootstrap's stats as the
    // EnvoyFilter patches them.
    let upstream = upstream();
    let mut bootstrap = deploy::bootstrap(ECDS, stage.path(), |_| upstream.address());
    let patch = yaml::file("envoy/istio/envoyfilter.yaml")["spec"]["configPatches"][0].clone();
    assert_eq!((patch["applyTo"].as_str(), patch["patch"]["operation"].as_str()), (Some("BOOTSTRAP"), Some("MERGE")));
    bootstrap["stats_config"] = merged(&istios_stats_config(), &patch["patch"]["value"]["stats_config"]);
    let resource = stage.path().join("resource.json");
    let mut absolute = wanted.clone();
    absolute["resources"][0]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] =
        json!(wasm::build().unwrap());
    std::fs::write(&resource, absolute.to_string()).unwrap();
    yaml::each(&mut bootstrap, &mut |value| {
        if value.get("config_discovery").is_some() {
            value["name"] = json!("llm.weir");
            value["config_discovery"]["config_source"]["path_config_source"] = json!({"path": resource});
        }
    });

    let envoy = start(&bootstrap);
    let (status, _) = post(envoy.address(), "/v1/chat/completions", &[("x-tenant", "acme")], &chat("gpt-4o"));
    assert_eq!(status, 200);
    let records = eventually("the record", || Some(records(&envoy.log())).filter(|r| !r.is_empty()));
    assert_eq!(records[0]["tenant"], "acme");
    let calls = samples(&envoy, "weir_calls_total");
    assert!(calls.iter().any(|sample| sample.contains(r#"model="gpt-4o""#)), "{calls:#?}");
}

/// An ECDS resource from a WasmPlugin: what istiod does, and the agent with the image's place.
fn as_istiod_does(plugin: &Value, module: &str) -> Value {
    let (spec, meta) = (&plugin["spec"], &plugin["metadata"]);
    let name = format!("{}.{}", meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
    // Protobuf's JSON of a Struct: keys in order, nothing between them.
    let config = sorted(&spec["pluginConfig"]).to_string();
    let failure_policy = match spec["failStrategy"].as_str() {
        Some("FAIL_OPEN") => "FAIL_OPEN",
        Some("FAIL_RELOAD") => "FAIL_RELOAD",
        _ => "FAIL_CLOSED",
    };
    json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": spec["pluginName"],
                "failure_policy": failure_policy,
                "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config},
            },
        },
    })
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// What Istio's own bootstrap says of stats, as far as it touches weir's: tags in the form of its own filter, and a list
/// of what is kept.
fn istios_stats_config() -> Value {
    json!({
        "use_all_default_tags": false,
        "stats_tags": [
            {"tag_name": "response_code", "regex": r"(response_code=\.=(.+?);\.;)|_rq(_(\.d{3}))$"},
            {"tag_name": "cache", "regex": r"(cache\.(.+?)\.)"},
        ],
        "stats_matcher": {"inclusion_list": {"patterns": [
            {"prefix": "reporter="}, {"prefix": "cluster_manager"}, {"prefix": "listener_manager"},
            {"prefix": "server"}, {"prefix": "cluster.xds-grpc"}, {"prefix": "wasm"}, {"prefix": "component"},
        ]}},
    })
}

/// Protobuf's merge: fields of messages one by one, lists one after the other.
fn merged(base: &Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            let mut all = base.clone();
            for (key, value) in patch {
                let value = merged(base.get(key).unwrap_or(&Value::Null), value);
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(base), Value::Array(patch)) => base.iter().chain(patch).cloned().collect(),
        (_, patch) => patch.clone(),
    }
}

#[test]
fn no_configuration_names_a_file_that_is_not_there() {
    for line in std::fs::read_to_string(root().join("envoy/istio/README.md")).unwrap().lines() {
        if let Some(name) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            assert!(Path::new(&root()).join("envoy/istio").join(name).is_file(), "{name}");
        }
    }
}
