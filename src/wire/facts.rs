//! What is learned of one answer, whatever the provider: what becomes of a value found at a place that means something.

use std::hash::{DefaultHasher, Hasher};

use crate::json::{Scalar, Visitor};
use crate::record::ServerTimes;
use crate::wire::calls::Calls;
use crate::wire::field::{Field, ServerTime, Unit};
use crate::wire::progress::{Content, Progress};
use crate::wire::rpc::Rpc;
use crate::wire::said::Said;
use crate::wire::sources::Sources;
use crate::wire::usage::RawUsage;

/// The longest id, model or reason that is kept, in bytes; longer ones are cut.
pub const MAX_NAME: usize = 256;
/// Most choices whose finish reasons are kept: providers allow up to 128.
const MAX_CHOICES: u64 = 128;
/// Most tool calls whose names are kept.
const MAX_TOOLS: usize = 128;

/// All that is known of one answer.
#[derive(Debug, Default)]
pub struct Facts {
    /// The model that answers: the first name that came.
    pub model: Option<String>,
    /// The answer's id.
    pub id: Option<String>,
    /// OpenAI's `system_fingerprint`.
    pub fingerprint: Option<String>,
    /// The tier in which the provider served the call: the last word, for the first may be what was asked.
    pub service_tier: Option<String>,
    /// Why each choice ended, by and in the order of its number.
    pub finish: Vec<(u32, String)>,
    /// The tool calls' names, in order.
    pub tools: Vec<String>,
    /// The tool calls themselves, where somebody wants to know more than their names.
    pub calls: Option<Box<Calls>>,
    /// The text itself, where somebody wants to read in it.
    pub said: Option<Box<Said>>,
    /// What is read of MCP's messages, where that is what is read.
    pub rpc: Option<Box<Rpc>>,
    /// What sources it names, where that is what is read.
    pub sources: Option<Box<Sources>>,
    /// The last usage report.
    pub usage: RawUsage,
    /// What compactions took, which that leaves out.
    pub compacted: RawUsage,
    /// Bedrock's own meter.
    pub meter: RawUsage,
    /// Whether there was a usage report, be it without a count that weir knows.
    pub usage_opened: bool,
    /// Whether there was a list of choices.
    pub choices_seen: bool,
    /// The error's type, or its code, or nothing but that there was one.
    pub error: Option<String>,
    /// Whether the document or stream said that something went wrong.
    pub failed: bool,
    /// Whether the format's own end came.
    pub ended: bool,
    /// What the server says of its time.
    pub server: ServerTimes,
    /// Whether any event brought content.
    pub any: bool,
    /// Documents that were read to their end.
    pub documents: u64,
    /// What came since somebody last took it.
    pub progress: Progress,
    /// The calls that have a place, in the order in which they came.
    places: Vec<Place>,
    /// It was served in another tier than it says beside.
    faster: bool,
    /// Elements of the document at hand that ended as events of their own.
    elements: u64,
    event: Event,
}

/// What is put together of one event, until it ends.
#[derive(Debug, Default)]
struct Event {
    content: Content,
    kind: Kind,
    delta: u64,
    choice: Choice,
    tool: Tool,
    /// Where in the output the event's item stands.
    item_index: Option<u64>,
    /// Items that are calls for the client to run.
    items: Vec<Tool>,
    part: Part,
    line: Line,
    iteration: Option<RawUsage>,
    /// A usage report began in it.
    reported: bool,
    /// It is a piece of an answer, not all of one.
    piece: bool,
    /// Under which of its names the reasoning came.
    reasons_as: Option<u8>,
    /// The type and the code that stand at its top.
    flat_type: Option<String>,
    flat_code: Option<String>,
}

/// A call that has a place in the answer.
#[derive(Debug)]
struct Place {
    choice: u32,
    index: u64,
    /// A hash of its id.
    id: Option<u64>,
    /// Some of its arguments came.
    begun: bool,
    /// Where its name stands among the tools.
    at: usize,
}

#[derive(Debug, Default)]
struct Choice {
    open: bool,
    position: u32,
    index: Option<u64>,
    finish: Option<String>,
}

#[derive(Debug, Default)]
struct Tool {
    name: Option<String>,
    index: Option<u64>,
    /// A hash of its id.
    id: Option<u64>,
    /// Some of its arguments came.
    args: bool,
    /// For items: whether the type is that of a call which the client runs.
    client: bool,
    /// The provider runs it.
    server: bool,
}

