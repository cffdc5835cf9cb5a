//! What a client is sent when its call is refused, and when its running stream is cut: in the shape that its own API has for
//! an error, so that its SDK raises what it would raise of the provider.
//!
//! A shape is a text with holes. All of it is ASCII, names that come from outside are cut and escaped, and none can end a text,
//! a line or an event.

use crate::api::Api;
use crate::units::Span;
use crate::wire::crc32::Crc32;
use crate::wire::seams::{Framing, Seams};

/// Most bytes of a limit's name that a client is told: enough for any that a person would write.
pub const MAX_LIMIT: usize = 128;
/// Most bytes of a reason that a client is told: two long sentences.
pub const MAX_WHY: usize = 512;

/// What a call is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A limit is reached.
    RateLimited,
    /// Nobody can answer now.
    Unavailable,
    /// It may not be.
    Forbidden,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Kind::RateLimited => 429,
            Kind::Unavailable => 503,
            Kind::Forbidden => 403,
        }
    }
}

/// A refusal, or a cut.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// What for.
    pub kind: Kind,
    /// The limit's name; [`MAX_LIMIT`] bytes of it are told.
    pub limit: &'a str,
    /// What happened, as a sentence; [`MAX_WHY`] bytes of it are told. If empty, there is one for each kind.
    pub why: &'a str,
    /// When it makes sense to try again; nothing if that is not known.
    pub retry_after: Option<Span>,
}

/// A refusal as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaped {
    /// The HTTP status.
    pub status: u16,
    /// The body's `content-type`.
    pub content_type: &'static str,
    /// A further header that the API's clients look at.
    pub header: Option<(&'static str, &'static str)>,
    /// The body, JSON in ASCII.
    pub body: Vec<u8>,
}

/// The refusal of a call whose answer has not begun.
pub fn body(api: Api, refusal: &Refusal<'_>) -> Shaped {
    let tongue = tongue(api);
    let words = tongue.words(refusal.kind);
    let mut body = Vec::with_capacity(ROOM);
    fill(&mut body, tongue.whole, words, refusal, false);
    Shaped {
        status: refusal.kind.status(),
        content_type: if api == Api::Other { "application/problem+json" } else { "application/json" },
        header: is_bedrock(api).then_some(("x-amzn-errortype", words.name)),
        body,
    }
}

