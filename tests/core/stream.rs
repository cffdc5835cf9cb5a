//! Whole calls: what a record is made of, and that nothing a client or an upstream can send breaks it.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::json;
use weir::metrics::Id;
use weir::port::Headers;
use weir::record::Ended;
use weir::report::Report;
use weir::settings::Config;
use weir::shared::NullStore;
use weir::stream::Stream;
use weir::worker::Worker;

use super::support::{self, Call, Known, every_split, ms, pairs, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ANSWER: &str = "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}\n\ndata: [DONE]\n\n";

fn counted(report: &Report, id: Id) -> Vec<(u8, u64)> {
    support::counted(report, id).iter().map(|(value, _, n)| (*value, *n)).collect()
}

#[test]
fn a_record_says_where_a_call_went_and_who_made_it() {
    let call = Call {
        request_headers: vec![
            ("x-request-id", "id-1"),
            ("x-tenant", "acme"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ],
        config: r#"{"identity":{"tenant":[{"header":"x-tenant"}]}}"#,
        ..Call::default()
    };
    let facts = call.answered([ANSWER.as_bytes()]).facts();
    assert_eq!(
        facts,
        json!({"v": 1, "call": "id-1", "route": "llm", "cluster": "openai", "tenant": "acme", "run": "0af7651916cd43dd8448eb211c80319c",
               "api": "openai.chat_completions", "request_model": "m", "response_model": "m-1", "stream": true, "status": 200,
               "ended": "complete", "finish_reasons": ["stop"], "response_id": "c", "events": 3, "unread": 0,
               "usage": {"source": "reported", "input": 12, "output": 34, "total": 46},
               "upstream": {"address": "10.0.0.1:443", "attempts": 1}})
    );
}

#[test]
fn what_is_charged_is_what_the_record_counts_and_nothing_unless_it_is_asked_for() {
    let on = r#"{"filter_state":{"tokens":true}}"#;
    let (silent, _) = ANSWER.split_once("data: {\"choices\":[],").unwrap();
    for (what, config, answer, status, charge) in [
        ("reported", on, ANSWER, "200", Some(46)),
        // Eight bytes of a prompt at four a token, and one of an answer.
        ("estimated", on, silent, "200", Some(3)),
        ("an error", on, ANSWER, "500", Some(0)),
        ("not asked for", "{}", ANSWER, "200", None),
    ] {
        let request = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi, you!"}]}"#.into();
        let call = Call { config, status, request, ..Call::default() };
        let report = call.answered([answer.as_bytes()]).play();
        assert_eq!(report.charge, charge, "{what}: {:?}", report.record.usage);
    }
}

#[test]
fn an_aborted_call_still_has_the_usage_and_timing_seen_so_far() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\nevent: cut in the mid";
    let call = Call { path: "/v1/messages", ends: false, ..Call::default() }.answered([start.as_bytes()]);
    let known = Known(vec![
        (&["response", "code_details"], b"downstream_remote_disconnect".to_vec()),
        (&["upstream", "address"], b"10.0.0.1:443".to_vec()),
    ]);
    let record = call.play_on(&mut Worker::new(Config::default()), &known).0.record;
    assert_eq!((record.ended, record.usage.input, record.usage.output), (Ended::ClientAbort, Some(9), Some(1)));
    assert_eq!(record.time.first_text_ms, Some(1.0));
}

#[test]
fn a_call_that_was_never_more_than_a_log_line_has_a_record() {
    let stream = Stream::new(Rc::new(Config::default()));
    let report = stream.done(&mut Worker::new(Config::default()), &Known(Vec::new()), &NullStore, ms(0));
    assert_eq!(report.record.api, "other");
    assert_eq!(counted(&report, Id::Calls).len(), 1);
}

#[test]
fn counts_are_what_the_record_says() {
    let report = Call::default().answered([ANSWER.as_bytes()]).play();
    assert_eq!(counted(&report, Id::Calls), [(0, 1)]);
    assert_eq!(counted(&report, Id::Tokens), [(0, 12), (1, 34)]);
    for id in [Id::FirstByte, Id::FirstToken, Id::FirstText, Id::Call] {
        assert_eq!(counted(&report, id), [(0, 1)], "{id:?}");
    }
    assert_eq!(counted(&report, Id::NoFirstToken), []);
    assert_eq!(counted(&report, Id::Unread), []);
}

#[test]
fn objectives_count_calls_that_were_to_be_streamed_whether_they_fail_or_not() {
    let slos = |request: &str, status, content_type| {
        let call = Call {
            request: request.to_owned(),
            status,
            response_headers: vec![("content-type", content_type)],
            config: r#"{"slo":[{"first_token_ms":500,"objective":0.9}]}"#,
            ..Call::default()
        };
        let answer = if content_type == "application/json" { "{}" } else { ANSWER };
        let seen = support::counted(&call.answered([answer.as_bytes()]).play(), Id::Slo);
        seen.iter().map(|(bad, [slo, ..], _)| (*slo, *bad == 0)).collect::<Vec<_>>()
    };
    assert_eq!(slos(r#"{"stream":true}"#, "200", "text/event-stream"), [(0, true)]);
    assert_eq!(slos(r#"{"stream":true}"#, "503", "application/json"), [(0, false)]);
    assert_eq!(slos("{}", "503", "application/json"), []);
    assert_eq!(slos("{}", "200", "application/json"), []);
    assert_eq!(slos("{}", "200", "text/event-stream"), [(0, true)], "an answer that streams all the same");
}

#[test]
fn what_could_not_be_read_is_counted_by_why_and_does_not_hide_the_rest() {
    let mut broken_frame = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}\n\n".to_vec();
    broken_frame.extend_from_slice(ANSWER.as_bytes());
    let oversize = format!("data: {}\n\n{ANSWER}", "x".repeat(2000));
    type Headers = Vec<(&'static str, &'static str)>;
    let cases: [(&[u8], Headers, u8, u64); 5] = [
        (&broken_frame, vec![("content-type", "text/event-stream")], 1, 34),
        (oversize.as_bytes(), vec![("content-type", "text/event-stream")], 0, 34),
        (ANSWER.as_bytes(), vec![("content-encoding", "compress")], 4, 0),
        // White space in ASCII, but not in JSON.
        (b"\x0c{\"id\":\"c\"}", vec![], 5, 0),
        (b"\x1f\x8b is not really gzip, but says so", vec![("content-encoding", "gzip")], 4, 0),
    ];
    for (answer, response_headers, reason, output) in cases {
        let call = Call {
            response_headers,
            config: r#"{"read":{"max_event_bytes":1024},"usage":{"estimate":false}}"#,
            ..Call::default()
        };
        let report = call.answered([answer]).play();
        assert_eq!(counted(&report, Id::Unread), [(reason, 1)], "{:?}", call.response_headers);
        assert_eq!((report.record.unread, report.record.usage.output.unwrap_or(0)), (1, output));
    }
}

#[test]
fn what_breaks_off_counts_once_although_its_end_is_told_twice() {
    for (content_type, answer) in [
        ("application/json", r#"{"choices":[{"index":0,"message":{"content":"a"#),
        ("application/x-ndjson", "{\"choices\":[]}\n{\"choices\":[{\"index"),
        ("text/event-stream", "data: {\"choices\":[{\"index\":0"),
    ] {
        for pieces in every_split(answer.as_bytes()) {
            let call = Call { response_headers: vec![("content-type", content_type)], ..Call::default() };
            let record = call.answered(pieces).record();
            assert_eq!((record.unread, record.ended == Ended::Complete), (1, false), "{content_type}");
        }
    }
}

#[test]
fn an_event_of_a_known_kind_is_read_however_large_it_is_and_however_it_is_cut() {
    let event =
        |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let answer = [event("a"), event("b"), event("c"), event(&"x".repeat(2000)), event("d"), ANSWER.to_owned()].concat();
    let call = Call { config: r#"{"read":{"max_event_bytes":1024}}"#, ..Call::default() };
    for size in [1, 100, 1500, answer.len()] {
        let record = call.answered(answer.as_bytes().chunks(size)).record();
        assert_eq!((record.unread, record.events, record.usage.output), (0, 8, Some(34)), "in pieces of {size}");
    }
}

#[test]
fn an_event_as_large_as_the_cap_is_put_together_whatever_its_line_ends_and_cuts() {
    // Text that is no JSON promises nothing; beyond the cap nobody knows that it was only that.
    let (front, back) = ("data: ", "\r\n\r\n");
    let call = Call { config: r#"{"read":{"max_event_bytes":1024}}"#, ..Call::default() };
    // The LF of the blank line does not count.
    for (size, unread) in [(1024, 0), (1025, 0), (1026, 1)] {
        let answer = format!("{front}{}{back}", "x".repeat(size - front.len() - back.len()));
        for pieces in every_split(answer.as_bytes()) {
            assert_eq!(call.answered(pieces).record().unread, unread, "{size}");
        }
    }
}

#[test]
fn broken_lines_cost_themselves_and_no_others_however_they_are_cut() {
    let line = |text: &str| format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":false}}\n");
    let last = "{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":12,\"eval_count\":34}\n";
    let broken = ["{\"message\":{\"content\":\"cut\n", "{\"message\":}\n", "{\"message\":[\"cut\n"];
    let answer = broken.map(|broken| format!("{}{broken}", line("a"))).concat() + last;
    let call =
        Call { path: "/api/chat", response_headers: vec![("content-type", "application/x-ndjson")], ..Call::default() };
    for pieces in every_split(answer.as_bytes()) {
        let record = call.answered(pieces).record();
        assert_eq!((record.unread, record.usage.output, record.ended), (3, Some(34), Ended::Complete));
    }
}

#[test]
fn statuses_without_a_body_and_answers_before_the_request_is_complete_are_fine() {
    for status in ["204", "304", "999", "abc", ""] {
        let record = Call { status, ..Call::default() }.record();
        assert_eq!(record.events, 0, "{status}");
    }
    let mut worker = Worker::new(Config::default());
    let mut stream = Stream::new(Rc::clone(&worker.config));
    let head = pairs(&[(":method", "POST"), (":path", "/v1/messages")]);
    stream.request_head(Headers(&head), false, &mut worker, &via_upstream(), &NullStore, ms(0));
    stream.response_head(Headers(&pairs(&[(":status", "413")])), true, &worker, ms(7));
    stream.request_body(b"late", true, ms(90));
    let record = stream.done(&mut worker, &via_upstream(), &NullStore, ms(100)).record;
    assert_eq!((record.ended, record.time.headers_ms), (Ended::Error, Some(7.0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_family = "wasm") { 64 } else { 512 }))]

    #[test]
    fn no_bytes_at_all_break_a_call(
        path in prop_oneof![
            Just("/v1/chat/completions"), Just("/v1/messages"), Just("/v1/responses"), Just("/model/m/converse-stream"),
            Just("/model/m/invoke-with-response-stream"), Just("/v1beta/models/m:streamGenerateContent"), Just("/api/chat"), Just("/v2/chat")],
        request in prop::collection::vec(any::<u8>(), 0..80),
        content_type in prop_oneof![
            Just("text/event-stream"), Just("application/json"), Just("application/vnd.amazon.eventstream"), Just("application/x-ndjson"), Just("")],
        encoding in prop_oneof![Just(""), Just("gzip"), Just("br"), Just("zstd"), Just("deflate"), Just("gzip, br")],
        pieces in prop::collection::vec(prop::collection::vec(prop_oneof![
            3 => any::<u8>(), 1 => Just(b'{'), 1 => Just(b'"'), 1 => Just(b'\n'), 1 => Just(b':'), 1 => Just(0u8)], 0..60), 0..6),
        ends: bool,
        inject: bool,
    ) {
        let call = Call {
            path,
            request: String::from_utf8_lossy(&request).into_owned(),
            response_headers: vec![("content-type", content_type), ("content-encoding", encoding)],
            ends,
            config: if inject { r#"{"usage":{"inject":true}}"# } else { "{}" },
            ..Call::default()
        };
        let call = call.answered(pieces.iter().map(Vec::as_slice));
        let (report, client) = call.play_on(&mut Worker::new(Config::parse(call.config.as_bytes()).unwrap()), &via_upstream());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&report.record.to_json()).is_ok());
        if !inject {
            prop_assert_eq!(client, pieces.concat());
        }
    }
}
