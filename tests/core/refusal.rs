//! What refused and cut calls are sent.

use serde_json::{Value, json};
use weir::api::Api;
use weir::units::Span;
use weir::wire::body::{Body, BodyHead};
use weir::wire::dialects;
use weir::wire::event_stream::{EventStream, Frame};
use weir::wire::facts::Facts;
use weir::wire::refusal::{Kind, MAX_LIMIT, MAX_WHY, Refusal, body, event};
use weir::wire::seams::{Framing, Seams};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const LIMITED: Refusal<'static> =
    Refusal { kind: Kind::RateLimited, limit: "tenant-tokens", why: "", retry_after: Some(Span(2_345_000_001)) };
const UNAVAILABLE: Refusal<'static> =
    Refusal { kind: Kind::Unavailable, limit: "", why: "No upstream is left.", retry_after: None };
const SAID: &str = "Rate limit \"tenant-tokens\" reached. Please try again in 2.346s.";
const CUT: &str = "Rate limit \"tenant-tokens\" reached. The answer ends here, unfinished. Please try again in 2.346s.";

fn whole(api: Api, refusal: &Refusal<'_>) -> Value {
    serde_json::from_slice(&body(api, refusal).body).unwrap()
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.unwrap()).unwrap()
}

#[test]
fn each_api_is_refused_in_its_own_words() {
    let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.346s"}]);
    let openai =
        json!({"error": {"message": SAID, "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"}});
    let anthropic = json!({"type": "error", "error": {"type": "rate_limit_error", "message": SAID}});
    let gemini = json!({"error": {"code": 429, "message": SAID, "status": "RESOURCE_EXHAUSTED", "details": retry}});
    let message = json!({"message": SAID});
    for (api, wanted) in [
        (Api::OpenAiChat, &openai),
        (Api::OpenAiCompletions, &openai),
        (Api::OpenAiResponses, &openai),
        (Api::Embeddings, &openai),
        (Api::AnthropicMessages, &anthropic),
        (Api::AnthropicComplete, &anthropic),
        (Api::GeminiGenerate, &gemini),
        (Api::GeminiInteractions, &json!({"error": {"code": "too_many_requests", "message": SAID}})),
        (Api::BedrockConverse, &message),
        (Api::BedrockInvoke, &message),
        (Api::CohereChatV1, &message),
        (Api::CohereChatV2, &message),
        (Api::CohereGenerate, &message),
        (Api::OllamaChat, &json!({"error": SAID})),
        (Api::OllamaGenerate, &json!({"error": SAID})),
        (
            Api::Watsonx,
            &json!({"errors": [{"code": "rate_limit_reached_requests", "message": SAID}], "status_code": 429}),
        ),
        (
            Api::Other,
            &json!({"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": SAID, "error": {"message": SAID}}),
        ),
    ] {
        assert_eq!(&whole(api, &LIMITED), wanted, "{api:?}");
        let shaped = body(api, &LIMITED);
        assert_eq!(shaped.status, 429);
        let problem = if api == Api::Other { "application/problem+json" } else { "application/json" };
        assert_eq!(shaped.content_type, problem, "{api:?}");
    }
    assert_eq!(body(Api::BedrockInvoke, &LIMITED).header, Some(("x-amzn-errortype", "ThrottlingException")));
    assert_eq!(body(Api::OpenAiChat, &LIMITED).header, None);
}

#[test]
fn what_is_unavailable_has_a_word_of_its_own() {
    for (api, word) in [
        (Api::OpenAiChat, "server_error"),
        (Api::AnthropicMessages, "overloaded_error"),
        (Api::GeminiGenerate, "UNAVAILABLE"),
        (Api::GeminiInteractions, "unavailable"),
        (Api::Watsonx, "service_unavailable"),
        (Api::Other, "Service Unavailable"),
    ] {
        let said = whole(api, &UNAVAILABLE).to_string();
        assert!(said.contains(word) && said.contains("No upstream is left."), "{api:?}: {said}");
        assert!(!said.contains("try again"), "nobody knows when: {said}");
    }
    let shaped = body(Api::BedrockConverse, &UNAVAILABLE);
    assert_eq!((shaped.status, shaped.header), (503, Some(("x-amzn-errortype", "ServiceUnavailableException"))));
}

