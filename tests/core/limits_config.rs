//! The section `limits`: a bad one is refused with the path and the reason, and what is written is read back.

use serde_json::{Value, json};
use weir::settings::Config;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn parse(config: &Value) -> Result<Config, String> {
    Config::parse(config.to_string().as_bytes())
}

/// A good limit with these keys in the place of its own; null takes one away.
fn limit(with: Value) -> Value {
    let mut limit = json!({"name": "n", "scope": ["tenant"], "rate": {"limit": 100, "per": "minute"}});
    for (key, value) in with.as_object().unwrap() {
        limit[key] = value.clone();
    }
    limit.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    limit
}

#[test]
fn what_is_wrong_with_a_limit_is_named_by_its_path() {
    for (with, path, reason) in [
        (json!({"name": null}), "", "missing field `name`"),
        (json!({"name": ""}), ".name", "`` is not a name"),
        (json!({"name": "a b"}), ".name", "`a b` is not a name"),
        (json!({"name": "x".repeat(65)}), ".name", "is not a name"),
        (json!({"name": 7}), ".name", "invalid type: integer, expected a string"),
        (json!({"rate": null}), "", "exactly one of `rate`, `budget`, `concurrency` and `tree` is wanted"),
        (json!({"budget": {"limit": 1}}), "", "exactly one of"),
        (json!({"concurrency": 3}), "", "exactly one of"),
        (json!({"tree": {"max_depth": 3}}), "", "exactly one of"),
        (json!({"rate": {"limit": 0, "per": "minute"}}), ".rate.limit", "nonzero whole number up to 1000000000000"),
        (json!({"rate": {"limit": 1_000_000_000_001u64, "per": "minute"}}), ".rate.limit", "1000000000001"),
        (json!({"rate": {"limit": -5, "per": "minute"}}), ".rate.limit", "-5"),
        (json!({"rate": {"limit": 1.5, "per": "minute"}}), ".rate.limit", "floating point number"),
        (json!({"rate": {"limit": "9", "per": "minute"}}), ".rate.limit", "invalid type: string"),
        (json!({"rate": {"limit": 9}}), ".rate", "missing field `per`"),
        (json!({"rate": {"per": "day"}}), ".rate", "missing field `limit`"),
        (json!({"rate": {"limit": 9, "per": "week"}}), ".rate.per", "unknown variant `week`"),
        (json!({"rate": {"limit": 9, "per": "day", "burst": 0}}), ".rate.burst", "nonzero"),
        (json!({"rate": {"limit": 9, "per": "day", "burst": 900_009}}), "", "`burst` is more than 100000 times"),
        (json!({"rate": {"limit": 9, "per": "day", "brust": 1}}), ".rate.brust", "unknown field `brust`"),
        (json!({"rate": null, "budget": {"limit": 0}}), ".budget.limit", "nonzero"),
        (json!({"rate": null, "budget": {}}), ".budget", "missing field `limit`"),
        (json!({"rate": null, "budget": {"limit": 1, "idle_s": 0}}), ".budget.idle_s", "nonzero"),
        (json!({"rate": null, "budget": {"limit": 1, "from_parent": 1}}), ".budget.from_parent", "expected a boolean"),
        (
            json!({"rate": null, "budget": {"limit": 1, "from_parent": true}}),
            "",
            "`from_parent` is for a scope with `run`",
        ),
        (json!({"rate": null, "concurrency": 0}), ".concurrency", "nonzero"),
        (json!({"rate": null, "concurrency": "3"}), ".concurrency", "invalid type: string"),
        (json!({"rate": null, "tree": {}}), ".tree", "neither `max_depth` nor `max_fanout`"),
        (json!({"rate": null, "tree": {"max_fanout": 0}}), ".tree.max_fanout", "nonzero"),
        (json!({"rate": null, "tree": {"max_depth": 65536}}), ".tree.max_depth", "65536"),
        (json!({"rate": null, "tree": {"max_depth": 1}, "max_wait_ms": 5}), "", "no wait makes a tree less deep"),
        (json!({"unit": "bytes"}), ".unit", "unknown variant `bytes`, expected one of `tokens`, `calls`, `cost`"),
        (json!({"unit": "cost"}), "", "the unit `cost` wants the section `prices`, or prices in `weigh`"),
        (json!({"scope": "tenant"}), ".scope", "expected a list"),
        (json!({"scope": ["tenant", "nobody"]}), ".scope[1]", "unknown variant `nobody`"),
        (json!({"scope": ["user", "model", "user"]}), "", "a part of `scope` stands there twice"),
        (json!({"match": {"modle": "m"}}), ".match.modle", "unknown field"),
        (json!({"weigh": {"input": -0.1}}), ".weigh.input", "not between 0 and 1000"),
        (json!({"weigh": {"reasoning": 1001}}), ".weigh.reasoning", "not between 0 and 1000"),
        (json!({"weigh": {"cached": 1}}), ".weigh.cached", "unknown field"),
        (json!({"share": {"of": "model"}}), ".share.of", "unknown variant `model`"),
        (json!({"share": {}}), ".share", "missing field `of`"),
        (json!({"rate": null, "concurrency": 1, "share": {"of": "user"}}), "", "`share` is for a `rate`"),
        (json!({"max_wait_ms": 600_001}), ".max_wait_ms", "600001"),
        (json!({"max_wait_ms": -1}), ".max_wait_ms", "-1"),
        (json!({"unit": "calls", "on_exceeded": "cut"}), "", "`on_exceeded` is for a `rate` or `budget` of tokens"),
        (json!({"rate": null, "concurrency": 1, "on_exceeded": "warn"}), "", "`on_exceeded` is for"),
        (json!({"on_exceeded": "stop"}), ".on_exceeded", "unknown variant `stop`"),
        (json!({"mode": "off"}), ".mode", "unknown variant `off`"),
        (json!({"fail": "soft"}), ".fail", "unknown variant `soft`"),
        (json!({"on_full": "evict"}), ".on_full", "unknown variant `evict`"),
        (json!({"without": "none"}), ".without", "unknown variant `none`"),
        (json!({"limit": 5}), ".limit", "unknown field `limit`"),
    ] {
        let good = limit(json!({"name": "good"}));
        let config = json!({"limits": [good, limit(with)]});
        let error = parse(&config).expect_err(&config.to_string());
        assert!(error.starts_with(&format!("limits[1]{path}: ")) && error.contains(reason), "{config}: {error}");
    }
}

