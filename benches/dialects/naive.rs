//! What one would write first: put events together, parse each, look for text and usage. Once into a tree of values,
//! once into types that name what is wanted.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::streams::Framing;

/// Puts a body together from its pieces and hands out its documents.
struct Documents {
    framing: Framing,
    body: Vec<u8>,
}

impl Documents {
    fn push(&mut self, piece: &[u8], mut document: impl FnMut(&[u8])) {
        self.body.extend_from_slice(piece);
        let mut done = 0;
        while let Some((length, inside)) = next(self.framing, &self.body[done..]) {
            document(inside);
            done += length;
        }
        self.body.drain(..done);
    }
}

/// The length of the next event, and the document in it.
fn next(framing: Framing, body: &[u8]) -> Option<(usize, &[u8])> {
    match framing {
        Framing::Sse => {
            let end = body.windows(2).position(|two| two == b"\n\n")?;
            let data = body[..end].split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
            Some((end + 2, data.unwrap_or_default()))
        }
        Framing::Lines => {
            let end = body.iter().position(|byte| *byte == b'\n')?;
            Some((end + 1, &body[..end]))
        }
        Framing::Frames => {
            let number = |at: usize| Some(u32::from_be_bytes(*body.get(at..at + 4)?.first_chunk()?) as usize);
            let (length, headers) = (number(0)?, number(4)?);
            Some((length, body.get(12 + headers..length - 4).filter(|_| body.len() >= length)?))
        }
    }
}

/// What was found: bytes of text, and the output tokens that the answer reports.
pub type Found = (usize, u64);

/// Each event as a tree of values.
pub fn value(framing: Framing, pieces: &[Vec<u8>]) -> Found {
    const TEXTS: [&str; 6] = [
        "/choices/0/delta/content",
        "/delta",
        "/delta/text",
        "/candidates/0/content/parts/0/text",
        "/delta/message/content/text",
        "/message/content",
    ];
    const OUTPUTS: [&str; 7] = [
        "/usage/completion_tokens",
        "/response/usage/output_tokens",
        "/usage/output_tokens",
        "/usageMetadata/candidatesTokenCount",
        "/usage/outputTokens",
        "/delta/usage/tokens/output_tokens",
        "/eval_count",
    ];
    let (mut text, mut output) = (0, 0);
    let mut documents = Documents { framing, body: Vec::new() };
    for piece in pieces {
        documents.push(piece, |document| {
            let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
            text += TEXTS.iter().find_map(|at| value.pointer(at)?.as_str()).map_or(0, str::len);
            output = OUTPUTS.iter().find_map(|at| value.pointer(at)?.as_u64()).unwrap_or(output);
        });
    }
    (text, output)
}

/// Each event as a value of a type of its own.
pub fn typed(name: &str, framing: Framing, pieces: &[Vec<u8>]) -> Found {
    match name {
        "openai.chat_completions" => of::<Chat>(framing, pieces),
        "openai.responses" => of::<Responses>(framing, pieces),
        "anthropic.messages" => of::<Anthropic>(framing, pieces),
        "gemini.generate_content" => of::<Gemini>(framing, pieces),
        "bedrock.converse" => of::<Bedrock>(framing, pieces),
        "cohere.chat_v2" => of::<Cohere>(framing, pieces),
        "ollama.chat" => of::<Ollama>(framing, pieces),
        other => unreachable!("no types for {other}"),
    }
}

fn of<T: for<'a> Typed<'a>>(framing: Framing, pieces: &[Vec<u8>]) -> Found {
    let (mut text, mut output) = (0, 0);
    let mut documents = Documents { framing, body: Vec::new() };
    for piece in pieces {
        documents.push(piece, |document| {
            let Some(found) = T::read(document) else { return };
            text += found.0;
            output = found.1.unwrap_or(output);
        });
    }
    (text, output)
}

trait Typed<'a> {
    fn read(document: &'a [u8]) -> Option<(usize, Option<u64>)>;
}

