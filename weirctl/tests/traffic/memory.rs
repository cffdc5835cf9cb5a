//! Stream after stream leaves memory as it was: `cargo test --package weirctl --test traffic memory -- --ignored --nocapture`

use std::sync::atomic::{AtomicUsize, Ordering};

use super::bodies::encode;
use super::client::post;
use super::formats::formats;
use super::raw::{Step, chunk, head, last_chunk, send};
use super::rig::{ASK, CHAT, Rig, SSE};

/// So many streams of 1 MB; other numbers are asked for by this variable.
fn streams() -> usize {
    std::env::var("WEIR_STREAMS").map_or(10_000, |n| n.parse().expect("WEIR_STREAMS is a number"))
}

/// Connections at a time.
const CONNECTIONS: usize = 4;

/// What the process may grow by. A leak of a kilobyte per stream would be 10,000.
const GROWTH_KB: i64 = 6 << 10;

/// A streamed chat answer of 1 MB, as one write of chunks of 16 KB.
fn megabyte() -> Vec<u8> {
    let mut events = Vec::new();
    let mut i = 0;
    while events.len() < 1 << 20 {
        i += 1;
        let text = format!("token number {i} of a stream, with so much text in it that the event is 200 bytes");
        let event = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        );
        events.extend_from_slice(event.as_bytes());
    }
    events.extend_from_slice(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    events.extend_from_slice(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34}}\n\n");
    events.extend_from_slice(b"data: [DONE]\n\n");
    let mut sent = Vec::new();
    for step in events.chunks(16 << 10).map(chunk).chain([last_chunk()]) {
        if let Step::Send(bytes) = step {
            sent.extend_from_slice(&bytes);
        }
    }
    sent
}

/// Runs `count` calls on a few connections; the call's number says what kind it is.
fn run(rig: &Rig, count: usize, call: impl Fn(&Rig, &mut super::client::Client, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut client = rig.connect();
                client.keep = false;
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    call(rig, &mut client, i);
                }
            });
        }
    });
}

fn stays_flat(what: &str, rig: &Rig, count: usize, call: impl Fn(&Rig, &mut super::client::Client, usize) + Sync) {
    let begun = std::time::Instant::now();
    run(rig, count / 4, &call);
    let warm = rig.rss();
    run(rig, count, &call);
    let end = rig.rss();
    let grown = end as i64 - warm as i64;
    println!(
        "{what}: {count} streams after {} to warm up, in {:?}; Envoy has {warm} KB before, {end} KB after: {grown} KB more",
        count / 4,
        begun.elapsed(),
    );
    assert!(grown < GROWTH_KB, "{what}: {grown} KB");
}

#[test]
#[ignore = "takes minutes"]
fn streams_of_a_megabyte_one_after_another_leave_memory_flat() {
    let rig = Rig::start();
    let start = head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]);
    rig.upstream.on("mb", vec![start, send(megabyte())]);
    let request = post(CHAT, &[("x-case", "mb")], ASK);
    stays_flat("streams of 1 MB", &rig, streams(), |rig, client, _| {
        client.send(&request);
        let answer = client.answer("POST");
        assert!(answer.whole && answer.status == 200, "{}", rig.envoy.log());
    });
    assert_eq!(rig.record("mb")["usage"]["output"], 34);
    rig.is_healthy_after("streams of 1 MB");
}

#[test]
#[ignore = "takes minutes"]
fn formats_codings_aborts_and_large_requests_in_a_mix_leave_memory_flat() {
    let rig = Rig::start();
    let mut requests = Vec::new();
    for format in formats() {
        let stream = format.api != "embeddings";
        let answer = format.answer(stream, "tokens=200,prompt=34");
        let content_type = &answer.headers.iter().find(|(name, _)| *name == "content-type").unwrap().1;
        let parts: Vec<Vec<u8>> = answer.parts.iter().map(|part| part.bytes.to_vec()).collect();
        for coding in ["identity", "gzip", "br", "zstd"] {
            for cut in [false, true] {
                let case = format!("{} {coding} {cut}", format.name);
                let body = encode(coding, &parts).concat();
                let headers = [
                    ("content-type", content_type.as_str()),
                    ("content-encoding", coding),
                    ("transfer-encoding", "chunked"),
                ];
                let mut steps = vec![head("200 OK", &headers)];
                let sent = if cut { &body[..body.len() / 2] } else { &body };
                steps.extend(sent.chunks(700).map(chunk));
                steps.push(if cut { Step::Close } else { last_chunk() });
                rig.upstream.on(&case, steps);
                let request =
                    post(format.path(stream), &[("host", format.host), ("x-case", &case)], &format.request(stream));
                requests.push((request, cut));
            }
        }
    }
    let large = format!(r#"{{"model":"m","stream":true,"messages":"{}"}}"#, "x".repeat(1 << 20));
    let start = head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]);
    rig.upstream.on("large", vec![start, send(megabyte())]);
    requests.push((post(CHAT, &[("x-case", "large")], large.as_bytes()), false));
    stays_flat("a mix", &rig, streams() / 4, |rig, client, i| {
        let (request, cut) = &requests[i % requests.len()];
        if i % 7 == 3 || *cut {
            // On a connection of its own, which breaks.
            let mut client = rig.connect();
            client.send(request);
            if *cut {
                client.answer("POST");
            } else {
                client.head();
            }
            client.reset();
            return;
        }
        client.send(request);
        assert!(client.answer("POST").whole, "{}", rig.envoy.log());
    });
    rig.is_healthy_after("the mix");
}
