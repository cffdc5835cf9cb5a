//! However a call ends, what it held is given back.

use serde_json::json;

use super::super::h2::{self, Send};
use super::super::raw::{Step, chunk, head, send};
use super::super::rig::{CHAT, EVENTS, SSE, heard_of};
use super::{ASK, answer, begin, both, call, eventually, limit, status};

#[test]
fn concurrency_is_given_back_however_a_call_ends() {
    let limits = json!([
        {"name": "in-flight", "concurrency": 1},
        {"name": "once", "scope": ["tenant"], "match": {"tenant": "over"}, "unit": "calls", "rate": {"limit": 1, "per": "day"}},
    ]);
    let start = || head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]);
    let error = |status: &str| {
        let body = br#"{"error":{"message":"no","type":"t"}}"#;
        let length = body.len().to_string();
        vec![head(status, &[("content-type", "application/json"), ("content-length", &length)]), send(&body[..])]
    };
    for rig in both(&limits) {
        assert_eq!(status(&rig, "the one", "over"), 200);
        let cases: Vec<(&str, &str, Vec<Step>)> = vec![
            ("complete", "a", answer()),
            ("refused by another limit", "over", answer()),
            ("bad request", "a", error("400 Bad")),
            ("slow down", "a", error("429 Slow")),
            ("server error", "a", error("500 Oh")),
            ("upstream closes at once", "a", vec![Step::Close]),
            ("upstream resets at once", "a", vec![Step::Reset]),
            ("upstream resets in its answer", "a", vec![start(), chunk(EVENTS[0]), Step::Reset]),
            ("upstream ends too early", "a", vec![start(), chunk(EVENTS[0]), Step::Close]),
            ("no HTTP", "a", vec![send("nonsense\r\n\r\n"), Step::Close]),
        ];
        for (case, tenant, steps) in cases {
            call(&rig, case, &[("x-tenant", tenant)], ASK, steps);
            let record = rig.record(case);
            assert_eq!(status(&rig, &format!("after {case}"), "a"), 200, "{record}");
        }
        for (case, steps, reads) in [
            ("client leaves before the answer", vec![Step::Gone], false),
            ("client leaves in the answer", vec![start(), chunk(EVENTS[0]), Step::Gone], true),
        ] {
            let mut client = begin(&rig, case, &[], ASK, steps);
            if reads {
                client.head();
            } else {
                eventually("the call", || rig.upstream.seen(case));
            }
            client.reset();
            rig.record(case);
            assert_eq!(status(&rig, &format!("after {case}"), "a"), 200);
        }
        let part = &ASK[..ASK.len() / 2];
        for (case, last) in [("body breaks off", Send::Drop), ("body never ends", Send::Reset(::h2::Reason::CANCEL))] {
            let client = h2::Upstream::start();
            let (admin, calls) = (rig.envoy.admin().clone(), heard_of(rig.envoy.admin()) + 1);
            let arrived = h2::when(move || heard_of(&admin) >= calls);
            let sends = vec![Send::Data(part.to_vec()), arrived, last];
            rig.upstream.on(case, answer());
            let ask = h2::Ask { method: "POST", path: CHAT, sends, ..h2::Ask::default() };
            client.call(rig.envoy.address(), case, ask);
            rig.record(case);
            assert_eq!(status(&rig, &format!("after {case}"), "a"), 200);
        }
        rig.has_no_failed_vm("ends");
    }
}

#[test]
fn a_call_that_dies_pays_for_what_it_used_and_no_more() {
    let limits = json!([{"name": "tpm", "scope": ["tenant"], "rate": {"limit": 1000, "per": "day"}}]);
    let big = br#"{"model":"m","stream":true,"max_tokens":900,"messages":[{"role":"user","content":"hi"}]}"#;
    for rig in both(&limits) {
        // Who broke off without an answer has had the prompt.
        for (case, steps, charged) in
            [("at once", vec![Step::Reset], 1), ("refused", vec![head("503 Busy", &[("content-length", "0")])], 0)]
        {
            call(&rig, case, &[("x-tenant", case)], big, steps);
            let limit = limit(&rig, case);
            assert!(limit["reserved"].as_u64() > Some(30), "{limit}");
            assert_eq!(limit["charged"], charged, "{case}: {limit}");
            // Nearly all of it is there again.
            for n in 0..20 {
                assert_eq!(status(&rig, &format!("{case} {n}"), case), 200);
            }
        }
    }
}