#[test]
fn what_is_forbidden_is_told_in_each_apis_own_words() {
    const WHY: &str = "Not as planned: step 2 of 3, expected a, got b.";
    let refusal = Refusal { kind: Kind::Forbidden, limit: "", why: WHY, retry_after: None };
    for api in Api::ALL {
        let wanted = match api {
            Api::DashScope | Api::OciChat => json!({"code": "forbidden", "message": WHY}),
            Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiResponses
            | Api::Embeddings
            | Api::LmStudioChat
            | Api::Images
            | Api::Transcriptions
            | Api::Speech
            | Api::Rerank
            | Api::SageMaker
            | Api::CloudflareRun
            | Api::Generate
            | Api::LlamaCompletion
            | Api::SnowflakeComplete
            | Api::MistralConversations => {
                json!({"error": {"message": WHY, "type": "permission_error", "param": null, "code": "forbidden"}})
            }
            Api::AnthropicMessages | Api::AnthropicComplete => {
                json!({"type": "error", "error": {"type": "permission_error", "message": WHY}})
            }
            Api::GeminiGenerate => json!({"error": {"code": 403, "message": WHY, "status": "PERMISSION_DENIED"}}),
            Api::GeminiInteractions => json!({"error": {"code": "permission_denied", "message": WHY}}),
            Api::BedrockConverse | Api::BedrockInvoke | Api::CohereChatV1 | Api::CohereChatV2 | Api::CohereGenerate => {
                json!({"message": WHY})
            }
            Api::OllamaChat | Api::OllamaGenerate => json!({"error": WHY}),
            Api::Watsonx => json!({"errors": [{"code": "forbidden", "message": WHY}], "status_code": 403}),
            Api::Other => {
                json!({"type": "about:blank", "title": "Forbidden", "status": 403, "detail": WHY, "error": {"message": WHY}})
            }
        };
        assert_eq!(whole(api, &refusal), wanted, "{api:?}");
        let bedrock = matches!(api, Api::BedrockConverse | Api::BedrockInvoke);
        let header = bedrock.then_some(("x-amzn-errortype", "AccessDeniedException"));
        let shaped = body(api, &refusal);
        assert_eq!((shaped.status, shaped.header), (403, header), "{api:?}");
    }
    for (limit, said) in [("", "Not allowed."), ("a", "Not allowed (limit \"a\").")] {
        assert_eq!(whole(Api::OllamaChat, &Refusal { limit, why: "", ..refusal })["error"], said);
    }
}

#[test]
fn the_message_says_which_limit_bit_and_when_to_try_again() {
    let refusal =
        |kind, limit, why, retry_after: Option<u64>| Refusal { kind, limit, why, retry_after: retry_after.map(Span) };
    use Kind::{RateLimited, Unavailable};
    for (refusal, said) in [
        (refusal(RateLimited, "a", "", None), "Rate limit \"a\" reached."),
        (refusal(RateLimited, "", "", Some(0)), "Rate limit reached. Please try again in 0.000s."),
        (refusal(RateLimited, "", "", Some(1)), "Rate limit reached. Please try again in 0.001s."),
        (refusal(RateLimited, "", "", Some(60_000_000_000)), "Rate limit reached. Please try again in 60.000s."),
        (refusal(RateLimited, "", "", Some(u64::MAX)), "Rate limit reached. Please try again in 18446744073.710s."),
        (refusal(RateLimited, "runs", "The run is too deep.", None), "The run is too deep. (limit \"runs\")"),
        (refusal(Unavailable, "", "", None), "Service unavailable."),
        (refusal(Unavailable, "r", "", None), "Service unavailable (limit \"r\")."),
    ] {
        assert_eq!(whole(Api::OllamaChat, &refusal)["error"], said);
    }
}

