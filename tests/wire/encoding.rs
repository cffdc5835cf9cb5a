//! The content decoders against real encoders: whole, cut anywhere, truncated, damaged, as bombs.

use crate::streams::{self, CODINGS, Coding, events};
use proptest::prelude::*;
use weir::wire::encoding::{BOMB_FREE, BOMB_RATIO, Broken, Decoder};

/// Everything that comes out, whether the end came, and the error if there was one.
fn decode<'a>(header: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool, Option<Broken>) {
    let mut decoder = Decoder::for_encoding(header).unwrap().unwrap();
    let mut decoded = Vec::new();
    for piece in pieces {
        if let Err(why) = decoder.push(piece, &mut |bytes| decoded.extend_from_slice(bytes)) {
            return (decoded, decoder.finished(), Some(why));
        }
    }
    (decoded, decoder.finished(), None)
}

fn whole(header: &[u8], encoded: &[u8]) -> (Vec<u8>, bool, Option<Broken>) {
    decode(header, [encoded])
}

#[test]
fn a_body_comes_back_at_every_split_and_byte_by_byte() {
    let body = events(4).concat();
    for coding in CODINGS {
        for encoded in [coding.whole(&body), coding.flushed(&events(4)).concat()] {
            let expected = (body.clone(), true, None);
            for cut in 0..=encoded.len() {
                let (a, b) = encoded.split_at(cut);
                assert_eq!(decode(coding.header(), [a, b]), expected, "{coding:?} cut at {cut}");
            }
            assert_eq!(decode(coding.header(), encoded.chunks(1)), expected, "{coding:?} byte by byte");
        }
    }
}

#[test]
fn an_event_that_was_flushed_comes_out_when_its_last_byte_is_there() {
    let events = events(200);
    for coding in CODINGS {
        let encoded = coding.flushed(&events);
        let mut decoder = Decoder::for_encoding(coding.header()).unwrap().unwrap();
        let (mut decoded, mut expected) = (Vec::new(), Vec::new());
        for (event, encoded) in events.iter().zip(&encoded) {
            for piece in encoded.chunks(7) {
                decoder.push(piece, &mut |bytes| decoded.extend_from_slice(bytes)).unwrap();
            }
            expected.extend_from_slice(event);
            assert_eq!(decoded.len(), expected.len(), "{coding:?}");
            assert!(!decoder.finished());
        }
        assert!(decoded == expected);
        decoder.push(encoded.last().unwrap(), &mut |_| panic!("nothing is left")).unwrap();
        assert!(decoder.finished(), "{coding:?}");
    }
}

#[test]
fn every_level_and_size_of_every_encoder_is_read() {
    let mut seed = 3;
    let noise: Vec<u8> = (0..140_000).map(|_| streams::random(&mut seed) as u8).collect();
    let text = events(600).concat();
    let far = [&noise[..], &text, &noise].concat();
    let digits: Vec<u8> = noise.iter().map(|b| b'0' + b % 10).collect();
    let bodies: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("one byte", b"x"),
        ("a run", &[b'a'; 200_000]),
        ("noise", &noise),
        ("digits", &digits),
        ("events", &text),
        ("a repeat from far", &far),
    ];
    let mut codings: Vec<Coding> = Vec::new();
    codings.extend([0, 1, 5, 9].map(Coding::Gzip));
    codings.extend([0, 9].map(Coding::Zlib));
    codings.extend([(0, 22), (1, 16), (4, 22), (6, 10), (9, 24), (10, 20), (11, 22)].map(|(q, w)| Coding::Br(q, w)));
    codings.extend([-50, -5, 1, 2, 3, 4, 6, 9, 12, 15, 17, 19, 22].map(|l| Coding::Zstd(l, l % 2 == 1)));
    for coding in codings {
        // These two take seconds per megabyte in a debug build.
        let slow = matches!(coding, Coding::Br(10.., _));
        for (name, body) in bodies {
            let body = if slow { &body[..body.len().min(30_000)] } else { body };
            let encoded = coding.whole(body);
            let (decoded, finished, why) = decode(coding.header(), encoded.chunks(1 + encoded.len() / 7));
            assert!(decoded == body && finished && why.is_none(), "{coding:?} of {name}: {why:?}");
        }
    }
}

