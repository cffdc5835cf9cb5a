//! What a request's body tells, read as it passes: which model, a stream or not, how much at most, with which tools, and how
//! long the prompt is. One tree for all providers: their names do not contradict each other.

use crate::json::{Inside, Meaning, Node, Reader, Scalar, Visitor};
use crate::wire::encoding::Decoder;
use crate::wire::tree::{leaf, list, obj, object_or_list};
use crate::wire::wide::Wide;

/// Most tool names that are kept.
const MAX_TOOLS: usize = 64;
/// Most calls of an MCP batch that are kept by name: twice what a plan has steps.
const MAX_CALLS: usize = 64;
/// The method that calls a tool.
const TOOLS_CALL: &str = "tools/call";
/// What stands for all calls of a batch beyond those: no tool's name, so that nothing gets by behind them.
const MORE: &str = "(more)";
/// The largest piece that is read again because `stream_options` was cut, or came before `stream`; beyond it nothing is
/// injected.
const MAX_HELD: usize = 64 << 10;

/// What a place in a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    ModelId,
    Stream,
    MaxTokens,
    StreamOptions,
    IncludeUsage,
    OtherOption,
    ToolName,
    Prompt,
    Messages,
    Input,
    Call,
    Rpc,
    Method,
    Called,
    TraceParent,
    Baggage,
}

impl Meaning for Field {
    // Servers in Go do.
    const FOLDS: bool = true;

    fn wants_text(self) -> bool {
        matches!(
            self,
            Field::Model
                | Field::ModelId
                | Field::ToolName
                | Field::Method
                | Field::Called
                | Field::TraceParent
                | Field::Baggage
        )
    }
}

type Tree = Node<Field>;
use Field::{
    Call, Called, IncludeUsage, Input, MaxTokens, Messages, Method, Model, OtherOption, Prompt, Stream, StreamOptions,
    ToolName,
};

const SKIP: Tree = Tree { means: None, inside: None };

/// What stands in a prompt and is no text to read: names, types, images, audio, files.
const NO_TEXT: &[(&str, Tree)] = &[
    ("role", SKIP),
    ("type", SKIP),
    ("id", SKIP),
    ("tool_call_id", SKIP),
    ("tool_use_id", SKIP),
    ("call_id", SKIP),
    ("cache_control", SKIP),
    ("image_url", SKIP),
    ("url", SKIP),
    ("data", SKIP),
    ("bytes", SKIP),
    ("file_data", SKIP),
    ("file_id", SKIP),
    ("images", SKIP),
    ("mimeType", SKIP),
    ("mime_type", SKIP),
    ("media_type", SKIP),
    ("signature", SKIP),
    ("thoughtSignature", SKIP),
    ("encrypted_content", SKIP),
];

/// Everything a model reads: all texts in it count.
static PROMPT: Tree =
    Tree { means: Some(Prompt), inside: Some(&Inside { keys: NO_TEXT, item: Some(&PROMPT), rest: Some(&PROMPT) }) };

/// The same, where a tree begins to be prompt: one constant cannot read the other.
const PROMPT_HERE: Tree =
    Tree { means: Some(Prompt), inside: Some(&Inside { keys: NO_TEXT, item: Some(&PROMPT), rest: Some(&PROMPT) }) };

/// The same, of which it matters whether it is there.
macro_rules! prompt {
    ($means:expr) => {
        Tree { means: Some($means), ..PROMPT_HERE }
    };
}

const FUNCTION: Tree =
    Tree { means: None, inside: Some(&Inside { keys: &[("name", leaf!(ToolName))], item: None, rest: Some(&PROMPT) }) };

/// One tool, whoever's: its description and schema are part of the prompt.
const TOOL: Tree = Tree {
    means: None,
    inside: Some(&Inside {
        keys: &[
            ("type", SKIP),
            ("name", leaf!(ToolName)),
            ("function", FUNCTION),
            ("toolSpec", FUNCTION),
            ("functionDeclarations", list!(FUNCTION)),
            ("function_declarations", list!(FUNCTION)),
        ],
        item: None,
        rest: Some(&PROMPT),
    }),
};

