//! The dialects of fewer users: documented or recorded answers in small, whole and at every split.

use serde_json::{Value, json};

use super::support::{Call, every_split};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

/// An answer, where its shape is documented, and what has to be in its record.
struct Case {
    source: &'static str,
    host: &'static str,
    path: &'static str,
    request: &'static str,
    content_type: &'static str,
    answer: String,
    expected: Value,
}

fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |source, (host, path), request, content_type, answer: String, expected| {
        cases.push(Case { source, host, path, request, content_type, answer, expected });
    };
    let reported = |input: u64, output: u64| json!({"source": "reported", "input": input, "output": output});
    add("lmstudio.ai/docs/developer/rest/chat", ("lm:1234", "/api/v1/chat"), r#"{"model":"m","input":"Hi"}"#, JSON,
        r#"{"model_instance_id":"m-1","output":[{"type":"reasoning","content":"hm"},{"type":"message","content":"a"}],"stats":{"input_tokens":9,"total_output_tokens":7,"reasoning_output_tokens":2,"tokens_per_second":5.5,"time_to_first_token_seconds":0.5},"response_id":"resp_1"}"#.to_owned(),
        json!({"api": "lmstudio.chat", "response_model": "m-1", "response_id": "resp_1", "ended": "complete", "stream": false, "usage": {"source": "reported", "input": 9, "output": 7, "reasoning": 2}}));
    add(
        "lmstudio.ai/docs/developer/rest/streaming-events",
        ("lm:1234", "/api/v1/chat"),
        r#"{"model":"m","stream":true}"#,
        SSE,
        sse(&[
            r#"{"type":"chat.start","model_instance_id":"m-1"}"#,
            r#"{"type":"reasoning.delta","content":"hm"}"#,
            r#"{"type":"message.delta","content":"a"}"#,
            r#"{"type":"chat.end","result":{"model_instance_id":"m-1","output":[{"type":"message","content":"a"}],"stats":{"input_tokens":9,"total_output_tokens":7},"response_id":"resp_1"}}"#,
        ]),
        json!({"ended": "complete", "stream": true, "usage": reported(9, 7), "response_id": "resp_1"}),
    );
    add("platform.openai.com/docs/api-reference/images", ("api.openai.com", "/v1/images/generations"), r#"{"model":"gpt-image-1","prompt":"a cat"}"#, JSON,
        r#"{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#.to_owned(),
        json!({"api": "images", "request_model": "gpt-image-1", "provider": "openai", "ended": "complete", "usage": reported(50, 50)}));
    add(
        "platform.openai.com/docs/api-reference/images-streaming",
        ("api.openai.com", "/v1/images/edits"),
        r#"{"stream":true}"#,
        SSE,
        sse(&[
            r#"{"type":"image_edit.partial_image","b64_json":"AAAA","partial_image_index":0}"#,
            r#"{"type":"image_edit.completed","b64_json":"BBBB","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#,
        ]),
        json!({"api": "images", "ended": "complete", "events": 2, "usage": reported(50, 50)}),
    );
    add(
        "images that have no usage",
        ("up", "/v1/images/generations"),
        r#"{"prompt":"a cat"}"#,
        JSON,
        r#"{"data":[{"url":"u"}]}"#.to_owned(),
        json!({"api": "images", "ended": "complete", "usage": {"source": "none"}}),
    );
    add("platform.openai.com/docs/api-reference/audio/createTranscription", ("api.openai.com", "/v1/audio/transcriptions"), "--b\r\n", JSON,
        r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":10,"audio_tokens":4},"output_tokens":101,"total_tokens":115}}"#.to_owned(),
        json!({"api": "audio.transcriptions", "ended": "complete", "usage": {"source": "reported", "input": 14, "input_audio": 4, "output": 101, "total": 115}}));
    add(
        "the same, counted in seconds",
        ("api.openai.com", "/v1/audio/transcriptions"),
        "--b\r\n",
        JSON,
        r#"{"text":"a","usage":{"type":"duration","seconds":9}}"#.to_owned(),
        json!({"ended": "complete", "usage": {"input": null, "output": null}}),
    );
    add(
        "platform.openai.com/docs/api-reference/audio/transcript-text-done-event",
        ("api.openai.com", "/v1/audio/translations"),
        "--b\r\n",
        SSE,
        sse(&[
            r#"{"type":"transcript.text.delta","delta":"a"}"#,
            r#"{"type":"transcript.text.done","text":"a","usage":{"type":"tokens","input_tokens":14,"output_tokens":3,"total_tokens":17}}"#,
        ]),
        json!({"ended": "complete", "stream": true, "usage": reported(14, 3)}),
    );
    add(
        "platform.openai.com/docs/api-reference/audio/speech-audio-done-event",
        ("api.openai.com", "/v1/audio/speech"),
        r#"{"model":"gpt-4o-mini-tts","input":"a"}"#,
        SSE,
        sse(&[
            r#"{"type":"speech.audio.delta","audio":"AAAA"}"#,
            r#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#,
        ]),
        json!({"api": "audio.speech", "ended": "complete", "usage": reported(14, 101)}),
    );
    add(
        "sound itself",
        ("api.openai.com", "/v1/audio/speech"),
        r#"{"input":"a"}"#,
        "audio/mpeg",
        "ID3 and more".to_owned(),
        json!({"api": "audio.speech", "ended": "complete", "unread": 0, "usage": {"source": "none"}}),
    );
    add("docs.cohere.com/reference/rerank", ("api.cohere.com", "/v2/rerank"), r#"{"model":"rerank-v3.5","query":"q","documents":["a"]}"#, JSON,
        r#"{"id":"r","results":[{"index":0,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#.to_owned(),
        json!({"api": "rerank", "request_model": "rerank-v3.5", "response_id": "r", "ended": "complete", "usage": {"source": "none"}}));
    add("docs.voyageai.com/reference/reranker-api", ("api.voyageai.com", "/v1/rerank"), r#"{"model":"rerank-2"}"#, JSON,
        r#"{"object":"list","data":[{"relevance_score":0.4,"index":0}],"model":"rerank-2","usage":{"total_tokens":26}}"#.to_owned(),
        json!({"api": "rerank", "response_model": "rerank-2", "usage": {"source": "reported", "input": 26, "total": 26, "output": null}}));
    add(
        "docs.aws.amazon.com/sagemaker: a container of TGI",
        ("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/mine/invocations"),
        r#"{"inputs":"Hi","parameters":{"max_new_tokens":9}}"#,
        JSON,
        r#"[{"generated_text":"Hi there","details":{"finish_reason":"length","generated_tokens":9}}]"#.to_owned(),
        json!({"api": "sagemaker.invoke", "request_model": "mine", "max_tokens": 9, "ended": "complete", "finish_reasons": ["length"], "usage": {"source": "reported", "output": 9}}),
    );
    add("docs.aws.amazon.com/sagemaker: a container of vLLM", ("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/mine/invocations"), "{}", JSON,
        r#"{"id":"c","choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#.to_owned(),
        json!({"api": "sagemaker.invoke", "finish_reasons": ["stop"], "usage": reported(3, 2)}));
    add("alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope", ("dashscope-intl.aliyuncs.com", "/api/v1/services/aigc/text-generation/generation"), r#"{"model":"qwen-plus","input":{"messages":[{"role":"user","content":"Hi"}]},"parameters":{"max_tokens":5}}"#, JSON,
        r#"{"request_id":"r","output":{"text":null,"finish_reason":null,"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"a","reasoning_content":"hm"}}]},"usage":{"total_tokens":9,"input_tokens":4,"output_tokens":5,"prompt_tokens_details":{"cached_tokens":2},"output_tokens_details":{"reasoning_tokens":1}}}"#.to_owned(),
        json!({"api": "dashscope.generation", "provider": "dashscope", "request_model": "qwen-plus", "max_tokens": 5, "response_id": "r", "ended": "complete", "finish_reasons": ["stop"], "usage": {"input": 4, "output": 5, "cache_read": 2, "reasoning": 1}}));
    add("alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope: streamed", ("dashscope.aliyuncs.com", "/api/v1/services/aigc/multimodal-generation/generation"), r#"{"model":"qwen-vl"}"#, SSE,
        ["id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":[{\"text\":\"a\"}]},\"finish_reason\":\"null\"}]},\"usage\":{\"input_tokens\":4,\"output_tokens\":1},\"request_id\":\"r\"}\n\n",
         "id:2\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":[]},\"finish_reason\":\"stop\"}]},\"usage\":{\"input_tokens\":4,\"output_tokens\":2},\"request_id\":\"r\"}\n\n"].concat(),
        json!({"api": "dashscope.generation", "stream": true, "ended": "complete", "finish_reasons": ["stop"], "usage": reported(4, 2)}));
    add("alibabacloud.com/help/en/model-studio: an error", ("dashscope.aliyuncs.com", "/api/v1/services/aigc/text-generation/generation"), "{}", SSE,
        "id:1\nevent:error\n:HTTP_STATUS/400\ndata:{\"code\":\"InvalidParameter\",\"message\":\"x\",\"request_id\":\"r\"}\n\n".to_owned(),
        json!({"ended": "error", "error_type": "InvalidParameter"}));
    add("developers.cloudflare.com/workers-ai", ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct"), r#"{"prompt":"Hi"}"#, JSON,
        r#"{"result":{"response":"a","tool_calls":[{"name":"f","arguments":{"x":1}}],"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}},"success":true,"errors":[],"messages":[]}"#.to_owned(),
        json!({"api": "cloudflare.run", "provider": "cloudflare", "request_model": "@cf/meta/llama-3.1-8b-instruct", "tools": ["f"], "ended": "complete", "usage": reported(4, 5)}));
    add(
        "developers.cloudflare.com/workers-ai: streamed",
        ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/m/m"),
        r#"{"prompt":"Hi","stream":true}"#,
        SSE,
        sse(&[
            r#"{"response":"a","p":"abc"}"#,
            r#"{"response":"","usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}}"#,
            "[DONE]",
        ]),
        json!({"stream": true, "ended": "complete", "usage": reported(4, 5)}),
    );
    add(
        "developers.cloudflare.com/workers-ai: an error",
        ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/m/m"),
        "{}",
        JSON,
        r#"{"result":null,"success":false,"errors":[{"code":5007,"message":"No such model"}],"messages":[]}"#
            .to_owned(),
        json!({"ended": "error", "error_type": "5007"}),
    );
    add("huggingface.github.io/text-generation-inference: /generate", ("tgi", "/generate"), r#"{"inputs":"Hi","parameters":{"details":true}}"#, JSON,
        r#"{"generated_text":"a","details":{"finish_reason":"length","generated_tokens":5,"seed":null,"prefill":[],"tokens":[]}}"#.to_owned(),
        json!({"api": "generate", "ended": "complete", "finish_reasons": ["length"], "usage": {"source": "reported", "output": 5}}));
    add("huggingface.github.io/text-generation-inference: /generate_stream", ("tgi", "/generate_stream"), r#"{"inputs":"Hi"}"#, SSE,
        ["data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"a\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\n",
         "data:{\"index\":2,\"token\":{\"id\":2,\"text\":\"b\",\"logprob\":-1,\"special\":false},\"generated_text\":\"ab\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":2,\"input_length\":3}}\n\n"].concat(),
        json!({"api": "generate", "stream": true, "ended": "complete", "events": 2, "finish_reasons": ["length"], "usage": reported(3, 2)}));
    add(
        "huggingface.github.io/text-generation-inference: an error",
        ("tgi", "/generate_stream"),
        "{}",
        SSE,
        "data:{\"error\":\"Request failed during generation\",\"error_type\":\"generation\"}\n\n".to_owned(),
        json!({"ended": "error", "error_type": "generation"}),
    );
    add("docs.sglang.ai/basic_usage/native_api", ("sglang", "/generate"), r#"{"text":"Hi","sampling_params":{"max_new_tokens":8}}"#, JSON,
        r#"{"text":"a","output_ids":[1],"meta_info":{"id":"g","finish_reason":{"type":"length","length":8},"prompt_tokens":3,"completion_tokens":8,"cached_tokens":1,"e2e_latency":0.5}}"#.to_owned(),
        json!({"api": "generate", "max_tokens": 8, "response_id": "g", "ended": "complete", "finish_reasons": ["length"], "usage": {"input": 3, "output": 8, "cache_read": 1}}));
    add(
        "docs.sglang.ai/basic_usage/native_api: streamed",
        ("sglang", "/generate"),
        r#"{"text":"Hi","stream":true}"#,
        SSE,
        sse(&[
            r#"{"text":"a","meta_info":{"id":"g","finish_reason":null,"prompt_tokens":3,"completion_tokens":1}}"#,
            r#"{"text":"ab","meta_info":{"id":"g","finish_reason":{"type":"stop","matched":2},"prompt_tokens":3,"completion_tokens":2}}"#,
            "[DONE]",
        ]),
        json!({"ended": "complete", "finish_reasons": ["stop"], "usage": reported(3, 2)}),
    );
    add("github.com/ggml-org/llama.cpp: tools/server/README.md", ("llama:8080", "/completion"), r#"{"prompt":"Hi","n_predict":8}"#, JSON,
        r#"{"content":"a","model":"m","stop":true,"stop_type":"limit","tokens_evaluated":6,"tokens_predicted":8,"truncated":false,"timings":{"cache_n":2,"prompt_n":4,"prompt_ms":3.5,"predicted_n":8,"predicted_ms":9.5}}"#.to_owned(),
        json!({"api": "llamacpp.completion", "max_tokens": 8, "response_model": "m", "ended": "complete", "finish_reasons": ["limit"], "usage": {"input": 6, "output": 8, "cache_read": 2}}));
    add(
        "github.com/ggml-org/llama.cpp: streamed",
        ("llama:8080", "/completion"),
        r#"{"prompt":"Hi","stream":true}"#,
        SSE,
        sse(&[
            r#"{"content":"a","stop":false,"tokens_predicted":1,"tokens_evaluated":6}"#,
            r#"{"content":"","stop":true,"stop_type":"eos","tokens_predicted":2,"tokens_evaluated":6}"#,
        ]),
        json!({"stream": true, "ended": "complete", "finish_reasons": ["eos"], "usage": reported(6, 2)}),
    );
    add(
        "docs.snowflake.com: Cortex REST API",
        ("x.snowflakecomputing.com", "/api/v2/cortex/inference:complete"),
        r#"{"model":"m","messages":[{"content":"Hi"}]}"#,
        SSE,
        sse(&[
            r#"{"id":"i","model":"m-1","choices":[{"delta":{"type":"text","content":"a","content_list":[{"type":"text","text":"a"}],"text":"a"}}],"usage":{}}"#,
            r#"{"id":"i","model":"m-1","choices":[{"delta":{"type":"text","content":"b","text":"b"}}],"usage":{"prompt_tokens":18,"completion_tokens":2,"total_tokens":20}}"#,
        ]),
        json!({"api": "snowflake.complete", "provider": "snowflake", "response_model": "m-1", "stream": true, "ended": "complete", "usage": reported(18, 2)}),
    );
    add("docs.oracle.com/en-us/iaas/api: Generative AI inference", ("inference.generativeai.us-chicago-1.oci.oraclecloud.com", "/20231130/actions/chat"), r#"{"servingMode":{"modelId":"meta.llama"},"chatRequest":{"apiFormat":"GENERIC","messages":[{"role":"USER","content":[{"type":"TEXT","text":"Hi"}]}],"maxTokens":7}}"#, JSON,
        r#"{"modelId":"meta.llama","chatResponse":{"apiFormat":"GENERIC","choices":[{"index":0,"message":{"role":"ASSISTANT","content":[{"type":"TEXT","text":"a"}],"toolCalls":[{"type":"FUNCTION","id":"t","name":"f","arguments":"{}"}]},"finishReason":"tool_calls"}],"usage":{"promptTokens":4,"completionTokens":5,"totalTokens":9,"promptTokensDetails":{"cachedTokens":1}}}}"#.to_owned(),
        json!({"api": "oci.chat", "provider": "oci", "request_model": "meta.llama", "max_tokens": 7, "tools": ["f"], "ended": "complete", "finish_reasons": ["tool_calls"], "usage": {"input": 4, "output": 5, "cache_read": 1}}));
    add(
        "docs.oracle.com/en-us/iaas/api: streamed",
        ("inference.generativeai.us-chicago-1.oci.oraclecloud.com", "/20231130/actions/chat"),
        r#"{"chatRequest":{"isStream":true}}"#,
        SSE,
        sse(&[
            r#"{"index":0,"message":{"role":"ASSISTANT","content":[{"type":"TEXT","text":"a"}]},"pad":"aaa"}"#,
            r#"{"finishReason":"stop","pad":"a"}"#,
            r#"{"usage":{"promptTokens":4,"completionTokens":5,"totalTokens":9}}"#,
        ]),
        json!({"stream": true, "ended": "complete", "finish_reasons": ["stop"], "usage": reported(4, 5)}),
    );
    add("docs.mistral.ai/agents/conversations", ("api.mistral.ai", "/v1/conversations"), r#"{"model":"mistral-medium","inputs":"Hi"}"#, JSON,
        r#"{"object":"conversation.response","conversation_id":"conv_1","outputs":[{"type":"tool.execution","name":"web_search"},{"type":"function.call","name":"f","tool_call_id":"t","arguments":"{}"},{"type":"message.output","content":"a","model":"mistral-medium-1"}],"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9,"connector_tokens":0}}"#.to_owned(),
        json!({"api": "mistral.conversations", "provider": "mistral_ai", "response_model": "mistral-medium-1", "response_id": "conv_1", "tools": ["f"], "ended": "complete", "usage": reported(4, 5)}));
    add("docs.mistral.ai/agents/conversations: streamed", ("api.mistral.ai", "/v1/conversations/conv_1"), r#"{"inputs":"Hi","stream":true}"#, SSE,
        ["event: conversation.response.started\ndata: {\"type\":\"conversation.response.started\",\"conversation_id\":\"conv_1\"}\n\n",
         "event: message.output.delta\ndata: {\"type\":\"message.output.delta\",\"content\":\"a\",\"model\":\"mistral-medium-1\"}\n\n",
         "event: conversation.response.done\ndata: {\"type\":\"conversation.response.done\",\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5,\"total_tokens\":9}}\n\n"].concat(),
        json!({"stream": true, "ended": "complete", "usage": reported(4, 5)}));
    add("watsonx's chat is OpenAI's: cloud.ibm.com/apidocs/watsonx-ai#text-chat-stream", ("us-south.ml.cloud.ibm.com", "/ml/v1/text/chat_stream?version=1"), r#"{"model_id":"ibm/granite","messages":[]}"#, SSE,
        ["id: 1\nevent: message\ndata: {\"id\":\"c\",\"model_id\":\"ibm/granite\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"delta\":{\"content\":\"a\"}}]}\n\n",
         "id: 2\nevent: message\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"delta\":{\"content\":\"\"}}]}\n\n",
         "id: 3\nevent: message\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":4,\"total_tokens\":9}}\n\n"].concat(),
        json!({"provider": "ibm.watsonx.ai", "request_model": "ibm/granite", "response_model": "ibm/granite", "stream": true, "ended": "complete", "finish_reasons": ["stop"], "usage": reported(4, 5)}));
    add(
        "Cloud Code: an envelope around Gemini's",
        ("cloudcode-pa.googleapis.com", "/v1internal:streamGenerateContent?alt=sse"),
        r#"{"model":"gemini-x","project":"p","request":{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":9},"tools":[{"functionDeclarations":[{"name":"f"}]}]}}"#,
        SSE,
        sse(&[
            r#"{"response":{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":9}},"traceId":"t"}"#,
        ]),
        json!({"api": "gemini.generate_content", "request_model": "gemini-x", "max_tokens": 9, "tools_offered": ["f"], "stream": true, "ended": "complete", "usage": reported(4, 5)}),
    );
    cases
}

