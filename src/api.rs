//! Which API a request speaks, told from its method, path and host alone: known before the first byte of a body.

use std::borrow::Cow;

/// The kinds of API, under the names that the record uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST …/chat/completions`, of OpenAI and everyone like it.
    OpenAiChat,
    /// `POST …/completions`, the old text form.
    OpenAiCompletions,
    /// `POST …/responses`.
    OpenAiResponses,
    /// `POST …/messages`, also on Vertex (`:rawPredict`).
    AnthropicMessages,
    /// `POST /v1/complete`, before messages.
    AnthropicComplete,
    /// `:generateContent` and `:streamGenerateContent`, Gemini and Vertex.
    GeminiGenerate,
    /// `POST …/interactions`.
    GeminiInteractions,
    /// `/model/{id}/converse` and `converse-stream`.
    BedrockConverse,
    /// `/model/{id}/invoke` and `invoke-with-response-stream`.
    BedrockInvoke,
    /// `POST /v1/chat` of Cohere.
    CohereChatV1,
    /// `POST /v2/chat`.
    CohereChatV2,
    /// `POST /v1/generate`.
    CohereGenerate,
    /// `POST /api/chat`.
    OllamaChat,
    /// `POST /api/generate`.
    OllamaGenerate,
    /// `POST /ml/…/text/generation`.
    Watsonx,
    /// Embeddings, of whatever provider.
    Embeddings,
    /// No inference: never counted as tokens.
    #[default]
    Other,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 17] = [
        Api::OpenAiChat,
        Api::OpenAiCompletions,
        Api::OpenAiResponses,
        Api::AnthropicMessages,
        Api::AnthropicComplete,
        Api::GeminiGenerate,
        Api::GeminiInteractions,
        Api::BedrockConverse,
        Api::BedrockInvoke,
        Api::CohereChatV1,
        Api::CohereChatV2,
        Api::CohereGenerate,
        Api::OllamaChat,
        Api::OllamaGenerate,
        Api::Watsonx,
        Api::Embeddings,
        Api::Other,
    ];

    /// Whether an answer has generated content: what tokens are timed by.
    pub fn generates(self) -> bool {
        !matches!(self, Api::Other | Api::Embeddings)
    }

    /// The name in records and labels.
    pub fn name(self) -> &'static str {
        match self {
            Api::OpenAiChat => "openai.chat_completions",
            Api::OpenAiCompletions => "openai.completions",
            Api::OpenAiResponses => "openai.responses",
            Api::AnthropicMessages => "anthropic.messages",
            Api::AnthropicComplete => "anthropic.complete",
            Api::GeminiGenerate => "gemini.generate_content",
            Api::GeminiInteractions => "gemini.interactions",
            Api::BedrockConverse => "bedrock.converse",
            Api::BedrockInvoke => "bedrock.invoke",
            Api::CohereChatV1 => "cohere.chat_v1",
            Api::CohereChatV2 => "cohere.chat_v2",
            Api::CohereGenerate => "cohere.generate",
            Api::OllamaChat => "ollama.chat",
            Api::OllamaGenerate => "ollama.generate",
            Api::Watsonx => "watsonx.generation",
            Api::Embeddings => "embeddings",
            Api::Other => "other",
        }
    }
}

/// What a request line and host tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The API.
    pub api: Api,
    /// OpenTelemetry's `gen_ai.provider.name`, where the host or the API tells.
    pub provider: Option<&'static str>,
    /// The model, where it stands in the path (Gemini, Bedrock, Azure).
    pub model: Option<String>,
    /// Whether the path itself asks for a stream.
    pub stream: bool,
}

/// Longest model name that is kept, in bytes.
const MAX_MODEL: usize = 256;

