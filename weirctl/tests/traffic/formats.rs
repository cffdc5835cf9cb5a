//! Requests in every wire format that the embedded upstream speaks, and its answers as parts.

use serde_json::{Value, json};
use weirctl::upstream::answer::Answer;
use weirctl::upstream::{Options, respond};

/// A wire format.
pub struct Format {
    pub name: &'static str,
    pub host: &'static str,
    /// Paths of a streamed and of a whole call.
    pub paths: [&'static str; 2],
    pub body: Value,
    /// The name of its API in the record.
    pub api: &'static str,
}

impl Format {
    pub fn path(&self, stream: bool) -> &'static str {
        self.paths[usize::from(!stream)]
    }

    /// The body of a request.
    pub fn request(&self, stream: bool) -> Vec<u8> {
        let mut body = self.body.clone();
        if self.paths[0] == self.paths[1] {
            body["stream"] = json!(stream);
            if self.api.ends_with("completions") && stream {
                body["stream_options"] = json!({"include_usage": true});
            }
        }
        body.to_string().into_bytes()
    }

    /// The upstream's answer to it, as `demo` steers it.
    pub fn answer(&self, stream: bool, demo: &str) -> Answer {
        let options = Options { seed: 1, at_once: true, created: Some(1_800_000_000), ..Options::default() };
        respond(&options, "POST", self.host, self.path(stream), Some(demo), &self.request(stream)).unwrap()
    }
}

/// All of them.
pub fn formats() -> Vec<Format> {
    let messages = json!([{"role": "user", "content": "Is a weir a dam?"}]);
    let blocks = json!([{"role": "user", "content": [{"text": "Is a weir a dam?"}]}]);
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Is a weir a dam?"}]}]});
    let format = |name, api, host, paths, body| Format { name, host, paths, body, api };
    let chat = |name, host, path, model: &str| {
        let body = json!({"model": model, "messages": messages});
        format(name, "openai.chat_completions", host, [path; 2], body)
    };
    let one = |name, api, path, body| format(name, api, "llm.test", [path; 2], body);
    let two = |name, api, paths, body| format(name, api, "llm.test", paths, body);
    let invoke = |name, paths, body| two(name, "bedrock.invoke", paths, body);
    let claude = json!({"messages": messages, "max_tokens": 900});
    vec![
        chat("openai", "api.openai.com", "/v1/chat/completions", "gpt-4o-mini"),
        chat("azure", "x.openai.azure.com", "/openai/deployments/gpt-4o/chat/completions", "gpt-4o"),
        chat("mistral", "api.mistral.ai", "/v1/chat/completions", "mistral-small-latest"),
        chat("groq", "api.groq.com", "/openai/v1/chat/completions", "llama-3.3-70b"),
        chat("deepseek", "api.deepseek.com", "/chat/completions", "deepseek-chat"),
        chat("openrouter", "openrouter.ai", "/api/v1/chat/completions", "x-ai/grok-4"),
        chat("perplexity", "api.perplexity.ai", "/chat/completions", "sonar"),
        chat("vllm", "vllm.test", "/v1/chat/completions", "meta-llama/Llama-3.1-8B-Instruct"),
        one("completions", "openai.completions", "/v1/completions", json!({"model": "davinci", "prompt": "A weir"})),
        one("responses", "openai.responses", "/v1/responses", json!({"model": "gpt-4o", "input": "Is it?"})),
        one("embeddings", "embeddings", "/v1/embeddings", json!({"model": "text-embedding-3", "input": "Is it?"})),
        one("anthropic", "anthropic.messages", "/v1/messages", {
            let mut body = claude.clone();
            body["model"] = json!("claude-sonnet-4-5");
            body
        }),
        two(
            "gemini",
            "gemini.generate_content",
            [
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                "/v1beta/models/gemini-2.5-flash:generateContent",
            ],
            contents.clone(),
        ),
        two(
            "gemini array",
            "gemini.generate_content",
            ["/v1beta/models/gemini-2.5-pro:streamGenerateContent", "/v1beta/models/gemini-2.5-pro:generateContent"],
            contents,
        ),
        two(
            "converse",
            "bedrock.converse",
            ["/model/anthropic.claude-v3%3A0/converse-stream", "/model/anthropic.claude-v3%3A0/converse"],
            json!({"messages": blocks}),
        ),
        invoke(
            "invoke anthropic",
            ["/model/us.anthropic.claude/invoke-with-response-stream", "/model/us.anthropic.claude/invoke"],
            claude,
        ),
        invoke(
            "invoke nova",
            ["/model/amazon.nova-micro-v1%3A0/invoke-with-response-stream", "/model/amazon.nova-micro-v1%3A0/invoke"],
            json!({"messages": blocks}),
        ),
        invoke(
            "invoke titan",
            ["/model/amazon.titan-text-lite-v1/invoke-with-response-stream", "/model/amazon.titan-text-lite-v1/invoke"],
            json!({"inputText": "Is a weir a dam?"}),
        ),
        invoke(
            "invoke llama",
            ["/model/meta.llama3-8b/invoke-with-response-stream", "/model/meta.llama3-8b/invoke"],
            json!({"prompt": "Is a weir a dam?"}),
        ),
        one("cohere v2", "cohere.chat_v2", "/v2/chat", json!({"model": "command-a-03-2025", "messages": messages})),
        one("cohere v1", "cohere.chat_v1", "/v1/chat", json!({"model": "command", "message": "Is it?"})),
        one("ollama chat", "ollama.chat", "/api/chat", json!({"model": "llama3.2", "messages": messages})),
        one("ollama generate", "ollama.generate", "/api/generate", json!({"model": "llama3.2", "prompt": "Is it?"})),
    ]
}
