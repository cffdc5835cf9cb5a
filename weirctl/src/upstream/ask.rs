//! What a request asks for, whatever its format: read once, so that the formats only have to answer.

use serde_json::{Value, json};

/// The kind of call, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI chat completions, and everybody who speaks them.
    Chat,
    /// OpenAI's legacy completions.
    Completions,
    /// OpenAI Responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// Anthropic messages.
    Messages,
    /// Gemini and Vertex `generateContent`.
    Gemini,
    /// Bedrock Converse.
    Converse,
    /// Bedrock InvokeModel.
    Invoke,
    /// Cohere v2 chat.
    CohereV2,
    /// Cohere v1 chat.
    CohereV1,
    /// Ollama `/api/chat`.
    OllamaChat,
    /// Ollama `/api/generate`.
    OllamaGenerate,
    /// No inference, but answered: lists of models, token counts.
    Other,
}

impl Api {
    /// The kind of call that a method and a path (without query) mean, if this upstream knows it.
    pub fn of(method: &str, path: &str) -> Option<Self> {
        let ends = |tail: &str| path.ends_with(tail);
        if method == "GET" {
            let list = ends("/models") || path.contains("/models/") || ends("/api/tags");
            return list.then_some(Self::Other);
        }
        if method != "POST" {
            return None;
        }
        Some(match path {
            _ if ends("/chat/completions") => Self::Chat,
            _ if ends("/completions") => Self::Completions,
            _ if ends("/responses") => Self::Responses,
            _ if ends("/embeddings") => Self::Embeddings,
            _ if ends("/v1/messages") => Self::Messages,
            _ if ends("/count_tokens") || ends(":countTokens") => Self::Other,
            _ if ends(":generateContent") || ends(":streamGenerateContent") => Self::Gemini,
            _ if ends("/converse") || ends("/converse-stream") => Self::Converse,
            _ if ends("/invoke") || ends("/invoke-with-response-stream") => Self::Invoke,
            _ if ends("/v2/chat") => Self::CohereV2,
            _ if ends("/v1/chat") => Self::CohereV1,
            _ if ends("/api/chat") => Self::OllamaChat,
            _ if ends("/api/generate") => Self::OllamaGenerate,
            _ => return None,
        })
    }
}

/// A tool that the model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Arguments that its schema would take.
    pub arguments: Value,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The kind of call.
    pub api: Api,
    /// The `host` it was sent to, in lower case: it tells the flavour of OpenAI-likes.
    pub host: String,
    /// The path without its query.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body; `null` if there is none that is JSON.
    pub body: Value,
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most tokens to generate.
    pub max_tokens: Option<u64>,
    /// How long the prompt is, in characters of its strings.
    pub prompt_chars: u64,
    /// The tools that may be called; none if the model has just been given a tool's result.
    pub tools: Vec<Tool>,
    /// Whether visible thinking was asked for.
    pub thinking: bool,
}

impl Ask {
    /// Reads a request. The body may be anything.
    pub fn read(api: Api, host: &str, path: &str, query: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let model = model(api, path, &body);
        let stream = match api {
            Api::Gemini => path.ends_with(":streamGenerateContent"),
            Api::Converse => path.ends_with("-stream"),
            Api::Invoke => path.ends_with("-stream"),
            // Ollama streams unless told not to.
            Api::OllamaChat | Api::OllamaGenerate => body["stream"].as_bool().unwrap_or(true),
            Api::Embeddings | Api::Other => false,
            _ => body["stream"].as_bool().unwrap_or(false),
        };
        let first_number = |paths: &[&str]| paths.iter().find_map(|path| body.pointer(path)?.as_u64());
        let max_tokens = first_number(&[
            "/max_completion_tokens",
            "/max_tokens",
            "/max_output_tokens",
            "/generationConfig/maxOutputTokens",
            "/generationConfig/max_output_tokens",
            "/inferenceConfig/maxTokens",
            "/textGenerationConfig/maxTokenCount",
            "/max_gen_len",
            "/options/num_predict",
        ]);
        let prompt_chars = [
            "messages",
            "input",
            "prompt",
            "instructions",
            "system",
            "contents",
            "systemInstruction",
            "message",
            "inputText",
        ]
        .iter()
        .map(|key| chars(&body[*key]))
        .sum();
        let thinking = matches!(body["thinking"]["type"].as_str(), Some("enabled" | "adaptive"))
            || body["think"].as_bool() == Some(true)
            || ["includeThoughts", "include_thoughts"]
                .iter()
                .any(|key| body["generationConfig"]["thinkingConfig"][*key] == true)
            || body["reasoning"]["summary"].is_string();
        let tools = if answers_a_tool(&body) || body["tool_choice"] == "none" { Vec::new() } else { tools(&body) };
        Self {
            api,
            host: host.to_ascii_lowercase(),
            path: path.into(),
            query: query.into(),
            body,
            model,
            stream,
            max_tokens,
            prompt_chars,
            tools,
            thinking,
        }
    }

