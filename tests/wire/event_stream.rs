//! The event stream reader against Amazon's own writer: whole, cut anywhere, damaged, oversized.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::{DateTime, str_bytes::StrBytes};
use proptest::prelude::*;
use weir::wire::event_stream::{EventStream, Frame, Unread};

const CAP: usize = 1 << 20;

/// What a frame says, kept: message type, event type, exception type, error code, content type, payload.
type Kept = Result<[String; 6], Unread>;

fn keep(frame: Result<Frame<'_>, Unread>) -> Kept {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    frame.map(|f| [f.message_type, f.event_type, f.exception_type, f.error_code, f.content_type, f.payload].map(text))
}

fn read<'a>(cap: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Kept>, bool) {
    let mut stream = EventStream::new(cap);
    let mut frames = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut |frame| frames.push(keep(frame)));
    }
    (frames, stream.at_boundary())
}

fn string(text: &str) -> HeaderValue {
    HeaderValue::String(StrBytes::copy_from_str(text))
}

/// A frame as Amazon's own library writes it.
fn frame(headers: &[(&str, HeaderValue)], payload: &[u8]) -> Vec<u8> {
    let headers = headers.iter().map(|(name, value)| Header::new(name.to_string(), value.clone())).collect();
    let message = Message::new_from_parts(headers, payload.to_vec());
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    let headers = [
        (":event-type", string(kind)),
        (":content-type", string("application/json")),
        (":message-type", string("event")),
    ];
    frame(&headers, payload.as_bytes())
}

fn read_event(kind: &str, payload: &str) -> Kept {
    Ok(["event", kind, "", "", "application/json", payload].map(str::to_owned))
}

/// A frame with right CRCs and whatever lengths and headers.
fn forged(total: u32, headers_size: u32, body: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let mut bytes = [total.to_be_bytes(), headers_size.to_be_bytes()].concat();
    bytes.extend_from_slice(&crc(&bytes));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc(&bytes));
    bytes
}

#[test]
fn frames_of_the_specification_are_read() {
    // The published test vectors "empty_message" and "payload_no_headers".
    let empty = b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
    let payload = b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfd\x52\x8c\x5a{'foo':'bar'}\xc3\x65\x39\x36";
    let bytes = [&empty[..], payload].concat();
    let expected = ["", "{'foo':'bar'}"].map(|p| Ok(["", "", "", "", "", p].map(str::to_owned)));
    assert_eq!(read(CAP, [&bytes[..]]), (expected.to_vec(), true));
}

