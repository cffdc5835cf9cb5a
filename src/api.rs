//! Which API a request speaks, told from its method, path and host alone: known before the first byte of a body.

mod path;

use path::Order;

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
    /// `POST /api/v1/chat` of LM Studio.
    LmStudioChat,
    /// `POST …/images/generations` and `edits`.
    Images,
    /// `POST …/audio/transcriptions` and `translations`.
    Transcriptions,
    /// `POST …/audio/speech`.
    Speech,
    /// Reranking, of whatever provider.
    Rerank,
    /// `/endpoints/{name}/invocations` of SageMaker.
    SageMaker,
    /// `…/services/aigc/…-generation/generation` of DashScope.
    DashScope,
    /// `…/ai/run/{model}` of Cloudflare.
    CloudflareRun,
    /// `POST /generate` and `/generate_stream` of TGI and SGLang.
    Generate,
    /// `POST /completion` and `/infill` of llama.cpp.
    LlamaCompletion,
    /// `…/inference:complete` of Snowflake Cortex.
    SnowflakeComplete,
    /// `…/actions/chat` of Oracle.
    OciChat,
    /// `POST /v1/conversations` of Mistral, and what leads on from one.
    MistralConversations,
    /// Embeddings, of whatever provider.
    Embeddings,
    /// No inference: never counted as tokens.
    #[default]
    Other,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 30] = [
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
        Api::LmStudioChat,
        Api::Images,
        Api::Transcriptions,
        Api::Speech,
        Api::Rerank,
        Api::SageMaker,
        Api::DashScope,
        Api::CloudflareRun,
        Api::Generate,
        Api::LlamaCompletion,
        Api::SnowflakeComplete,
        Api::OciChat,
        Api::MistralConversations,
        Api::Embeddings,
        Api::Other,
    ];

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
            Api::LmStudioChat => "lmstudio.chat",
            Api::Images => "images",
            Api::Transcriptions => "audio.transcriptions",
            Api::Speech => "audio.speech",
            Api::Rerank => "rerank",
            Api::SageMaker => "sagemaker.invoke",
            Api::DashScope => "dashscope.generation",
            Api::CloudflareRun => "cloudflare.run",
            Api::Generate => "generate",
            Api::LlamaCompletion => "llamacpp.completion",
            Api::SnowflakeComplete => "snowflake.complete",
            Api::OciChat => "oci.chat",
            Api::MistralConversations => "mistral.conversations",
            Api::Embeddings => "embeddings",
            Api::Other => "other",
        }
    }
}

impl Api {
    /// Whether its tokens can be estimated from texts. Pictures, sound and rankings are not paid by them.
    pub fn is_text(self) -> bool {
        !matches!(self, Api::Other | Api::Images | Api::Transcriptions | Api::Speech | Api::Rerank)
    }

    /// Whether its answers bring tokens of their own: what is timed by them.
    pub fn generates(self) -> bool {
        !matches!(self, Api::Other | Api::Embeddings | Api::Rerank)
    }
}

/// What a request line and host tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The API.
    pub api: Api,
    /// OpenTelemetry's `gen_ai.provider.name`, where the host tells.
    pub provider: Option<&'static str>,
    /// The model, where it stands in the path (Gemini, Bedrock, Azure).
    pub model: Option<String>,
    /// Whether the path itself asks for a stream.
    pub stream: bool,
    /// Whether the request's body may say that it is embeddings (Databricks).
    pub by_body: bool,
    /// The request's body has the model under `model_id` or `servingMode.modelId` (watsonx, Oracle); nobody else reads those.
    pub by_model_id: bool,
    /// The path as upstreams read it, without its query.
    pub path: String,
}

/// Longest model name that is kept, in bytes.
const MAX_MODEL: usize = 256;

/// Reads a request's line. Any bytes are fine; what is not known is `other`.
pub fn asked(method: &[u8], path: &[u8], host: &[u8]) -> Asked {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let host = host.split_once(':').map_or(host.as_str(), |(name, _port)| name);
    let of = |path: String| {
        let folded = path.to_ascii_lowercase();
        let (path_read, folded_read) = (path.trim_end_matches('/'), folded.trim_end_matches('/'));
        let found = if is_post(method) { by_path(path_read, folded_read, host) } else { Asked::default() };
        Asked { path, ..found }
    };
    let mut asked = of(path::read(path, Order::DotsFirst));
    // Upstreams differ in what `a//..` is: what any of them may serve counts.
    if asked.api == Api::Other && path::is_ambiguous(path) {
        let other = of(path::read(path, Order::SlashesFirst));
        asked = if other.api == Api::Other { asked } else { other };
    }
    if asked.api != Api::Other {
        asked.provider = provider_of_host(host);
        let folded = asked.path.to_ascii_lowercase();
        asked.by_model_id = ["/ml/", "/actions/"].iter().any(|part| folded.contains(part));
    }
    asked
}

