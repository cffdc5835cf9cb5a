//! Answers that no provider should send. The client gets them as they are, the record says how they ended, and the next
//! call is served as if nothing had been.

use serde_json::{Value, json};

use super::bodies::encode;
use super::client::{Answer, Client, post};
use super::formats::formats;
use super::raw::{Step, chunk, chunked, head, last_chunk, send};
use super::rig::{ASK, CHAT, EVENTS, Rig, SSE};

const MB: usize = 1 << 20;

/// The usage of [`EVENTS`].
fn has_usage(record: &Value) -> bool {
    record["usage"] == json!({"source": "reported", "input": 12, "output": 34, "total": 46})
}

/// A call whose answer is only measured.
fn measured(rig: &Rig, case: &str, body: &[u8], steps: Vec<Step>) -> Answer {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    client.keep = false;
    client.send(&post(CHAT, &[("x-case", case)], body));
    client.answer("POST")
}

#[test]
fn a_line_of_100_mb_is_passed_on_and_the_events_behind_it_are_read() {
    let rig = Rig::start();
    rig.is_healthy_after("the start");
    let before = rig.rss();
    let mut steps = vec![head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]), chunk(b"data: ")];
    let Step::Send(piece) = chunk(&vec![b'x'; MB]) else { unreachable!() };
    steps.extend(std::iter::repeat_n(Step::Send(piece), 100));
    steps.push(chunk(b"\n\n"));
    steps.extend(EVENTS.map(chunk));
    steps.push(last_chunk());
    let answer = measured(&rig, "line", ASK, steps);
    assert!(answer.whole);
    let record = rig.record("line");
    assert_eq!((&record["ended"], &record["unread"]), (&json!("complete"), &json!(1)), "{record}");
    assert!(has_usage(&record), "{record}");
    rig.is_healthy_after("line");
    let grown = rig.rss().saturating_sub(before) / 1024;
    println!("a line of 100 MB: Envoy grew by {grown} MB");
    assert!(grown < 64, "{grown} MB");
}

#[test]
fn a_document_of_100_mb_is_read_to_its_usage_in_bounded_memory() {
    let rig = Rig::start();
    rig.is_healthy_after("the start");
    let before = rig.rss();
    let front = r#"{"id":"c","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let back = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}"#;
    let length = (front.len() + 100 * MB + back.len()).to_string();
    let mut steps = vec![head("200 OK", &[("content-type", "application/json"), ("content-length", &length)])];
    steps.push(send(front));
    let Step::Send(piece) = send(vec![b'x'; MB]) else { unreachable!() };
    steps.extend(std::iter::repeat_n(Step::Send(piece), 100));
    steps.push(send(back));
    let answer = measured(&rig, "document", br#"{"model":"m"}"#, steps);
    assert!(answer.whole);
    let record = rig.record("document");
    assert_eq!((&record["ended"], &record["unread"]), (&json!("complete"), &json!(0)), "{record}");
    assert!(has_usage(&record), "{record}");
    rig.is_healthy_after("document");
    let grown = rig.rss().saturating_sub(before) / 1024;
    println!("a document of 100 MB: Envoy grew by {grown} MB");
    assert!(grown < 64, "{grown} MB");
}

#[test]
fn bombs_reach_the_client_and_are_not_read() {
    let rig = Rig::start();
    let zeros = vec![b'\n'; 48 * MB];
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let bomb = encode(coding, std::slice::from_ref(&zeros)).concat();
        let headers = [("content-type", SSE), ("content-encoding", coding), ("transfer-encoding", "chunked")];
        let mut steps = vec![head("200 OK", &headers)];
        steps.extend(bomb.chunks(10_000).map(chunk));
        steps.push(last_chunk());
        let answer = rig.chat(coding, steps);
        assert!(answer.whole && answer.body == bomb, "{coding}");
        let record = rig.record(coding);
        assert_eq!((&record["ended"], &record["unread"]), (&json!("complete"), &json!(1)), "{coding}: {record}");
        rig.is_healthy_after(coding);
    }
}

#[test]
fn streams_that_stop_early_are_truncated_wherever_they_stop() {
    let rig = Rig::start();
    let mut client = rig.connect();
    for format in formats().iter().filter(|format| format.api != "embeddings") {
        let answer = format.answer(true, "tokens=9,prompt=34,reasoning=0,tools=0");
        let content_type: &str = answer.headers.iter().find(|(name, _)| *name == "content-type").unwrap().1.as_str();
        let parts: Vec<Vec<u8>> = answer.parts.iter().map(|part| part.bytes.to_vec()).collect();
        for coding in ["identity", "gzip", "br", "zstd"] {
            let whole = encode(coding, &parts).concat();
            for tenth in 0..10 {
                let cut = &whole[..whole.len() * tenth / 10];
                let case = format!("{} {coding} {tenth}", format.name);
                let headers =
                    [("content-type", content_type), ("content-encoding", coding), ("transfer-encoding", "chunked")];
                let mut steps = vec![head("200 OK", &headers)];
                steps.extend((!cut.is_empty()).then(|| chunk(cut)));
                steps.push(last_chunk());
                rig.upstream.on(&case, steps);
                let headers = [("host", format.host), ("x-case", &case)];
                client.send(&post(format.path(true), &headers, &format.request(true)));
                let got = client.answer("POST");
                assert!(got.whole && got.body == cut, "{case}");
            }
        }
    }
    rig.is_healthy_after("truncated streams");
    rig.record("ollama generate zstd 9");
    for (case, record) in rig.records().iter().filter(|(case, _)| !case.starts_with("healthy")) {
        // In the last part some formats have told all there is to tell.
        let told = case.ends_with(['6', '7', '8', '9']) && record["ended"] == "complete";
        assert!(record["ended"] == "truncated" || told, "{case}: {record}");
    }
}

