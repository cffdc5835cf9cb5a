//! Asking for usage on behalf of a client that did not.

use serde_json::{Value, json};
use weir::wire::request::{Injected, Request};

use super::support::every_split;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What the upstream gets of a request in these pieces, as the host would hold and replace them.
fn sent(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut request, mut held, mut out) = (Request::default(), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        match request.push_and_inject(&held) {
            Injected::Same => out.append(&mut held),
            Injected::Again => {}
            Injected::Changed(bytes) => {
                out.extend(bytes);
                held.clear();
            }
        }
    }
    out.extend(held);
    out
}

#[test]
fn a_streamed_request_asks_for_usage_at_every_split_and_nothing_else_changes() {
    for body in [
        r#"{"model":"m","stream":true}"#,
        r#"{"stream":true,"messages":[{"content":"}"}]} "#,
        r#"{"stream":true,"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":{"include_obfuscation":false}}"#,
        r#"{"stream_options":{"include_usage":false,"x":[1]},"stream":true}"#,
        r#"{"stream":true,"stream_options":{"include_usage": false }}"#,
        r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
        r#"{"stream":true,"stream_options":null,"n":1}"#,
        r#"{"stream_options":null,"stream":true}"#,
    ] {
        let mut expected: Value = serde_json::from_str(body).unwrap();
        match &mut expected["stream_options"] {
            Value::Object(options) => {
                options.insert("include_usage".into(), json!(true));
            }
            other => *other = json!({"include_usage": true}),
        }
        for pieces in every_split(body.as_bytes()) {
            let bytes = sent(&pieces);
            let got: Value =
                serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)));
            assert_eq!(
                got,
                expected,
                "{body} as {:?}",
                pieces.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn what_is_not_streamed_or_asks_already_or_is_no_json_stays_as_it_is() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","stream":false}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true"#,
        r#"{"stream":true,"stream_options":{"include_usage":false]"#,
        r#"{"stream":true,"stream_options":"text"}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"no"}}"#,
        r#"{"stream":true,"stream_options":[1],"n":7}"#,
        r#"{"stream":false,"stream_options":null}"#,
        r#"{"stream_options":null,"stream":false}"#,
        r#"{"stream_options":{"include_usage":false},"model":"m"}"#,
        r#"{"stream_options":{"include_usage":false},"model":"m""#,
        r#"[{"stream":true}]"#,
        "stream",
        "",
        "{}",
    ] {
        for pieces in every_split(body.as_bytes()) {
            assert_eq!(String::from_utf8_lossy(&sent(&pieces)), body);
        }
    }
}