#[derive(Debug, Default)]
struct Part {
    text: u64,
    thought: bool,
}

/// A line of a breakdown of tokens.
#[derive(Debug, Default)]
struct Line {
    /// It is of the kind that is counted apart.
    apart: bool,
    tokens: Option<u64>,
}

/// The types of events that decide what a delta is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Plain,
    Text,
    Reasoning,
    Args,
    End,
    Failed,
}

/// What events are by their type, the most frequent first. A table, not a match: it is a tenth of the code.
const KINDS: &[(&[u8], Kind)] = &[
    (b"response.output_text.delta", Kind::Text),
    (b"response.reasoning_text.delta", Kind::Reasoning),
    (b"response.reasoning_summary_text.delta", Kind::Reasoning),
    (b"response.reasoning.delta", Kind::Reasoning),
    (b"response.refusal.delta", Kind::Text),
    (b"response.audio.transcript.delta", Kind::Text),
    (b"response.completed", Kind::End),
    (b"response.incomplete", Kind::End),
    (b"response.failed", Kind::Failed),
    (b"error", Kind::Failed),
    (b"message_stop", Kind::End),
    (b"message-end", Kind::End),
    (b"stream-end", Kind::End),
    (b"interaction.completed", Kind::End),
    // LM Studio.
    (b"message.delta", Kind::Text),
    (b"reasoning.delta", Kind::Reasoning),
    (b"chat.end", Kind::End),
    // Mistral's conversations.
    (b"message.output.delta", Kind::Text),
    (b"function.call.delta", Kind::Args),
    (b"conversation.response.done", Kind::End),
    (b"conversation.response.error", Kind::Failed),
    // Pictures and sound.
    (b"image_generation.completed", Kind::End),
    (b"image_edit.completed", Kind::End),
    (b"transcript.text.delta", Kind::Text),
    (b"transcript.text.done", Kind::End),
    (b"speech.audio.done", Kind::End),
];

/// OpenAI's Responses and those like it name what a delta is in the event's type alone.
fn kind_of(event_type: &[u8]) -> Kind {
    match KINDS.iter().find(|(name, _)| *name == event_type) {
        Some((_, kind)) => *kind,
        None if event_type.starts_with(b"response.") && event_type.ends_with(b".delta") => Kind::Args,
        None => Kind::Plain,
    }
}

/// Codes that stand at the top of an answer in which nothing went wrong.
fn is_fine(code: &str) -> bool {
    ["0", "200", "ok", "success", "20000"].iter().any(|fine| code.eq_ignore_ascii_case(fine))
}

/// Item types that are calls for the client to run.
fn is_client_call(item_type: &[u8]) -> bool {
    matches!(item_type, b"tool_use" | b"function_call" | b"custom_tool_call" | b"function.call")
}

impl Facts {
    /// Ends an event or document: says what content it brought, and forgets what belonged to it alone.
    pub fn event_ended(&mut self) -> Content {
        let mut event = std::mem::take(&mut self.event);
        let mut content = event.content;
        if let Some(code) = event.flat_code.take() {
            self.flat_failure(code, event.flat_type.take(), &mut content);
        }
        if let Some(sources) = &mut self.sources {
            sources.document_ended();
        }
        if event.delta > 0 {
            match event.kind {
                Kind::Text => content.add(true, event.delta),
                Kind::Reasoning | Kind::Args => content.add(false, event.delta),
                _ => {}
            }
        }
        if let Some(calls) = &mut self.calls {
            content.facts |= calls.event_ended(event.item_index);
        }
        if let Some(said) = &mut self.said {
            content.facts |= said.event_ended(event.delta > 0 && event.kind != Kind::Text);
        }
        for mut tool in event.items {
            // A streamed item is added, and done later: the same call, told twice.
            tool.index = event.item_index;
            self.tool_named(tool);
            content.facts = true;
        }
        match event.kind {
            Kind::End => self.ended = true,
            Kind::Failed => {
                self.failed = true;
                self.ended = true;
            }
            _ => {}
        }
        content.facts |= !matches!(event.kind, Kind::Plain | Kind::Text | Kind::Reasoning | Kind::Args);
        self.any |= content.token;
        self.progress.add(content);
        content
    }

    /// Ends a document: one event, unless its elements were events.
    pub fn document_ended(&mut self) {
        if std::mem::take(&mut self.elements) == 0 {
            self.event_ended();
        }
    }

