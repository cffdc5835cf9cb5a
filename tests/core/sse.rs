//! Server-sent events, cut anywhere, against a naive reader of the whole.

use proptest::prelude::*;
use weir::wire::sse::{Event, Events, Sse};

use super::support::every_split;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<(String, String)>,
    oversize: usize,
    /// Every byte, in order, as it was handed over.
    bytes: Vec<u8>,
}

impl Events for Seen {
    fn event(&mut self, event: Event<'_>) {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        if let Some(at) = event.at {
            assert_eq!(event.raw.get(at..at + event.data.len()), Some(event.data), "where the data stands");
        }
        self.events.push((text(event.name), text(event.data)));
        self.bytes.extend_from_slice(event.raw);
    }
    fn blank(&mut self, raw: &[u8]) {
        self.bytes.extend_from_slice(raw);
    }
    fn oversize(&mut self) {
        self.oversize += 1;
    }
    fn passed(&mut self, raw: &[u8]) {
        self.bytes.extend_from_slice(raw);
    }
}

fn read<'a>(cap: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut sse, mut seen) = (Sse::new(cap), Seen::default());
    for piece in pieces {
        sse.push(piece, &mut seen);
    }
    sse.finish(&mut seen);
    seen
}

#[test]
fn events_are_put_together_as_the_standard_says_at_every_split() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]),
        ("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]),
        ("event: x\ndata: a\n\n", &[("x", "a")]),
        ("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]),
        ("data: a\ndata: b\ndata:\n\n", &[("", "a\nb\n")]),
        (": comment\n\n: another\ndata: a\n: in the middle\nid: 7\nretry: 5\n\n", &[("", "a")]),
        ("\n\n\ndata: a\n\n\n", &[("", "a")]),
        ("event: nothing\n\ndata: a\n\n", &[("", "a")]),
        ("data\n\n", &[("", "")]),
        ("datum: a\ndatab: c\ndata : d\n\n", &[]),
        ("\u{feff}data: a\n\n", &[("", "a")]),
        ("data: the last blank line is missing\n", &[("", "the last blank line is missing")]),
        ("data: even the line end is missing", &[("", "even the line end is missing")]),
        ("data: ü€😀\n\n", &[("", "ü€😀")]),
        ("", &[]),
    ];
    for (text, expected) in cases {
        for pieces in every_split(text.as_bytes()) {
            let events = read(1 << 20, pieces.clone()).events;
            let events: Vec<_> = events.iter().map(|(n, d)| (n.as_str(), d.as_str())).collect();
            assert_eq!(events, *expected, "{text:?} as {pieces:?}");
        }
    }
}

#[test]
fn an_event_larger_than_the_cap_is_skipped_and_counted_and_the_ones_after_it_are_read() {
    let text =
        format!("data: a\n\ndata: {}\n\ndata: b\n\ndata: {}\n: c\n\ndata: d\n\n", "x".repeat(100), "y".repeat(64));
    for pieces in every_split(text.as_bytes()) {
        let seen = read(64, pieces);
        assert_eq!(seen.oversize, 2);
        assert_eq!(seen.events.iter().map(|(_, d)| d.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
        assert_eq!(seen.bytes, text.as_bytes(), "what is passed over is passed on");
    }
}

#[test]
fn a_line_of_100_mb_is_passed_in_the_memory_of_the_cap() {
    let (mut sse, mut seen) = (Sse::new(1 << 20), Count::default());
    for _ in 0..1600 {
        sse.push(&[b'x'; 64 << 10], &mut seen);
    }
    sse.push(b"\n\ndata: after\n\n", &mut seen);
    assert_eq!((seen.oversize, seen.events), (1, 1));
}

#[derive(Default)]
struct Count {
    events: usize,
    oversize: usize,
}

impl Events for Count {
    fn event(&mut self, _: Event<'_>) {
        self.events += 1;
    }
    fn oversize(&mut self) {
        self.oversize += 1;
    }
}

/// The standard's words, for a text that is whole.
fn naive(text: &str) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), None::<String>);
    for line in text.split('\n').chain([""]) {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((std::mem::take(&mut name), data));
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => data = Some(value.to_owned()),
            },
            "event" => name = value.to_owned(),
            _ => {}
        }
    }
    events
}

proptest! {
    #[test]
    fn any_text_is_read_as_the_naive_reader_reads_it(
        lines in prop::collection::vec(prop_oneof!["data: [a-z]{0,3}", "event:[a-z]?", ":.{0,2}", "", "[a-z]{0,3}"], 0..12),
        ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 12),
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let text: String = lines.iter().zip(&ends).map(|(l, e)| format!("{l}{e}")).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]);
        prop_assert_eq!(read(1 << 20, pieces).events, naive(&text), "{:?}", text);
    }
}