/// Reads a request's line. Any bytes are fine; what is not known is `other`.
pub fn asked(method: &[u8], path: &[u8], host: &[u8]) -> Asked {
    let path = String::from_utf8_lossy(path);
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let path = path.split_once('?').map_or(&*path, |(front, _query)| front);
    let host = host.split_once(':').map_or(host.as_str(), |(name, _port)| name);
    let mut asked = if method == b"POST" { by_path(path.trim_end_matches('/'), host) } else { Asked::default() };
    if asked.api != Api::Other {
        asked.provider = provider_of_host(host).or_else(|| provider_of_api(asked.api, path));
    }
    asked
}

// As in `wire::encoding`: small functions load with less memory.
#[inline(never)]
fn by_path(path: &str, host: &str) -> Asked {
    let of = |api| Asked { api, ..Asked::default() };
    // Gemini and Vertex put the verb behind the model: `models/{model}:{verb}`.
    if let Some((front, verb)) = path.rsplit_once(':')
        && let Some((_, model)) = front.rsplit_once("/models/").or_else(|| front.rsplit_once("/tunedModels/"))
    {
        let api = match verb {
            "generateContent" | "streamGenerateContent" => Some(Api::GeminiGenerate),
            "embedContent" | "batchEmbedContents" | "embedText" => Some(Api::Embeddings),
            "predict" if model.contains("embedding") => Some(Api::Embeddings),
            "rawPredict" | "streamRawPredict" if front.contains("/anthropic/") => Some(Api::AnthropicMessages),
            "rawPredict" | "streamRawPredict" => Some(Api::OpenAiChat),
            _ => None,
        };
        if let Some(api) = api {
            return Asked { api, model: Some(plain(model)), stream: verb.starts_with("stream"), provider: None };
        }
        if !verb.contains('/') && !verb.chars().all(|c| c.is_ascii_digit()) {
            return Asked::default();
        }
    }
    // Bedrock: `/model/{id}/{verb}`; the id may be an ARN, percent-encoded or not.
    if let Some((_, rest)) = path.split_once("/model/")
        && let Some((model, verb)) = rest.rsplit_once('/')
    {
        let (api, stream) = match verb {
            "converse" => (Api::BedrockConverse, false),
            "converse-stream" => (Api::BedrockConverse, true),
            "invoke" => (Api::BedrockInvoke, false),
            "invoke-with-response-stream" => (Api::BedrockInvoke, true),
            _ => return Asked::default(),
        };
        return Asked { api, model: Some(plain(model)), stream, provider: None };
    }
    let mut parts = path.rsplit('/');
    let (last, before) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let deployment = || {
        let (_, rest) = path.split_once("/deployments/").or_else(|| path.split_once("/engines/"))?;
        Some(plain(rest.split('/').next()?))
    };
    match (before, last) {
        ("chat", "completions") => Asked { model: deployment(), ..of(Api::OpenAiChat) },
        // Portkey's prompts answer as chat completions do; Mistral's fill-in-the-middle too.
        (_, "completions") if path.contains("/prompts/") || before == "fim" => of(Api::OpenAiChat),
        (_, "completions") => Asked { model: deployment(), ..of(Api::OpenAiCompletions) },
        // Databricks serves chat under the endpoint's name.
        (endpoint, "invocations") if path.contains("/serving-endpoints/") => {
            Asked { model: Some(plain(endpoint)), ..of(Api::OpenAiChat) }
        }
        ("responses", "compact") => of(Api::OpenAiResponses),
        (_, "responses") => of(Api::OpenAiResponses),
        ("v1", "complete") if host.contains("anthropic") => of(Api::AnthropicComplete),
        ("threads", "messages") => Asked::default(),
        (_, "messages") if !path.contains("/threads/") && !path.contains("/batches/") => of(Api::AnthropicMessages),
        ("v2", "chat") => of(Api::CohereChatV2),
        ("v1", "chat") if host.contains("writer") => of(Api::OpenAiChat),
        ("v1", "chat") => of(Api::CohereChatV1),
        ("v1", "generate") => of(Api::CohereGenerate),
        ("api", "chat") => of(Api::OllamaChat),
        ("api", "generate") => of(Api::OllamaGenerate),
        ("api", "embeddings" | "embed") => of(Api::Embeddings),
        ("text", "generation" | "generation_stream" | "chat" | "chat_stream")
        | ("generation", "text" | "text_stream")
            if path.contains("/ml/") =>
        {
            of(Api::Watsonx)
        }
        (_, "embeddings") => Asked { model: deployment(), ..of(Api::Embeddings) },
        ("v1" | "v2", "embed") => of(Api::Embeddings),
        (_, "interactions") => of(Api::GeminiInteractions),
        _ => Asked::default(),
    }
}

