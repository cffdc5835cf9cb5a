//! Answers in each dialect, made up after what the providers send: 300 events, most of them with a word of text.

use flate2::Crc;

/// Events with text in an answer.
pub const WORDS: usize = 296;
/// Tokens that each answer reports.
pub const INPUT: u64 = 1207;
/// See [`INPUT`].
pub const OUTPUT: u64 = 296;

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// A line each.
    Lines,
    /// AWS's binary frames.
    Frames,
}

/// An answer, and the request for it.
pub struct Answer {
    /// The API's name.
    pub name: &'static str,
    /// The request's path.
    pub path: &'static str,
    /// The request's body.
    pub request: &'static str,
    /// The answer's `content-type`.
    pub content_type: &'static str,
    /// How its events stand in the body.
    pub framing: Framing,
    /// Its events, as they stand in the body.
    pub events: Vec<Vec<u8>>,
}

impl Answer {
    /// The body in pieces: of one event each, or of 16 KB.
    pub fn pieces(&self, lockstep: bool) -> Vec<Vec<u8>> {
        match lockstep {
            true => self.events.clone(),
            false => self.events.concat().chunks(16 * 1024).map(<[u8]>::to_vec).collect(),
        }
    }
}

const ASK: &str = r#"{"model":"m-1","stream":true,"max_tokens":512,"messages":[{"role":"user","content":"How are tokens counted?"}]}"#;

/// All of them.
pub fn all() -> Vec<Answer> {
    vec![chat(), responses(), anthropic(), gemini(), bedrock(), cohere(), ollama()]
}

fn words() -> impl Iterator<Item = &'static str> {
    [
        " the",
        " stream",
        " of",
        r#" \"tokens\""#,
        ",",
        r"\n\n",
        " gr\u{f6}\u{df}er",
        " than",
        " usage",
        r"\\",
        " once",
        ".",
    ]
    .into_iter()
    .cycle()
    .take(WORDS)
}

fn sse(name: &str, data: &str) -> Vec<u8> {
    match name {
        "" => format!("data: {data}\n\n").into_bytes(),
        _ => format!("event: {name}\ndata: {data}\n\n").into_bytes(),
    }
}

