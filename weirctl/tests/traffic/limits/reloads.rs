//! The filter is replaced while calls are held: they are let go by the one they began with.

use serde_json::{Value, json};

use super::super::raw::Step;
use super::super::rig::{Rig, Setup};
use super::{ASK, answer, arrives, begin, call, eventually, identity};

fn config(limits: Value) -> Value {
    json!({"identity": identity(), "limits": limits})
}

fn watched(config: &Value) -> Rig {
    Rig::with(Setup { weir: Some(config.clone()), watched: true, ..Setup::default() })
}

#[test]
fn calls_that_wait_are_let_go_though_config_or_wasm_are_replaced() {
    let rate = json!([{"name": "wait", "unit": "calls", "max_wait_ms": 20000, "rate": {"limit": 2, "per": "second", "burst": 1}}]);
    let places = json!([{"name": "places", "concurrency": 1, "max_wait_ms": 20000}]);
    for (what, limits) in [("rate", rate), ("places", places)] {
        let rig = watched(&config(limits.clone()));
        for (round, (other_file, other)) in
            [(false, json!([])), (true, limits.clone()), (false, json!([])), (true, json!([]))].into_iter().enumerate()
        {
            let round = 2 * round as u32;
            let case = |name: &str| format!("{name} {round}");
            // A place in flight is taken until its client goes; a turn of the rate is taken by passing.
            let mut first = begin(&rig, &case("first"), &[], ASK, vec![answer()[0].clone(), Step::Gone]);
            assert_eq!(first.head().status, 200);
            let waits = ["one", "two"].map(|name| arrives(&rig, &case(name), &[], ASK, answer()));
            let free = other == json!([]);
            rig.replace(round + 1, &config(other), other_file);
            if free {
                assert_eq!(call(&rig, &case("new"), &[], ASK, answer()).status, 200);
            }
            if what == "places" {
                assert!(["one", "two"].iter().all(|name| !rig.records().contains_key(&case(name))), "they wait");
            }
            first.reset();
            for mut client in waits {
                assert_eq!(client.answer("POST").status, 200, "{what} {round}: {}", rig.envoy.log());
            }
            eventually("their records", || (rig.records().contains_key(&case("two"))).then_some(()));
            rig.replace(round + 2, &config(limits.clone()), false);
        }
    }
}

#[test]
fn what_was_used_stays_used_under_a_new_config() {
    let budget = |tokens: u64| config(json!([{"name": "run", "scope": ["run"], "budget": {"limit": tokens}}]));
    let rig = watched(&budget(100));
    let status = |case: &str| call(&rig, case, &[("x-run", "a")], ASK, answer()).status;
    assert_eq!((status("one"), status("two"), status("three")), (200, 200, 429));
    rig.replace(1, &budget(150), true);
    assert_eq!((status("four"), status("five")), (200, 429), "fifty more, not a hundred and fifty");
}
