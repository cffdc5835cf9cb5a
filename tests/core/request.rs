//! What a request's body tells, whoever's it is.

use weir::wire::request::{Asked, Request};

use super::support::every_split;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Asked {
    let mut request = Request::default();
    for piece in pieces {
        request.push(piece);
    }
    request.asked().clone()
}

#[test]
fn model_stream_limit_and_tools_come_from_every_providers_words_at_every_split() {
    let tools = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let cases: &[(&str, Asked)] = &[
        (
            r#"{"messages":[{"role":"user","content":"four"}],"model":"gpt","stream":true,"max_tokens":7,"stream_options":{"include_usage":true},"tools":[{"type":"function","function":{"name":"a","description":"five5","parameters":{"type":"object"}}}]}"#,
            Asked {
                model: Some("gpt".into()),
                stream: Some(true),
                max_tokens: Some(7),
                include_usage: Some(true),
                tools: tools(&["a"]),
                prompt_bytes: 9,
                ..Asked::default()
            },
        ),
        (
            r#"{"model":"claude","system":[{"type":"text","text":"12"}],"tools":[{"name":"a"},{"name":"b"}],"max_tokens":1024,"messages":[]}"#,
            Asked {
                model: Some("claude".into()),
                max_tokens: Some(1024),
                tools: tools(&["a", "b"]),
                prompt_bytes: 2,
                ..Asked::default()
            },
        ),
        (
            r#"{"contents":[{"role":"user","parts":[{"text":"123"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}],"generationConfig":{"maxOutputTokens":5},"tools":[{"functionDeclarations":[{"name":"a"}]}]}"#,
            Asked { max_tokens: Some(5), tools: tools(&["a"]), prompt_bytes: 3, ..Asked::default() },
        ),
        (
            r#"{"inferenceConfig":{"maxTokens":9},"messages":[{"content":[{"text":"1"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"a"}}]}}"#,
            Asked { max_tokens: Some(9), tools: tools(&["a"]), prompt_bytes: 1, ..Asked::default() },
        ),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"1234"},{"type":"input_image","image_url":"data:xxxx"}]}],"instructions":"5","max_output_tokens":3}"#,
            Asked { model: Some("m".into()), max_tokens: Some(3), prompt_bytes: 5, ..Asked::default() },
        ),
        (
            r#"{"model":"m","prompt":["12","3"],"stream":false}"#,
            Asked { model: Some("m".into()), stream: Some(false), prompt_bytes: 3, ..Asked::default() },
        ),
        ("", Asked::default()),
        ("not json", Asked::default()),
        ("[]", Asked::default()),
        (r#"{"model":7,"stream":"yes","max_tokens":"many"}"#, Asked { stream: Some(false), ..Asked::default() }),
    ];
    for (body, expected) in cases {
        for pieces in every_split(body.as_bytes()) {
            assert_eq!(&read(pieces), expected, "{body}");
        }
    }
}

#[test]
fn a_body_of_many_megabytes_is_read_with_what_comes_behind_its_prompt() {
    let body = format!(r#"{{"messages":[{{"content":"{}"}}],"model":"m","stream":true}}"#, "x".repeat(20 << 20));
    let asked = read(body.as_bytes().chunks(16 << 10));
    assert_eq!((asked.model.as_deref(), asked.stream, asked.prompt_bytes), (Some("m"), Some(true), 20 << 20));
}

/// What is known of a request once its body is over, and whether it could be read.
fn whole<'a>(encoding: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<String>, bool) {
    let mut request = Request::encoded(encoding);
    for piece in pieces {
        request.push(piece);
    }
    request.end();
    (request.asked().model.clone(), request.is_unread())
}