/// A path segment without its percent signs, cut at [`MAX_MODEL`] bytes.
fn plain(segment: &str) -> String {
    let mut out = Vec::with_capacity(segment.len().min(MAX_MODEL));
    let mut bytes = segment.bytes();
    while let Some(b) = bytes.next() {
        if out.len() >= MAX_MODEL {
            break;
        }
        let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        let mut ahead = bytes.clone();
        match (b, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                bytes = ahead;
            }
            _ => out.push(b),
        }
    }
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

/// What a host's name ends in or holds, and whose it is. The first row that fits counts.
const HOSTS: &[(&str, &str)] = &[
    (".openai.azure.com", "azure.ai.openai"),
    (".cognitiveservices.azure.com", "azure.ai.openai"),
    (".services.ai.azure.com", "azure.ai.inference"),
    (".inference.ai.azure.com", "azure.ai.inference"),
    ("models.github.ai", "azure.ai.inference"),
    ("api.openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    (".amazonaws.com", "aws.bedrock"),
    ("api.aws", "aws.bedrock"),
    ("cohere.com", "cohere"),
    ("cohere.ai", "cohere"),
    ("mistral.ai", "mistral_ai"),
    ("groq.com", "groq"),
    ("deepseek.com", "deepseek"),
    ("x.ai", "x_ai"),
    ("perplexity.ai", "perplexity"),
    ("ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("openrouter.ai", "openrouter"),
    ("together.ai", "together"),
    ("together.xyz", "together"),
    ("fireworks.ai", "fireworks"),
    ("cerebras.ai", "cerebras"),
    ("huggingface.co", "huggingface"),
    ("huggingface.cloud", "huggingface"),
    ("voyageai.com", "voyage"),
    ("z.ai", "zai"),
    ("moonshot.ai", "moonshot_ai"),
    ("moonshot.cn", "moonshot_ai"),
    ("writer.com", "writer"),
    ("snowflakecomputing.com", "snowflake"),
    ("ollama.com", "ollama"),
    ("crusoecloud.com", "crusoe"),
    ("portkey.ai", "portkey"),
    ("heroku.com", "heroku"),
];

fn provider_of_host(host: &str) -> Option<&'static str> {
    let fits = |end: &str| {
        host.strip_suffix(end).is_some_and(|front| {
            front.is_empty() || front.ends_with('.') || front.ends_with('-') || end.starts_with('.')
        })
    };
    HOSTS.iter().find(|(end, _)| fits(end)).map(|(_, provider)| *provider)
}

/// Behind a gateway's own host name, an API that only one provider speaks still tells.
fn provider_of_api(api: Api, path: &str) -> Option<&'static str> {
    Some(match api {
        Api::OpenAiChat | Api::OpenAiCompletions if path.contains("/openai/deployments/") => "azure.ai.openai",
        Api::AnthropicMessages | Api::AnthropicComplete => "anthropic",
        Api::GeminiGenerate if path.contains("/projects/") || path.contains("/publishers/") => "gcp.vertex_ai",
        Api::GeminiGenerate | Api::GeminiInteractions => "gcp.gemini",
        Api::BedrockConverse | Api::BedrockInvoke => "aws.bedrock",
        Api::CohereChatV1 | Api::CohereChatV2 | Api::CohereGenerate => "cohere",
        Api::OllamaChat | Api::OllamaGenerate => "ollama",
        Api::Watsonx => "ibm.watsonx.ai",
        _ => return None,
    })
}