#[test]
fn a_stream_is_read_at_every_split_and_byte_by_byte() {
    let failure = [(":exception-type", string("throttlingException")), (":message-type", string("exception"))];
    let error = [(":message-type", string("error")), (":error-code", string("InternalFailure"))];
    let all_kinds = [
        ("a", HeaderValue::Bool(true)),
        ("b", HeaderValue::Bool(false)),
        ("c", HeaderValue::Byte(-1)),
        ("d", HeaderValue::Int16(-2)),
        ("e", HeaderValue::Int32(-3)),
        ("f", HeaderValue::Int64(-4)),
        ("g", HeaderValue::ByteArray(vec![0, 255, 7].into())),
        ("h", string(":event-type")),
        ("i", HeaderValue::Timestamp(DateTime::from_secs(1_763_900_000))),
        ("j", HeaderValue::Uuid(7)),
        // Not a string: it is not taken for one.
        (":message-type", HeaderValue::Int32(5)),
        (":event-type", string("last")),
    ];
    let stream = [
        event("messageStart", r#"{"role":"assistant"}"#),
        event("contentBlockDelta", r#"{"delta":{"text":"Grüße"}}"#),
        frame(&failure, b"{}"),
        frame(&error, b""),
        frame(&all_kinds, b"\0"),
    ]
    .concat();
    let expected = vec![
        read_event("messageStart", r#"{"role":"assistant"}"#),
        read_event("contentBlockDelta", r#"{"delta":{"text":"Grüße"}}"#),
        Ok(["exception", "", "throttlingException", "", "", "{}"].map(str::to_owned)),
        Ok(["error", "", "", "InternalFailure", "", ""].map(str::to_owned)),
        Ok(["", "last", "", "", "", "\0"].map(str::to_owned)),
    ];
    for cut in 0..=stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(read(CAP, [a, b]), (expected.clone(), true), "cut at {cut}");
    }
    assert_eq!(read(CAP, stream.chunks(1)), (expected, true));
}

#[test]
fn a_stream_that_is_cut_off_is_not_at_a_boundary() {
    let one = event("a", "{}");
    let two = [&one[..], &one].concat();
    for end in 0..=two.len() {
        let (frames, at_boundary) = read(CAP, [&two[..end]]);
        assert_eq!((frames.len(), at_boundary), (end / one.len(), end % one.len() == 0), "cut off at {end}");
    }
}

#[test]
fn a_frame_above_the_cap_is_skipped_and_the_next_is_read() {
    let (small, large) = (event("small", "1"), event("large", &"x".repeat(300)));
    let stream = [&small[..], &large, &large, &small].concat();
    let expected =
        vec![read_event("small", "1"), Err(Unread::Oversize), Err(Unread::Oversize), read_event("small", "1")];
    for cut in 0..=stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(read(300, [a, b]), (expected.clone(), true), "cut at {cut}");
    }
    let exact = read(large.len(), [&large[..]]).0;
    assert_eq!(exact, vec![read_event("large", &"x".repeat(300))]);
    // 4 GiB announced: nothing is kept for it.
    assert_eq!(read(CAP, [&forged(u32::MAX, 0, b"")[..]]), (vec![Err(Unread::Oversize)], false));
}

#[test]
fn any_flipped_bit_is_seen_and_only_a_prelude_loses_the_rest() {
    let (first, second) = (event("first", "1"), event("second", "2"));
    for at in 0..first.len() {
        for bit in 0..8 {
            let mut stream = [&first[..], &second].concat();
            stream[at] ^= 1 << bit;
            let mut expected = vec![Err(Unread::Crc)];
            if at >= 12 {
                expected.push(read_event("second", "2"));
            }
            assert_eq!(read(CAP, [&stream[..]]).0, expected, "bit {bit} of {at}");
            assert_eq!(read(CAP, stream.chunks(5)).0, expected, "bit {bit} of {at}");
        }
    }
}

#[test]
fn a_frame_that_makes_no_sense_is_counted_and_the_next_is_read() {
    let good = event("good", "1");
    let string_header = |size: u16| [&[1, b'a', 7][..], &size.to_be_bytes(), b"xy"].concat();
    let table: &[(&str, Vec<u8>)] = &[
        ("headers longer than the frame", forged(18, 3, b"ab")),
        ("headers of 4 GiB", forged(18, u32::MAX, b"ab")),
        ("a name longer than the headers", forged(18, 2, b"\x09a")),
        ("no kind", forged(18, 2, b"\x01a")),
        ("a kind that does not exist", forged(19, 3, b"\x01a\x0a")),
        ("a long that is cut", forged(20, 4, b"\x01a\x05x")),
        ("a string without its length", forged(20, 4, b"\x01a\x07\0")),
        ("a string longer than the headers", forged(23, 7, &string_header(3))),
    ];
    for (name, bad) in table {
        let stream = [&bad[..], &good].concat();
        for size in [1, 3, stream.len()] {
            let expected = (vec![Err(Unread::Frame), read_event("good", "1")], true);
            assert_eq!(read(CAP, stream.chunks(size)), expected, "{name}");
        }
    }
    assert!(read(CAP, [&forged(23, 7, &string_header(2))[..]]).0[0].is_ok(), "the forger itself is right");
    // Shorter than a frame can be: nobody knows where the next one begins.
    let lost = [forged(15, 0, b""), good].concat();
    assert_eq!(read(CAP, [&lost[..]]), (vec![Err(Unread::Frame)], false));
}

proptest! {
    #[test]
    fn any_frames_come_back_at_random_cuts(
        frames in prop::collection::vec((any::<String>(), ".{0,40}", ".{0,600}"), 0..8),
        size in 1usize..200,
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|(name, kind, payload)| {
            // Names of at least one byte and at most 255.
            let name: String = format!("x{name}").chars().take(60).collect();
            frame(&[(&name, string("v")), (":event-type", string(kind))], payload.as_bytes())
        }).collect();
        let expected: Vec<Kept> = frames.iter()
            .map(|(_, kind, payload)| Ok(["", kind, "", "", "", payload].map(str::to_owned)))
            .collect();
        prop_assert_eq!(read(CAP, stream.chunks(size)), (expected, true));
    }

    #[test]
    fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        let total = bytes.len() as u32 + 16;
        for headers_size in [0, 5, total, u32::MAX] {
            let stream = forged(total, headers_size, &bytes);
            prop_assert_eq!(read(CAP, stream.chunks(size)), read(CAP, [&stream[..]]));
        }
        prop_assert_eq!(read(CAP, bytes.chunks(size)), read(CAP, [&bytes[..]]));
    }
}
