//! Runs in a real Envoy: what they called until somebody said how they ended, as Prometheus reads it.

use serde_json::json;

use super::client::post;
use super::limits::meters::becomes;
use super::raw::{Step, chunked, head, header, send};
use super::rig::{ASK, CHAT, EVENTS, OUTCOME, Rig, SSE, Setup};

const TOOL_PATH: &str = "/tools/weather";

fn rig() -> Rig {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        "kinds": [{"match": {"path": TOOL_PATH}, "kind": "tool", "name": "weather"}],
        "runs": {"outcomes": ["resolved", "escalated"]},
    });
    Rig::with(Setup { weir: Some(config), workers: 2, ..Setup::default() })
}

fn document(status: &str) -> Vec<Step> {
    vec![head(status, &[("content-type", "application/json"), ("content-length", "2")]), send("{}")]
}

/// A call of a tenant's run, and its record; each on a connection of its own, so on any of the workers.
fn call(rig: &Rig, case: &str, path: &str, (tenant, run): (&str, &str), outcome: Option<&str>, status: &str) {
    let chat = path == CHAT && status == "200";
    rig.upstream.on(case, if chat { chunked(SSE, &EVENTS) } else { document(status) });
    let outcome = outcome.map(|outcome| ("x-weir-outcome", outcome));
    let headers: Vec<_> = [("x-case", case), ("x-tenant", tenant), ("x-run", run)].into_iter().chain(outcome).collect();
    let mut client = rig.connect();
    client.send(&post(path, &headers, if chat { ASK } else { b"{}" }));
    let answer = client.answer("POST");
    assert_eq!(answer.status.to_string(), if path == OUTCOME { "204" } else { status }, "{case}");
    if let Some(seen) = rig.upstream.seen(case) {
        assert_eq!(header(&seen.head, "x-weir-outcome"), None, "{case}");
        assert_eq!(header(&seen.head, "x-run").as_deref(), Some(run), "{case}");
    } else {
        assert_eq!(path, OUTCOME, "{case} never came");
    }
    rig.record(case);
}

#[test]
fn prometheus_says_how_many_calls_a_resolved_ticket_took() {
    let rig = rig();
    let (ticket, elses) = (("acme", "7"), ("else", "7"));
    becomes(&rig, "weir_run_cost_by_kind_nanodollars_total", &[("outcome", "resolved"), ("kind", "tool")], 0.0);
    let resolved = Some("resolved");
    for (case, path, run, outcome, status) in [
        ("asks", CHAT, ticket, None, "200"),
        ("weather", TOOL_PATH, ticket, None, "200"),
        ("another's", CHAT, elses, None, "200"),
        ("reranks", "/v1/rerank", ticket, None, "200"),
        ("weather again", TOOL_PATH, ticket, None, "200"),
        ("asks again", CHAT, ticket, None, "200"),
        ("fails", CHAT, ticket, resolved, "500"),
        ("answers", CHAT, ticket, resolved, "200"),
        // The other tenant's run of the same name ends without a call of a model.
        ("pings", OUTCOME, elses, resolved, "204"),
        ("gives up", CHAT, ("acme", "8"), Some("escalated"), "200"),
        ("is something else", CHAT, ("acme", "9"), Some("a;kind=b"), "200"),
    ] {
        call(&rig, case, path, run, outcome, status);
    }
    let kinds = rig.records();
    for (case, kind) in [("asks", "model"), ("weather", "tool"), ("reranks", "rerank"), ("pings", "other")] {
        assert_eq!(kinds[case]["kind"], kind, "{case}");
    }
    for (outcome, runs) in [("resolved", 2.0), ("escalated", 1.0), ("other", 1.0)] {
        becomes(&rig, "weir_run_calls_count", &[("outcome", outcome)], runs);
    }
    // One run of seven calls and one of one.
    for (name, le, runs) in
        [("weir_run_calls_bucket", "1", 1.0), ("weir_run_calls_bucket", "5", 1.0), ("weir_run_calls_bucket", "8", 2.0)]
    {
        becomes(&rig, name, &[("outcome", "resolved"), ("le", le)], runs);
    }
    rig.has_no_failed_vm("runs");
}