/// MCP: a JSON-RPC request, `tools/call` among others.
const METHOD: Tree = leaf!(Method);
const PARAMS: Tree = obj! {
    "name" => leaf!(Called),
    "_meta" => obj! { "traceparent" => leaf!(Field::TraceParent), "baggage" => leaf!(Field::Baggage) },
};

/// Cloud Code puts a request of Gemini's into an envelope.
const ENVELOPED: Tree = obj! {
    "contents" => PROMPT_HERE,
    "systemInstruction" => PROMPT_HERE,
    "tools" => list!(TOOL),
    "generationConfig" => obj! { "maxOutputTokens" => leaf!(MaxTokens) },
};

/// A request, or a batch of MCP's.
static REQUEST: Tree =
    object_or_list!(KEYS, obj!(Call; "jsonrpc" => leaf!(Field::Rpc), "method" => METHOD, "params" => PARAMS));

const KEYS: &[(&str, Tree)] = &[
    ("model", leaf!(Model)),
    ("model_id", leaf!(Field::ModelId)),
    ("stream", leaf!(Stream)),
    (
        "stream_options",
        Tree {
            means: Some(StreamOptions),
            inside: Some(&Inside {
                keys: &[("include_usage", leaf!(IncludeUsage))],
                item: None,
                rest: Some(&leaf!(OtherOption)),
            }),
        },
    ),
    ("max_tokens", leaf!(MaxTokens)),
    ("max_completion_tokens", leaf!(MaxTokens)),
    ("max_output_tokens", leaf!(MaxTokens)),
    ("max_tokens_to_sample", leaf!(MaxTokens)),
    ("max_gen_len", leaf!(MaxTokens)),
    ("generationConfig", obj! { "maxOutputTokens" => leaf!(MaxTokens) }),
    ("generation_config", obj! { "max_output_tokens" => leaf!(MaxTokens) }),
    ("inferenceConfig", obj! { "maxTokens" => leaf!(MaxTokens), "max_new_tokens" => leaf!(MaxTokens) }),
    ("textGenerationConfig", obj! { "maxTokenCount" => leaf!(MaxTokens) }),
    ("parameters", obj! { "max_new_tokens" => leaf!(MaxTokens), "max_tokens" => leaf!(MaxTokens) }),
    ("sampling_params", obj! { "max_new_tokens" => leaf!(MaxTokens) }),
    ("n_predict", leaf!(MaxTokens)),
    ("servingMode", obj! { "modelId" => leaf!(Field::ModelId) }),
    (
        "chatRequest",
        obj! {
            "messages" => PROMPT_HERE,
            "message" => PROMPT_HERE,
            "isStream" => leaf!(Stream),
            "maxTokens" => leaf!(MaxTokens),
        },
    ),
    ("options", obj! { "num_predict" => leaf!(MaxTokens) }),
    ("tools", list!(TOOL)),
    ("toolConfig", obj! { "tools" => list!(TOOL) }),
    ("functions", list!(FUNCTION)),
    ("messages", prompt!(Messages)),
    ("contents", PROMPT_HERE),
    ("input", prompt!(Input)),
    ("inputs", PROMPT_HERE),
    ("inputText", PROMPT_HERE),
    ("instructions", PROMPT_HERE),
    ("prompt", prompt!(Messages)),
    ("text", PROMPT_HERE),
    ("system", PROMPT_HERE),
    ("systemInstruction", PROMPT_HERE),
    ("system_instruction", PROMPT_HERE),
    ("message", PROMPT_HERE),
    ("chat_history", PROMPT_HERE),
    ("documents", PROMPT_HERE),
    ("preamble", PROMPT_HERE),
    ("texts", PROMPT_HERE),
    ("content", PROMPT_HERE),
    ("requests", list!(obj! { "content" => PROMPT_HERE, "model" => SKIP })),
    ("instances", PROMPT_HERE),
    ("request", ENVELOPED),
    ("jsonrpc", leaf!(Field::Rpc)),
    ("method", METHOD),
    ("params", PARAMS),
];

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: Option<String>,
    /// The same under `model_id` or `servingMode.modelId`, which only some APIs read.
    pub model_id: Option<String>,
    /// Whether it asks for a stream; nothing if it does not say.
    pub stream: Option<bool>,
    /// The most it wants generated.
    pub max_tokens: Option<u64>,
    /// `stream_options.include_usage`, where it stands.
    pub include_usage: Option<bool>,
    /// Names of the tools it offers.
    pub tools: Vec<String>,
    /// Bytes of text for the model to read, as they stand in the document.
    pub prompt_bytes: u64,
    /// The method of a JSON-RPC request.
    pub method: Option<String>,
    /// The `name` in the parameters of a JSON-RPC request.
    pub called: Option<String>,
    /// It is such a request, or a batch of them: it says so, and has a method.
    pub rpc: bool,
    /// The tools that a batch of such requests calls.
    pub batch: Vec<String>,
    /// W3C trace context and baggage that such a request carries in its parameters; of a batch the first.
    pub traceparent: Option<String>,
    /// The same of its baggage, cut at [`crate::json::MAX_TEXT`] bytes.
    pub baggage: Option<String>,
}

