//! `usage.inject` in both modes of holding a request: the upstream is asked for usage, the client sees nothing of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::bodies::encode;
use super::client::{Answer, post};
use super::raw::{Step, chunk, chunked, head, last_chunk, send};
use super::rig::{CHAT, EVENTS, Rig, SSE, Setup};

const STREAM: &str = r#"{"model":"m","stream":true}"#;
const ASKED: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
const REFUSED: &str = r#"{"stream_options":{"include_usage":false},"model":"m","stream":true}"#;
/// As clients write that send what they leave out as null.
const NULL: &str = r#"{"stream_options":null,"model":"m","stream":false}"#;
const WHOLE: &str = r#"{"model":"m","stream":false}"#;

/// One Envoy for each of the two modes.
fn rigs() -> [Rig; 2] {
    [false, true].map(|hold_headers| {
        Rig::with(Setup {
            weir: Some(json!({"usage": {"inject": true}})),
            hold_headers,
            buffer: None,
            ..Setup::default()
        })
    })
}

/// The events without the usage chunk.
fn without_usage() -> Vec<u8> {
    [EVENTS[0], EVENTS[1], EVENTS[3]].concat()
}

fn call(rig: &Rig, case: &str, body: &[u8], steps: Vec<Step>) -> Answer {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    client.send(&post(CHAT, &[("x-case", case), ("accept-encoding", "gzip")], body));
    client.answer("POST")
}

#[test]
fn the_upstream_is_asked_and_only_the_extra_chunk_is_hidden() {
    for rig in rigs() {
        for (request, asked, hidden) in [
            (STREAM, true, true),
            (REFUSED, true, true),
            (ASKED, true, false),
            (WHOLE, false, false),
            (NULL, false, false),
            ("no JSON", false, false),
        ] {
            for size in [1, 7, 50, 10_000] {
                let case = format!("{size} of {request}").replace('"', "'");
                let events = EVENTS.concat();
                let pieces: Vec<&[u8]> = events.chunks(size).collect();
                let answer = call(&rig, &case, request.as_bytes(), chunked(SSE, &pieces));
                let wanted = if hidden { without_usage() } else { events.clone() };
                assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(&wanted), "{case}");
                assert!(answer.whole && answer.status == 200, "{case}");
                let seen = rig.upstream.seen(&case).unwrap();
                assert!(seen.whole, "{case}");
                let sent: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
                assert_eq!(sent["stream_options"]["include_usage"] == true, asked, "{case}: {sent}");
                if !hidden {
                    assert_eq!(String::from_utf8_lossy(&seen.body), request, "{case}: all else is as it was");
                }
                let record = rig.record(&case);
                assert_eq!((&record["ended"], &record["usage"]["output"]), (&json!("complete"), &json!(34)), "{case}");
            }
        }
        rig.is_healthy_after_inject();
    }
}

impl Rig {
    fn is_healthy_after_inject(&self) {
        let answer = call(self, "healthy", STREAM.as_bytes(), chunked(SSE, &EVENTS));
        assert_eq!(answer.body, without_usage());
        self.has_no_failed_vm("inject");
    }
}

#[test]
fn requests_of_many_megabytes_in_many_small_writes_are_changed_without_a_413() {
    let prompt = "x".repeat(8 << 20);
    let front = format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    let behind = format!(r#"{{"messages":[{{"role":"user","content":"{prompt}"}}],"stream":true}}"#);
    for rig in rigs() {
        for (case, body) in [("front", &front), ("behind", &behind)] {
            rig.upstream.on(case, chunked(SSE, &EVENTS));
            let request = post(CHAT, &[("x-case", case)], body.as_bytes());
            let mut client = rig.connect();
            for piece in request.chunks(50_000) {
                client.send(piece);
            }
            let answer = client.answer("POST");
            assert_eq!((answer.status, answer.body), (200, without_usage()), "{case}: {}", rig.envoy.log());
            let sent: Value = serde_json::from_slice(&rig.upstream.seen(case).unwrap().body).unwrap();
            assert_eq!(sent["stream_options"]["include_usage"], true, "{case}");
            assert!(sent["messages"][0]["content"] == prompt, "{case}");
        }
        let case = "small writes";
        rig.upstream.on(case, chunked(SSE, &EVENTS));
        let mut client = rig.connect();
        for (i, byte) in post(CHAT, &[("x-case", case)], REFUSED.as_bytes()).iter().enumerate() {
            client.send(&[*byte]);
            if i % 16 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.body), (200, without_usage()), "{case}");
        rig.is_healthy_after_inject();
    }
}

#[test]
fn answers_that_cannot_be_changed_or_end_oddly_reach_the_client_whole() {
    let gzip = encode("gzip", &EVENTS.map(<[u8]>::to_vec)).concat();
    let crlf = String::from_utf8(EVENTS.concat()).unwrap().replace('\n', "\r\n");
    let crlf_wanted = String::from_utf8(without_usage()).unwrap().replace('\n', "\r\n");
    let open = [EVENTS[0], b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"no end\"}}]}"].concat();
    for rig in rigs() {
        let start = |coding| {
            head("200 OK", &[("content-type", SSE), ("content-encoding", coding), ("transfer-encoding", "chunked")])
        };
        let answer = call(&rig, "gzip", STREAM.as_bytes(), vec![start("gzip"), chunk(&gzip), last_chunk()]);
        assert!(answer.whole && answer.body == gzip, "compressed although it was not asked for");
        let bytes: Vec<&[u8]> = crlf.as_bytes().chunks(1).collect();
        let answer = call(&rig, "crlf", STREAM.as_bytes(), chunked(SSE, &bytes));
        assert_eq!(String::from_utf8_lossy(&answer.body), crlf_wanted);
        let answer = call(&rig, "no end", STREAM.as_bytes(), chunked(SSE, &[&open]));
        assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(&open));
        let mut steps = vec![start("identity"), chunk(&open)];
        steps.push(send("0\r\nx-late: 1\r\n\r\n"));
        let answer = call(&rig, "no end, trailers", STREAM.as_bytes(), steps);
        assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(&open));
        let refusal = br#"{"error":{"message":"m","type":"t"}}"#;
        let length = refusal.len().to_string();
        let steps = vec![
            head("429 Slow", &[("content-type", "application/json"), ("content-length", &length)]),
            send(&refusal[..]),
        ];
        let answer = call(&rig, "refused", STREAM.as_bytes(), steps);
        assert_eq!((answer.status, &answer.body[..], answer.whole), (429, &refusal[..], true));
        assert_eq!(rig.ended("refused"), "error");
        rig.is_healthy_after_inject();
    }
}
