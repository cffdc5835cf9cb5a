//! How the many who speak OpenAI's chat format differ from OpenAI.

use crate::upstream::ask::Ask;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// OpenAI itself.
    OpenAi,
    /// Azure: filter results first.
    Azure,
    /// Mistral: usage unasked, in the last chunk with a choice; whole tool calls; padding in `p`.
    Mistral,
    /// Groq: `x_groq` with usage and times in the last chunk; errors as an event of their own.
    Groq,
    /// DeepSeek: `reasoning_content`; usage unasked; its own names for cached tokens.
    DeepSeek,
    /// OpenRouter: comments while it waits; `reasoning`; usage with a second finish reason.
    OpenRouter,
    /// Perplexity: usage and the whole message in every chunk, CRLF, no `[DONE]`.
    Perplexity,
    /// vLLM: the role alone in the first chunk, `reasoning_content`, `stop_reason`.
    Vllm,
}

impl Flavour {
    /// By the host it was sent to, else by the path or the model's name.
    pub fn of(ask: &Ask) -> Self {
        let host = |part| ask.host.contains(part);
        let model = |start| ask.model.starts_with(start);
        match () {
            _ if host("azure") || ask.path.contains("/deployments/") => Self::Azure,
            _ if host("groq") => Self::Groq,
            _ if host("openrouter") => Self::OpenRouter,
            _ if host("deepseek") || model("deepseek-") => Self::DeepSeek,
            _ if host("perplexity") || model("sonar") => Self::Perplexity,
            _ if host("mistral") || ["mistral-", "codestral", "magistral", "ministral"].into_iter().any(model) => {
                Self::Mistral
            }
            _ if host("vllm") || ask.model.contains('/') => Self::Vllm,
            _ => Self::OpenAi,
        }
    }

    /// Whether usage comes without being asked for.
    pub fn tells_usage(self) -> bool {
        matches!(self, Self::Mistral | Self::Groq | Self::DeepSeek | Self::OpenRouter | Self::Perplexity)
    }

    /// The key of visible reasoning in a delta; none if it stays hidden.
    pub fn reasoning_key(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Azure | Self::Mistral | Self::Perplexity => None,
            Self::Groq | Self::OpenRouter => Some("reasoning"),
            Self::DeepSeek | Self::Vllm => Some("reasoning_content"),
        }
    }
}

/// The name under which a model answers: OpenAI's aliases stand for dated snapshots.
pub fn answering(model: &str) -> String {
    let dated = match model {
        "gpt-4o" => "gpt-4o-2024-08-06",
        "gpt-4o-mini" => "gpt-4o-mini-2024-07-18",
        "gpt-4.1" => "gpt-4.1-2025-04-14",
        "gpt-4.1-mini" => "gpt-4.1-mini-2025-04-14",
        "o4-mini" => "o4-mini-2025-04-16",
        "gpt-5" => "gpt-5-2025-08-07",
        "gpt-3.5-turbo-instruct" => "gpt-3.5-turbo-instruct:20230824-v2",
        "claude-sonnet-4-5" => "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5" => "claude-haiku-4-5-20251001",
        _ => model,
    };
    dated.to_owned()
}