    /// A code at the top of a document is an error where nothing else came.
    fn flat_failure(&mut self, code: String, flat_type: Option<String>, content: &mut Content) {
        if !is_fine(&code) && !content.token && !self.choices_seen && self.usage == RawUsage::default() {
            self.failed = true;
            content.facts = true;
            self.error.get_or_insert(flat_type.unwrap_or(code));
        }
    }

    /// Whether the event at hand is no piece of an answer, and has brought nothing that was said.
    pub fn says_nothing(&self) -> bool {
        !self.event.piece && !self.event.content.token
    }

    /// Whether reasoning under this name counts in the event at hand: the first name under which it came does.
    pub fn reasons_as(&self, name: u8) -> bool {
        self.event.reasons_as.is_none_or(|first| first == name)
    }

    /// The event's name as the stream's framing tells it; what the document says comes later and wins, but over an error.
    pub fn event_type(&mut self, name: &[u8]) {
        let kind = kind_of(name);
        self.event.piece |= name != b"message";
        if self.event.kind == Kind::Failed && kind == Kind::Plain {
            self.error = Some(cut(String::from_utf8_lossy(name)));
            return;
        }
        self.event.kind = kind;
        if name == b"error" {
            self.event.content.facts = true;
        }
    }

    /// A frame that is an exception, not an event.
    pub fn exception(&mut self, name: &[u8]) {
        self.failed = true;
        self.ended = true;
        if !name.is_empty() {
            self.error = Some(cut(String::from_utf8_lossy(name)));
        }
    }

    /// Finish reasons in the choices' order, empty ones left out.
    pub fn finish_reasons(&self) -> Vec<String> {
        self.finish.iter().map(|(_, reason)| reason).filter(|reason| !reason.is_empty()).cloned().collect()
    }

    fn finished(&mut self, choice: u64, reason: String) {
        if choice >= MAX_CHOICES {
            return;
        }
        let choice = choice as u32;
        // Responses says so of an answer that has just begun.
        self.ended |= !matches!(reason.as_str(), "in_progress" | "queued");
        // Cohere's v1 has no other word for a stream that failed.
        if reason == "ERROR" {
            self.failed = true;
            self.error.get_or_insert_with(|| reason.clone());
        }
        let behind = self.finish.iter().position(|(other, _)| *other >= choice);
        match behind.and_then(|at| self.finish.get_mut(at)).filter(|(other, _)| *other == choice) {
            Some((_, old)) => *old = reason,
            None => self.finish.insert(behind.unwrap_or(self.finish.len()), (choice, reason)),
        }
    }

    /// A call, or a piece of one. Some give all calls of an answer the same place: another id says that it is another call,
    /// and so does another name behind arguments. Before them it is more of the name.
    fn tool_named(&mut self, tool: Tool) {
        let Tool { name, index, id, args, .. } = tool;
        self.event.content.facts |= name.is_some();
        let choice = self.event.choice.index.unwrap_or(self.event.choice.position.into()) as u32;
        let known = self.places.iter_mut().rfind(|place| place.choice == choice && Some(place.index) == index);
        if let Some(known) = known {
            let old = self.tools.get_mut(known.at);
            let more = name.as_deref().filter(|name| old.as_ref().is_some_and(|old| old.as_str() != *name));
            let other = match (id, known.id) {
                (Some(id), Some(old)) => id != old && name.is_some(),
                (None, None) => known.begun && name.is_some(),
                _ => known.begun && more.is_some(),
            };
            if !other {
                if let Some((old, more)) = old.zip(more.filter(|_| !known.begun)) {
                    let room = MAX_NAME.saturating_sub(old.len());
                    old.push_str(cut(more.into()).get(..room.min(more.len())).unwrap_or(""));
                }
                known.id = known.id.or(id);
                known.begun |= args;
                return;
            }
        }
        let Some(name) = name.filter(|_| self.tools.len() < MAX_TOOLS) else { return };
        if let Some(index) = index {
            self.places.push(Place { choice, index, id, begun: args, at: self.tools.len() });
        }
        self.tools.push(name);
    }

    fn first(slot: &mut Option<String>, value: &Scalar<'_>) {
        if slot.is_none() {
            *slot = value.text().map(cut);
        }
    }