#[test]
fn a_body_that_is_cut_off_gives_its_beginning_and_is_not_finished() {
    let body = events(3).concat();
    for coding in CODINGS {
        let encoded = coding.flushed(&events(3)).concat();
        for end in 0..encoded.len() {
            let (decoded, finished, why) = whole(coding.header(), &encoded[..end]);
            assert!(body.starts_with(&decoded) && !finished && why.is_none(), "{coding:?} cut off at {end}: {why:?}");
        }
    }
}

#[test]
fn a_damaged_body_neither_panics_nor_passes_its_checksum() {
    let body = events(3).concat();
    for coding in CODINGS {
        let encoded = coding.flushed(&events(3)).concat();
        let checked = matches!(coding, Coding::Gzip(_) | Coding::Zlib(_) | Coding::Zstd(_, true));
        for at in 0..encoded.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut damaged = encoded.clone();
                damaged[at] ^= flip;
                let (decoded, finished, why) = whole(coding.header(), &damaged);
                assert!(!finished || why.is_none());
                // Where a flip makes a zlib stream look raw, or a zstd frame one without a checksum, nothing is checked.
                if checked && finished && at > 5 {
                    assert!(decoded == body, "{coding:?}: {flip} at {at} was not seen");
                }
                let bytewise = decode(coding.header(), damaged.chunks(1));
                assert_eq!((bytewise.1, bytewise.2), (finished, why), "{coding:?}: {flip} at {at}");
                // Up to an error, how much came out before it depends on the cuts.
                assert!(bytewise.0.starts_with(&decoded) && (why.is_some() || bytewise.0 == decoded));
            }
        }
    }
}

#[test]
fn what_is_broken_stays_broken() {
    for header in ["gzip", "deflate", "br", "zstd"] {
        let mut decoder = Decoder::for_encoding(header.as_bytes()).unwrap().unwrap();
        let garbage = [0xFF; 300];
        let why = decoder.push(&garbage, &mut |_| {}).unwrap_err();
        let good = Coding::Gzip(6).whole(b"hello");
        assert_eq!(decoder.push(&good, &mut |_| panic!("it gave bytes")), Err(why), "{header}");
        assert_eq!(decoder.push(&[], &mut |_| panic!("it gave bytes")), Err(why), "{header}");
        assert!(!decoder.finished());
    }
}

/// A gzip member with the optional header fields that the flags name.
fn member(flags: u8, body: &[u8], wrong_header_crc: bool) -> Vec<u8> {
    let plain = Coding::Gzip(6).whole(body);
    let mut member = vec![0x1F, 0x8B, 8, flags, 1, 2, 3, 4, 0, 255];
    if flags & 4 != 0 {
        member.extend_from_slice(b"\x05\x00a\x1f\x8b\0b");
    }
    if flags & 8 != 0 {
        member.extend_from_slice(b"answer.txt\0");
    }
    if flags & 16 != 0 {
        member.extend_from_slice("für alle\0".as_bytes());
    }
    if flags & 2 != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(&member);
        let crc = (crc.sum() as u16) ^ u16::from(wrong_header_crc);
        member.extend_from_slice(&crc.to_le_bytes());
    }
    member.extend_from_slice(&plain[10..]);
    member
}

