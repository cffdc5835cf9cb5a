//! Where something may be put into a running stream.

use serde_json::Value;
use weir::api::Api;
use weir::wire::body::{Body, BodyHead};
use weir::wire::dialects;
use weir::wire::event_stream::EventStream;
use weir::wire::seams::{Framing, Seams};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A frame of AWS's event stream without headers. The reader here does not look at CRCs.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (16 + payload.len() as u32).to_be_bytes().to_vec();
    frame.extend([0; 8]);
    frame.extend(payload);
    frame.extend([0; 4]);
    frame
}

/// Streams, each as the events it is made of and an unfinished rest: the seams are where events end.
fn streams() -> Vec<(Framing, Vec<Vec<u8>>, Vec<u8>)> {
    let text = |events: &[&str], rest: &str| {
        (events.iter().map(|e| e.as_bytes().to_vec()).collect::<Vec<_>>(), rest.as_bytes().to_vec())
    };
    let frames = (vec![frame(b""), frame(b"{}"), frame(&[0; 300])], frame(b"x")[..9].to_vec());
    [
        (Framing::Sse, text(&["data: a\n\n", ": comment\n\n"], "event: x\ndata: {\"a\":\n")),
        (Framing::Sse, text(&["data: a\ndata: b\nid: 1\n\n", "\n", "data: c\n\n"], "")),
        (Framing::Sse, text(&["data: a\r\n\r\n", "event: x\r\ndata: b\r\n\r\n"], "data")),
        (Framing::Sse, text(&["data: a\r\r", "data: b\r\r"], "")),
        (Framing::Sse, text(&["data: a\r\n\n", "data: b\n\r\n"], "data: unfinished")),
        (Framing::Lines, text(&["{\"a\":\"}\\\"{\"}\n", "{\"a\":[1,\n{}]}\n", "{}\r\n", "\n"], "{\"a\":")),
        (Framing::Lines, text(&["{\"a\":\"\\\\\"}\n"], "")),
        (Framing::Frames, frames),
    ]
    .map(|(framing, (events, rest))| (framing, events, rest))
    .into()
}

#[test]
fn the_first_seam_is_found_from_every_place_on_at_every_split() {
    for (framing, events, rest) in streams() {
        let whole = [events.concat(), rest].concat();
        let mut all_seams = vec![0];
        for event in &events {
            all_seams.push(all_seams.last().unwrap() + event.len());
        }
        for from in 0..=whole.len() {
            for step in [1, 2, 3, 7, whole.len()] {
                let mut seams = Seams::new(framing);
                // What went by came in small pieces too.
                whole[..from].chunks(step).for_each(|piece| seams.pass(piece));
                let mut at = from;
                // A byte more: a seam may stand at the end.
                let found = whole[from..].chunks(step).chain([&b"d"[..]]).find_map(|piece| {
                    let here = seams.first(piece).map(|here| at + here);
                    at += piece.len();
                    here
                });
                let wanted = all_seams.iter().find(|seam| **seam >= from).copied();
                assert_eq!(found, wanted, "{framing:?} from {from} by {step}: {:?}", String::from_utf8_lossy(&whole));
            }
        }
    }
}

#[test]
fn an_array_takes_one_more_element_and_its_end_at_every_seam() {
    let whole = br#" [{"a":[1,{"b":"]}"}]}
, {"a":"\"}"},
{}
]"#;
    let mut elements_before = Vec::new();
    for from in 0..=whole.len() {
        for step in [1, 3, whole.len()] {
            let mut seams = Seams::new(Framing::Array);
            whole[..from].chunks(step).for_each(|piece| seams.pass(piece));
            let mut at = from;
            let found = whole[from..].chunks(step).chain([&b"d"[..]]).find_map(|piece| {
                let here = seams.first(piece).map(|here| at + here);
                at += piece.len();
                here
            });
            let Some(seam) = found else {
                assert_eq!(from, whole.len(), "no seam from {from} by {step}");
                continue;
            };
            assert!(seam >= from);
            let mut out = whole[..seam].to_vec();
            out.extend_from_slice(if seams.wants_comma() { b",9]" } else { b"9]" });
            let read: Vec<Value> = serde_json::from_slice(&out)
                .unwrap_or_else(|error| panic!("{error} at {seam}: {}", String::from_utf8_lossy(&out)));
            assert_eq!(read.last(), Some(&Value::from(9)));
            elements_before.push(read.len() - 1);
        }
    }
    elements_before.sort();
    elements_before.dedup();
    assert_eq!(elements_before, [0, 1, 2, 3]);
}

#[test]
fn frames_whose_length_makes_no_sense_have_no_seam_behind_them() {
    let mut seams = Seams::new(Framing::Frames);
    seams.pass(&[0, 0, 0, 3]);
    assert_eq!(seams.first(&frame(b"")), None);
    assert_eq!(seams.first(&[]), None);
}

#[test]
fn frames_that_the_reader_reads_end_at_seams() {
    let stream = [frame(b"a"), frame(b""), frame(b"bcd")].concat();
    let mut seams = Seams::new(Framing::Frames);
    let mut reader = EventStream::new(1000);
    for byte in &stream {
        // Two ways to know: this one does not mind a wrong CRC in the prelude, the reader stops there.
        reader.push(&[*byte], &mut |_| {});
        seams.pass(&[*byte]);
    }
    assert_eq!(seams.first(b"x"), Some(0));
}

#[test]
fn a_body_says_how_its_events_are_kept_apart() {
    for (api, content_type, encoding, first, apart) in [
        (Api::OpenAiChat, "text/event-stream", "", "data: {}\n\n", Some(Framing::Sse)),
        (Api::OpenAiChat, "text/event-stream; charset=utf-8", "", "", Some(Framing::Sse)),
        (Api::OpenAiChat, "text/event-stream", "gzip", "", None),
        // One document may be all of an answer; two are a stream.
        (Api::OpenAiChat, "application/json", "", "{}", None),
        (Api::OpenAiChat, "application/json", "", "{}\n{}", Some(Framing::Lines)),
        (Api::OllamaChat, "application/x-ndjson", "", "", Some(Framing::Lines)),
        (Api::GeminiGenerate, "application/json", "", "[", Some(Framing::Array)),
        (Api::GeminiGenerate, "application/json", "", "  ", None),
        (Api::BedrockConverse, "application/vnd.amazon.eventstream", "", "", Some(Framing::Frames)),
        (Api::OpenAiChat, "text/html", "", "<html>", None),
    ] {
        let head = BodyHead {
            content_type: content_type.as_bytes(),
            content_encoding: encoding.as_bytes(),
            ok: true,
            stream_asked: true,
        };
        let mut body = Body::new(api, dialects::of(api).unwrap(), head, 1000);
        body.push(first.as_bytes());
        assert_eq!(body.events_apart(), apart, "{api:?} {content_type} {encoding} {first}");
    }
    let head = BodyHead { content_type: b"application/json", ok: true, ..BodyHead::default() };
    let mut body = Body::new(Api::OpenAiChat, dialects::of(Api::OpenAiChat).unwrap(), head, 1000);
    body.push(b"{}");
    assert_eq!(body.events_apart(), None, "a whole answer is no stream");
}
