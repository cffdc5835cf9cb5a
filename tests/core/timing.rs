//! What is timed, with a made-up clock.

use super::support::Call;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn chunk(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n")
}

fn played(pieces: &[(u64, String)]) -> Call {
    Call { pieces: pieces.iter().map(|(at, text)| (*at, text.clone().into_bytes())).collect(), ..Call::default() }
}

#[test]
fn bytes_tokens_and_visible_text_have_their_own_first_times() {
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let time = played(&[
        (10, ": keep-alive\n\n".to_owned()),
        (20, chunk(r#"{"role":"assistant","content":""}"#)),
        (30, chunk(r#"{"reasoning_content":"hm"}"#)),
        (50, chunk(r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}"#)),
        (90, chunk(r#"{"content":"a"}"#)),
        (91, end.to_owned()),
    ])
    .record()
    .time;
    assert_eq!(time.headers_ms, Some(10.0));
    assert_eq!(time.first_byte_ms, Some(10.0));
    assert_eq!(time.first_token_ms, Some(30.0));
    assert_eq!(time.first_text_ms, Some(90.0));
    assert_eq!(time.last_token_ms, Some(90.0));
    assert_eq!(time.total_ms, Some(91.0));
    assert_eq!(time.itl_max_ms, Some(40.0));
    assert_eq!(time.stalls, Some(0));
}

#[test]
fn time_per_output_token_is_what_opentelemetry_says() {
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":11,"total_tokens":12}}"#;
    let time = played(&[
        (100, chunk(r#"{"content":"a"}"#)),
        (150, chunk(r#"{"content":"b"}"#)),
        (200, format!("{usage}\n\n")),
    ])
    .record()
    .time;
    // (end 200 - first token 100) / (11 - 1)
    assert_eq!(time.tpot_ms, Some(10.0));
}

#[test]
fn every_gap_counts_also_those_of_tokens_that_come_together() {
    let token = chunk(r#"{"content":"a"}"#);
    let time = played(&[(10, token.repeat(3)), (1510, token.repeat(2)), (1520, token.clone())]).record().time;
    // 0, 0, 1500, 0, 10
    assert_eq!(time.itl_p50_ms, Some(0.0));
    assert_eq!(time.itl_max_ms, Some(1500.0));
    assert_eq!(time.stalls, Some(1), "longer than a second");
}

#[test]
fn a_call_without_tokens_has_no_times_of_tokens() {
    let time = played(&[(5, ": nothing\n\n".to_owned())]).record().time;
    let none =
        (time.first_token_ms, time.first_text_ms, time.last_token_ms, time.itl_p50_ms, time.tpot_ms, time.stalls);
    assert_eq!(none, (None, None, None, None, None, None));
}

#[test]
fn servers_tell_of_their_own_time_in_their_own_units() {
    let cases = [
        (
            r#"{"choices":[],"usage":{"queue_time":0.25,"prompt_time":0.5,"completion_time":0.125,"total_time":0.875}}"#,
            [Some(250.0), Some(500.0), Some(125.0), None],
        ),
        (
            r#"{"choices":[],"usage":{},"metrics":{"time_to_first_token_ms":40.5,"generation_time_ms":200.0,"queue_time_ms":1.5}}"#,
            [Some(1.5), Some(40.5), Some(200.0), None],
        ),
        (r#"{"choices":[],"timings":{"prompt_ms":12.5,"predicted_ms":30.25}}"#, [None, Some(12.5), Some(30.25), None]),
    ];
    for (data, expected) in cases {
        let server = played(&[(1, format!("data: {data}\n\n"))]).record().time.server;
        assert_eq!([server.queue_ms, server.prompt_ms, server.decode_ms, server.load_ms], expected, "{data}");
    }
    let ollama = Call {
        path: "/api/generate",
        response_headers: vec![
            ("content-type", "application/x-ndjson"),
            ("openai-processing-ms", "42"),
            ("x-envoy-upstream-service-time", "7"),
        ],
        ..Call::default()
    };
    let line = br#"{"response":"","done":true,"load_duration":1500000,"prompt_eval_duration":2000000,"eval_duration":3000000,"total_duration":9000000}"#;
    let server = ollama.answered([&line[..]]).record().time.server;
    assert_eq!(
        (server.load_ms, server.prompt_ms, server.decode_ms, server.total_ms),
        (Some(1.5), Some(2.0), Some(3.0), Some(9.0))
    );
    assert_eq!((server.processing_ms, server.envoy_ms), (Some(42.0), Some(7.0)));
}