/// Whether this is `POST`, in whatever case: servers fold it.
pub fn is_post(method: &[u8]) -> bool {
    method.eq_ignore_ascii_case(b"POST")
}

// As in `wire::encoding`: small functions load with less memory.
#[inline(never)]
fn by_path(path: &str, folded: &str, host: &str) -> Asked {
    // A part of what is matched, as it was written: models' names have a case.
    let written = |part: &str| {
        let from = (part.as_ptr() as usize).wrapping_sub(folded.as_ptr() as usize);
        capped(path.get(from..from.saturating_add(part.len())).unwrap_or(part))
    };
    let path = folded;
    let of = |api| Asked { api, ..Asked::default() };
    // Gemini and Vertex put the verb behind the model: `models/{model}:{verb}`. Cloud Code has no model in the path.
    if let Some((front, verb)) = path.rsplit_once(':')
        && let Some(model) = model_before(front)
    {
        let api = match verb {
            // Where Claude's tokens are counted, and none is made.
            "rawpredict" | "streamrawpredict" if model.starts_with("count-tokens") => None,
            "generatecontent" | "streamgeneratecontent" => Some(Api::GeminiGenerate),
            "embedcontent" | "batchembedcontents" | "embedtext" => Some(Api::Embeddings),
            "predict" if model.contains("embedding") => Some(Api::Embeddings),
            "rawpredict" | "streamrawpredict" if front.contains("/anthropic/") => Some(Api::AnthropicMessages),
            "rawpredict" | "streamrawpredict" => Some(Api::OpenAiChat),
            _ => None,
        };
        if let Some(api) = api {
            let model = Some(written(model)).filter(|model| !model.is_empty());
            return Asked { model, stream: verb.starts_with("stream"), ..of(api) };
        }
        if !verb.contains('/') && !verb.chars().all(|c| c.is_ascii_digit()) {
            return Asked::default();
        }
    }
    if let Some((_, model)) = path.split_once("/ai/run/") {
        return Asked { model: Some(written(model)), ..of(Api::CloudflareRun) };
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
        return Asked { model: Some(written(model)), stream, ..of(api) };
    }
    let mut parts = path.rsplit('/');
    let (last, before) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let deployment = || {
        let (_, rest) = path.split_once("/deployments/").or_else(|| path.split_once("/engines/"))?;
        Some(written(rest.split('/').next()?))
    };
    let by_name = || {
        let fits = |place: &str| match place {
            "*" => true,
            "v*" => is_version(before),
            name => name == before,
        };
        let found = PATHS.iter().find(|(place, name, _)| *name == last && fits(place));
        found.map_or(Api::Other, |(_, _, api)| *api)
    };
    let api = match (before, last) {
        // Portkey's prompts answer as chat completions do.
        (_, "completions") if path.contains("/prompts/") => Api::OpenAiChat,
        // Databricks serves chat under the endpoint's name, and embeddings, as a name may tell; else the request's body does.
        (endpoint, "invocations") if path.contains("/serving-endpoints/") => {
            let model = written(endpoint);
            let embeds = EMBEDDERS.iter().any(|part| endpoint.contains(part));
            let api = if embeds { Api::Embeddings } else { Api::OpenAiChat };
            return Asked { model: Some(model), by_body: !embeds, ..of(api) };
        }
        (endpoint, "invocations" | "invocations-response-stream") if host.starts_with("runtime.sagemaker") => {
            return Asked { model: Some(written(endpoint)), stream: last.ends_with("stream"), ..of(Api::SageMaker) };
        }
        ("v1", "complete") if host.contains("anthropic") => Api::AnthropicComplete,
        ("v1", "chat") if host.contains("writer") => Api::OpenAiChat,
        ("v1", "chat") if path.ends_with("/api/v1/chat") => Api::LmStudioChat,
        (_, "interactions") if path.contains("/locations/") => Api::GeminiInteractions,
        // OpenAI keeps conversations under the same name.
        _ if path.contains("/v1/conversations") => match host.ends_with("mistral.ai") {
            true if before == "v1" || before == "conversations" || last == "restart" => Api::MistralConversations,
            _ => Api::Other,
        },
        _ => by_name(),
    };
    // Of watsonx, whose names others have too.
    let ml = !matches!(before, "text" | "generation") || path.contains("/ml/");
    if api == Api::Other || !ml {
        return Asked::default();
    }
    Asked { model: deployment(), stream: last.ends_with("_stream"), ..of(api) }
}