    /// Whether the last chunk of a stream is to carry the usage, as OpenAI has it.
    pub fn include_usage(&self) -> bool {
        self.body["stream_options"]["include_usage"] == true
    }
}

fn model(api: Api, path: &str, body: &Value) -> String {
    let after = |marker: &str| path.split_once(marker).map(|(_, rest)| rest);
    let named = match api {
        Api::Gemini => after("/models/").and_then(|rest| rest.split(':').next()).map(str::to_owned),
        Api::Converse | Api::Invoke => {
            after("/model/").and_then(|rest| rest.rsplit_once('/')).map(|(id, _)| unescape(id))
        }
        _ => body["model"].as_str().map(str::to_owned),
    };
    let deployment = || after("/deployments/").and_then(|rest| rest.split('/').next()).map(str::to_owned);
    named.or_else(deployment).unwrap_or_default()
}

/// Takes the percent escapes out of a path's piece.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let escaped =
            bytes.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[i], escaped) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Characters in all strings of a value.
fn chars(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(chars).sum(),
        Value::Object(entries) => entries.values().map(chars).sum(),
        _ => 0,
    }
}

/// Whether the last turn hands the model a tool's result.
fn answers_a_tool(body: &Value) -> bool {
    let turns = ["messages", "input", "contents", "tool_results"].iter().find_map(|key| body[*key].as_array());
    let Some(last) = turns.and_then(|turns| turns.last()) else { return false };
    if last["role"] == "tool" || last["type"] == "function_call_output" || !body["tool_results"].is_null() {
        return true;
    }
    let parts = last["content"].as_array().or(last["parts"].as_array());
    parts.into_iter().flatten().any(|part| {
        part["type"] == "tool_result" || part.get("toolResult").is_some() || part.get("functionResponse").is_some()
    })
}

/// The tools of a request, in any format.
fn tools(body: &Value) -> Vec<Tool> {
    let lists = [&body["tools"], &body["toolConfig"]["tools"]];
    let entries = lists.iter().find_map(|list| list.as_array()).into_iter().flatten();
    let flat = entries.flat_map(|entry| match entry["functionDeclarations"].as_array() {
        Some(declared) => declared.iter().collect::<Vec<_>>(),
        None => vec![entry],
    });
    let inner = flat.map(|entry| ["function", "toolSpec"].iter().find_map(|key| entry.get(*key)).unwrap_or(entry));
    inner
        .filter_map(|tool| {
            let name = tool["name"].as_str()?.to_owned();
            let schemas = [
                &tool["parameters"],
                &tool["input_schema"],
                &tool["inputSchema"]["json"],
                &tool["parametersJsonSchema"],
            ];
            let properties = schemas.iter().find_map(|schema| schema["properties"].as_object());
            let properties = properties.or(tool["parameter_definitions"].as_object());
            let arguments = properties.into_iter().flatten().map(|(key, schema)| (key.clone(), example(schema)));
            Some(Tool { name, arguments: Value::Object(arguments.collect()) })
        })
        .collect()
}

/// A value that a schema allows.
fn example(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("integer") => json!(3),
        Some("number") => json!(2.5),
        Some("boolean") => json!(true),
        Some("array") => json!([example(&schema["items"])]),
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(properties.map(|(key, schema)| (key.clone(), example(schema))).collect())
        }
        _ => json!("Reykjavík"),
    }
}
