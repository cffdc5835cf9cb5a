//! docs/record.md and the record know the same keys.

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use weir::record::{
    Attempt, Billed, Cost, Ended, Limited, PlanStep, Record, Retry, ServerTimes, Times, ToolCall, ToolRun, Upstream,
    Usage, UsageSource,
};
use weir::signals::chain::{Chain, Key};

/// A record with every fact there is. Without `..`, so that a new field does not compile before it stands here.
fn full() -> Record {
    let text = || Some("x".to_owned());
    let server = ServerTimes {
        queue_ms: Some(0.0),
        prompt_ms: Some(0.0),
        decode_ms: Some(0.0),
        load_ms: Some(0.0),
        first_token_ms: Some(0.0),
        total_ms: Some(0.0),
        processing_ms: Some(0.0),
        envoy_ms: Some(0.0),
    };
    Record {
        v: weir::record::VERSION,
        call: "x".to_owned(),
        route: text(),
        cluster: text(),
        tenant: text(),
        user: text(),
        run: text(),
        api: "x",
        provider: Some("x"),
        request_model: text(),
        response_model: text(),
        stream: true,
        max_tokens: Some(0),
        status: Some(200),
        ended: Ended::Complete,
        error_type: text(),
        finish_reasons: vec!["x".to_owned()],
        usage: Usage {
            source: UsageSource::Reported,
            input: Some(0),
            output: Some(0),
            cache_read: Some(0),
            cache_write: Some(0),
            cache_write_1h: Some(0),
            reasoning: Some(0),
            input_audio: Some(0),
            output_audio: Some(0),
            total: Some(0),
            billed: Some(Billed { input: Some(0), output: Some(0) }),
        },
        time: Times {
            headers_ms: Some(0.0),
            first_byte_ms: Some(0.0),
            first_token_ms: Some(0.0),
            first_text_ms: Some(0.0),
            last_token_ms: Some(0.0),
            total_ms: Some(0.0),
            itl_p50_ms: Some(0.0),
            itl_p99_ms: Some(0.0),
            itl_max_ms: Some(0.0),
            stalls: Some(0),
            tpot_ms: Some(0.0),
            server,
        },
        upstream: Upstream { address: text(), attempts: Some(0), pool_ms: Some(0.0) },
        tools: vec!["x".to_owned()],
        tools_offered: vec!["x".to_owned()],
        system_fingerprint: text(),
        service_tier: text(),
        response_id: text(),
        attempts: vec![Attempt { address: text(), status: Some(503), first_byte_ms: Some(0.0), total_ms: Some(0.0) }],
        limits: vec![Limited { name: "tpm".into(), verdict: "pass", reserved: 40, charged: 46, waited_ms: 0.0 }],
        retry: Some(Retry { attempt: 2, source: Some("body"), of: text(), verdict: "pass" }),
        kind: text(),
        cost: Some(Cost {
            total: 1,
            input: 1,
            output: 1,
            cache_read: 1,
            cache_write: 1,
            reasoning: 1,
            waste: 1,
            waste_reason: Some("failed"),
        }),
        tool_calls: vec![ToolCall { name: "x".into(), id: text(), bytes: 0, hash: text(), arguments: text() }],
        tool_runs: vec![ToolRun {
            name: "x".into(),
            outcome: "ok",
            id: text(),
            asked_by: text(),
            bytes: 0,
            hash: text(),
            result_bytes: 0,
            ms: Some(0.0),
        }],
        plan: Some(PlanStep {
            step: Some(1),
            of: 2,
            verdict: "matched",
            expected: text(),
            got: text(),
            adherence: Some(100),
        }),
        events: 0,
        unread: 0,
    }
}

/// The keys of objects, and of objects in lists.
fn paths(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    value.as_array().into_iter().flatten().for_each(|element| paths(prefix, element, into));
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        paths(&format!("{path}."), value, into);
        into.insert(path);
    }
}

/// The rows of the tables that have four columns: keys. (Those with two list values.)
fn documented(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3);
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_there() {
    let mut sealed = full().to_json();
    Chain::new(1).seal(&mut sealed, &Key::new(b"key", "x"));
    let record: Value = serde_json::from_str(&sealed).unwrap();
    let mut keys = BTreeSet::new();
    paths("", &record, &mut keys);
    let page = std::fs::read_to_string(support::root().join("docs/record.md")).unwrap();
    assert_eq!(documented(&page), keys);
}

#[test]
fn every_way_to_end_is_documented() {
    // A match, so that a new way does not compile before it stands here.
    let next = |ended| match ended {
        Ended::Complete => Some(Ended::ClientAbort),
        Ended::ClientAbort => Some(Ended::UpstreamReset),
        Ended::UpstreamReset => Some(Ended::Refused),
        Ended::Refused => Some(Ended::Error),
        Ended::Error => Some(Ended::Truncated),
        Ended::Truncated => None,
    };
    let page = std::fs::read_to_string(support::root().join("docs/record.md")).unwrap();
    for ended in std::iter::successors(Some(Ended::Complete), |ended| next(*ended)) {
        let name = serde_json::to_value(ended).unwrap();
        let row = format!("\n| `{}` | ", name.as_str().unwrap());
        assert!(page.contains(&row), "{name}");
    }
}
