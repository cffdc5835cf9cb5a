//! Trees of calls: how deep, how wide, and whose budget, as `baggage` tells.

use serde_json::json;

use super::super::raw::{self, Step};
use super::super::rig::Rig;
use super::{ASK, answer, begin, both, call, eventually};

/// The `baggage` that the upstream of a case got.
fn carried(rig: &Rig, case: &str) -> Vec<String> {
    let baggage = raw::header(&rig.upstream.seen(case).unwrap().head, "baggage").unwrap_or_default();
    baggage.split(',').map(|member| member.trim().to_owned()).collect()
}

#[test]
fn calls_carry_their_depth_on_and_those_too_deep_are_refused() {
    for rig in both(&json!([{"name": "tree", "tree": {"max_depth": 2}}])) {
        let of = |case: &str, baggage: &str| {
            let headers = [("x-run", "r1"), ("x-request-id", "call-1"), ("baggage", baggage)];
            call(&rig, case, &headers, ASK, answer())
        };
        // From outside nothing is carried: the depth is 0. What an agent hands on is one deeper.
        for (case, baggage, wanted) in [
            ("first", "other=1;p=2", Some((0, "r1"))),
            ("second", "weir.depth=0,weir.parent=c0,weir.run=root,other=1", Some((1, "root"))),
            ("third", "weir.depth=1, weir.run=a%20run", Some((2, "a%20run"))),
            ("fourth", "weir.depth=2", None),
            ("deepest", "weir.depth=65535", None),
            ("made up", "weir.depth=99999999999999999999,weir.run=%%%,=,;,", Some((0, "%25%25%25"))),
        ] {
            let answer = of(case, baggage);
            let Some((depth, run)) = wanted else {
                assert_eq!((answer.status, answer.header("x-weir-limit")), (429, Some("tree".into())), "{case}");
                assert!(answer.header("retry-after").is_none(), "no time makes it less deep");
                assert!(rig.upstream.seen(case).is_none(), "its head tells all");
                continue;
            };
            assert_eq!(answer.status, 200, "{case}");
            let carried = carried(&rig, case);
            assert!(carried.contains(&format!("weir.depth={depth}")), "{case}: {carried:?}");
            assert!(carried.contains(&format!("weir.run={run}")), "{case}: {carried:?}");
            let parent = carried.iter().find_map(|member| member.strip_prefix("weir.parent=")).unwrap();
            assert_eq!(parent, rig.record(case)["call"], "{case}");
            assert_eq!(carried.iter().filter(|member| member.starts_with("weir.")).count(), 3, "{case}: {carried:?}");
            assert_eq!(carried.contains(&"other=1".to_owned()), case == "second", "{case}");
        }
        rig.has_no_failed_vm("depth");
    }
}

#[test]
fn a_parent_has_no_more_children_in_flight_than_allowed() {
    for rig in both(&json!([{"name": "wide", "tree": {"max_depth": 5, "max_fanout": 3}}])) {
        let child = |parent: &str| format!("weir.depth=0,weir.parent={parent},weir.run=r");
        let start = || vec![answer()[0].clone(), Step::Gone];
        let busy: Vec<_> = (0..3)
            .map(|n| {
                let mut client = begin(&rig, &format!("child {n}"), &[("baggage", &child("p"))], ASK, start());
                assert_eq!(client.head().status, 200);
                client
            })
            .collect();
        let refused = call(&rig, "fourth", &[("baggage", &child("p"))], ASK, answer());
        assert_eq!((refused.status, refused.header("x-weir-limit")), (429, Some("wide.fanout".into())));
        assert_eq!(call(&rig, "another's", &[("baggage", &child("q"))], ASK, answer()).status, 200);
        busy.into_iter().for_each(|client| client.reset());
        eventually("room", || {
            let case = "fifth";
            (call(&rig, case, &[("baggage", &child("p"))], ASK, answer()).status == 200).then_some(())
        });
    }
}

#[test]
fn a_child_run_draws_from_its_parents_budget() {
    let limits = json!([{"name": "budget", "scope": ["run"], "budget": {"limit": 120, "from_parent": true}}]);
    for rig in both(&limits) {
        let of = |case: &str, run: &str, baggage: &str| {
            call(&rig, case, &[("x-run", run), ("baggage", baggage)], ASK, answer()).status
        };
        assert_eq!(of("parent", "root", ""), 200);
        assert_eq!(of("child", "child", "weir.depth=0,weir.run=root"), 200);
        assert_eq!(of("grandchild", "grandchild", "weir.depth=1,weir.run=root"), 429);
        assert_eq!(of("stranger", "child", ""), 200, "of its own, it has a budget of its own");
    }
}