#[test]
fn what_servers_accept_beyond_json_is_read_at_every_split() {
    let plain = r#"{"messages":[{"content":"z\u00fc \ud83d\ude00 ü😀"}],"model":"mü😀"}"#;
    let units = |size: usize, big: bool, mark: bool| -> Vec<u8> {
        let chars = mark.then_some('\u{feff}').into_iter().chain(plain.chars());
        let numbers: Vec<u32> = match size {
            2 => chars.collect::<String>().encode_utf16().map(u32::from).collect(),
            _ => chars.map(u32::from).collect(),
        };
        let bytes = |n: u32| match (size, big) {
            (2, true) => (n as u16).to_be_bytes().to_vec(),
            (2, false) => (n as u16).to_le_bytes().to_vec(),
            (_, true) => n.to_be_bytes().to_vec(),
            (_, false) => n.to_le_bytes().to_vec(),
        };
        numbers.into_iter().flat_map(bytes).collect()
    };
    let mut bodies = vec![plain.as_bytes().to_vec(), ["\u{feff}", plain].concat().into_bytes()];
    for size in [2, 4] {
        for big in [true, false] {
            bodies.extend([true, false].map(|mark| units(size, big, mark)));
        }
    }
    for body in bodies {
        for pieces in every_split(&body) {
            assert_eq!(whole(b"", pieces), (Some("m\u{fc}\u{1F600}".to_owned()), false), "{body:?}");
        }
    }
    let long = "1".repeat(300);
    for body in [
        r#"{"temperature":NaN,"model":"m"}"#,
        r#"{"top_p":Infinity,"x":-Infinity,"model":"m"}"#,
        r#"{"max_tokens":NaN,"messages":[NaN,{"a":Infinity}],"model":"m"}"#,
        &format!(r#"{{"x":0.{long},"y":{long},"max_tokens":{long},"model":"m"}}"#),
        r#"{"mod\u0065l":"m"}"#,
        r#"{"MODEL":"m"}"#,
        r#"{"Model":"m","x":1}"#,
        "{\"Stream\":true,\"MoDeL\":\"m\"}",
        r#"{"model":"m",}"#,
        r#"{"model":"m","Model":"m"}"#,
        r#"{"model":"old","model":"m"}"#,
        r#"{"Model":"old","model":"m"}"#,
    ] {
        for pieces in every_split(body.as_bytes()) {
            assert_eq!(whole(b"", pieces), (Some("m".to_owned()), false), "{body}");
        }
    }
}

#[test]
fn what_cannot_be_read_or_is_read_in_two_ways_is_said_to_be_so_at_every_split() {
    for (body, model) in [
        (r#"{"model":"m","#, Some("m")),
        (r#"{"model":"m",,}"#, Some("m")),
        ("{'model':'m'}", None),
        ("--form\r\ncontent-disposition: form-data", None),
        ("model=m", None),
        ("  ", None),
        ("\u{1}\u{2}\u{3}", None),
        // Of two names that some read as one, the one that is written right is what the others serve.
        (r#"{"model":"m","MODEL":"n"}"#, Some("m")),
    ] {
        for pieces in every_split(body.as_bytes()) {
            assert_eq!(whole(b"", pieces), (model.map(str::to_owned), true), "{body}");
        }
    }
    for encoding in [&b"compress"[..], b"gzip, br", b"\xff"] {
        assert_eq!(whole(encoding, [&br#"{"model":"m"}"#[..]]), (None, true));
    }
    for encoding in [&b"gzip"[..], b"deflate", b"br", b"zstd"] {
        assert!(whole(encoding, [&br#"{"model":"m"}"#[..]]).1, "not what it says it is");
    }
    assert_eq!(whole(b"", []), (None, false), "no body says nothing");
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn what_is_compressed_is_read_at_every_split() {
    use std::io::Write;
    let body = br#"{"messages":[{"content":"four times four is four times four"}],"model":"m"}"#;
    let level = flate2::Compression::default();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(body).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
    zlib.write_all(body).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
    raw.write_all(body).unwrap();
    let mut br = Vec::new();
    brotli::BrotliCompress(&mut &body[..], &mut br, &Default::default()).unwrap();
    let zstd = zstd::encode_all(&body[..], 3).unwrap();
    for (encoding, coded) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
        ("br", br),
        ("zstd", zstd),
        ("identity", body.to_vec()),
    ] {
        for pieces in every_split(&coded) {
            assert_eq!(whole(encoding.as_bytes(), pieces), (Some("m".to_owned()), false), "{encoding}");
        }
        let cut = &coded[..coded.len() / 2];
        assert!(whole(encoding.as_bytes(), [cut]).1, "{encoding}, cut");
    }
}
