//! What the shape knows again is what the reader would have read.

use proptest::prelude::*;
use weir::wire::shape::{Fit, Free, Shape, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// An event written with its holes in `«»` (content), `‹›` (free text) or `⟨⟩` (number), and the spans of them.
fn event(marked: &str) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans, mut start) = (Vec::new(), Vec::new(), 0);
    for c in marked.chars() {
        match c {
            '«' | '‹' | '⟨' => start = bytes.len(),
            '»' => spans.push(Span { free: Free::Content, start, end: bytes.len() }),
            '›' => spans.push(Span { free: Free::Text, start, end: bytes.len() }),
            '⟩' => spans.push(Span { free: Free::Number, start, end: bytes.len() }),
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    (bytes, spans)
}

fn taught(events: &[&str]) -> Shape {
    let mut shape = Shape::default();
    for marked in events {
        let (bytes, spans) = event(marked);
        shape.learn(&bytes, &spans, true);
    }
    shape
}

#[test]
fn one_event_teaches_nothing_and_two_teach_what_differs() {
    let first = "data: {\"id\":\"‹7›\",\"n\":⟨1⟩,\"t\":\"«a»\"}\n\n";
    let second = "data: {\"id\":\"‹7›\",\"n\":⟨2⟩,\"t\":\"«bc»\"}\n\n";
    assert_eq!(taught(&[first]).fit(&event(second).0), None);
    let shape = taught(&[first, second]);
    let cases: &[(&str, Option<u64>)] = &[
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"def\"}\n\n", Some(3)),
        ("data: {\"id\":\"7\",\"n\":1234567,\"t\":\"x\"}\n\n", Some(1)),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"a \\\"quoted\\\" one\"}\n\n", Some(16)),
        // A text that looks like JSON does not break out.
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"\\\",\\\"finish\\\":\\\"stop\"}\n\n", Some(20)),
        // Anything else is read whole.
        ("data: {\"id\":\"8\",\"n\":3,\"t\":\"x\"}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"\"}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":,\"t\":\"x\"}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"x\",\"finish\":\"stop\"}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":null}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"x\"}\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"a\nb\"}\n\n", None),
        ("data: {\"id\":\"7\",\"n\":3,\"t\":\"the end is not there", None),
        ("", None),
    ];
    for (text, content) in cases {
        let fit = content.map(|content| Fit { len: text.len(), content, text: true });
        assert_eq!(shape.fit(text.as_bytes()), fit, "{text}");
        let more = format!("{text}data: the next one\n\n");
        assert_eq!(shape.fit(more.as_bytes()), fit, "{more}");
    }
}

#[test]
fn another_structure_is_learned_anew() {
    let a = "data: {\"t\":\"«a»\"}\n\n";
    let b = "data: {\"r\":\"«a»\"}\n\n";
    let shape = taught(&[a, a, b]);
    assert_eq!(shape.fit(&event(a).0), None);
    assert_eq!(shape.fit(&event(b).0), None);
    let shape = taught(&[a, a, b, b]);
    assert!(shape.fit(&event(b).0).is_some());
}

#[test]
fn what_differed_once_may_differ_again() {
    let with = |id: &str, n: u32| format!("data: {{\"id\":\"‹{id}›\",\"n\":⟨{n}⟩,\"t\":\"«a»\"}}\n\n");
    let shape = taught(&[&with("1", 1), &with("1", 2), &with("2", 2)]);
    assert!(shape.fit(&event(&with("3", 9)).0).is_some());
}

proptest! {
    #[test]
    fn any_two_events_that_teach_fit_their_own_shape_whatever_the_values(
        values in prop::collection::vec(("[a-z]{1,9}", 0u32..1000, "[ -!#-\\[\\]-~]{1,30}"), 3),
    ) {
        let of = |(id, n, t): &(String, u32, String)| {
            let clean: String = t.chars().filter(|c| !"«»‹›⟨⟩".contains(*c)).collect();
            format!("event: delta\ndata: {{\"id\":\"‹{id}›\",\"n\":⟨{n}⟩,\"c\":[{{\"t\":\"«{clean}»\"}}]}}\n\n")
        };
        let shape = taught(&[&of(&values[0]), &of(&values[1])]);
        let all_differ = values[0].0 != values[1].0 && values[0].1 != values[1].1;
        for value in &values[..if all_differ { 3 } else { 2 }] {
            let (bytes, _) = event(&of(value));
            prop_assert_eq!(shape.fit(&bytes).map(|f| f.len), Some(bytes.len()));
        }
    }
}

/// Where a string ends, looked for byte by byte.
fn end_of_string(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' => at += 2,
            ..b' ' => return None,
            _ => at += 1,
        }
    }
    None
}

#[test]
fn every_byte_at_every_place_of_a_text_ends_it_where_a_reader_would() {
    let shape = taught(&["data: {\"t\":\"«a»\"}\n\n", "data: {\"t\":\"«b»\"}\n\n"]);
    let (front, back) = (b"data: {\"t\":\"", b"\"}\n\n");
    for len in 1..20 {
        for place in 0..len {
            for byte in 0..=u8::MAX {
                // What stands behind a byte must not matter, nor what a borrow from it could reach.
                for other in [b'!', b'#', b'[', b']', b' ', 0x7f, 0x80, 0xff] {
                    let mut text = vec![other; len];
                    text[place] = byte;
                    let event = [&front[..], &text, back].concat();
                    let expected = end_of_string(&event[front.len()..])
                        .filter(|end| *end > 0 && event[front.len() + end..].starts_with(back))
                        .map(|end| Fit { len: front.len() + end + back.len(), content: end as u64, text: true });
                    assert_eq!(shape.fit(&event), expected, "{byte:#x} at {place} of {len} {other:#x}");
                }
            }
        }
    }
}

#[test]
fn a_literal_that_differs_in_any_one_byte_does_not_fit() {
    for len in 0..70 {
        let with = |value: &str| format!("data: {{\"{}\":\"«{value}»\"}}\n\n", "k".repeat(len));
        let shape = taught(&[&with("a"), &with("b")]);
        let (fine, spans) = event(&with("c"));
        assert!(shape.fit(&fine).is_some());
        for place in (0..fine.len()).filter(|place| *place != spans[0].start) {
            let mut changed = fine.clone();
            changed[place] ^= 1;
            assert_eq!(shape.fit(&changed), None, "{len} {place}");
        }
    }
}