#[test]
fn whatever_a_limit_is_named_the_body_is_ascii_json_that_says_it() {
    let long = "ü".repeat(32 << 10);
    let controls: String = (0..=0x9Fu8).map(char::from).collect();
    for name in
        ["", "\"", "\\", "a\"},\"b\":{\"", "\n\ndata: x\n\n", "\u{2028}\u{85}\0", "𝄞 ключ", "~^%#*", &controls, &long]
    {
        for api in Api::ALL {
            for kind in [Kind::RateLimited, Kind::Unavailable, Kind::Forbidden] {
                let refusal = Refusal { kind, limit: name, why: name, retry_after: LIMITED.retry_after };
                let shaped = body(api, &refusal);
                let read: Value = serde_json::from_slice(&shaped.body).unwrap();
                assert!(shaped.body.iter().all(|b| (b' '..=b'~').contains(b)), "{api:?} {name:?}");
                let cut = |max| &name[..name.floor_char_boundary(max)];
                let said = texts(&read).into_iter().any(|t| t.contains(cut(MAX_WHY)) && t.contains(cut(MAX_LIMIT)));
                assert!(said, "{api:?} {name:?}: {read}");
                assert!(shaped.body.len() < 5000, "{} bytes", shaped.body.len());
            }
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn each_stream_is_cut_in_its_own_words() {
    use Framing::{Array, Lines, Sse};
    let openai = r#""type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}"#;
    let told = CUT.replace('"', "\\\"");
    let gemini = format!(
        r#"{{"error":{{"code":429,"message":"{told}","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.346s"}}]}}}}"#
    );
    for (api, framing, wanted) in [
        (Api::OpenAiChat, Sse, format!("data: {{\"error\":{{\"message\":\"{told}\",{openai}}}\n\n")),
        (Api::OpenAiCompletions, Sse, format!("data: {{\"error\":{{\"message\":\"{told}\",{openai}}}\n\n")),
        (
            Api::OpenAiResponses,
            Sse,
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":0,\"error\":{{\"message\":\"{told}\",{openai},\"code\":\"rate_limit_exceeded\",\"message\":\"{told}\",\"param\":null}}\n\n"
            ),
        ),
        (
            Api::AnthropicMessages,
            Sse,
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"rate_limit_error\",\"message\":\"{told}\"}}}}\n\n"
            ),
        ),
        (Api::GeminiGenerate, Sse, format!("data: {gemini}\n\n")),
        (Api::GeminiGenerate, Array, format!("{gemini}]")),
        (
            Api::GeminiInteractions,
            Sse,
            format!(
                "event: error\ndata: {{\"event_type\":\"error\",\"error\":{{\"code\":\"too_many_requests\",\"message\":\"{told}\"}}}}\n\n"
            ),
        ),
        (
            Api::CohereChatV2,
            Sse,
            format!(
                "event: message-end\ndata: {{\"type\":\"message-end\",\"delta\":{{\"finish_reason\":\"ERROR\",\"error\":\"{told}\"}}}}\n\n"
            ),
        ),
        (
            Api::CohereChatV1,
            Lines,
            format!(
                "{{\"is_finished\":true,\"event_type\":\"stream-end\",\"finish_reason\":\"ERROR\",\"error\":\"{told}\"}}\n"
            ),
        ),
        (Api::OllamaChat, Lines, format!("{{\"error\":\"{told}\"}}\n")),
        (
            Api::Watsonx,
            Sse,
            format!(
                "event: error\ndata: {{\"errors\":[{{\"code\":\"rate_limit_reached_requests\",\"message\":\"{told}\"}}],\"status_code\":429}}\n\n"
            ),
        ),
    ] {
        assert_eq!(text(event(api, &Seams::new(framing), &LIMITED)), wanted, "{api:?}");
    }
    for api in [Api::Other, Api::Embeddings] {
        assert_eq!(event(api, &Seams::new(Sse), &LIMITED), None, "{api:?} has no streams");
    }
    assert_eq!(event(Api::OpenAiChat, &Seams::new(Framing::Frames), &LIMITED), None, "only Amazon has frames");
}

#[test]
fn amazons_frames_are_exceptions_with_right_checksums() {
    for (kind, name) in
        [(Kind::RateLimited, &b"throttlingException"[..]), (Kind::Unavailable, b"serviceUnavailableException")]
    {
        for api in [Api::BedrockConverse, Api::BedrockInvoke] {
            let bytes = event(api, &Seams::new(Framing::Frames), &Refusal { kind, ..LIMITED }).unwrap();
            let mut seen = 0;
            let mut stream = EventStream::new(1 << 20);
            stream.push(&bytes, &mut |frame: Result<Frame<'_>, _>| {
                let frame = frame.unwrap();
                assert_eq!((frame.message_type, frame.exception_type), (&b"exception"[..], name));
                assert_eq!(frame.content_type, b"application/json");
                let payload: Value = serde_json::from_slice(frame.payload).unwrap();
                assert!(payload["message"].as_str().unwrap().contains("The answer ends here"));
                seen += 1;
            });
            assert!(seen == 1 && stream.at_boundary());
        }
    }
}

