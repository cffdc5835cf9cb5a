//! A configuration that is wrong never serves: Envoy does not start with it, and says where it is wrong and why.

use serde_json::{Value, json};
use weirctl::envoy::{Bootstrap, Cluster, Launch, Route, WeirFilter, binary, wasm};

#[test]
fn envoy_does_not_start_with_a_config_that_is_wrong_and_says_where_and_why() {
    let cases: [(Value, &str); 5] = [
        (json!({"slo": [{"first_token_ms": 1, "objective": 1.5}]}), "slo[0].objective: 1.5 is not between 0 and 1"),
        (json!({"timing": {"stall_ms": 0}}), "timing.stall_ms: "),
        (json!({"read": {"max_event_bytes": 5}}), "read.max_event_bytes: 5 is not between 1024 and 16777216"),
        (json!({"identity": {"tennant": []}}), "identity.tennant: unknown field `tennant`"),
        (json!([]), ".: not a JSON object"),
    ];
    for (config, reason) in cases {
        let bootstrap = Bootstrap {
            filters: vec![WeirFilter::new(&wasm::build().unwrap()).config(&config).to_json()],
            routes: vec![Route::all("all", "llm")],
            clusters: vec![Cluster::plain("llm", "127.0.0.1:9".parse().unwrap())],
            ..Bootstrap::default()
        };
        let started = Launch::new(&binary::bring().unwrap()).workers(1).start(&bootstrap);
        let error = started.expect_err(&config.to_string()).to_string();
        assert!(error.contains(reason), "{reason} in {error}");
    }
}