#[test]
fn a_frame_with_a_flipped_bit_is_counted_and_passed_on() {
    let rig = Rig::start();
    let formats = formats();
    let format = formats.iter().find(|format| format.name == "converse").unwrap();
    let answer = format.answer(true, "tokens=9,prompt=34,reasoning=0,tools=0");
    let mut client = rig.connect();
    let mut ask = |case: &str, body: &[u8]| {
        rig.upstream.on(case, chunked("application/vnd.amazon.eventstream", &[body]));
        client.send(&post(format.path(true), &[("x-case", case)], &format.request(true)));
        let got = client.answer("POST");
        assert!(got.whole && got.body == body, "{case}");
        rig.record(case)
    };
    let mut start = 0;
    for (i, part) in answer.parts.iter().enumerate() {
        // In the length, its CRC, the headers, the payload, and the frame's CRC.
        for at in [1, 9, 20, part.bytes.len() / 2, part.bytes.len() - 1] {
            let mut body = answer.body();
            body[start + at] ^= 0x10;
            let case = format!("frame {i} bit {at}");
            let record = ask(&case, &body);
            assert_eq!(record["unread"], 1, "{case}: {record}");
            assert!(record["ended"] == "complete" || record["ended"] == "truncated", "{case}: {record}");
        }
        start += part.bytes.len();
    }
    rig.is_healthy_after("flipped bits");
}

#[test]
fn answers_that_lie_about_their_form_are_read_as_far_as_they_go() {
    let rig = Rig::start();
    let stream = EVENTS.concat();
    let gzip = encode("gzip", &EVENTS.map(<[u8]>::to_vec)).concat();
    let mut bad_gzip = gzip.clone();
    let at = gzip.len() - 6;
    bad_gzip[at] ^= 1;
    // What the answer says of itself, what it is, how it ends, and whether its usage is read.
    type Lie<'a> = (&'a str, &'a str, &'a str, &'a [u8], &'a str, bool);
    let cases: [Lie<'_>; 12] = [
        ("events under no type", "", "", &stream, "complete", true),
        ("events under JSON", "application/json", "", &stream, "complete", true),
        ("events under text", "text/plain", "", &stream, "complete", true),
        ("a type that makes no sense", ";;=/", "", &stream, "complete", true),
        ("events that say gzip", SSE, "gzip", &stream, "complete", false),
        ("gzip that says events", SSE, "", &gzip, "truncated", false),
        ("gzip with a wrong CRC", SSE, "gzip", &bad_gzip, "complete", true),
        ("an unknown coding", SSE, "compress", &stream, "complete", false),
        ("codings on top of each other", SSE, "gzip, br", &gzip, "complete", false),
        ("a page", "text/html", "", b"<html>no</html>", "complete", false),
        ("frames that are none", "application/vnd.amazon.eventstream", "", &stream, "truncated", false),
        ("nothing at all", SSE, "", b"", "truncated", false),
    ];
    for (case, content_type, coding, body, ended, usage) in cases {
        let headers = [("content-type", content_type), ("content-encoding", coding), ("transfer-encoding", "chunked")];
        let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut steps = vec![head("200 OK", &headers)];
        steps.extend((!body.is_empty()).then(|| chunk(body)));
        steps.push(last_chunk());
        let answer = rig.chat(case, steps);
        assert!(answer.whole && answer.body == body, "{case}");
        let record = rig.record(case);
        assert_eq!(record["ended"], ended, "{case}: {record}");
        assert_eq!(record["usage"]["source"] == "reported", usage, "{case}: {record}");
    }
    rig.is_healthy_after("lies");
}

#[test]
fn random_bytes_in_every_format_reach_the_client_and_break_nothing() {
    let rig = Rig::start();
    let mut random = fastrand::Rng::with_seed(11);
    let mut client: Client = rig.connect();
    let formats = formats();
    for round in 0..400 {
        let format = &formats[round % formats.len()];
        let mut body = format.answer(format.api != "embeddings", "tokens=9").body();
        for _ in 0..random.usize(1..8) {
            let (a, b) = (random.usize(..body.len()), random.usize(..body.len()));
            let (a, b) = (a.min(b), a.max(b));
            match random.u8(..4) {
                0 => body[a] = random.u8(..),
                1 => body[a..b].fill_with(|| random.u8(..)),
                2 => drop(body.drain(a..b.max(a + 1) - 1)),
                _ => {
                    let piece = body[a..b].to_vec();
                    body.splice(a..a, piece);
                }
            }
            if body.is_empty() {
                body.push(b'{');
            }
        }
        let case = format!("random {round}");
        let content_type =
            ["text/event-stream", "application/json", "application/vnd.amazon.eventstream", "x/y"][round % 4];
        let pieces: Vec<&[u8]> = body.chunks(random.usize(1..300)).collect();
        rig.upstream.on(&case, chunked(content_type, &pieces));
        client.send(&post(format.path(true), &[("host", format.host), ("x-case", &case)], &format.request(true)));
        let got = client.answer("POST");
        assert!(got.whole && got.body == body, "{case}");
    }
    rig.is_healthy_after("random bytes");
    rig.record("random 399");
    let records = rig.records();
    assert_eq!(records.keys().filter(|case| case.starts_with("random")).count(), 400);
}
