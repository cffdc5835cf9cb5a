//! Hiding the usage chunk from a client that did not ask for it.

use weir::settings::Config;
use weir::worker::Worker;

use super::support::{Call, every_split, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BEFORE: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n: comment\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n";
const AFTER: &str = "data: [DONE]\n\n";

fn client_gets(request: &str, config: &'static str, answer: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, Option<u64>) {
    let call = Call { request: request.to_owned(), config, ..Call::default() }.answered(pieces.iter().copied());
    let mut worker = Worker::new(Config::parse(config.as_bytes()).unwrap());
    let (report, client) = call.play_on(&mut worker, &via_upstream());
    assert!(client.len() <= answer.len());
    (client, report.record.usage.output)
}

const INJECT: &str = r#"{"usage":{"inject":true}}"#;

#[test]
fn the_extra_chunk_is_hidden_and_counted_at_every_split_and_all_else_is_untouched() {
    let answer = format!("{BEFORE}{USAGE}{AFTER}");
    for pieces in every_split(answer.as_bytes()) {
        let (client, output) = client_gets(r#"{"stream":true}"#, INJECT, answer.as_bytes(), &pieces);
        assert_eq!(String::from_utf8(client).unwrap(), format!("{BEFORE}{AFTER}"));
        assert_eq!(output, Some(2));
    }
}

#[test]
fn a_client_that_asked_gets_every_byte() {
    let answer = format!("{BEFORE}{USAGE}{AFTER}");
    for (request, config) in [
        (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, INJECT),
        (r#"{"stream":true}"#, "{}"),
        (r#"{"stream":false}"#, INJECT),
    ] {
        for pieces in every_split(answer.as_bytes()) {
            let (client, _) = client_gets(request, config, answer.as_bytes(), &pieces);
            assert_eq!(client, answer.as_bytes(), "{request} under {config}");
        }
    }
}

#[test]
fn line_ends_stay_as_they_are_at_every_split() {
    for end in ["\r\n", "\r"] {
        let [answer, wanted] =
            [format!("{BEFORE}{USAGE}{AFTER}"), format!("{BEFORE}{AFTER}")].map(|s| s.replace('\n', end));
        for pieces in every_split(answer.as_bytes()) {
            let (client, output) = client_gets(r#"{"stream":true}"#, INJECT, answer.as_bytes(), &pieces);
            assert_eq!(String::from_utf8(client).unwrap(), wanted, "{pieces:?}");
            assert_eq!(output, Some(2));
        }
    }
}

#[test]
fn usage_that_stands_beside_content_stays() {
    let answer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\nan event without an end";
    for pieces in every_split(answer.as_bytes()) {
        let (client, _) = client_gets(r#"{"stream":true}"#, INJECT, answer.as_bytes(), &pieces);
        assert_eq!(client, answer.as_bytes());
    }
}

#[test]
fn an_event_larger_than_the_cap_goes_on_as_it_comes() {
    let config = r#"{"usage":{"inject":true},"read":{"max_event_bytes":1024}}"#;
    let answer =
        format!("data: {{\"choices\":[],\"x\":\"{}\",\"usage\":{{\"prompt_tokens\":1}}}}\n\n{AFTER}", "y".repeat(3000));
    for pieces in
        [vec![answer.as_bytes()], answer.as_bytes().chunks(100).collect(), answer.as_bytes().chunks(1).collect()]
    {
        let (client, _) = client_gets(r#"{"stream":true}"#, config, answer.as_bytes(), &pieces);
        assert_eq!(client, answer.as_bytes());
    }
}

#[test]
fn nothing_but_the_injected_usage_goes_whatever_shares_its_event() {
    const DELTA: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}";
    const CHUNK: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"completion_tokens\":2}}";
    for (name, answer, wanted) in [
        ("the end", format!("{CHUNK}\ndata: [DONE]\n\n"), "data: [DONE]\n\n".to_owned()),
        (
            "a chunk before it, and the end",
            format!("{DELTA}\n{CHUNK}\ndata: [DONE]\n\n"),
            format!("{DELTA}\ndata: [DONE]\n\n"),
        ),
        (
            "no event ever ends",
            format!("{DELTA}\n{CHUNK}\n{DELTA}\ndata: [DONE]\n"),
            format!("{DELTA}\n{DELTA}\ndata: [DONE]\n"),
        ),
        ("no line end either", format!("{DELTA}\n{CHUNK}"), format!("{DELTA}\n")),
        ("a comment", format!(": ping\n{CHUNK}\n\n{AFTER}"), format!(": ping\n\n{AFTER}")),
        ("its own name and id", format!("event: message\nid: 7\n{CHUNK}\n\n{AFTER}"), AFTER.to_owned()),
        (
            "a name that others share",
            format!("event: message\n{CHUNK}\ndata: [DONE]\n\n"),
            "event: message\ndata: [DONE]\n\n".to_owned(),
        ),
        (
            "one document over several lines",
            "data: {\"choices\":[],\ndata: \"usage\":{\"completion_tokens\":2}}\n\ndata: [DONE]\n\n".to_owned(),
            AFTER.to_owned(),
        ),
        (
            "another document over several lines",
            "data: {\"choices\":\ndata: [{\"delta\":{}}]}\n\ndata: [DONE]\n\n".to_owned(),
            "data: {\"choices\":\ndata: [{\"delta\":{}}]}\n\ndata: [DONE]\n\n".to_owned(),
        ),
        (
            "an error in the chunk",
            format!(
                "data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":2}},\"error\":{{\"code\":1}}}}\n\n{AFTER}"
            ),
            format!("data: {{\"choices\":[],\"error\":{{\"code\":1}}}}\n\n{AFTER}"),
        ),
        (
            "times in front of it",
            format!("data: {{ \"usage\" : {{\"a\":{{}}}} , \"choices\":[], \"timings\":{{\"ms\":2}}}}\n\n{AFTER}"),
            format!("data: {{  \"choices\":[], \"timings\":{{\"ms\":2}}}}\n\n{AFTER}"),
        ),
        (
            "members without a value",
            format!("data: {{\"choices\":[],\"usage\":{{}},\"error\":null}}\n\n{AFTER}"),
            AFTER.to_owned(),
        ),
        (
            "text that is no JSON",
            "data: usage\ndata: {\n\ndata: x\n\n".to_owned(),
            "data: usage\ndata: {\n\ndata: x\n\n".to_owned(),
        ),
        (
            "a document without its field",
            "{\"choices\":[],\"usage\":{}}\n\n".to_owned(),
            "{\"choices\":[],\"usage\":{}}\n\n".to_owned(),
        ),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let (answer, wanted) = (answer.replace('\n', end), wanted.replace('\n', end));
            for pieces in every_split(answer.as_bytes()) {
                let (client, _) = client_gets(r#"{"stream":true}"#, INJECT, answer.as_bytes(), &pieces);
                assert_eq!(String::from_utf8(client).unwrap(), wanted, "{name} in {pieces:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_the_chunk_is_not_held_until_its_event_ends() {
    let first = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n";
    let mut filter = weir::wire::hide::HideUsage::new(1 << 20);
    assert_eq!(filter.push(first.as_bytes(), false), first.as_bytes());
    assert_eq!(filter.push(b": pi", false), b": pi");
    assert_eq!(filter.push(b"ng\nda", false), b"ng\n");
    assert_eq!(filter.push(b"ta: [DONE]\n", false), b"data: [DONE]\n");
}
