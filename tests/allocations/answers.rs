//! What a piece of an answer costs in memory: nothing. The host's own read of it is the floor.

use std::rc::Rc;

use crate::counting;
use weir::port::{Flow, Headers, Properties};
use weir::settings::Config;
use weir::shared::NullStore;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

struct Nothing;

impl Properties for Nothing {
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// A stream's event number `i`: texts of all lengths, counters that grow.
type Event = fn(usize) -> String;

const STREAMS: &[(&str, &str, Event)] = &[
    ("/v1/chat/completions", "text/event-stream", |i| {
        let text = "x".repeat(1 + i % 60);
        format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    }),
    ("/v1/chat/completions, every event with usage and an id of its own", "text/event-stream", |i| {
        format!(
            "data: {{\"id\":\"c{i}\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"finish_reason\":null}}],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":{i}}}}}\r\n\r\n"
        )
    }),
    ("/v1/responses", "text/event-stream", |i| {
        format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"ab\",\"sequence_number\":{i},\"obfuscation\":\"{}\"}}\n\n",
            "p".repeat(i % 16)
        )
    }),
    ("/v1/messages", "text/event-stream", |i| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"ab\"}}{}}}\n\n",
            " ".repeat(i % 10)
        )
    }),
    ("/v1beta/models/m:streamGenerateContent?alt=sse", "text/event-stream", |i| {
        format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"ab\"}}]}}}}],\"usageMetadata\":{{\"promptTokenCount\":1,\"candidatesTokenCount\":{i}}}}}\r\n\r\n"
        )
    }),
    ("/v1beta/models/m:streamGenerateContent", "application/json", |i| {
        let first = if i == 0 { "[" } else { "," };
        format!(
            "{first}{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"ab\"}}]}}}}],\"usageMetadata\":{{\"candidatesTokenCount\":{i}}}}}\n"
        )
    }),
    ("/api/chat", "application/x-ndjson", |i| {
        format!("{{\"model\":\"m\",\"created_at\":\"{i}\",\"message\":{{\"content\":\"ab\"}},\"done\":false}}\n")
    }),
    ("/v2/chat", "text/event-stream", |_| {
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n".to_owned()
    }),
    ("/v1/embeddings", "application/json", |i| {
        format!("{}0.{i},", if i == 0 { "{\"data\":[{\"embedding\":[" } else { "" })
    }),
];

#[test]
fn no_piece_of_a_stream_allocates_once_the_stream_is_under_way() {
    for (path, content_type, event) in STREAMS {
        let mut worker = Worker::new(Config::default());
        let mut stream = Stream::new(Rc::clone(&worker.config));
        let path = path.split(',').next().unwrap().as_bytes();
        let head: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":path", path)];
        stream.request_head(Headers(&head), false, &mut worker, &Nothing, &NullStore, Nanos(0));
        stream.request_body(b"{\"model\":\"m\",\"stream\":true}", true, Nanos(0));
        let head: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", content_type.as_bytes())];
        stream.response_head(Headers(&head), false, &worker, Nanos(1));
        let events: Vec<String> = (0..1200).map(event).collect();
        let mut push = |events: &[String], cut: bool| {
            let before = counting::calls();
            for (i, event) in events.iter().enumerate() {
                let (a, b) = event.as_bytes().split_at(if cut { i % event.len() } else { 0 });
                for piece in [a, b] {
                    assert_eq!(stream.response_body(piece, false, Nanos(i as u64)), Flow::Forward);
                }
            }
            counting::calls() - before
        };
        push(&events[..200], true);
        assert_eq!(push(&events[200..700], false), 0, "whole events of {}", String::from_utf8_lossy(path));
        assert_eq!(push(&events[700..], true), 0, "cut events of {}", String::from_utf8_lossy(path));
    }
}