impl Asked {
    /// The tool that an MCP request calls; of a batch the first.
    pub fn tool(&self) -> Option<&str> {
        self.tools_called().next()
    }

    /// The tools that an MCP request calls, in their order.
    pub fn tools_called(&self) -> impl Iterator<Item = &str> {
        let single = self.called.as_deref().filter(|_| self.method.as_deref() == Some(TOOLS_CALL));
        single.into_iter().chain(self.batch.iter().map(String::as_str))
    }
}

/// A change to the piece at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    at: usize,
    remove: usize,
    insert: &'static str,
}

/// What becomes of a piece whose request is to ask for usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injected {
    /// It stays as it is.
    Same,
    /// It has to come again, with what follows.
    Again,
    /// It becomes this.
    Changed(Vec<u8>),
}

/// Reads one request's body.
#[derive(Debug)]
pub struct Request {
    reader: Reader<Field>,
    seen: Seen,
    /// What was read is no JSON, or there is more than one document: the rest is not read.
    over: bool,
    /// It could not be read to its end, or servers do not agree on what it says.
    unread: bool,
    /// Something of it came.
    came: bool,
    decoder: Option<Box<Decoder>>,
    wide: Wide,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    asked: Asked,
    /// `stream_options` has begun and not ended.
    in_options: bool,
    /// It was there.
    options: bool,
    /// Where it began, in its piece.
    options_at: usize,
    /// It has other members.
    others: bool,
    /// There are messages or a prompt; there is an input, and it has parts.
    messages: bool,
    input: bool,
    parts: bool,
    edits: Vec<Edit>,
    /// The name at hand was known by folding its case.
    folded: bool,
    /// A model stands under two names that some servers read as one.
    ambiguous: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            reader: Reader::new(&REQUEST),
            seen: Seen::default(),
            over: false,
            unread: false,
            came: false,
            decoder: None,
            wide: Wide::default(),
        }
    }
}

impl Request {
    /// A request with this `content-encoding`. One that is not known cannot be read.
    pub fn encoded(content_encoding: &[u8]) -> Self {
        match Decoder::for_encoding(content_encoding) {
            Ok(decoder) => Self { decoder: decoder.map(Box::new), ..Self::default() },
            Err(_) => Self { over: true, unread: true, ..Self::default() },
        }
    }

    /// Whether it could not be read, or says what servers do not agree on: what is known of it may not be what is served.
    pub fn is_unread(&self) -> bool {
        self.unread || self.seen.ambiguous
    }

