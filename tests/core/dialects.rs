//! Every dialect, streamed and whole: what of a made-up answer reaches the record, at every split.

use serde_json::{Value, json};

use super::support::{Call, every_split};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// An answer and what has to be in its record; a `null` must not be there.
struct Case {
    name: &'static str,
    path: &'static str,
    request: &'static str,
    content_type: &'static str,
    answer: String,
    expected: Value,
}

fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Events whose name is their type, as Anthropic and Responses send them.
fn named(events: &[&str]) -> String {
    events
        .iter()
        .map(|data| {
            let value: Value = serde_json::from_str(data).unwrap();
            format!("event: {}\ndata: {data}\n\n", value["type"].as_str().unwrap_or("message"))
        })
        .collect()
}

fn lines(documents: &[&str]) -> String {
    documents.iter().map(|d| format!("{d}\n")).collect()
}

const STREAM: &str = r#"{"model":"asked","stream":true}"#;
const WHOLE: &str = r#"{"model":"asked"}"#;
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, path, request, content_type, answer: String, expected| {
        cases.push(Case { name, path, request, content_type, answer, expected });
    };
    let reported = |input: u64, output: u64, total: u64| json!({"source": "reported", "input": input, "output": output, "total": total});
    add(
        "chat, usage in a chunk of its own",
        "/v1/chat/completions",
        STREAM,
        SSE,
        sse(&[
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            r#"{"id":"c1","model":"m-1","system_fingerprint":"fp","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":0}}}"#,
            "[DONE]",
        ]),
        json!({"api": "openai.chat_completions", "request_model": "asked", "response_model": "m-1", "stream": true, "ended": "complete",
               "usage": {"source": "reported", "input": 12, "output": 34, "cache_read": 5, "reasoning": 0, "total": 46},
               "finish_reasons": ["stop"], "system_fingerprint": "fp", "response_id": "c1", "events": 7, "unread": 0, "error_type": null}),
    );
    add(
        "chat, two choices out of order, tools in pieces and in one",
        "/v1/chat/completions",
        STREAM,
        SSE,
        sse(&[
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"second","arguments":""}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"name":null,"arguments":"{\"a\":"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"third","arguments":"{}"}},{"function":{"name":"third","arguments":"{}"}}]},"index":0,"finish_reason":"length"}]}"#,
            "[DONE]",
        ]),
        json!({"finish_reasons": ["length", "tool_calls"], "tools": ["second", "third", "third"], "ended": "complete"}),
    );
    add(
        "chat, Groq's usage stands in x_groq, times in seconds",
        "/openai/v1/chat/completions",
        STREAM,
        SSE,
        sse(&[
            r#"{"choices":[{"index":0,"delta":{"reasoning":"hm"}}],"x_groq":{"id":"r"}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"x_groq":{"usage":{"queue_time":0.25,"prompt_tokens":3,"prompt_time":0.5,"completion_tokens":2,"completion_time":0.125,"total_tokens":5,"total_time":0.875}}}"#,
        ]),
        json!({"usage": reported(3, 2, 5), "ended": "complete"}),
    );
    add(
        "chat, an error in a stream of status 200",
        "/v1/chat/completions",
        STREAM,
        SSE,
        format!(
            "{}event: error\ndata: {}\n\n",
            sse(&[r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#]),
            r#"{"error":{"message":"x","type":"overloaded","code":"c"},"status_code":400}"#
        ),
        json!({"ended": "error", "error_type": "overloaded", "status": 200}),
    );
    add(
        "chat, cut before its end",
        "/v1/chat/completions",
        STREAM,
        SSE,
        sse(&[r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#]),
        json!({"ended": "truncated", "finish_reasons": null, "usage": {"source": "estimated", "input": 0, "output": 1, "total": 1}}),
    );
    add(
        "responses, cut before its end: the status so far is no end",
        "/v1/responses",
        STREAM,
        SSE,
        sse(&[
            r#"{"type":"response.created","response":{"id":"r1","status":"queued","model":"m","usage":null}}"#,
            r#"{"type":"response.in_progress","response":{"id":"r1","status":"in_progress","model":"m","usage":null}}"#,
            r#"{"type":"response.output_text.delta","item_id":"i","delta":"a"}"#,
        ]),
        json!({"ended": "truncated", "finish_reasons": ["in_progress"], "response_id": "r1"}),
    );
    add(
        "chat, Mistral's content is a list while it thinks",
        "/v1/chat/completions",
        STREAM,
        SSE,
        sse(&[
            r#"{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"num_cached_tokens":1}}"#,
            "[DONE]",
        ]),
        json!({"usage": {"source": "reported", "input": 1, "output": 2, "cache_read": 1, "total": 3}}),
    );
    add(
        "chat, whole, behind lines of white space",
        "/v1/chat/completions",
        WHOLE,
        JSON,
        format!(
            "\n         \n{}",
            r#"{"id":"c2","model":"m","choices":[{"message":{"content":"hi","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls","index":0}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
        ),
        json!({"usage": reported(1, 2, 3), "tools": ["f"], "finish_reasons": ["tool_calls"], "stream": false, "events": 1, "ended": "complete"}),
    );
    add(
        "completions, without any usage",
        "/v1/completions",
        r#"{"model":"asked","stream":true,"prompt":"12345678"}"#,
        SSE,
        sse(&[
            r#"{"choices":[{"text":"1234","index":0,"finish_reason":null}]}"#,
            r#"{"choices":[{"text":"5678","index":0,"finish_reason":"length"}]}"#,
            "[DONE]",
        ]),
        json!({"api": "openai.completions", "finish_reasons": ["length"], "usage": {"source": "estimated", "input": 2, "output": 2, "total": 4}}),
    );
    add(
        "Responses, streamed: the last event repeats everything",
        "/v1/responses",
        STREAM,
        SSE,
        named(&[
            r#"{"type":"response.created","response":{"id":"r1","status":"in_progress","model":"m","usage":null}}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning"}}"#,
            r#"{"type":"response.reasoning_summary_text.delta","delta":"hm","output_index":0}"#,
            r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""},"output_index":1}"#,
            r#"{"type":"response.function_call_arguments.delta","delta":"{}","output_index":1}"#,
            r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"f","arguments":"{}"},"output_index":1}"#,
            r#"{"type":"response.output_text.delta","delta":"a","output_index":2,"sequence_number":9}"#,
            r#"{"type":"response.output_text.delta","delta":"b","output_index":2,"sequence_number":10}"#,
            r#"{"type":"response.output_text.delta","delta":"c","output_index":2,"sequence_number":11}"#,
            r#"{"type":"response.completed","response":{"id":"r1","status":"completed","model":"m","output":[{"type":"function_call","name":"f"}],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":2},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":16}}}"#,
        ]),
        json!({"api": "openai.responses", "finish_reasons": ["completed"], "tools": ["f"], "response_id": "r1", "ended": "complete",
               "usage": {"source": "reported", "input": 7, "output": 9, "cache_read": 2, "reasoning": 4, "total": 16}}),
    );
    add(
        "Responses, whole",
        "/v1/responses",
        WHOLE,
        JSON,
        r#"{"id":"r","model":"m","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"web_search_call","name":"no"},{"name":"f","type":"function_call"},{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}"#.to_owned(),
        json!({"finish_reasons": ["incomplete"], "tools": ["f"], "usage": reported(1, 2, 3)}),
    );
    add(
        "Responses, failed in a stream of status 200",
        "/v1/responses",
        STREAM,
        SSE,
        named(&[
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}"#,
        ]),
        json!({"ended": "error", "error_type": "server_error", "finish_reasons": ["failed"]}),
    );
    add(
        "messages, streamed: counts are overwritten, never added",
        "/v1/messages",
        STREAM,
        SSE,
        named(&[
            r#"{"type":"message_start","message":{"id":"msg","model":"claude","usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"xyz"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","name":"web_search"}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9,"input_tokens":12}}"#,
            r#"{"type":"message_stop"}"#,
        ]),
        json!({"api": "anthropic.messages", "provider": null, "response_model": "claude", "tools": ["f"], "finish_reasons": ["tool_use"],
               "usage": {"source": "reported", "input": 19, "output": 9, "cache_read": 4, "cache_write": 3, "total": 28}}),
    );
    add(
        "messages, an error in a stream of status 200",
        "/v1/messages",
        STREAM,
        SSE,
        named(&[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":1,"output_tokens":1}}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
        ]),
        json!({"ended": "error", "error_type": "overloaded_error", "usage": reported(1, 1, 2)}),
    );
    add(
        "messages, whole",
        "/v1/messages",
        WHOLE,
        JSON,
        r#"{"id":"msg","model":"claude","content":[{"type":"text","text":"a"},{"name":"f","input":{"name":"no"},"type":"tool_use"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#.to_owned(),
        json!({"usage": reported(1, 2, 3), "tools": ["f"], "finish_reasons": ["end_turn"]}),
    );
    add(
        "complete, before messages",
        "/v1/complete",
        STREAM,
        SSE,
        named(&[
            r#"{"type":"completion","completion":" a","stop_reason":null,"model":"claude-2"}"#,
            r#"{"type":"completion","completion":"","stop_reason":"stop_sequence","model":"claude-2"}"#,
        ]),
        json!({"api": "other"}),
    );
    let gemini = |n: u64, text: &str, reason: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{reason},"index":0}}],"usageMetadata":{{"promptTokenCount":{n},"candidatesTokenCount":2,"thoughtsTokenCount":5,"totalTokenCount":9}},"modelVersion":"gemini-x","responseId":"g"}}"#
        )
    };
    let (first, last) = (gemini(9, "a", ""), gemini(2, "b", r#","finishReason":"STOP""#));
    let gemini_facts = json!({"api": "gemini.generate_content", "request_model": "gemini-x", "response_model": "gemini-x", "stream": true, "finish_reasons": ["STOP"], "events": 2,
        "usage": {"source": "reported", "input": 2, "output": 7, "reasoning": 5, "total": 9}, "ended": "complete", "response_id": "g"});
    add(
        "Gemini, SSE",
        "/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
        "{}",
        SSE,
        sse(&[&first, &last]),
        gemini_facts.clone(),
    );
    add(
        "Gemini, a JSON array",
        "/v1beta/models/gemini-x:streamGenerateContent",
        "{}",
        JSON,
        format!("[{first}\n,\r\n{last}\n]"),
        gemini_facts,
    );
    add(
        "Gemini, the last usage object wins whole",
        "/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
        "{}",
        SSE,
        sse(&[
            &first,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"toolUsePromptTokenCount":4,"totalTokenCount":7}}"#,
        ]),
        json!({"usage": {"source": "reported", "input": 7, "output": null, "total": 7}, "tools": ["f"]}),
    );
    add(
        "Gemini, blocked",
        "/v1beta/models/gemini-x:generateContent",
        "{}",
        JSON,
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"trafficType":"ON_DEMAND"}}"#.to_owned(),
        json!({"usage": {"source": "reported"}, "ended": "complete"}),
    );
    add(
        "interactions",
        "/v1beta/interactions",
        STREAM,
        SSE,
        [
            r#"{"event_type":"interaction.created","interaction":{"id":"i","status":"in_progress","model":"gemini-x"}}"#,
            r#"{"event_type":"step.delta","delta":{"type":"text","text":"a"}}"#,
            r#"{"event_type":"interaction.completed","interaction":{"id":"i","status":"completed","usage":{"total_input_tokens":1,"total_output_tokens":2,"total_thought_tokens":3,"total_tokens":6}}}"#,
        ]
        .map(|d| format!("data: {d}\n\n"))
        .concat(),
        json!({"api": "gemini.interactions", "finish_reasons": ["completed"], "usage": {"source": "reported", "input": 1, "output": 5, "reasoning": 3, "total": 6}}),
    );
    add(
        "Cohere v2",
        "/v2/chat",
        STREAM,
        SSE,
        named(&[
            r#"{"id":"co","type":"message-start","delta":{"message":{"role":"assistant"}}}"#,
            r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}"#,
            r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"t","function":{"name":"f","arguments":""}}}}}"#,
            r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"a"}}}}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":7,"output_tokens":8},"cached_tokens":3}}}"#,
        ]),
        json!({"api": "cohere.chat_v2", "tools": ["f"], "finish_reasons": ["COMPLETE"], "response_id": "co", "usage": {"source": "reported", "input": 7, "output": 8, "cache_read": 3, "total": 15}}),
    );
    add(
        "Cohere v1, lines",
        "/v1/chat",
        STREAM,
        "application/stream+json",
        lines(&[
            r#"{"is_finished":false,"event_type":"text-generation","text":"a"}"#,
            r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"a","meta":{"tokens":{"input_tokens":4,"output_tokens":5}}}}"#,
        ]),
        json!({"api": "cohere.chat_v1", "stream": true, "usage": reported(4, 5, 9), "finish_reasons": ["COMPLETE"]}),
    );
    add(
        "Ollama, lines",
        "/api/chat",
        r#"{"model":"llama"}"#,
        "application/x-ndjson",
        lines(&[
            r#"{"model":"llama","message":{"role":"assistant","content":"a"},"done":false}"#,
            r#"{"model":"llama","message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":false}"#,
            r#"{"model":"llama","message":{"content":""},"done":true,"done_reason":"stop","total_duration":5000000,"load_duration":1000000,"prompt_eval_count":26,"prompt_eval_duration":2000000,"eval_count":3,"eval_duration":2000000}"#,
        ]),
        json!({"api": "ollama.chat", "stream": true, "tools": ["f"], "usage": reported(26, 3, 29), "finish_reasons": ["stop"], "events": 3}),
    );
    add(
        "watsonx counts its input once",
        "/ml/v1/text/generation_stream?version=1",
        r#"{"model_id":"flan"}"#,
        SSE,
        sse(&[
            r#"{"model_id":"flan","results":[{"generated_text":"a","generated_token_count":1,"input_token_count":8,"stop_reason":"not_finished"}]}"#,
            r#"{"model_id":"flan","results":[{"generated_text":"","generated_token_count":2,"input_token_count":0,"stop_reason":"eos_token"}]}"#,
        ]),
        json!({"api": "watsonx.generation", "request_model": "flan", "usage": reported(8, 2, 10), "finish_reasons": ["eos_token"]}),
    );
    add(
        "embeddings",
        "/v1/embeddings",
        WHOLE,
        JSON,
        r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"model":"e","usage":{"prompt_tokens":5,"total_tokens":5}}"#.to_owned(),
        json!({"api": "embeddings", "usage": {"source": "reported", "input": 5, "output": null, "total": 5}, "ended": "complete"}),
    );
    add(
        "Bedrock Converse, whole: input comes without the cache",
        "/model/anthropic.claude%3A0/converse",
        "{}",
        JSON,
        r#"{"output":{"message":{"content":[{"text":"a"},{"toolUse":{"name":"f","input":{}}},{"toolUse":{"name":"own","type":"server_tool_use"}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":10,"cacheReadInputTokens":3,"cacheReadInputTokenCount":3,"cacheWriteInputTokens":4}}"#.to_owned(),
        json!({"api": "bedrock.converse", "request_model": "anthropic.claude:0", "tools": ["f"], "usage": {"source": "reported", "input": 8, "output": 2, "cache_read": 3, "cache_write": 4, "total": 10}}),
    );
    add(
        "Bedrock Invoke, Titan's counts are floats",
        "/model/amazon.titan/invoke",
        "{}",
        JSON,
        r#"{"inputTextTokenCount":28.0,"results":[{"tokenCount":188.0,"outputText":"a","completionReason":"FINISH"}]}"#
            .to_owned(),
        json!({"api": "bedrock.invoke", "usage": reported(28, 188, 216), "finish_reasons": ["FINISH"]}),
    );
    cases
}