macro_rules! typed {
    ($name:ident, $shape:ident, |$it:ident| $text:expr, $output:expr) => {
        struct $name;
        impl<'a> Typed<'a> for $name {
            fn read(document: &'a [u8]) -> Option<(usize, Option<u64>)> {
                let $it: $shape<'a> = serde_json::from_slice(document).ok()?;
                let text: Option<&Text<'_>> = $text;
                Some((text.map_or(0, |text| text.0.len()), $output))
            }
        }
    };
}

/// Text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Output {
    #[serde(alias = "completion_tokens", alias = "outputTokens", alias = "candidatesTokenCount")]
    output_tokens: Option<u64>,
}

typed!(
    Chat,
    ChatEvent,
    |e| e.choices.first().and_then(|c| c.delta.content.as_ref()),
    e.usage.and_then(|u| u.output_tokens)
);
#[derive(Deserialize)]
struct ChatEvent<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<Output>,
}
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: ChatDelta<'a>,
}
#[derive(Deserialize)]
struct ChatDelta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
}

typed!(Responses, ResponsesEvent, |e| e.delta.as_ref(), e.response.and_then(|r| r.usage).and_then(|u| u.output_tokens));
#[derive(Deserialize)]
struct ResponsesEvent<'a> {
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    response: Option<Response>,
}
#[derive(Deserialize)]
struct Response {
    usage: Option<Output>,
}

typed!(
    Anthropic,
    AnthropicEvent,
    |e| e.delta.as_ref().and_then(|d| d.text.as_ref()),
    e.usage.and_then(|u| u.output_tokens)
);
#[derive(Deserialize)]
struct AnthropicEvent<'a> {
    #[serde(borrow)]
    delta: Option<TextDelta<'a>>,
    usage: Option<Output>,
}
#[derive(Deserialize)]
struct TextDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

typed!(
    Gemini,
    GeminiEvent,
    |e| e.candidates.first().and_then(|c| c.content.parts.first()).and_then(|p| p.text.as_ref()),
    e.usage.and_then(|u| u.output_tokens)
);
#[derive(Deserialize)]
struct GeminiEvent<'a> {
    #[serde(borrow)]
    candidates: Vec<Candidate<'a>>,
    #[serde(rename = "usageMetadata")]
    usage: Option<Output>,
}
#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Parts<'a>,
}
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    parts: Vec<TextDelta<'a>>,
}

typed!(
    Bedrock,
    BedrockEvent,
    |e| e.delta.as_ref().and_then(|d| d.text.as_ref()),
    e.usage.and_then(|u| u.output_tokens)
);
#[derive(Deserialize)]
struct BedrockEvent<'a> {
    #[serde(borrow)]
    delta: Option<TextDelta<'a>>,
    usage: Option<Output>,
}

typed!(
    Cohere,
    CohereEvent,
    |e| e.delta.as_ref().and_then(|d| d.message.as_ref()?.content.as_ref()?.text.as_ref()),
    e.delta.as_ref().and_then(|d| d.usage.as_ref()?.tokens.as_ref()?.output_tokens)
);
#[derive(Deserialize)]
struct CohereEvent<'a> {
    #[serde(borrow)]
    delta: Option<CohereDelta<'a>>,
}
#[derive(Deserialize)]
struct CohereDelta<'a> {
    #[serde(borrow)]
    message: Option<CohereMessage<'a>>,
    usage: Option<CohereUsage>,
}
#[derive(Deserialize)]
struct CohereMessage<'a> {
    #[serde(borrow)]
    content: Option<TextDelta<'a>>,
}
#[derive(Deserialize)]
struct CohereUsage {
    tokens: Option<Output>,
}

typed!(Ollama, OllamaEvent, |e| Some(&e.message.content), e.eval_count);
#[derive(Deserialize)]
struct OllamaEvent<'a> {
    #[serde(borrow)]
    message: OllamaMessage<'a>,
    eval_count: Option<u64>,
}
#[derive(Deserialize)]
struct OllamaMessage<'a> {
    #[serde(borrow)]
    content: Text<'a>,
}