#[test]
fn gzip_is_read_with_any_header_fields_at_any_cut() {
    for fields in 0..16u8 {
        let flags = fields << 1 | fields & 1;
        let encoded = member(flags, b"hello, hello", false);
        for cut in 0..=encoded.len() {
            let (a, b) = encoded.split_at(cut);
            assert_eq!(decode(b"gzip", [a, b]), (b"hello, hello".to_vec(), true, None), "{flags:b} cut at {cut}");
        }
    }
    let empty_extra = [&[0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0][..], &member(0, b"x", false)[10..]].concat();
    assert_eq!(whole(b"x-gzip", &empty_extra), (b"x".to_vec(), true, None));
    assert_eq!(whole(b"gzip", &member(2, b"x", true)).2, Some(Broken::Checksum));
    assert_eq!(whole(b"gzip", &member(0x20, b"x", false)).2, Some(Broken::Format));
}

#[test]
fn gzip_members_follow_each_other_and_what_is_no_member_is_ignored() {
    let members = [member(0, b"one ", false), member(31, b"", false), member(8, b"two", false)].concat();
    let table: &[(&[u8], bool)] = &[
        (b"", true),
        (b"\0\0\0\0\0\0", true),
        (b"trailing", true),
        (b"\x1fx", true),
        // The beginning of one more.
        (b"\x1f", false),
        (b"\x1f\x8b\x08\0\0", false),
    ];
    for (behind, finished) in table {
        let encoded = [&members, *behind].concat();
        for cut in 0..=encoded.len() {
            let (a, b) = encoded.split_at(cut);
            assert_eq!(decode(b"gzip", [a, b]), (b"one two".to_vec(), *finished, None), "{behind:?} cut at {cut}");
        }
    }
    assert_eq!(whole(b"gzip", b"\0\0").2, Some(Broken::Format));
    let mut wrong_length = members.clone();
    *wrong_length.last_mut().unwrap() ^= 1;
    assert_eq!(whole(b"gzip", &wrong_length).2, Some(Broken::Checksum));
}