/// The refusal of a call of JSON-RPC, with status 403: an error without an id, as MCP's streamable HTTP has it for what the
/// server does not take.
pub fn json_rpc(why: &str) -> Shaped {
    let mut body = Vec::with_capacity(ROOM);
    put(&mut body, br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":""#);
    escaped(&mut body, why, MAX_WHY);
    put(&mut body, br#""}}"#);
    Shaped { status: Kind::Forbidden.status(), content_type: "application/json", header: None, body }
}

/// The cut of a running stream, as its last event. It stands at a seam of the stream, and the stream ends behind it. Nothing
/// for an API that has no streams; then, breaking the connection is the only way to tell.
pub fn event(api: Api, seams: &Seams, refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    if !api.generates() {
        return None;
    }
    let tongue = tongue(api);
    let words = tongue.words(refusal.kind);
    let mut out = Vec::with_capacity(ROOM);
    match seams.framing() {
        Framing::Sse => {
            if !tongue.event_name.is_empty() {
                for part in ["event: ", tongue.event_name, "\n"] {
                    put(&mut out, part.as_bytes());
                }
            }
            put(&mut out, b"data: ");
            fill(&mut out, tongue.event, words, refusal, true);
            put(&mut out, b"\n\n");
        }
        Framing::Lines => {
            fill(&mut out, tongue.event, words, refusal, true);
            put(&mut out, b"\n");
        }
        Framing::Array => {
            if seams.wants_comma() {
                put(&mut out, b",");
            }
            fill(&mut out, tongue.event, words, refusal, true);
            put(&mut out, b"]");
        }
        Framing::Frames => {
            if !is_bedrock(api) {
                return None;
            }
            let mut payload = Vec::with_capacity(ROOM);
            fill(&mut payload, tongue.event, words, refusal, true);
            exception_frame(&mut out, words.code, &payload);
        }
    }
    Some(out)
}

/// What a refusal takes, mostly.
const ROOM: usize = 512;

/// How an API tells of an error. Texts have holes: see [`fill`].
#[derive(Debug)]
struct Tongue {
    /// A body.
    whole: &'static str,
    /// An event's document.
    event: &'static str,
    /// The event's name over SSE, if it has one.
    event_name: &'static str,
    limited: Words,
    unavailable: Words,
    forbidden: Words,
}

/// What differs by kind.
#[derive(Debug)]
struct Words {
    /// The error's type.
    name: &'static str,
    /// Its code, where there is one beside the type.
    code: &'static str,
}

impl Tongue {
    fn words(&self, kind: Kind) -> &Words {
        match kind {
            Kind::RateLimited => &self.limited,
            Kind::Unavailable => &self.unavailable,
            Kind::Forbidden => &self.forbidden,
        }
    }
}

const fn words(name: &'static str, code: &'static str) -> Words {
    Words { name, code }
}

/// A tongue whose events have the same document as its bodies.
const fn tongue_of(
    document: &'static str,
    event_name: &'static str,
    [limited, unavailable, forbidden]: [Words; 3],
) -> Tongue {
    Tongue { whole: document, event: document, event_name, limited, unavailable, forbidden }
}

const OPENAI_ERROR: &str = r#"{"error":{"message":"~","type":"^","param":null,"code":"%"}}"#;
const OPENAI_LIMITED: Words = words("rate_limit_error", "rate_limit_exceeded");
const OPENAI_UNAVAILABLE: Words = words("server_error", "server_error");
const OPENAI_FORBIDDEN: Words = words("permission_error", "forbidden");

static OPENAI: Tongue = tongue_of(OPENAI_ERROR, "", [OPENAI_LIMITED, OPENAI_UNAVAILABLE, OPENAI_FORBIDDEN]);

/// The documented event has code and message at the top, which the SDKs hand out as any other event. What OpenAI sends in
/// fact, and the SDKs raise on, has them in `error`. Both are here.
static RESPONSES: Tongue = Tongue {
    event: concat!(
        r#"{"type":"error","sequence_number":0,"error":{"message":"~","type":"^","param":null,"code":"%"},"#,
        r#""code":"%","message":"~","param":null}"#
    ),
    ..tongue_of(OPENAI_ERROR, "error", [OPENAI_LIMITED, OPENAI_UNAVAILABLE, OPENAI_FORBIDDEN])
};

static ANTHROPIC: Tongue = tongue_of(
    r#"{"type":"error","error":{"type":"^","message":"~"}}"#,
    "error",
    [words("rate_limit_error", ""), words("overloaded_error", ""), words("permission_error", "")],
);

// Google's Python SDK knows an error in a stream by its first bytes.
static GEMINI: Tongue = tongue_of(
    r#"{"error":{"code":#,"message":"~","status":"^"*}}"#,
    "",
    [words("RESOURCE_EXHAUSTED", ""), words("UNAVAILABLE", ""), words("PERMISSION_DENIED", "")],
);

static INTERACTIONS: Tongue = Tongue {
    event: r#"{"event_type":"error","error":{"code":"%","message":"~"}}"#,
    ..tongue_of(
        r#"{"error":{"code":"%","message":"~"}}"#,
        "error",
        [words("", "too_many_requests"), words("", "unavailable"), words("", "permission_denied")],
    )
};

// The type stands in a header; the code is the type of a frame.
static BEDROCK: Tongue = tongue_of(
    r#"{"message":"~"}"#,
    "",
    [
        words("ThrottlingException", "throttlingException"),
        words("ServiceUnavailableException", "serviceUnavailableException"),
        words("AccessDeniedException", "accessDeniedException"),
    ],
);

static COHERE_V2: Tongue = Tongue {
    event: r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"~"}}"#,
    ..tongue_of(r#"{"message":"~"}"#, "message-end", [words("", ""), words("", ""), words("", "")])
};

static COHERE_V1: Tongue = Tongue {
    event: r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"ERROR","error":"~"}"#,
    ..tongue_of(r#"{"message":"~"}"#, "", [words("", ""), words("", ""), words("", "")])
};

/// A code and a message at the top.
static FLAT: Tongue = tongue_of(
    r#"{"code":"%","message":"~"}"#,
    "error",
    [words("", "rate_limit_exceeded"), words("", "service_unavailable"), words("", "forbidden")],
);

static OLLAMA: Tongue = tongue_of(r#"{"error":"~"}"#, "", [words("", ""), words("", ""), words("", "")]);

static WATSONX: Tongue = tongue_of(
    r#"{"errors":[{"code":"%","message":"~"}],"status_code":#}"#,
    "error",
    [words("", "rate_limit_reached_requests"), words("", "service_unavailable"), words("", "forbidden")],
);

/// RFC 9457, with OpenAI's and Anthropic's place for the message beside its own: their SDKs have calls that are no inference.
static PLAIN: Tongue = tongue_of(
    r#"{"type":"about:blank","title":"^","status":#,"detail":"~","error":{"message":"~"}}"#,
    "",
    [words("Too Many Requests", ""), words("Service Unavailable", ""), words("Forbidden", "")],
);

fn is_bedrock(api: Api) -> bool {
    matches!(api, Api::BedrockConverse | Api::BedrockInvoke)
}

fn tongue(api: Api) -> &'static Tongue {
    match api {
        // Whoever serves embeddings, their SDK tells errors by the status.
        Api::OpenAiChat | Api::OpenAiCompletions | Api::Embeddings | Api::LmStudioChat => &OPENAI,
        Api::Images | Api::Transcriptions | Api::Speech | Api::Rerank | Api::SageMaker | Api::CloudflareRun => &OPENAI,
        Api::Generate | Api::LlamaCompletion | Api::SnowflakeComplete | Api::MistralConversations => &OPENAI,
        Api::DashScope | Api::OciChat => &FLAT,
        Api::OpenAiResponses => &RESPONSES,
        Api::AnthropicMessages | Api::AnthropicComplete => &ANTHROPIC,
        Api::GeminiGenerate => &GEMINI,
        Api::GeminiInteractions => &INTERACTIONS,
        Api::BedrockConverse | Api::BedrockInvoke => &BEDROCK,
        Api::CohereChatV2 => &COHERE_V2,
        Api::CohereChatV1 | Api::CohereGenerate => &COHERE_V1,
        Api::OllamaChat | Api::OllamaGenerate => &OLLAMA,
        Api::Watsonx => &WATSONX,
        Api::Other => &PLAIN,
    }
}

/// Every copy of a slice goes through here: once compiled, not twenty times.
#[inline(never)]
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// Writes a text and fills its holes: `~` is the message, `^` the error's type, `%` its code, `#` the status, `*` Google's
/// details.
fn fill(out: &mut Vec<u8>, text: &str, words: &Words, refusal: &Refusal<'_>, cut: bool) {
    for &byte in text.as_bytes() {
        match byte {
            b'~' => message(out, refusal, cut),
            b'^' => put(out, words.name.as_bytes()),
            b'%' => put(out, words.code.as_bytes()),
            b'#' => number(out, u64::from(refusal.kind.status()), 1),
            b'*' => {
                if let Some(span) = refusal.retry_after {
                    put(out, br#","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":""#);
                    seconds(out, span);
                    put(out, br#""}]"#);
                }
            }
            _ => put(out, &[byte]),
        }
    }
}

/// What happened, which limit it was, and when to try again: the words that OpenAI has for that, as clients look for them.
fn message(out: &mut Vec<u8>, refusal: &Refusal<'_>, cut: bool) {
    let (before, open, close, after) = match refusal.kind {
        _ if !refusal.why.is_empty() => (refusal.why, r#" (limit \""#, r#"\")"#, ""),
        Kind::RateLimited => ("Rate limit", r#" \""#, r#"\""#, " reached."),
        Kind::Forbidden => ("Not allowed", r#" (limit \""#, r#"\")"#, "."),
        Kind::Unavailable => ("Service unavailable", r#" (limit \""#, r#"\")"#, "."),
    };
    escaped(out, before, MAX_WHY);
    if !refusal.limit.is_empty() {
        put(out, open.as_bytes());
        escaped(out, refusal.limit, MAX_LIMIT);
        put(out, close.as_bytes());
    }
    put(out, after.as_bytes());
    if cut {
        put(out, b" The answer ends here, unfinished.");
    }
    if let Some(span) = refusal.retry_after {
        put(out, b" Please try again in ");
        seconds(out, span);
        put(out, b".");
    }
}

/// The first `max` bytes of a text as they stand between a JSON text's quotes. What is no ASCII is escaped too: clients cut
/// streams into lines at characters that JSON does not forbid.
fn escaped(out: &mut Vec<u8>, text: &str, max: usize) {
    let mut units = [0; 2];
    for char in text.get(..text.floor_char_boundary(max)).unwrap_or("").chars() {
        match char {
            '"' | '\\' => put(out, &[b'\\', char as u8]),
            ' '..='~' => put(out, &[char as u8]),
            _ => {
                for unit in char.encode_utf16(&mut units) {
                    put(out, b"\\u");
                    for shift in [12, 8, 4, 0] {
                        let digit = (*unit >> shift) as u8 & 15;
                        put(out, &[if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }]);
                    }
                }
            }
        }
    }
}

/// Seconds with milliseconds after the point, rounded up: whoever waits so long does not come too early.
fn seconds(out: &mut Vec<u8>, span: Span) {
    let ms = span.0.div_ceil(1_000_000);
    number(out, ms / 1000, 1);
    put(out, b".");
    number(out, ms % 1000, 3);
    put(out, b"s");
}

/// A number of at least so many digits.
#[inline(never)]
fn number(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut reversed = [b'0'; 20];
    let mut used = 0;
    for slot in &mut reversed {
        if number == 0 && used >= digits {
            break;
        }
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
    }
    let used = reversed.get_mut(..used).unwrap_or_default();
    used.reverse();
    put(out, used);
}

/// One frame of AWS's binary event stream that ends it: see `wire/event_stream.rs`.
fn exception_frame(out: &mut Vec<u8>, exception: &str, payload: &[u8]) {
    /// Two lengths and two CRCs.
    const AROUND: usize = 16;
    const STRING: u8 = 7;
    let fields =
        [(":exception-type", exception), (":content-type", "application/json"), (":message-type", "exception")];
    // Around each: a length of one byte, the type, a length of two.
    let headers: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let total = payload.len().saturating_add(headers + AROUND);
    put(out, &(total as u32).to_be_bytes());
    put(out, &(headers as u32).to_be_bytes());
    checksum(out);
    for (name, value) in fields {
        put(out, &[name.len() as u8]);
        put(out, name.as_bytes());
        put(out, &[STRING, 0, value.len() as u8]);
        put(out, value.as_bytes());
    }
    put(out, payload);
    checksum(out);
}

/// Appends the CRC of all before.
fn checksum(out: &mut Vec<u8>) {
    let crc = Crc32::of(out);
    put(out, &crc.to_be_bytes());
}