    fn usage_slot(&mut self, field: Field) -> Option<&mut Option<u64>> {
        let usage = self.event.iteration.as_mut().unwrap_or(&mut self.usage);
        Some(match field {
            Field::Input | Field::InputNotZero | Field::InputMore => &mut usage.input,
            Field::Output => &mut usage.output,
            Field::Total => &mut usage.total,
            Field::CacheRead => &mut usage.cache_read,
            Field::CacheWrite => &mut usage.cache_write,
            Field::CacheWriteHour => &mut usage.cache_write_1h,
            Field::AudioInput => &mut usage.input_audio,
            Field::AudioCached => &mut usage.cached_audio,
            Field::AudioOutput => &mut usage.output_audio,
            Field::ReasoningTokens => &mut usage.reasoning,
            Field::ToolPrompt => &mut usage.tool_prompt,
            Field::MeterInput => &mut self.meter.input,
            Field::MeterOutput => &mut self.meter.output,
            _ => return None,
        })
    }

    fn server_time(&mut self, which: ServerTime, unit: Unit, value: Scalar<'_>) {
        let Some(number) = value.number().filter(|n| *n >= 0.0) else { return };
        let ms = match unit {
            Unit::S => number * 1e3,
            Unit::Ms => number,
            Unit::Ns => number / 1e6,
        };
        let slot = match which {
            ServerTime::Queue => &mut self.server.queue_ms,
            ServerTime::Prompt => &mut self.server.prompt_ms,
            ServerTime::Decode => &mut self.server.decode_ms,
            ServerTime::Load => &mut self.server.load_ms,
            ServerTime::FirstToken => &mut self.server.first_token_ms,
            ServerTime::Total => &mut self.server.total_ms,
        };
        *slot = Some((ms * 1e3).round() / 1e3);
    }
}

/// A code: a number, or a word.
fn code(value: Scalar<'_>) -> Option<String> {
    match value {
        Scalar::Number(digits) => Some(String::from_utf8_lossy(digits).into_owned()),
        _ => value.text().map(cut),
    }
}