#[test]
fn zstd_frames_follow_each_other_and_skippable_ones_are_skipped() {
    let (one, two) = (Coding::Zstd(3, true).whole(b"one "), Coding::Zstd(1, false).whole(b"two"));
    let encoded = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", &one[..], b"\x5f\x2a\x4d\x18\0\0\0\0", &two].concat();
    for cut in 0..=encoded.len() {
        let (a, b) = encoded.split_at(cut);
        assert_eq!(decode(b"zstd", [a, b]), (b"one two".to_vec(), true, None), "cut at {cut}");
    }
    assert_eq!(whole(b"zstd", &[&one[..], b"\0\0\0\0"].concat()).2, Some(Broken::Format));
    // A frame that needs dictionary 7.
    assert_eq!(whole(b"zstd", b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\0\0x").2, Some(Broken::Format));
}

#[test]
fn a_window_larger_than_the_bound_is_read_until_it_is_needed() {
    let text = events(30_000).concat();
    let long = |body: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        std::io::copy(&mut &body[..], &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    assert!(text.len() > 6 << 20);
    let (decoded, finished, why) = whole(b"zstd", &long(&text));
    assert!(decoded == text && finished && why.is_none(), "{why:?}");
    let mut seed = 11;
    let noise: Vec<u8> = (0..9 << 20).map(|_| streams::random(&mut seed) as u8).collect();
    let (decoded, _, why) = whole(b"zstd", &long(&[&noise[..], &noise].concat()));
    assert_eq!((decoded.len() >= noise.len(), why), (true, Some(Broken::Format)));

    let large = |body: &[u8]| Coding::Br(2, 24).whole(body);
    let (decoded, finished, why) = whole(b"br", &large(&text[..3 << 20]));
    assert!(decoded == text[..3 << 20] && finished && why.is_none(), "{why:?}");
    assert_eq!(whole(b"br", &large(&noise)).2, Some(Broken::Memory));
    // With a window of 4 MiB, as encoders have by default, any length is read.
    let (decoded, finished, why) = whole(b"br", &Coding::Br(2, 22).whole(&noise));
    assert!(decoded == noise && finished && why.is_none(), "{why:?}");
}

#[test]
fn a_bomb_is_given_up_and_a_body_that_only_compresses_well_is_not() {
    let zeros = vec![0u8; 24 << 20];
    for coding in [Coding::Gzip(9), Coding::Zlib(9), Coding::Br(5, 22), Coding::Zstd(3, false)] {
        let encoded = coding.whole(&zeros);
        let mut most = 0u64;
        for size in [1, 1000, encoded.len()] {
            let (decoded, finished, why) = decode(coding.header(), encoded.chunks(size));
            assert_eq!((finished, why), (false, Some(Broken::Bomb)), "{coding:?}");
            most = most.max(decoded.len() as u64);
        }
        assert!(most <= BOMB_FREE + BOMB_RATIO * encoded.len() as u64, "{coding:?}: {most} bytes came out");

        let small = coding.whole(&zeros[..BOMB_FREE as usize]);
        assert_eq!(whole(coding.header(), &small).2, None, "{coding:?}");
    }
    let text = events(25_000).concat();
    for coding in CODINGS.iter().filter(|c| !matches!(c, Coding::Br(11, _) | Coding::Zstd(19, _))) {
        let encoded = coding.whole(&text);
        let (decoded, finished, why) = whole(coding.header(), &encoded);
        assert!(decoded == text && finished && why.is_none(), "{coding:?}: {why:?}");
    }
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..3000);
    let text = prop::collection::vec(prop::sample::select(&b"abcde, \n0123"[..]), 0..6000);
    let repeats = (prop::collection::vec(any::<u8>(), 1..30), 1usize..3000)
        .prop_map(|(unit, count)| unit.iter().copied().cycle().take(unit.len() * count).collect());
    prop_oneof![noise, text, repeats, (1usize..60).prop_map(|count| events(count).concat())]
}

fn any_coding() -> impl Strategy<Value = Coding> {
    prop_oneof![
        (0u32..10).prop_map(Coding::Gzip),
        (0u32..10).prop_map(Coding::Zlib),
        (0u32..10).prop_map(Coding::RawDeflate),
        (0u32..12, 10u32..25).prop_map(|(quality, window)| Coding::Br(quality, window)),
        (-9i32..23, any::<bool>()).prop_map(|(level, checksum)| Coding::Zstd(level, checksum)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_body_comes_back_through_any_encoder_at_random_cuts(
        body in any_body(),
        coding in any_coding(),
        flush in 1usize..5000,
        cuts in prop::collection::vec(1usize..400, 1..20),
    ) {
        let pieces: Vec<Vec<u8>> = body.chunks(flush).map(<[u8]>::to_vec).collect();
        for encoded in [coding.whole(&body), coding.flushed(&pieces).concat()] {
            let mut left = &encoded[..];
            let mut sizes = cuts.iter().cycle();
            let mut cut = Vec::new();
            while !left.is_empty() {
                let (now, later) = left.split_at(left.len().min(*sizes.next().unwrap()));
                cut.push(now);
                left = later;
            }
            let (decoded, finished, why) = decode(coding.header(), cut);
            prop_assert!(decoded == body && finished && why.is_none(), "{:?} {:?}", coding, why);
        }
    }

    #[test]
    fn garbage_neither_panics_nor_differs_by_cuts(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0usize..5) {
        let heads: [(&[u8], &[u8]); 5] = [
            (b"gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\0"),
            (b"deflate", b"\x78\x9c"),
            (b"deflate", b""),
            (b"br", b""),
            (b"zstd", b"\x28\xb5\x2f\xfd\0\x58"),
        ];
        let encoded = [heads[head].1, &bytes].concat();
        let (once, thrice) = (whole(heads[head].0, &encoded), decode(heads[head].0, encoded.chunks(3)));
        prop_assert_eq!((once.1, once.2), (thrice.1, thrice.2));
        prop_assert!(thrice.0.starts_with(&once.0) && (once.2.is_some() || thrice.0 == once.0));
    }
}
