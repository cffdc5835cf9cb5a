//! Each kind of limit, by itself and together with others.

use serde_json::json;

use super::super::raw::Step;
use super::super::rig::Rig;
use super::{ASK, TOKENS, answer, begin, both, call, eventually, limit, rig, status, verdicts};

#[test]
fn a_rate_of_tokens_lets_pass_what_there_is_and_refuses_the_rest() {
    for rig in both(&json!([{"name": "tpm", "scope": ["tenant"], "rate": {"limit": 100, "per": "hour"}}])) {
        let statuses: Vec<_> = (0..4).map(|n| status(&rig, &format!("tokens {n}"), "a")).collect();
        assert_eq!(statuses, [200, 200, 429, 429]);
        let (first, third) = (limit(&rig, "tokens 0"), limit(&rig, "tokens 2"));
        assert_eq!((&first["verdict"], &first["charged"]), (&json!("pass"), &json!(TOKENS)));
        assert_eq!((&third["verdict"], &third["charged"]), (&json!("refuse"), &json!(0)));
        let record = rig.record("tokens 2");
        assert_eq!((&record["ended"], &record["error_type"]), (&json!("refused"), &json!("rate_limit_exceeded")));
        assert_eq!(status(&rig, "another", "b"), 200, "another tenant has tokens of its own");
        rig.has_no_failed_vm("tokens");
    }
}

