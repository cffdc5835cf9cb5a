//! What decoding takes: nothing per push in steady state, and never more than the documented most.

use crate::counting;
use crate::streams::{CODINGS, Coding, events};
use weir::wire::encoding::{BR_MEMORY, DEFLATE_MEMORY, Decoder, ZSTD_MEMORY};
use weir::wire::event_stream::EventStream;

#[test]
fn a_stream_of_flushed_events_is_decoded_without_an_allocation_once_the_window_is_full() {
    // Windows of 32 to 128 KiB, so that they fill; a larger one doubles now and then until it is full.
    let codings = [Coding::Gzip(6), Coding::Zlib(6), Coding::Br(5, 16), Coding::Br(9, 16), Coding::Zstd(1, true)];
    let events = events(4000);
    for coding in codings {
        let encoded = match coding {
            Coding::Zstd(..) => {
                let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
                encoder.window_log(15).unwrap();
                events
                    .iter()
                    .map(|event| {
                        std::io::Write::write_all(&mut encoder, event).unwrap();
                        std::io::Write::flush(&mut encoder).unwrap();
                        std::mem::take(encoder.get_mut())
                    })
                    .collect()
            }
            _ => coding.flushed(&events),
        };
        let mut decoder = Decoder::for_encoding(coding.header()).unwrap().unwrap();
        let (warm, steady) = encoded.split_at(1500);
        let mut decoded = 0;
        for piece in warm {
            decoder.push(piece, &mut |bytes| decoded += bytes.len()).unwrap();
        }
        let before = counting::calls();
        for piece in steady {
            for part in piece.chunks(40) {
                decoder.push(part, &mut |bytes| decoded += bytes.len()).unwrap();
            }
        }
        assert_eq!(counting::calls() - before, 0, "{coding:?}");
        assert_eq!(decoded, events.concat().len(), "{coding:?}");
    }
}

#[test]
fn an_event_stream_is_read_without_an_allocation_whole_and_cut() {
    let headers = vec![aws_smithy_types::event_stream::Header::new(
        ":event-type",
        aws_smithy_types::event_stream::HeaderValue::String("chunk".into()),
    )];
    let message = aws_smithy_types::event_stream::Message::new_from_parts(headers, vec![b'x'; 500]);
    let mut frame = Vec::new();
    aws_smithy_eventstream::frame::write_message_to(&message, &mut frame).unwrap();
    let stream = frame.repeat(100);
    for size in [frame.len(), frame.len() * 3, 7, 400] {
        let mut reader = EventStream::new(1 << 20);
        let mut payloads = 0;
        let before = counting::calls();
        for piece in stream.chunks(size) {
            reader.push(piece, &mut |frame| payloads += frame.unwrap().payload.len());
        }
        let calls = counting::calls() - before;
        assert_eq!(payloads, 500 * 100);
        // A frame that lies whole in its piece is read in place; else one buffer grows to a frame's size, in doublings.
        if size % frame.len() == 0 {
            assert_eq!(calls, 0);
        } else {
            assert!(calls <= 10, "{calls} allocations in pieces of {size}");
        }
    }
}

#[test]
fn no_stream_takes_more_memory_than_is_documented() {
    let text = events(54_000).concat();
    let mut codings = CODINGS.to_vec();
    codings.retain(|coding| !matches!(coding, Coding::Br(11, _) | Coding::Zstd(19, _)));
    codings.extend([Coding::Br(2, 24), Coding::Br(9, 22), Coding::Zstd(5, true)]);
    for coding in codings {
        let most = match coding {
            Coding::Br(..) => BR_MEMORY,
            Coding::Zstd(..) => ZSTD_MEMORY,
            _ => DEFLATE_MEMORY,
        };
        // Deflate's window is full soon.
        let size = if most == DEFLATE_MEMORY { 1 << 20 } else { text.len() };
        let encoded = coding.whole(&text[..size]);
        measure(&format!("{coding:?}"), coding.header(), &encoded, most);
    }
    // The largest window there may be.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(23).unwrap();
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    measure("zstd with a window of 8 MiB", b"zstd", &encoder.finish().unwrap(), ZSTD_MEMORY);
}

fn measure(name: &str, header: &[u8], encoded: &[u8], most: usize) {
    let before = counting::start();
    let mut decoder = Decoder::for_encoding(header).unwrap().unwrap();
    for piece in encoded.chunks(1000) {
        // A window above the bound breaks, which is fine here.
        let _ = decoder.push(piece, &mut |_| {});
    }
    let taken = counting::peak() - before;
    println!("{name}: {taken} of {most}");
    assert!(taken <= most as isize, "{name} took {taken} of {most}");
    assert!(taken >= 32 << 10, "{name} was measured: {taken}");
}

#[test]
fn a_decoder_that_broke_has_given_its_memory_back() {
    for header in ["gzip", "deflate", "br", "zstd"] {
        let before = counting::start();
        let mut decoder = Decoder::for_encoding(header.as_bytes()).unwrap().unwrap();
        decoder.push(&[0xFF; 100], &mut |_| {}).unwrap_err();
        assert_eq!(counting::start(), before, "{header}");
    }
}
