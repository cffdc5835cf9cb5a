//! What is learned of one answer, whatever the provider: what becomes of a value found at a place that means something.

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
    tool_keys: Vec<(u32, u64)>,
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
    usage_only: UsageOnly,
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

/// Whether an event is nothing but a usage report with an empty list of choices.
#[derive(Debug, Default, Clone, Copy)]
struct UsageOnly {
    usage: bool,
    choices: bool,
    choice: bool,
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

/// OpenAI's Responses and those like it name what a delta is in the event's type alone.
fn kind_of(event_type: &[u8]) -> Kind {
    match event_type {
        b"response.output_text.delta" | b"response.refusal.delta" | b"response.audio.transcript.delta" => Kind::Text,
        b"response.reasoning_text.delta" | b"response.reasoning_summary_text.delta" | b"response.reasoning.delta" => {
            Kind::Reasoning
        }
        b"response.completed"
        | b"response.incomplete"
        | b"message_stop"
        | b"message-end"
        | b"stream-end"
        | b"interaction.completed" => Kind::End,
        b"response.failed" | b"error" => Kind::Failed,
        _ if event_type.starts_with(b"response.") && event_type.ends_with(b".delta") => Kind::Args,
        _ => Kind::Plain,
    }
}

/// Item types that are calls for the client to run.
fn is_client_call(item_type: &[u8]) -> bool {
    matches!(item_type, b"tool_use" | b"function_call" | b"custom_tool_call")
}

impl Facts {
    /// Ends an event or document: says what content it brought, and forgets what belonged to it alone.
    pub fn event_ended(&mut self) -> Content {
        let event = std::mem::take(&mut self.event);
        let mut content = event.content;
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

    /// Whether the event read last (not yet ended) is the extra chunk that OpenAI sends for `include_usage`: usage, and an
    /// empty list of choices.
    pub fn is_usage_only(&self) -> bool {
        let UsageOnly { usage, choices, choice } = self.event.usage_only;
        usage && choices && !choice
    }

    /// The event's name as the stream's framing tells it; what the document says comes later and wins.
    pub fn event_type(&mut self, name: &[u8]) {
        self.event.kind = kind_of(name);
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

    fn tool_named(&mut self, tool: Tool) {
        let Some(name) = tool.name else { return };
        self.event.content.facts = true;
        if let Some(index) = tool.index {
            let choice = self.event.choice.index.unwrap_or(self.event.choice.position.into()) as u32;
            if self.tool_keys.contains(&(choice, index)) {
                return;
            }
            if self.tool_keys.len() < MAX_TOOLS {
                self.tool_keys.push((choice, index));
            }
        }
        if self.tools.len() < MAX_TOOLS {
            self.tools.push(name);
        }
    }

    fn first(slot: &mut Option<String>, value: &Scalar<'_>) {
        if slot.is_none() {
            *slot = value.text().map(cut);
        }
    }

    fn usage_slot(&mut self, field: Field) -> Option<&mut Option<u64>> {
        let usage = self.event.iteration.as_mut().unwrap_or(&mut self.usage);
        Some(match field {
            Field::Input | Field::InputNotZero => &mut usage.input,
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
                self.event.choice.position = 0;
                self.event.usage_only.choices = true;
            }
            Field::Choice => {
                let position = self.event.choice.position;
                self.event.choice = Choice { open: true, position, ..Choice::default() };
                self.event.usage_only.choice = true;
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
                self.event.content.facts = true;
                self.event.usage_only.usage = true;
            }
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
                self.event.content.add(false, value.len());
            }
            Field::Text | Field::Reasoning | Field::Args | Field::ToolArgs | Field::ItemArgs | Field::ArgsDelta => {}
            Field::Delta => self.event.delta = value.len(),
            Field::PartText => self.event.part.text = value.len(),
            Field::PartThought => self.event.part.thought = value == Scalar::Bool(true),

            Field::Model => Self::first(&mut self.model, &value),
            Field::Id => Self::first(&mut self.id, &value),
            Field::Fingerprint => Self::first(&mut self.fingerprint, &value),
            Field::ServiceTier => {
                if let Some(text) = value.text().filter(|text| self.service_tier.as_deref() != Some(text)) {
                    self.service_tier = Some(cut(text));
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

            Field::ChoiceIndex => self.event.choice.index = value.count(),
            Field::Finish => {
                let reason = match value {
                    Scalar::Text(b"not_finished", _) => return,
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
                    self.error = Some(cut(text));
                }
            }
            Field::ErrorCode => {
                if self.error.is_none() {
                    self.error = match value {
                        Scalar::Number(digits) => Some(String::from_utf8_lossy(digits).into_owned()),
                        _ => value.text().map(cut),
                    };
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
                if usage == Field::InputNotZero && count == 0 {
                    return;
                }
                if let Some(slot) = self.usage_slot(usage) {
                    *slot = Some(count);
                    self.event.content.facts = true;
                    self.event.usage_only.usage = true;
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