fn compare(source: &str, expected: &Value, got: &Value) {
    for (key, wanted) in expected.as_object().unwrap() {
        match wanted {
            Value::Object(_) => compare(source, wanted, &got[key]),
            _ => assert_eq!(&got[key], wanted, "{source}: {key} of {got}"),
        }
    }
}

#[test]
fn every_answer_reaches_the_record_at_every_split() {
    for case in cases() {
        let call = Call {
            host: case.host,
            path: case.path,
            request: case.request.to_owned(),
            response_headers: vec![("content-type", case.content_type)],
            ..Call::default()
        };
        for pieces in every_split(case.answer.as_bytes()) {
            compare(case.source, &case.expected, &call.answered(pieces).facts());
        }
    }
}

#[test]
fn counts_of_hugging_faces_servers_stand_in_headers() {
    let headers = vec![("content-type", JSON), ("x-prompt-tokens", "4"), ("x-generated-tokens", "5")];
    let call = Call { path: "/generate", request: "{}".to_owned(), response_headers: headers, ..Call::default() };
    let facts = call.answered([&br#"{"generated_text":"a"}"#[..]]).facts();
    assert_eq!(facts["usage"], json!({"source": "reported", "input": 4, "output": 5, "total": 9}));
    let other = Call { path: "/", ..call };
    let facts = other.answered([&br#"{"generated_text":"a"}"#[..]]).facts();
    assert_eq!((&facts["api"], &facts["usage"]), (&json!("other"), &json!({"source": "none"})));
    let headers = vec![("content-type", JSON), ("x-compute-tokens", "6")];
    let call =
        Call { path: "/embed", request: r#"{"inputs":"a"}"#.to_owned(), response_headers: headers, ..Call::default() };
    let facts = call.answered([&b"[[0.1,0.2]]"[..]]).facts();
    assert_eq!((&facts["api"], &facts["usage"]["input"]), (&json!("embeddings"), &json!(6)));
}
