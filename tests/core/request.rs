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