    /// Its body is over.
    pub fn end(&mut self) {
        let mut wide = std::mem::take(&mut self.wide);
        wide.end(&mut |text| {
            self.feed(text);
        });
        self.wide = wide;
        // A document that is cut; no body at all says nothing that could be read.
        if !self.over && self.came {
            (self.over, self.unread) = (true, true);
        }
    }

    /// What is known so far.
    pub fn asked(&self) -> &Asked {
        &self.seen.asked
    }

    /// Whether it has texts to embed, and nothing that a model would answer.
    pub fn embeds(&self) -> bool {
        let Seen { messages, input, parts, ref asked, .. } = self.seen;
        input && !messages && !(parts && asked.prompt_bytes > 0)
    }

    /// Whether more of the body can tell anything.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Reads a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.came |= !piece.is_empty();
        match self.decoder.take() {
            Some(mut decoder) if !self.over => {
                if decoder.push(piece, &mut |text| self.text(text)).is_err() {
                    (self.over, self.unread) = (true, true);
                }
                self.decoder = Some(decoder);
            }
            _ => self.text(piece),
        }
        self.seen.edits.clear();
    }

    /// Reads a piece of text, in whatever form of Unicode.
    fn text(&mut self, piece: &[u8]) {
        if self.wide.is_plain() {
            self.feed(piece);
            return;
        }
        let mut wide = std::mem::take(&mut self.wide);
        wide.push(piece, &mut |text| {
            self.feed(text);
        });
        self.wide = wide;
    }

    /// Reads a piece and adds `stream_options.include_usage` where a streamed request lacks it or has it false. The first
    /// piece that holds the place is changed; nothing is held but a piece that cuts `stream_options`, or has it before it is known whether anything is streamed.
    pub fn push_and_inject(&mut self, piece: &[u8]) -> Injected {
        self.came |= !piece.is_empty();
        if !self.wide.is_plain() {
            match Wide::begins_plain(piece) {
                Some(true) => self.wide.take_plain(),
                None if !piece.is_empty() => return Injected::Again,
                // Where a place is in it is not known: it is read alone.
                _ => {
                    self.push(piece);
                    return Injected::Same;
                }
            }
        }
        let before = (self.reader.clone(), self.seen.clone());
        let end = self.feed(piece);
        let cut = self.seen.in_options || self.reader.pending() == Some(StreamOptions);
        let undecided = !self.seen.edits.is_empty() && self.seen.asked.stream.is_none();
        if (cut || undecided) && !self.over && piece.len() <= MAX_HELD {
            (self.reader, self.seen) = before;
            return Injected::Again;
        }
        let broken = self.over && end.is_none();
        if broken || self.seen.asked.stream != Some(true) {
            // Providers refuse the option where nothing is streamed.
            self.seen.edits.clear();
        } else if let Some(end) = end
            && !self.seen.options
        {
            let at = end.saturating_sub(1);
            self.seen.edits.push(Edit { at, remove: 0, insert: r#","stream_options":{"include_usage":true}"# });
        }
        let edits = std::mem::take(&mut self.seen.edits);
        if edits.is_empty() { Injected::Same } else { Injected::Changed(changed(piece, &edits)) }
    }

    /// Gives where the document ended, if it ended in this piece.
    fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        if self.over {
            return None;
        }
        // Requests are objects, or batches: what begins otherwise is a form, or nothing that any server reads.
        let begins = piece.iter().find(|b| !b.is_ascii_whitespace()).filter(|_| self.reader.is_fresh());
        if begins.is_some_and(|b| !matches!(b, b'{' | b'[')) {
            (self.over, self.unread) = (true, true);
            return None;
        }
        match self.reader.feed(piece, &mut self.seen) {
            Ok(read) if self.reader.is_done() => {
                self.over = true;
                Some(read)
            }
            Ok(_) => None,
            Err(_) => {
                (self.over, self.unread) = (true, true);
                None
            }
        }
    }
}

