//! A bad config is refused with the path and the reason.

use weir::settings::Config;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn what_is_wrong_is_named_by_its_path() {
    for (json, path, reason) in [
        ("{", ".", "EOF"),
        ("[]", ".", "not a JSON object"),
        ("nonsense", ".", "not a JSON object"),
        (r#"{"labels":{"models":["a","#, "labels.models[1]", "EOF"),
        (r#"{"usage":{"inject":true,"inject":true}}"#, "usage.inject", "duplicate field"),
        (r#"{"labels":[]}"#, "labels", "invalid type"),
        (r#"{"labels":{"max_routes":1.5}}"#, "labels.max_routes", "invalid type"),
        (r#"{"identity":{"user":[{"trace_id":1}]}}"#, "identity.user[0].trace_id", "invalid type"),
        (r#"{"identity":{"user":[{"header":"a","baggage":"b"}]}}"#, "identity.user[0]", "one key"),
        (
            r#"{"identity":{"run":[{"jwt_claim":{"claim":"c"}}]}}"#,
            "identity.run[0].jwt_claim",
            "missing field `payload`",
        ),
        ("{} {}", ".", "trailing"),
        (r#"{"nonsense":1}"#, "nonsense", "unknown field"),
        (r#"{"role":"retry"}"#, "role", "unknown variant"),
        (
            r#"{"identity":{"tenant":[{"header":"x"},{"header":"not a name"}]}}"#,
            "identity.tenant[1].header",
            "not a header name",
        ),
        (r#"{"identity":{"user":["jwt"]}}"#, "identity.user[0]", "unknown variant"),
        (
            r#"{"identity":{"user":[{"api_key_hash":{"salt":"short"}}]}}"#,
            "identity.user[0].api_key_hash.salt",
            "at least 8",
        ),
        (r#"{"labels":{"max_models":-1}}"#, "labels.max_models", "invalid value"),
        (r#"{"labels":{"max_sets":0}}"#, "labels.max_sets", "zero"),
        (r#"{"timing":{"stall_ms":0}}"#, "timing.stall_ms", "zero"),
        (r#"{"read":{"max_event_bytes":5}}"#, "read.max_event_bytes", "not between"),
        (r#"{"usage":{"inject":"yes"}}"#, "usage.inject", "invalid type"),
        (r#"{"filter_state":{"charge":true}}"#, "filter_state.charge", "unknown field"),
        (
            r#"{"slo":[{"first_token_ms":500,"objective":0.9},{"first_token_ms":500,"objective":1.5}]}"#,
            "slo[1].objective",
            "not between 0 and 1",
        ),
        (r#"{"slo":[{"objective":0.9}]}"#, "slo[0]", "missing field"),
        (r#"{"retries":{"sources":["stainles"]}}"#, "retries.sources[0]", "unknown variant"),
        (r#"{"tools":{"window_s":0}}"#, "tools.window_s", "not between 1 and 3600"),
        (r#"{"tools":{"keys":7}}"#, "tools.keys", "not between 8 and 1048576"),
        (r#"{"tools":{"max_names":65536}}"#, "tools.max_names", "up to 65535"),
        (r#"{"tools":{"names":"a"}}"#, "tools.names", "expected a list"),
        (r#"{"tools":{"arguments":{"redacts":[]}}}"#, "tools.arguments.redacts", "unknown field"),
        (r#"{"tools":{"arguments":{"max_bytes":-1}}}"#, "tools.arguments.max_bytes", "expected a whole number"),
        (r#"{"retries":{"window_s":0}}"#, "retries.window_s", "not between 1 and 3600"),
        (r#"{"retries":{"deadline":{"header":"a b"}}}"#, "retries.deadline.header", "not a header name"),
        (r#"{"retry_budgets":[{"name":"b"}]}"#, "retry_budgets[0]", "missing field `ratio`"),
        (r#"{"retry_budgets":[{"name":"b","ratio":-0.1}]}"#, "retry_budgets[0].ratio", "not between 0 and 1000"),
        (r#"{"retry_budgets":[{"name":"b","ratio":1},{"name":"b","ratio":1}]}"#, "retry_budgets[1].name", "is taken"),
        (r#"{"circuits":[{"name":"c","scope":["host"]}]}"#, "circuits[0].scope[0]", "unknown variant"),
        (r#"{"audit":{"chain":{}}}"#, "audit.chain", "missing field `key`"),
        (r#"{"audit":{"chain":{"key":"too short"}}}"#, "audit.chain.key", "at least 16"),
        (r#"{"audit":{"chain":{"key":"0123456789abcdef","key_id":"a b"}}}"#, "audit.chain.key_id", "not a name"),
        (r#"{"audit":{"trailer":true}}"#, "audit.trailer", "unknown field"),
        (r#"{"circuits":[{"name":"c","min_calls":0}]}"#, "circuits[0].min_calls", "zero"),
        (r#"{"kinds":[{"match":{"path":"/x"}}]}"#, "kinds[0]", "missing field `kind`"),
        (r#"{"kinds":[{"match":{"model":"x"},"kind":"tool"}]}"#, "kinds[0].match.model", "unknown field"),
        (r#"{"plan":{"tool":{"pointer":"plan"}}}"#, "plan.tool.pointer", "is not a JSON pointer"),
        (r#"{"plan":{"answer":{"pointer":"/a~2"}}}"#, "plan.answer.pointer", "is not a JSON pointer"),
        (r#"{"plan":{"answer":{"match":{"path":"/"}}}}"#, "plan.answer.match.path", "unknown field"),
        (r#"{"kinds":[{"kind":"Tool"}]}"#, "kinds[0].kind", "is not a kind"),
        (r#"{"kinds":[{"kind":"tool","name":"a;b"}]}"#, "kinds[0].name", "is not a name"),
        (r#"{"runs":{"max":1}}"#, "runs.max", "not between 8 and"),
        (r#"{"runs":{"idle_s":0}}"#, "runs.idle_s", "zero"),
        (r#"{"runs":{"header":"a b"}}"#, "runs.header", "not a header name"),
        (r#"{"runs":{"outcomes":["a","b","a"]}}"#, "runs.outcomes[2]", "is taken"),
        (r#"{"runs":{"outcomes":["other"]}}"#, "runs.outcomes[0]", "is taken"),
        (
            r#"{"slo":[{"match":{"modle":"x"},"first_token_ms":1,"objective":0.9}]}"#,
            "slo[0].match.modle",
            "unknown field",
        ),
    ] {
        let error = Config::parse(json.as_bytes()).unwrap_err();
        assert!(error.starts_with(path) && error.contains(reason), "{json}: {error}");
    }
    let many = format!(r#"{{"slo":[{}]}}"#, vec![r#"{"first_token_ms":1,"objective":0.5}"#; 33].join(","));
    assert_eq!(Config::parse(many.as_bytes()).unwrap_err(), "slo: 33 objectives, at most 32");
    let kinds = |count: usize, word: &dyn Fn(usize) -> String| {
        let rules: Vec<_> = (0..count).map(|i| format!(r#"{{"kind":"{}"}}"#, word(i))).collect();
        Config::parse(format!(r#"{{"kinds":[{}]}}"#, rules.join(",")).as_bytes()).unwrap_err()
    };
    assert_eq!(kinds(33, &|_| "tool".to_owned()), "kinds: 33 of them, at most 32");
    assert_eq!(kinds(9, &|i| format!("own-{i}")), "kinds: 9 words of their own, at most 8");
    let outcomes: Vec<_> = (0..17).map(|i| format!("\"o{i}\"")).collect();
    let outcomes = format!(r#"{{"runs":{{"outcomes":[{}]}}}}"#, outcomes.join(","));
    assert_eq!(Config::parse(outcomes.as_bytes()).unwrap_err(), "runs.outcomes: 17 of them, at most 16");
}

#[test]
fn nothing_at_all_is_a_good_config_and_means_the_defaults() {
    for json in ["", " \n", "{}"] {
        let config = Config::parse(json.as_bytes()).unwrap();
        assert!(config.usage.estimate && !config.usage.inject);
        assert_eq!(config.timing.stall_ms.get(), 1000);
        assert_eq!(config.read.max_event_bytes.bytes(), 1 << 20);
        assert_eq!(config.labels.max_sets.get(), 1000);
    }
}

#[test]
fn a_config_survives_being_written_and_read_again() {
    let json = r#"{"role":"attempt","labels":{"models":["m"],"max_models":0,"max_sets":7},"usage":{"inject":true,"estimate":false},"timing":{"stall_ms":5},"read":{"max_event_bytes":2048},"identity":{"tenant":[{"header":"x-tenant"},"mtls_peer",{"jwt_claim":{"payload":"p","claim":"c"}},{"api_key_hash":{"salt":"12345678"}}],"run":["trace_id",{"baggage":"k"}]},"slo":[{"name":"n","match":{"model":"m*"},"first_token_ms":800,"objective":0.95}],"audit":{"headers":true,"trailers":true,"sse_comment":true,"chain":{"key":"0123456789abcdef","key_id":"2026-11"},"trail":{"path":"/t/","key":"0123456789abcdef","tokens":"always","operator_key":"0123456789abcdef","operator_header":"x-op","sources":["x-source"],"source_pointers":["/a~1b/*"],"runs":8,"records":3,"forget_after_s":9}},"filter_state":{"tokens":true},"tools":{"names":["search"],"max_names":3,"window_s":30,"keys":64,"arguments":{"max_bytes":99,"redact":["*key*"]}},"retries":{"sources":["body","amz_sdk"],"header":"x-mine","window_s":30,"keys":64,"deadline":{"header":"x-d","stainless_timeout":true,"grpc_timeout":true}},"retry_budgets":[{"name":"b","scope":["tool","tenant"],"match":{"model":"m"},"ratio":0.25,"min_per_second":1.5,"ttl_s":60,"unit":"tokens","mode":"shadow","fail":"closed","refuse_with":"too_many_requests"}],"circuits":[{"name":"c","scope":["user","run","model","route","cluster"],"match":{},"failures":0.75,"min_calls":5,"window_s":30,"probe_ms":200,"close_after":1,"retry_after_ms":500,"mode":"shadow"}],"prices":[{"models":["m*"],"match":{"kind":"k","tool":"t","route":"r","path":"p","host":"h"},"per_million":{"input":"0.5","output":"1","cache_read":"2","cache_write":"3","cache_write_1h":"4","reasoning":"5","audio_input":"6","audio_output":"7.000000001"},"cases":[{"tier":"t","above":5,"per_million":{"input":"9","output":null,"cache_read":null,"cache_write":null,"cache_write_1h":null,"reasoning":null,"audio_input":null,"audio_output":null}}],"per_call":"0.1","per_second":"0.2"}],"kinds":[{"match":{"route":"r","path":"/p*","host":"h","method":"PUT"},"kind":"own","name":"n"}],"runs":{"max":9,"idle_s":7,"header":"x-how","outcomes":["good"]},"plan":{"header":"x-p","baggage":"p","tool":{"name":"t","pointer":""},"answer":{"match":{"model":"m","route":"r","tenant":"t"},"header":"x-q","pointer":"/a~1b"},"target_header":"x-t","enforce":"warn","headers":false,"max":9,"idle_s":7}}"#;
    let once = serde_json::to_value(Config::parse(json.as_bytes()).unwrap()).unwrap();
    let twice = serde_json::to_value(Config::parse(once.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(once, twice);
    // Every key that was given arrived.
    let given: serde_json::Value = serde_json::from_str(json).unwrap();
    let keys = [("labels", "max_models"), ("labels", "max_sets"), ("usage", "estimate"), ("timing", "stall_ms")];
    for (section, key) in
        keys.into_iter().chain([("read", "max_event_bytes"), ("identity", "tenant"), ("filter_state", "tokens")])
    {
        assert_eq!(once[section][key], given[section][key], "{section}.{key}");
    }
    for section in ["retries", "kinds", "runs", "prices", "tools", "audit", "plan"] {
        assert_eq!(once[section], given[section]);
    }
    for (section, key) in [("retry_budgets", "match"), ("circuits", "match")] {
        let without = |config: &serde_json::Value| {
            let mut rule = config[section][0].clone();
            rule.as_object_mut().unwrap().remove(key);
            rule
        };
        assert_eq!(without(&once), without(&given));
    }
}

#[test]
fn no_key_is_printed() {
    let json =
        br#"{"audit":{"chain":{"key":"0123456789abcdef"},"trail":{"key":"0123456789abcdef"}},"identity":{"user":[{"api_key_hash":{"salt":"12345678"}}]}}"#;
    let config = Config::parse(json).unwrap();
    let printed = format!("{config:?}");
    assert!(!printed.contains("0123456789abcdef") && !printed.contains("12345678"), "{printed}");
}