/// One event of content of each API that streams, and its framing.
fn running(api: Api) -> Option<(Framing, &'static str, &'static str)> {
    let sse = "text/event-stream";
    Some(match api {
        Api::OpenAiChat => (Framing::Sse, sse, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        Api::OpenAiCompletions => (Framing::Sse, sse, "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n"),
        Api::OpenAiResponses => (
            Framing::Sse,
            sse,
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        ),
        Api::AnthropicMessages => (
            Framing::Sse,
            sse,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
        ),
        Api::AnthropicComplete => (Framing::Sse, sse, "event: completion\r\ndata: {\"completion\":\"a\"}\r\n\r\n"),
        Api::GeminiGenerate => {
            (Framing::Array, "application/json", "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}")
        }
        Api::GeminiInteractions => (
            Framing::Sse,
            sse,
            "event: step.delta\ndata: {\"event_type\":\"step.delta\",\"delta\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
        ),
        Api::CohereChatV1 | Api::CohereGenerate => {
            (Framing::Lines, "application/stream+json", "{\"event_type\":\"text-generation\",\"text\":\"a\"}\n")
        }
        Api::CohereChatV2 => (
            Framing::Sse,
            sse,
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n",
        ),
        Api::OllamaChat => {
            (Framing::Lines, "application/x-ndjson", "{\"message\":{\"content\":\"a\"},\"done\":false}\n")
        }
        Api::OllamaGenerate => (Framing::Lines, "application/x-ndjson", "{\"response\":\"a\",\"done\":false}\n"),
        Api::Watsonx => {
            (Framing::Sse, sse, "id: 1\nevent: message\ndata: {\"results\":[{\"generated_text\":\"a\"}]}\n\n")
        }
        Api::BedrockConverse | Api::BedrockInvoke => (Framing::Frames, "application/vnd.amazon.eventstream", ""),
        Api::LmStudioChat => (Framing::Sse, sse, "data: {\"type\":\"message.delta\",\"content\":\"a\"}\n\n"),
        Api::Images => (Framing::Sse, sse, "data: {\"type\":\"image_edit.partial_image\",\"b64_json\":\"a\"}\n\n"),
        Api::Transcriptions => (Framing::Sse, sse, "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n"),
        Api::Speech => (Framing::Sse, sse, "data: {\"type\":\"speech.audio.delta\",\"audio\":\"a\"}\n\n"),
        Api::DashScope => (Framing::Sse, sse, "id:1\nevent:result\ndata:{\"output\":{\"text\":\"a\"}}\n\n"),
        Api::CloudflareRun => (Framing::Sse, sse, "data: {\"response\":\"a\"}\n\n"),
        Api::Generate => (Framing::Sse, sse, "data:{\"token\":{\"text\":\"a\"},\"generated_text\":null}\n\n"),
        Api::LlamaCompletion => (Framing::Sse, sse, "data: {\"content\":\"a\",\"stop\":false}\n\n"),
        Api::SnowflakeComplete => (Framing::Sse, sse, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"),
        Api::OciChat => (Framing::Sse, sse, "data: {\"message\":{\"content\":[{\"text\":\"a\"}]}}\n\n"),
        Api::MistralConversations => {
            (Framing::Sse, sse, "data: {\"type\":\"message.output.delta\",\"content\":\"a\"}\n\n")
        }
        // Its events stand in frames that are cut without regard to them.
        Api::SageMaker => return None,
        Api::Embeddings | Api::Rerank | Api::Other => return None,
    })
}

/// What weir's own reader makes of a stream, as a second weir behind the first would.
fn facts(api: Api, content_type: &str, stream: &[u8]) -> (Facts, u64) {
    let head = BodyHead { content_type: content_type.as_bytes(), ok: true, stream_asked: true, ..BodyHead::default() };
    let mut body = Body::new(api, dialects::of(api).unwrap(), head, 1 << 20);
    body.push(stream);
    body.finish();
    let unread = body.unread().total();
    (body.into_facts(), unread)
}

#[test]
fn a_cut_stream_reads_as_one_that_failed_wherever_it_was_cut() {
    let mut streams = 0;
    for api in Api::ALL {
        let Some((framing, content_type, content)) = running(api) else { continue };
        let stream = content.as_bytes();
        for from in 0..=stream.len() {
            let mut seams = Seams::new(framing);
            let (gone, rest) = stream.split_at(from);
            seams.pass(gone);
            let Some(at) = seams.first(rest) else { panic!("{api:?}: no seam behind {from}") };
            let mut cut = stream[..from + at].to_vec();
            cut.extend(event(api, &seams, &LIMITED).unwrap());
            let (facts, unread) = facts(api, content_type, &cut);
            assert_eq!(unread, 0, "{api:?}: {}", String::from_utf8_lossy(&cut));
            assert_eq!(facts.any, framing != Framing::Frames && from + at > 1, "{api:?} cut at {}", from + at);
            assert!(facts.failed, "{api:?}: {}", String::from_utf8_lossy(&cut));
        }
        streams += 1;
    }
    assert_eq!(streams, 26);
}