/// A name of at most [`MAX_NAME`] bytes.
fn cut(text: std::borrow::Cow<'_, str>) -> String {
    let mut end = text.len().min(MAX_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("").to_owned()
}

impl Visitor<Field> for Facts {
    fn open(&mut self, means: Field, _at: usize) {
        match means {
            Field::Choices => {
                self.choices_seen = true;
                // A chunk of usage alone; a choice says more.
                self.event.piece = true;
                self.event.choice.position = 0;
            }
            Field::Choice => {
                let position = self.event.choice.position;
                self.event.choice = Choice { open: true, position, ..Choice::default() };
                self.event.piece = false;
                if let Some(said) = &mut self.said {
                    said.choice();
                }
            }
            Field::Tool | Field::Item => {
                self.event.tool = Tool::default();
                if let Some(calls) = &mut self.calls {
                    calls.begin(means == Field::Item);
                }
            }
            Field::Part => {
                self.event.part = Part::default();
                if let Some(said) = &mut self.said {
                    said.part();
                }
            }
            Field::Usage => {
                self.usage = RawUsage::default();
                self.usage_opened = true;
                self.event.reported = true;
                self.event.content.facts = true;
            }
            Field::Piece => self.event.piece = true,
            Field::Iterations => self.compacted = RawUsage::default(),
            Field::Iteration => {
                self.event.line = Line::default();
                self.event.iteration = Some(RawUsage::default());
            }
            Field::Error => {
                self.failed = true;
                self.event.content.facts = true;
            }
            Field::Message | Field::RpcResult | Field::RpcError => {
                if let Some(rpc) = &mut self.rpc {
                    rpc.open(means);
                }
            }
            Field::Source => {
                if let Some(sources) = &mut self.sources {
                    sources.open();
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, means: Field, _at: usize) {
        match means {
            Field::Element => {
                self.elements += 1;
                self.event_ended();
            }
            Field::Choice => {
                let choice = std::mem::take(&mut self.event.choice);
                let number = choice.index.unwrap_or(choice.position.into());
                if let Some(calls) = &mut self.calls {
                    calls.choice(number);
                }
                if let Some(said) = &mut self.said {
                    said.choice_ended(number);
                }
                if let Some(reason) = choice.finish {
                    self.finished(number, reason);
                }
                self.event.choice.position = choice.position.saturating_add(1);
            }
            Field::Tool => {
                let tool = std::mem::take(&mut self.event.tool);
                if let Some(calls) = &mut self.calls {
                    calls.client(!tool.server);
                    calls.index(tool.index);
                    calls.name(tool.name.clone());
                    calls.end();
                }
                if !tool.server {
                    self.tool_named(tool);
                }
            }
            Field::Item => {
                let tool = std::mem::take(&mut self.event.tool);
                if let Some(calls) = &mut self.calls {
                    calls.client(tool.client);
                    calls.name(tool.name.clone());
                    calls.end();
                }
                if tool.client && self.event.items.len() < MAX_TOOLS {
                    self.event.items.push(tool);
                }
            }
            Field::Iteration => {
                let iteration = self.event.iteration.take();
                if let Some(more) = iteration.filter(|_| std::mem::take(&mut self.event.line).apart) {
                    self.compacted.add(more);
                }
            }
            // Its two members come in any order.
            Field::AudioInput | Field::AudioCached | Field::AudioOutput | Field::CacheWriteHour => {
                let line = std::mem::take(&mut self.event.line);
                if let Some(slot) = self.usage_slot(means).filter(|_| line.apart) {
                    *slot = line.tokens;
                }
            }
            Field::Message => {
                if let Some(rpc) = &mut self.rpc {
                    rpc.close(means);
                }
            }
            Field::Source => {
                if let Some(sources) = &mut self.sources {
                    sources.close();
                }
            }
            Field::Part => {
                let part = std::mem::take(&mut self.event.part);
                if let Some(said) = &mut self.said {
                    said.part_ended(part.thought);
                }
                if part.text > 0 {
                    self.event.content.add(!part.thought, part.text);
                }
            }
            _ => {}
        }
    }

    fn scalar(&mut self, means: Field, value: Scalar<'_>, _span: Option<(usize, usize)>) {
        match means {
            Field::Text if !value.is_empty() => self.event.content.add(true, value.len()),
            Field::Reasoning | Field::Args | Field::ToolArgs | Field::ArgsDelta if !value.is_empty() => {
                self.event.tool.args |= means == Field::ToolArgs;
                self.event.content.add(false, value.len());
            }
            Field::ReasoningAs(name) => {
                if !value.is_empty() && self.reasons_as(name) {
                    self.event.reasons_as = Some(name);
                    self.event.content.add(false, value.len());
                }
            }
            Field::Text | Field::Reasoning | Field::Args | Field::ToolArgs | Field::ItemArgs | Field::ArgsDelta => {}
            Field::Delta => self.event.delta = value.len(),
            Field::PartText => self.event.part.text = value.len(),
            Field::PartThought => self.event.part.thought = value == Scalar::Bool(true),
            Field::PartType => {
                self.event.part.thought =
                    matches!(value, Scalar::Text(b"thinking" | b"reasoning" | b"reasoning_text", _));
            }

            Field::Model => Self::first(&mut self.model, &value),
            Field::Id => Self::first(&mut self.id, &value),
            Field::Fingerprint => Self::first(&mut self.fingerprint, &value),
            Field::ServiceTier => {
                let text = value.text().filter(|text| !self.faster && self.service_tier.as_deref() != Some(text));
                if let Some(text) = text {
                    self.service_tier = Some(cut(text));
                }
            }
            // It has a price of its own, in whatever tier.
            Field::Speed => {
                if let Scalar::Text(b"fast", _) = value {
                    self.faster = true;
                    self.service_tier = Some("fast".to_owned());
                }
            }
            // Vertex's modality is a number where the client asks for enums as such.
            Field::LineKind => {
                self.event.line.apart = matches!(
                    value,
                    Scalar::Text(b"AUDIO" | b"audio" | b"1h" | b"compaction", _) | Scalar::Number(b"4")
                );
            }
            Field::LineTokens => self.event.line.tokens = value.count(),
            Field::EventType => {
                if let Scalar::Text(name, _) = value {
                    self.event_type(name);
                }
            }
            Field::FlatType => {
                if let Scalar::Text(name, _) = value {
                    self.event_type(name);
                    self.event.flat_type = value.text().map(cut);
                }
            }
            Field::FlatCode => self.event.flat_code = code(value).filter(|code| !code.is_empty()),
            Field::ErrorStatus => {
                if let Some(code) = code(value).filter(|code| !is_fine(code)) {
                    self.failed = true;
                    self.event.content.facts = true;
                    self.error.get_or_insert(code);
                }
            }
            Field::Success => {
                if value == Scalar::Bool(false) {
                    self.failed = true;
                    self.event.content.facts = true;
                }
            }

            Field::ChoiceIndex => self.event.choice.index = value.count(),
            Field::Finish => {
                let reason = match value {
                    // watsonx, llama.cpp, DashScope: it goes on.
                    Scalar::Text(b"not_finished" | b"none" | b"null", _) => return,
                    Scalar::Number(digits) => String::from_utf8_lossy(digits).into_owned(),
                    _ => match value.text() {
                        Some(text) => cut(text),
                        None => return,
                    },
                };
                self.event.content.facts = true;
                if self.event.choice.open {
                    self.event.choice.finish = Some(reason);
                } else {
                    self.finished(0, reason);
                }
            }
            Field::Blocked => {
                if value.text().is_some() {
                    self.ended = true;
                    self.event.content.facts = true;
                }
            }

            Field::ToolId => {
                if let Scalar::Text(id @ [_, ..], _) = value {
                    let mut hash = DefaultHasher::new();
                    hash.write(id);
                    self.event.tool.id = Some(hash.finish());
                }
                if let Some(calls) = &mut self.calls {
                    calls.id(value.text().map(cut));
                }
            }
            Field::BlockIndex => {
                if let Some(calls) = &mut self.calls {
                    calls.block(value.count());
                }
            }
            Field::ToolIndex => self.event.tool.index = value.count(),
            Field::ItemIndex => self.event.item_index = value.count(),
            Field::ToolName => self.event.tool.name = value.text().map(cut),
            Field::ItemType => {
                if let Scalar::Text(name, _) = value {
                    self.event.tool.client = is_client_call(name);
                }
            }

            Field::ToolType => {
                self.event.tool.server = matches!(value, Scalar::Text(name, _) if name.starts_with(b"server_"));
            }
            Field::Guardrail => {
                if matches!(value, Scalar::Text(b"INTERVENED", _)) {
                    self.ended = true;
                    self.event.content.facts = true;
                }
            }

            Field::Server(which, unit) => self.server_time(which, unit, value),
            Field::Error => {
                // A bare text is a message, not a type: it may quote what the user wrote.
                if !value.is_empty() {
                    self.failed = true;
                    self.event.content.facts = true;
                }
            }
            Field::ErrorType => {
                self.failed = true;
                self.event.content.facts = true;
                if let Some(text) = value.text() {
                    // AWS's are names in a namespace.
                    let name = text.rsplit('#').next().unwrap_or_default();
                    self.error = Some(cut(name.into()));
                }
            }
            Field::ErrorCode => {
                if self.error.is_none() {
                    self.error = code(value);
                }
            }
            Field::End => {
                self.ended = true;
                self.event.content.facts = true;
            }
            Field::EndIfTrue => {
                if value == Scalar::Bool(true) {
                    self.ended = true;
                    self.event.content.facts = true;
                }
            }

            Field::RpcId
            | Field::RpcMethod
            | Field::RpcName
            | Field::RpcAskedAs
            | Field::RpcIsError
            | Field::RpcResultType => {
                if let Some(rpc) = &mut self.rpc {
                    rpc.scalar(means, value);
                }
            }
            Field::Source | Field::SourceText => {
                if let Some(sources) = &mut self.sources {
                    sources.scalar(means, value);
                }
            }

            usage => {
                let Some(count) = value.count() else { return };
                let reported = self.event.reported;
                if let Some(slot) = self.usage_slot(usage) {
                    let keeps = match usage {
                        Field::InputNotZero => count == 0,
                        // Under one of its names it may be zero.
                        Field::CacheRead | Field::CacheWrite | Field::ReasoningTokens => {
                            count == 0 && slot.is_some() && reported
                        }
                        _ => false,
                    };
                    if keeps {
                        return;
                    }
                    let before = slot.filter(|_| usage == Field::InputMore).unwrap_or(0);
                    *slot = Some(before.saturating_add(count));
                    self.event.content.facts = true;
                }
            }
        }
    }

    fn named(&mut self, name: &[u8]) -> bool {
        self.sources.as_mut().is_some_and(|sources| sources.named(name))
    }

    fn captures(&self, means: Field) -> bool {
        match means {
            Field::Text | Field::PartText | Field::Delta => self.said.as_ref().is_some_and(|said| said.wants()),
            _ => self.calls.is_some() || self.rpc.is_some() || self.sources.is_some(),
        }
    }

    fn piece(&mut self, means: Field, bytes: &[u8]) {
        if let Field::Text | Field::PartText | Field::Delta = means {
            if let Some(said) = &mut self.said {
                said.piece(bytes);
            }
            return;
        }
        if let Some(rpc) = &mut self.rpc {
            rpc.piece(means, bytes);
        }
        if let Some(sources) = &mut self.sources {
            sources.piece(bytes);
        }
        if let Some(calls) = &mut self.calls {
            calls.piece(bytes);
        }
    }
}
