//! Runs in a real Envoy: what a resolved ticket cost, and how much of that is not the model, as Prometheus reads it.

use serde_json::json;

use super::client::post;
use super::limits::meters::becomes;
use super::raw::{Step, chunked, head, header, send};
use super::rig::{ASK, CHAT, EVENTS, OUTCOME, Rig, SSE, Setup};

/// What [`EVENTS`] cost: 12 tokens at a dollar a million, 34 at ten.
const MODEL: u64 = 12 * 1_000 + 34 * 10_000;
const TOOL: u64 = 2_000_000;
const RERANK: u64 = 1_000_000;
const TOOL_PATH: &str = "/tools/weather";

fn rig() -> Rig {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "run": [{"header": "x-run"}]},
        "kinds": [{"match": {"path": TOOL_PATH}, "kind": "tool", "name": "weather"}],
        "prices": [
            {"models": ["m"], "per_million": {"input": 1, "output": 10}},
            {"match": {"kind": "tool"}, "per_call": 0.002},
            {"match": {"kind": "rerank"}, "per_call": 0.001},
        ],
        "runs": {"outcomes": ["resolved", "escalated"]},
    });
    Rig::with(Setup { weir: Some(config), workers: 2, ..Setup::default() })
}

fn document(status: &str) -> Vec<Step> {
    vec![head(status, &[("content-type", "application/json"), ("content-length", "2")]), send("{}")]
}

/// A call of a tenant's run, and its record; each on a connection of its own, so on any of the workers.
fn call(rig: &Rig, case: &str, path: &str, (tenant, run): (&str, &str), outcome: Option<&str>, status: &str) -> u64 {
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
    rig.record(case)["cost"]["total"].as_u64().unwrap_or(0)
}

#[test]
fn prometheus_says_what_a_resolved_ticket_cost_and_how_much_of_it_is_not_the_model() {
    let rig = rig();
    let (ticket, elses) = (("acme", "7"), ("else", "7"));
    becomes(&rig, "weir_run_cost_by_kind_nanodollars_total", &[("outcome", "resolved"), ("kind", "tool")], 0.0);
    let resolved = Some("resolved");
    let mut costs = 0;
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
        costs += call(&rig, case, path, run, outcome, status);
    }
    let kinds = rig.records();
    for (case, kind) in [("asks", "model"), ("weather", "tool"), ("reranks", "rerank"), ("pings", "other")] {
        assert_eq!(kinds[case]["kind"], kind, "{case}");
    }
    let by_kind = [
        ("resolved", "model", 4 * MODEL),
        ("resolved", "tool", 2 * TOOL),
        ("resolved", "rerank", RERANK),
        ("escalated", "model", MODEL),
        ("other", "model", MODEL),
        ("resolved", "other", 0),
    ];
    for (outcome, kind, cost) in by_kind {
        let labels = [("outcome", outcome), ("kind", kind)];
        becomes(&rig, "weir_run_cost_by_kind_nanodollars_total", &labels, cost as f64);
    }
    assert_eq!(by_kind.iter().map(|(_, _, cost)| cost).sum::<u64>(), costs, "what the records say");
    // The counter of all calls is the sum of the records too.
    let all = [
        ("acme", "model", "m", 5 * MODEL),
        ("else", "model", "m", MODEL),
        ("acme", "tool", "none", 2 * TOOL),
        ("acme", "rerank", "none", RERANK),
    ];
    for (tenant, kind, model, cost) in all {
        let labels = [("tenant", tenant), ("kind", kind), ("model", model), ("waste", "none")];
        becomes(&rig, "weir_cost_nanodollars_total", &labels, cost as f64);
    }
    assert_eq!(all.iter().map(|(.., cost)| cost).sum::<u64>(), costs, "what the records say");
    for (outcome, runs) in [("resolved", 2.0), ("escalated", 1.0), ("other", 1.0)] {
        for name in ["weir_run_cost_nanodollars_count", "weir_run_calls_count"] {
            becomes(&rig, name, &[("outcome", outcome)], runs);
        }
    }
    // One run of seven calls and one of one; one of 6.06 m$ and one of 0.352 m$.
    for (name, le, runs) in [
        ("weir_run_calls_bucket", "1", 1.0),
        ("weir_run_calls_bucket", "5", 1.0),
        ("weir_run_calls_bucket", "8", 2.0),
        ("weir_run_cost_nanodollars_bucket", "100000", 0.0),
        ("weir_run_cost_nanodollars_bucket", "1000000", 1.0),
        ("weir_run_cost_nanodollars_bucket", "5000000", 1.0),
        ("weir_run_cost_nanodollars_bucket", "10000000", 2.0),
    ] {
        becomes(&rig, name, &[("outcome", "resolved"), ("le", le)], runs);
    }
    rig.has_no_failed_vm("runs");
}