#[test]
fn what_is_wrong_with_all_of_them_and_with_how_calls_are_held_is_named_too() {
    let many: Vec<Value> = (0..33).map(|n| limit(json!({"name": format!("n{n}")}))).collect();
    for (config, error) in [
        (json!({"limits": many}), "limits: 33 of them, at most 32"),
        (
            json!({"limits": [limit(json!({})), limit(json!({"name": "m"})), limit(json!({}))]}),
            "limits[2].name: `n` is taken",
        ),
        (json!({"limits": {}}), "limits: invalid type: object, expected a list"),
        (json!({"limits": [[]]}), "limits[0]: invalid type: list, expected an object"),
        (json!({"admission": {"keys": 7}}), "admission.keys: 7 is not between 8 and 1048576"),
        (json!({"admission": {"keys": 1_048_577}}), "admission.keys: 1048577 is not between 8 and 1048576"),
        (
            json!({"admission": {"max_waiting": 70_000}}),
            "admission.max_waiting: invalid value: 70000, expected a whole number up to 65535",
        ),
        (
            json!({"admission": {"hold_headers": 1}}),
            "admission.hold_headers: invalid type: integer, expected a boolean",
        ),
        (
            json!({"admission": {"hold": true}}),
            "admission.hold: unknown field `hold`, expected one of `hold_headers`, `max_held_bytes`, `max_waiting`, `keys`, `headers`",
        ),
    ] {
        assert_eq!(parse(&config).unwrap_err(), error);
    }
    let most: Vec<Value> = (0..32).map(|n| limit(json!({"name": format!("n{n}")}))).collect();
    assert_eq!(parse(&json!({"limits": most})).unwrap().limits.len(), 32);
}

/// Every key of every kind, none with its default.
fn full() -> Value {
    json!({
        "limits": [
            {"name": "a", "scope": ["tenant", "user", "run", "model", "route", "tool"],
             "match": {"model": "m*", "route": "r", "tenant": "t"}, "unit": "tokens",
             "weigh": {"input": 0.5, "cache_read": 0.1, "cache_write": 1.25, "output": 4.0, "reasoning": 3.999},
             "rate": {"limit": 1_000_000_000_000u64, "per": "day", "burst": 7}, "share": {"of": "user"},
             "max_wait_ms": 600_000, "on_exceeded": "cut", "mode": "shadow", "fail": "closed", "on_full": "refuse",
             "without": "skip"},
            {"name": "b", "scope": ["run"], "budget": {"limit": 5, "idle_s": 9, "from_parent": true}, "on_exceeded": "warn", "without": "refuse"},
            {"name": "c", "scope": [], "concurrency": 3, "max_wait_ms": 10},
            {"name": "d", "scope": ["run"], "tree": {"max_depth": 0, "max_fanout": 47}},
            {"name": "e", "unit": "calls", "rate": {"limit": 1, "per": "second"}},
            {"name": "f", "unit": "calls", "rate": {"limit": 1, "per": "hour"}, "share": {"of": "tenant"}},
            {"name": "g", "rate": {"limit": 1, "per": "minute", "burst": 100_000}, "share": {"of": "run"}},
        ],
        "admission": {"hold_headers": true, "max_held_bytes": 77, "max_waiting": 0, "keys": 8, "headers": false},
    })
}

#[test]
fn limits_survive_being_written_and_read_again_and_every_key_that_was_given_arrives() {
    let once = serde_json::to_value(parse(&full()).unwrap()).unwrap();
    assert_eq!(once, serde_json::to_value(parse(&once).unwrap()).unwrap());
    arrived(&full(), &once, "");
}

fn arrived(given: &Value, there: &Value, path: &str) {
    match given {
        Value::Object(keys) => {
            keys.iter().for_each(|(key, value)| arrived(value, &there[key], &format!("{path}.{key}")))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| arrived(value, &there[at], &format!("{path}[{at}]")));
        }
        value => assert_eq!(value, there, "{path}"),
    }
}

#[test]
fn without_limits_nothing_is_held() {
    let config = parse(&json!({})).unwrap();
    assert!(config.limits.is_empty() && !config.admission.hold_headers && config.admission.headers);
    assert_eq!(
        (config.admission.max_held_bytes, config.admission.max_waiting, config.admission.keys.get()),
        (524_288, 1000, 32_768)
    );
}