fn chat() -> Answer {
    let event = |choices: &str, usage: &str| {
        let rest =
            r#""object":"chat.completion.chunk","created":1790000000,"model":"m-1-2026","system_fingerprint":"fp_1""#;
        sse("", &format!(r#"{{"id":"chatcmpl-1",{rest},"choices":{choices},"usage":{usage}}}"#))
    };
    let choice = |inside: &str| format!(r#"[{{"index":0,{inside}}}]"#);
    let mut events = vec![event(&choice(r#""delta":{"role":"assistant","content":""},"finish_reason":null"#), "null")];
    for word in words() {
        events.push(event(
            &choice(&format!(r#""delta":{{"content":"{word}"}},"logprobs":null,"finish_reason":null"#)),
            "null",
        ));
    }
    events.push(event(&choice(r#""delta":{},"finish_reason":"stop""#), "null"));
    let total = INPUT + OUTPUT;
    events.push(event(
        "[]",
        &format!(r#"{{"prompt_tokens":{INPUT},"completion_tokens":{OUTPUT},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":1024}}}}"#),
    ));
    events.push(sse("", "[DONE]"));
    Answer {
        name: "openai.chat_completions",
        path: "/v1/chat/completions",
        request: ASK,
        content_type: "text/event-stream",
        framing: Framing::Sse,
        events,
    }
}

fn responses() -> Answer {
    let response = |kind: &str, status: &str, usage: &str| {
        sse(
            kind,
            &format!(
                r#"{{"type":"{kind}","sequence_number":0,"response":{{"id":"resp_1","object":"response","status":"{status}","model":"m-1-2026","output":[],"usage":{usage}}}}}"#
            ),
        )
    };
    let mut events = vec![
        response("response.created", "in_progress", "null"),
        sse(
            "response.output_item.added",
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","content":[]}}"#,
        ),
    ];
    for (i, word) in words().enumerate() {
        let data = format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{i},"item_id":"msg_1","output_index":0,"content_index":0,"delta":"{word}","logprobs":[]}}"#
        );
        events.push(sse("response.output_text.delta", &data));
    }
    let total = INPUT + OUTPUT;
    events.push(response(
        "response.completed",
        "completed",
        &format!(r#"{{"input_tokens":{INPUT},"input_tokens_details":{{"cached_tokens":1024}},"output_tokens":{OUTPUT},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{total}}}"#),
    ));
    Answer {
        name: "openai.responses",
        path: "/v1/responses",
        request: ASK,
        content_type: "text/event-stream",
        framing: Framing::Sse,
        events,
    }
}

fn anthropic() -> Answer {
    let mut events = vec![
        sse(
            "message_start",
            &format!(
                r#"{{"type":"message_start","message":{{"id":"msg_1","type":"message","role":"assistant","model":"m-1-2026","content":[],"stop_reason":null,"usage":{{"input_tokens":{INPUT},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}}}}"#
            ),
        ),
        sse(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
    ];
    for word in words() {
        events.push(sse(
            "content_block_delta",
            &format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#),
        ));
    }
    events.push(sse("content_block_stop", r#"{"type":"content_block_stop","index":0}"#));
    events.push(sse("message_delta", &format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{OUTPUT}}}}}"#)));
    events.push(sse("message_stop", r#"{"type":"message_stop"}"#));
    Answer {
        name: "anthropic.messages",
        path: "/v1/messages",
        request: ASK,
        content_type: "text/event-stream",
        framing: Framing::Sse,
        events,
    }
}

fn gemini() -> Answer {
    let event = |word: &str, finish: &str, output: u64| {
        let total = INPUT + output;
        sse(
            "",
            &format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{word}"}}],"role":"model"}}{finish},"index":0}}],"usageMetadata":{{"promptTokenCount":{INPUT},"candidatesTokenCount":{output},"totalTokenCount":{total}}},"modelVersion":"m-1-2026","responseId":"r-1"}}"#
            ),
        )
    };
    // Gemini counts in every event.
    let mut events: Vec<Vec<u8>> = words().zip(1..).map(|(word, output)| event(word, "", output)).collect();
    events.push(event("", r#","finishReason":"STOP""#, OUTPUT));
    Answer {
        name: "gemini.generate_content",
        path: "/v1beta/models/m-1:streamGenerateContent?alt=sse",
        request: r#"{"contents":[{"role":"user","parts":[{"text":"How are tokens counted?"}]}]}"#,
        content_type: "text/event-stream",
        framing: Framing::Sse,
        events,
    }
}

fn bedrock() -> Answer {
    let mut events = vec![frame("messageStart", r#"{"role":"assistant","p":"abcd"}"#)];
    for word in words() {
        events.push(frame(
            "contentBlockDelta",
            &format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{word}"}},"p":"abcdefghijklmnop"}}"#),
        ));
    }
    events.push(frame("messageStop", r#"{"stopReason":"end_turn","p":"abcdefgh"}"#));
    let total = INPUT + OUTPUT;
    events.push(frame("metadata", &format!(r#"{{"metrics":{{"latencyMs":2100}},"usage":{{"inputTokens":{INPUT},"outputTokens":{OUTPUT},"totalTokens":{total}}},"p":"ab"}}"#)));
    Answer {
        name: "bedrock.converse",
        path: "/model/m-1/converse-stream",
        request: r#"{"messages":[{"role":"user","content":[{"text":"How are tokens counted?"}]}]}"#,
        content_type: "application/vnd.amazon.eventstream",
        framing: Framing::Frames,
        events,
    }
}

fn frame(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(name.len() as u8);
        headers.extend(name.bytes());
        // Type 7: text.
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.bytes());
    }
    let mut frame = ((16 + headers.len() + payload.len()) as u32).to_be_bytes().to_vec();
    frame.extend((headers.len() as u32).to_be_bytes());
    frame.extend(crc(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload.bytes());
    frame.extend(crc(&frame).to_be_bytes());
    frame
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn cohere() -> Answer {
    let mut events = vec![sse(
        "message-start",
        r#"{"id":"c-1","type":"message-start","delta":{"message":{"role":"assistant","tool_plan":"","tool_calls":[],"citations":[]}}}"#,
    )];
    for word in words() {
        events.push(sse(
            "content-delta",
            &format!(r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"text":"{word}"}}}}}}}}"#),
        ));
    }
    events.push(sse("message-end", &format!(r#"{{"type":"message-end","delta":{{"finish_reason":"COMPLETE","usage":{{"billed_units":{{"input_tokens":7,"output_tokens":{OUTPUT}}},"tokens":{{"input_tokens":{INPUT},"output_tokens":{OUTPUT}}}}}}}}}"#)));
    Answer {
        name: "cohere.chat_v2",
        path: "/v2/chat",
        request: ASK,
        content_type: "text/event-stream",
        framing: Framing::Sse,
        events,
    }
}

fn ollama() -> Answer {
    let line = |rest: &str| {
        format!("{{\"model\":\"m-1\",\"created_at\":\"2026-09-21T10:00:00.123456789Z\",{rest}}}\n").into_bytes()
    };
    let mut events: Vec<Vec<u8>> = words()
        .map(|word| line(&format!(r#""message":{{"role":"assistant","content":"{word}"}},"done":false"#)))
        .collect();
    events.push(line(&format!(r#""message":{{"role":"assistant","content":""}},"done_reason":"stop","done":true,"total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":{INPUT},"prompt_eval_duration":342546000,"eval_count":{OUTPUT},"eval_duration":4535599000"#)));
    Answer {
        name: "ollama.chat",
        path: "/api/chat",
        request: ASK,
        content_type: "application/x-ndjson",
        framing: Framing::Lines,
        events,
    }
}