#[test]
fn a_refused_client_is_told_which_limit_it_was_and_when_to_come_again() {
    let limits = json!([{"name": "rpm", "unit": "calls", "rate": {"limit": 60, "per": "hour", "burst": 2}}]);
    for rig in both(&limits) {
        let passed = call(&rig, "first", &[], ASK, answer());
        let of = |name: &str| passed.header(name).unwrap_or_default();
        assert!(of("ratelimit").starts_with(r#""rpm";r=1;t="#), "{}", of("ratelimit"));
        assert_eq!((of("x-ratelimit-limit-requests"), of("x-ratelimit-remaining-requests")), ("60".into(), "1".into()));
        assert_eq!(status(&rig, "second", "a"), 200);
        let refused = call(&rig, "third", &[], ASK, answer());
        let of = |name: &str| refused.header(name).unwrap_or_default();
        assert_eq!((refused.status, of("x-weir-limit")), (429, "rpm".into()));
        assert_eq!(of("ratelimit-policy"), r#""rpm";q=60;w=3600"#);
        let (seconds, ms) = (of("retry-after").parse::<u64>().unwrap(), of("retry-after-ms").parse::<u64>().unwrap());
        assert!((30_000..=60_000).contains(&ms) && seconds == ms.div_ceil(1000), "{seconds} s, {ms} ms");
        assert_eq!(of("x-ratelimit-remaining-requests"), "0");
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        let said = body["error"]["message"].as_str().unwrap();
        assert!(said.contains(r#"Rate limit "rpm" reached"#), "{said}");
    }
}

#[test]
fn a_budget_is_used_up_for_good_and_each_run_has_its_own() {
    let limits = json!([{"name": "run", "scope": ["run"], "budget": {"limit": 120}}]);
    for rig in both(&limits) {
        let of = |case: &str, run: &str| call(&rig, case, &[("x-run", run)], ASK, answer());
        let statuses: Vec<_> = (0..4).map(|n| of(&format!("run {n}"), "a").status).collect();
        assert_eq!(statuses, [200, 200, 429, 429]);
        let refused = of("run again", "a");
        assert!(refused.header("retry-after").is_none(), "no time will bring it back");
        assert_eq!(of("another run", "b").status, 200);
        assert_eq!(limit(&rig, "run 1")["charged"], TOKENS);
    }
}

/// A call that is in flight until its client goes.
fn occupy(rig: &Rig, case: &str, headers: &[(&str, &str)]) -> super::super::client::Client {
    let mut client = begin(rig, case, headers, ASK, vec![answer()[0].clone(), Step::Gone]);
    assert_eq!(client.head().status, 200, "{case}");
    client
}

#[test]
fn if_the_third_limit_refuses_the_first_two_get_back_what_they_gave() {
    let limits = json!([
        {"name": "calls", "scope": ["user"], "unit": "calls", "rate": {"limit": 1, "per": "hour"}},
        {"name": "budget", "scope": ["user"], "budget": {"limit": 80}},
        {"name": "in flight", "scope": ["tenant"], "concurrency": 1},
    ]);
    let mut limits = limits;
    limits[2]["name"] = json!("in-flight");
    for rig in both(&limits) {
        let who = [("x-tenant", "t"), ("x-user", "y")];
        let busy = occupy(&rig, "busy", &[("x-tenant", "t"), ("x-user", "x")]);
        for n in 0..3 {
            let case = format!("refused {n}");
            let refused = call(&rig, &case, &who, ASK, answer());
            assert_eq!((refused.status, refused.header("x-weir-limit")), (429, Some("in-flight".into())));
            let record = rig.record(&case);
            let charged: Vec<_> = record["limits"].as_array().unwrap().iter().map(|l| l["charged"].clone()).collect();
            assert!(charged.iter().all(|charged| charged == 0), "{record}");
        }
        busy.reset();
        rig.record("busy");
        let passed = call(&rig, "passed", &who, ASK, answer());
        assert_eq!(passed.status, 200, "all three have what they had: {:?}", verdicts(&rig, "passed"));
        let last = call(&rig, "last", &who, ASK, answer());
        assert_eq!((last.status, last.header("x-weir-limit")), (429, Some("calls".into())));
    }
}

#[test]
fn shadow_lets_pass_and_says_what_it_would_have_done() {
    let limits = json!([{"name": "new", "mode": "shadow", "unit": "calls", "rate": {"limit": 1, "per": "hour"}}]);
    for rig in both(&limits) {
        let seen: Vec<_> =
            (0..3).map(|n| (status(&rig, &format!("shadow {n}"), "a"), limit(&rig, &format!("shadow {n}")))).collect();
        let seen: Vec<_> = seen.iter().map(|(status, limit)| (*status, limit["verdict"].as_str().unwrap())).collect();
        assert_eq!(seen, [(200, "pass"), (200, "shadow"), (200, "shadow")]);
        assert_eq!(rig.record("shadow 2")["ended"], "complete");
    }
}

#[test]
fn calls_without_an_identity_share_are_left_out_or_cannot_be_decided() {
    let once = |name: &str, tenant: &str, more: serde_json::Value| {
        let mut limit = json!({"name": name, "scope": ["user"], "unit": "calls", "match": {"tenant": tenant},
            "rate": {"limit": 1, "per": "hour"}});
        limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        limit
    };
    let limits = json!([
        once("share", "share", json!({})),
        once("skip", "skip", json!({"without": "skip"})),
        once("open", "open", json!({"without": "refuse"})),
        once("closed", "closed", json!({"without": "refuse", "fail": "closed"})),
    ]);
    for rig in both(&limits) {
        for (tenant, wanted) in [
            ("share", [(200, Some("pass")), (429, Some("refuse"))]),
            ("skip", [(200, None), (200, None)]),
            ("open", [(200, Some("open")), (200, Some("open"))]),
            ("closed", [(429, Some("closed")), (429, Some("closed"))]),
            ("nobody", [(200, None), (200, None)]),
        ] {
            for (n, wanted) in wanted.into_iter().enumerate() {
                let case = format!("{tenant} {n}");
                let status = status(&rig, &case, tenant);
                let verdict = verdicts(&rig, &case).first().map(|(_, verdict)| verdict.clone());
                assert_eq!((status, verdict.as_deref()), wanted, "{case}");
            }
        }
    }
}

#[test]
fn cached_tokens_count_what_the_config_says() {
    let weigh = json!({"input": 2, "cache_read": 0.1, "output": 4, "reasoning": 0});
    let limits = json!([{"name": "weighed", "weigh": weigh, "rate": {"limit": 1000, "per": "hour"}}]);
    let rig = rig(limits, false);
    let usage = br#"data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60},"completion_tokens_details":{"reasoning_tokens":8}}}"#;
    let event = [&usage[..], b"\n\n"].concat();
    call(&rig, "weighed", &[], ASK, super::chunked(super::SSE, &[&event]));
    // 40 x 2 + 60 x 0.1 + 42 x 4
    assert_eq!(limit(&rig, "weighed")["charged"], 254);
}

#[test]
fn concurrency_counts_calls_in_flight() {
    for rig in both(&json!([{"name": "in-flight", "scope": ["tenant"], "concurrency": 2}])) {
        let who = [("x-tenant", "a")];
        let (one, two) = (occupy(&rig, "one", &who), occupy(&rig, "two", &who));
        assert_eq!(status(&rig, "three", "a"), 429);
        assert_eq!(status(&rig, "another", "b"), 200);
        one.reset();
        rig.record("one");
        assert_eq!(status(&rig, "four", "a"), 200);
        drop(two);
        eventually("its place", || (status(&rig, "five", "a") == 200).then_some(()));
    }
}