fn changed(piece: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + 64);
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(piece.get(from..edit.at).unwrap_or(&[]));
        out.extend_from_slice(edit.insert.as_bytes());
        from = edit.at + edit.remove;
    }
    out.extend_from_slice(piece.get(from..).unwrap_or(&[]));
    out
}

fn owned(value: Scalar<'_>) -> Option<String> {
    value.text().map(std::borrow::Cow::into_owned)
}

impl Visitor<Field> for Seen {
    fn folded(&mut self) {
        self.folded = true;
    }

    fn open(&mut self, means: Field, at: usize) {
        self.folded = false;
        match means {
            StreamOptions => {
                self.options = true;
                self.in_options = true;
                self.options_at = at;
            }
            OtherOption => self.others = true,
            Messages => self.messages = true,
            Input => self.input = true,
            // Of an input alone, or of one behind which nothing else came that has parts.
            Prompt => self.parts |= self.input,
            _ => {}
        }
    }

    fn close(&mut self, means: Field, at: usize) {
        if means == Call {
            let Asked { method, called, batch, .. } = &mut self.asked;
            let (method, called) = (method.take(), called.take());
            if let Some(name) = called.filter(|_| method.as_deref() == Some(TOOLS_CALL) && batch.len() <= MAX_CALLS) {
                batch.push(if batch.len() < MAX_CALLS { name } else { MORE.to_owned() });
            }
        }
        if means == StreamOptions {
            self.in_options = false;
            // A list is told to end where it begins: the provider is to refuse it as it is.
            if at != self.options_at && self.asked.include_usage.is_none() {
                let insert = if self.others { r#","include_usage":true"# } else { r#""include_usage":true"# };
                self.edits.push(Edit { at, remove: 0, insert });
            }
        }
    }

    fn scalar(&mut self, means: Field, value: Scalar<'_>, span: Option<(usize, usize)>) {
        let folded = std::mem::take(&mut self.folded);
        match means {
            Prompt | Messages | Input => {
                self.input |= means == Input;
                self.messages |= means == Messages;
                self.asked.prompt_bytes = self.asked.prompt_bytes.saturating_add(value.len());
            }
            // Servers that fold take the last, the others the one that is written right.
            Model if folded && self.asked.model.is_some() => self.ambiguous |= self.asked.model != owned(value),
            Model => self.asked.model = owned(value),
            Field::ModelId => self.asked.model_id = owned(value),
            Field::Rpc => self.asked.rpc = true,
            Method => self.asked.method = owned(value),
            Called => self.asked.called = owned(value),
            Field::TraceParent => self.asked.traceparent = self.asked.traceparent.take().or_else(|| owned(value)),
            Field::Baggage => self.asked.baggage = self.asked.baggage.take().or_else(|| owned(value)),
            Stream => self.asked.stream = Some(value == Scalar::Bool(true)),
            MaxTokens => self.asked.max_tokens = value.count().or(self.asked.max_tokens),
            ToolName => {
                if let Some(name) = value.text().filter(|_| self.asked.tools.len() < MAX_TOOLS) {
                    self.asked.tools.push(name.into_owned());
                }
            }
            IncludeUsage => {
                self.asked.include_usage = Some(value == Scalar::Bool(true));
                if matches!(value, Scalar::Bool(false) | Scalar::Null)
                    && let Some((start, end)) = span
                {
                    self.edits.push(Edit { at: start, remove: end - start, insert: "true" });
                }
            }
            OtherOption => self.others = true,
            Call => {}
            // `"stream_options": null`.
            StreamOptions => {
                self.options = true;
                // Of any other kind it is the provider's to refuse.
                if value == Scalar::Null
                    && let Some((start, end)) = span
                {
                    self.edits.push(Edit { at: start, remove: end - start, insert: r#"{"include_usage":true}"# });
                }
            }
        }
    }
}