/// The last two segments of a path in lower case, and what is served there. The first row that fits counts; `*` is any segment, `v*` a version, nothing the
/// root. A table, not a match: it is a third of the code.
const PATHS: &[(&str, &str, Api)] = &[
    ("chat", "completions", Api::OpenAiChat),
    // Mistral's fill-in-the-middle, and its agents.
    ("fim", "completions", Api::OpenAiChat),
    ("agents", "completions", Api::OpenAiChat),
    ("*", "completions", Api::OpenAiCompletions),
    ("responses", "compact", Api::OpenAiResponses),
    // Forms have responses too.
    ("v*", "responses", Api::OpenAiResponses),
    ("", "responses", Api::OpenAiResponses),
    ("openai", "responses", Api::OpenAiResponses),
    ("codex", "responses", Api::OpenAiResponses),
    ("serving-endpoints", "responses", Api::OpenAiResponses),
    // Everybody has messages: channels, threads, MCP's older transport.
    ("v1", "messages", Api::AnthropicMessages),
    ("v2", "chat", Api::CohereChatV2),
    ("v1", "chat", Api::CohereChatV1),
    ("v1", "generate", Api::CohereGenerate),
    ("api", "chat", Api::OllamaChat),
    ("api", "generate", Api::OllamaGenerate),
    // watsonx's chat is OpenAI's.
    ("text", "chat", Api::OpenAiChat),
    ("text", "chat_stream", Api::OpenAiChat),
    ("text", "generation", Api::Watsonx),
    ("text", "generation_stream", Api::Watsonx),
    ("generation", "text", Api::Watsonx),
    ("generation", "text_stream", Api::Watsonx),
    ("*", "embeddings", Api::Embeddings),
    ("api", "embed", Api::Embeddings),
    ("v*", "embed", Api::Embeddings),
    // TEI.
    ("", "embed", Api::Embeddings),
    ("", "embed_all", Api::Embeddings),
    ("", "embed_sparse", Api::Embeddings),
    // DashScope, Oracle.
    ("text-embedding", "text-embedding", Api::Embeddings),
    ("actions", "embedtext", Api::Embeddings),
    ("text-rerank", "text-rerank", Api::Rerank),
    ("*", "rerank", Api::Rerank),
    ("v*", "interactions", Api::GeminiInteractions),
    // Everybody generates: only at the root it is TGI's or SGLang's.
    ("", "generate", Api::Generate),
    ("", "generate_stream", Api::Generate),
    ("", "completion", Api::LlamaCompletion),
    ("", "infill", Api::LlamaCompletion),
    ("images", "generations", Api::Images),
    ("images", "edits", Api::Images),
    ("audio", "transcriptions", Api::Transcriptions),
    ("audio", "translations", Api::Transcriptions),
    ("audio", "speech", Api::Speech),
    ("text-generation", "generation", Api::DashScope),
    ("multimodal-generation", "generation", Api::DashScope),
    ("cortex", "inference:complete", Api::SnowflakeComplete),
    ("actions", "chat", Api::OciChat),
];

/// What stands before a verb of Google's, if that is a model: a published one, a tuned one, an endpoint's id; nothing of
/// Cloud Code's.
fn model_before(front: &str) -> Option<&str> {
    let (rest, model) = front.rsplit_once('/')?;
    let kind = rest.rsplit('/').next()?;
    match kind {
        "models" | "tunedmodels" => Some(model),
        "endpoints" if rest.contains("/locations/") => Some(model),
        _ if model.starts_with("v1internal") => Some(""),
        // A model's own name may have slashes in it.
        _ => front.rsplit_once("/models/").map(|(_, model)| model),
    }
}

/// `v1`, `v4`, `v1beta`, `v1beta1`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What names of models that embed have in them, where Databricks serves them.
const EMBEDDERS: &[&str] = &["embed", "-gte-", "-bge-", "-e5-"];

/// A model's name, cut at [`MAX_MODEL`] bytes.
fn capped(name: &str) -> String {
    name.get(..name.floor_char_boundary(MAX_MODEL)).unwrap_or_default().to_owned()
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
    ("cloudcode-pa.googleapis.com", "gcp.gen_ai"),
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
    ("dashscope.aliyuncs.com", "dashscope"),
    ("dashscope-intl.aliyuncs.com", "dashscope"),
    ("api.cloudflare.com", "cloudflare"),
    (".oci.oraclecloud.com", "oci"),
    ("writer.com", "writer"),
    ("snowflakecomputing.com", "snowflake"),
    ("ollama.com", "ollama"),
    ("crusoecloud.com", "crusoe"),
    ("portkey.ai", "portkey"),
    ("heroku.com", "heroku"),
];

fn provider_of_host(host: &str) -> Option<&'static str> {
    // Not all that runs at AWS is Bedrock.
    if host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") {
        return host.starts_with("bedrock").then_some("aws.bedrock");
    }
    let fits = |end: &str| {
        host.strip_suffix(end).is_some_and(|front| {
            // Google puts the region before its name, and a hyphen.
            let regional = end.ends_with("googleapis.com") && front.ends_with('-');
            front.is_empty() || front.ends_with('.') || regional || end.starts_with('.')
        })
    };
    HOSTS.iter().find(|(end, _)| fits(end)).map(|(_, provider)| *provider)
}