/// Whether the record has what is expected of it: a `null` is an absent key.
fn agrees(expected: &Value, record: &Value) -> Result<(), String> {
    for (key, wanted) in expected.as_object().unwrap() {
        let got = &record[key];
        if let (Value::Object(_), Value::Object(_)) = (wanted, got) {
            agrees(wanted, got).map_err(|e| format!("{key}.{e}"))?;
        } else if wanted != got {
            return Err(format!("{key}: wanted {wanted}, got {got}"));
        }
    }
    Ok(())
}

impl Case {
    fn call(&self) -> Call {
        Call {
            path: self.path,
            request: self.request.to_owned(),
            response_headers: vec![("content-type", self.content_type)],
            ..Call::default()
        }
    }
}

#[test]
fn every_dialect_tells_its_facts() {
    for case in cases() {
        let facts = case.call().answered([case.answer.as_bytes()]).facts();
        agrees(&case.expected, &facts).unwrap_or_else(|e| panic!("{}: {e}\n{facts:#}", case.name));
    }
}

#[test]
fn every_dialect_tells_the_same_however_it_is_cut() {
    for case in cases() {
        let whole = case.call().answered([case.answer.as_bytes()]).facts();
        for pieces in every_split(case.answer.as_bytes()) {
            let facts = case.call().answered(pieces.clone()).facts();
            assert_eq!(facts, whole, "{} as {:?}", case.name, pieces.iter().map(|p| p.len()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_stream_of_events_tells_the_same_with_other_line_ends_and_without_its_content_type() {
    for case in cases().iter().filter(|c| c.content_type == SSE) {
        let whole = case.call().answered([case.answer.as_bytes()]).facts();
        for ends in ["\r\n", "\r"] {
            let answer = case.answer.replace('\n', ends);
            assert_eq!(case.call().answered([answer.as_bytes()]).facts(), whole, "{} with {ends:?}", case.name);
        }
        for content_type in ["", "application/json", "Text/Event-Stream; charset=utf-8"] {
            let call = Call { response_headers: vec![("content-type", content_type)], ..case.call() };
            assert_eq!(call.answered([case.answer.as_bytes()]).facts(), whole, "{} as {content_type:?}", case.name);
        }
    }
}

#[test]
fn a_body_that_is_cut_short_is_no_panic_and_not_complete() {
    for case in cases().iter().filter(|c| c.content_type == JSON) {
        for end in 0..case.answer.trim_end().len() {
            let record = case.call().answered([&case.answer.as_bytes()[..end]]).facts();
            assert_ne!(record["ended"], "complete", "{} cut at {end}", case.name);
        }
    }
}

#[test]
fn calls_that_are_no_inference_are_other_and_never_counted() {
    let usage = r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"input_tokens":3,"output_tokens":4},"usageMetadata":{"promptTokenCount":5}}"#;
    for path in [
        "/v1/models",
        "/v1/files",
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/responses/input_tokens",
        "/v1beta/models/gemini-x:countTokens",
        "/v1beta/cachedContents",
        "/model/x/count-tokens",
        "/v1/threads/t/messages",
        // MCP's older transport, and what others call messages, responses, interactions, conversations.
        "/messages/?session_id=0f",
        "/messages",
        "/api/messages",
        "/channels/9/messages",
        "/v1/channels/9/messages",
        "/forms/f/responses",
        "/v1/forms/f/responses",
        "/interactions",
        "/v1/conversations",
        "/api/generate/text",
        "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
        "/v1/projects/p/locations/l/endpoints/7:predict",
        "/v1internal:countTokens",
        "/v1internal:loadCodeAssist",
        "/",
        "*",
        "",
    ] {
        let call = Call { path, response_headers: vec![("content-type", JSON)], ..Call::default() };
        let facts = call.answered([usage.as_bytes()]).facts();
        assert_eq!((&facts["api"], &facts["usage"]), (&json!("other"), &json!({"source": "none"})), "{path}");
    }
}

#[test]
fn models_in_paths_count() {
    for (path, api, model) in [
        ("/openai/deployments/my-gpt/chat/completions?api-version=1", "openai.chat_completions", Some("my-gpt")),
        (
            "/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Fx/converse-stream",
            "bedrock.converse",
            Some("arn:aws:bedrock:eu:1:inference-profile/x"),
        ),
        ("/model/a.b-v1:0/invoke-with-response-stream", "bedrock.invoke", Some("a.b-v1:0")),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict",
            "anthropic.messages",
            Some("claude@1"),
        ),
        (
            "/v1/projects/p/locations/l/publishers/google/models/gemini-x:generateContent",
            "gemini.generate_content",
            Some("gemini-x"),
        ),
        ("/serving-endpoints/dbrx/invocations", "openai.chat_completions", Some("dbrx")),
        ("/v1/chat/completions/", "openai.chat_completions", None),
        ("/v1/models/x:batchEmbedContents", "embeddings", Some("x")),
        ("/v1/projects/p/locations/l/endpoints/7:generateContent", "gemini.generate_content", Some("7")),
        ("/v1/projects/p/locations/l/endpoints/7:streamRawPredict", "openai.chat_completions", Some("7")),
        ("/v1internal:generateContent", "gemini.generate_content", None),
        ("/serving-endpoints/databricks-gte-large-en/invocations", "embeddings", Some("databricks-gte-large-en")),
        ("/v1/agents/completions", "openai.chat_completions", None),
        ("/v1/fim/completions", "openai.chat_completions", None),
        ("/api/v1/responses", "openai.responses", None),
        ("/responses", "openai.responses", None),
        ("/backend-api/codex/responses", "openai.responses", None),
        ("/openai/responses?api-version=1", "openai.responses", None),
        ("/anthropic/v1/messages", "anthropic.messages", None),
        ("/v1beta1/projects/p/locations/l/interactions", "gemini.interactions", None),
        ("/api/v1/chat", "lmstudio.chat", None),
        ("/v1/chat", "cohere.chat_v1", None),
        (
            "/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct",
            "cloudflare.run",
            Some("@cf/meta/llama-3.1-8b-instruct"),
        ),
    ] {
        let call = Call { path, request: "{}".to_owned(), ..Call::default() };
        let facts = call.facts();
        assert_eq!((facts["api"].as_str(), facts["request_model"].as_str()), (Some(api), model), "{path}");
    }
}

#[test]
fn however_a_path_is_spelt_what_upstreams_serve_there_counts() {
    for (path, api, model) in [
        ("/v1/chat/completion%73", "openai.chat_completions", None),
        ("/v1/chat%2Fcompletions", "openai.chat_completions", None),
        ("/v1/chat%5ccompletions", "openai.chat_completions", None),
        ("/%76%31/messages", "anthropic.messages", None),
        ("//v1//chat//completions//", "openai.chat_completions", None),
        ("/v1/x/../chat/./completions", "openai.chat_completions", None),
        ("/v1/x/%2e%2E/chat/completions", "openai.chat_completions", None),
        ("/v1/chat/completions//..", "openai.chat_completions", None),
        ("/v1/chat/completions/x//../..", "openai.chat_completions", None),
        ("/v1/chat/completions/x//../", "openai.chat_completions", None),
        ("/v1/chat/completions;jsessionid=1", "openai.chat_completions", None),
        ("/v1;a/chat;b=c/completions;d?e", "openai.chat_completions", None),
        ("/V1/Chat/Completions", "openai.chat_completions", None),
        ("/v1/chat/completions#x", "openai.chat_completions", None),
        ("/model/a.B-v1:0/%63onverse", "bedrock.converse", Some("a.B-v1:0")),
        ("/model/a.B-v1%3A0%2FCONVERSE", "bedrock.converse", Some("a.B-v1:0")),
        ("/v1/models/Gem-X%3AgenerateContent", "gemini.generate_content", Some("Gem-X")),
        ("/v1/Models/Gem-X:%67eneratecontent", "gemini.generate_content", Some("Gem-X")),
        ("/v1/tunedModels/T:streamGenerateContent", "gemini.generate_content", Some("T")),
        ("/OpenAI/Deployments/My-GPT/Chat/Completions", "openai.chat_completions", Some("My-GPT")),
        ("/openai/deployments/a%2525/chat/completions", "openai.chat_completions", Some("a%25")),
        // What is encoded twice, or has a question mark in its name, is served nowhere.
        ("/v1/chat/completion%2573", "other", None),
        ("/v1/chat/completions%3Fx", "other", None),
        ("/v1/chat/completions/..", "cohere.chat_v1", None),
    ] {
        for method in ["POST", "post", "PoSt"] {
            let asked = weir::api::asked(method.as_bytes(), path.as_bytes(), b"");
            assert_eq!((asked.api.name(), asked.model.as_deref()), (api, model), "{method} {path}");
        }
    }
}

#[test]
fn the_model_that_is_served_counts_whatever_else_the_body_says() {
    const BOTH: &str = r#"{"model":"body","model_id":"id","servingMode":{"modelId":"mode"}}"#;
    for (path, request, model) in [
        ("/openai/deployments/path/chat/completions", BOTH, "path"),
        ("/v1/models/path:generateContent", BOTH, "path"),
        ("/model/path/converse", BOTH, "path"),
        ("/model/path/invoke", BOTH, "path"),
        ("/serving-endpoints/path/invocations", BOTH, "path"),
        ("/client/v4/accounts/a/ai/run/path", BOTH, "path"),
        ("/v1/chat/completions", BOTH, "body"),
        ("/v1/chat/completions", r#"{"model_id":"id","model":"body"}"#, "body"),
        ("/v1/messages", r#"{"model":"body","model_id":"id"}"#, "body"),
        ("/ml/v1/text/chat", r#"{"model_id":"id","model":"body"}"#, "id"),
        ("/ml/v1/text/generation", r#"{"model_id":"id"}"#, "id"),
        ("/ML/v1/text/generation", r#"{"model":"body","model_id":"id"}"#, "id"),
        ("/20231130/actions/chat", r#"{"model":"body","servingMode":{"modelId":"id"}}"#, "id"),
        ("/v1/chat/completions", r#"{"model_id":"id"}"#, ""),
    ] {
        let facts = Call { path, request: request.to_owned(), ..Call::default() }.facts();
        assert_eq!(facts["request_model"].as_str().unwrap_or_default(), model, "{path} {request}");
    }
}
