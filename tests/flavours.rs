//! Builds that leave rooms out: what is there works, what is not is refused by path, and a call has its record whatever is there.
//! This is the one test that runs under every choice of Cargo features.
#![cfg(not(target_family = "wasm"))]

use std::rc::Rc;

use serde_json::Value;
use weir::call::gate::Gate;
use weir::port::{Flow, Headers, Properties};
use weir::settings::Config;
use weir::shared::NullStore;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

/// A config, the section that it is of, and whether the room for it is there.
const SECTIONS: &[(&str, &str, &str, bool)] = &[
    (r#"{"slo":[{"first_token_ms":500,"objective":0.9}]}"#, "slo", "slo", cfg!(feature = "slo")),
    (
        r#"{"limits":[{"name":"l","unit":"calls","rate":{"limit":1,"per":"second"}}]}"#,
        "limits",
        "limits",
        cfg!(feature = "limits"),
    ),
    (r#"{"retries":{}}"#, "retries", "retry", cfg!(feature = "retry")),
    (r#"{"retry_budgets":[{"name":"b","ratio":0.1}]}"#, "retry_budgets", "retry", cfg!(feature = "retry")),
    (r#"{"circuits":[{"name":"c"}]}"#, "circuits", "retry", cfg!(feature = "retry")),
    (r#"{"kinds":[]}"#, "kinds", "kind", cfg!(feature = "kind")),
    (r#"{"runs":{}}"#, "runs", "runs", cfg!(feature = "runs")),
    (r#"{"prices":[{"models":["m"],"per_call":0.1}]}"#, "prices", "cost", cfg!(feature = "cost")),
    (r#"{"tools":{}}"#, "tools", "tools", cfg!(feature = "tools")),
    (r#"{"plan":{}}"#, "plan", "plan", cfg!(feature = "plan")),
    (r#"{"audit":{"headers":true}}"#, "audit.headers", "audit", cfg!(feature = "audit")),
    (r#"{"audit":{"chain":{"key":"0123456789abcdef"}}}"#, "audit.chain", "audit", cfg!(feature = "audit")),
    (r#"{"audit":{"trail":{"key":"0123456789abcdef"}}}"#, "audit.trail", "trail", cfg!(feature = "trail")),
];

#[test]
fn a_section_without_its_room_is_refused_by_path_and_one_with_it_is_read() {
    for (config, path, room, there) in SECTIONS {
        let read = Config::parse(config.as_bytes()).map(drop);
        let expected = if *there { Ok(()) } else { Err(format!("{path}: this build has no `{room}`")) };
        assert_eq!(read, expected, "{config}");
    }
}

#[test]
fn what_every_build_reads_is_read() {
    for config in ["", "{}", r#"{"audit":{}}"#, r#"{"identity":{"tenant":[{"header":"x-tenant"}]},"admission":{}}"#] {
        assert!(Config::parse(config.as_bytes()).is_ok(), "{config}");
    }
}

/// An upstream that was there.
struct Upstream;

impl Properties for Upstream {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        (path == ["upstream", "address"]).then(|| b"10.0.0.1:443".to_vec())
    }
}

#[test]
fn a_call_has_its_record_and_its_counts_whatever_is_there() {
    const ANSWER: &[u8] = b"data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}\n\ndata: [DONE]\n\n";
    let there = SECTIONS.iter().filter(|(.., there)| *there).map(|(config, ..)| *config);
    for config in ["{}"].into_iter().chain(there) {
        let mut worker = Worker::new(Config::parse(config.as_bytes()).unwrap());
        let mut stream = Stream::new(Rc::clone(&worker.config));
        let head: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":path", b"/v1/chat/completions")];
        let head = stream.request_head(Headers(&head), false, &mut worker, &Upstream, &NullStore, Nanos(1));
        assert_eq!(head.reply, None, "{config}");
        assert_eq!(stream.request_body(br#"{"model":"m","stream":true}"#, true, Nanos(2)), Flow::Forward);
        assert_eq!(stream.admit(&mut worker, &NullStore, true, true, Nanos(3)), Gate::Open, "{config}");
        let head: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", b"text/event-stream")];
        stream.response_head(Headers(&head), false, &worker, Nanos(4));
        assert_eq!(stream.response_body(ANSWER, false, Nanos(5)), Flow::Forward);
        stream.response_body(b"", true, Nanos(6));
        let report = stream.done(&mut worker, &Upstream, &NullStore, Nanos(7));
        let record: Value = serde_json::from_str(&report.record.to_json()).unwrap();
        assert_eq!(record["usage"]["output"], 34, "{config}");
        assert_eq!(record["ended"], "complete", "{config}");
        assert!(report.counts.samples.len() > 5, "{config}");
        let names = report.counts.samples.iter().map(|(sample, _)| weir::metrics::stat_name(*sample, &worker));
        assert!(names.clone().any(|name| name.starts_with("weir_calls_total;ended=complete;model=")), "{config}");
    }
}
