//! One answer's body: from bytes as they came, through the content's coding and the framing, to facts.

use crate::api::Api;
use crate::json::{Reader, Scalar, Visitor, next_line};
use crate::wire::calls::Calls;
use crate::wire::dialects::{Dialect, bedrock_chunk};
use crate::wire::encoding::Decoder;
use crate::wire::event_stream::{EventStream, Frame, Unread as Unframed};
use crate::wire::facts::Facts;
use crate::wire::field::Field;
use crate::wire::progress::{Content, Progress};
use crate::wire::rpc::Rpc;
use crate::wire::said::Said;
use crate::wire::seams;
use crate::wire::shape::{Free, Shape, Span};
use crate::wire::sources::Sources;
use crate::wire::sse::{Event, Events, Sse};
use crate::wire::tree::Tree;

/// What could not be read, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Events larger than the cap.
    pub oversize: u64,
    /// Documents that are no JSON, or cut.
    pub json: u64,
    /// Frames whose checksum is wrong.
    pub crc: u64,
    /// Frames that make no sense.
    pub frame: u64,
    /// Bodies whose content coding is unknown or broken.
    pub encoding: u64,
    /// Bodies that are nothing weir knows.
    pub format: u64,
}

impl Unread {
    /// Adds what of another body could not be read.
    pub fn add(&mut self, other: Unread) {
        let Unread { oversize, json, crc, frame, encoding, format } = other;
        self.oversize += oversize;
        self.json += json;
        self.crc += crc;
        self.frame += frame;
        self.encoding += encoding;
        self.format += format;
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { oversize, json, crc, frame, encoding, format } = self;
        oversize + json + crc + frame + encoding + format
    }
}

/// What the answer's head says of its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyHead<'a> {
    /// `content-type`.
    pub content_type: &'a [u8],
    /// `content-encoding`.
    pub content_encoding: &'a [u8],
    /// Whether the status is below 400.
    pub ok: bool,
    /// Whether the request asked for a stream.
    pub stream_asked: bool,
}

/// The body of one answer.
#[derive(Debug)]
pub struct Body {
    decoder: Option<Box<Decoder>>,
    inner: Inner,
}

#[derive(Debug)]
struct Inner {
    framing: Framing,
    dialect: Dialect,
    /// Bedrock wraps the model's own documents.
    invoke: bool,
    /// Many providers speak this dialect, each a little else.
    loose: bool,
    facts: Facts,
    unread: Unread,
    cap: usize,
    head_ok: bool,
}

#[derive(Debug)]
enum Framing {
    /// Not known yet: the first byte that is no white space tells.
    Sniff { stream_asked: bool },
    /// Server-sent events.
    Sse(Box<SseBody>),
    /// JSON documents one behind the other: one, or a line each.
    Documents { reader: Box<Reader<Field>>, lines: bool, lost: bool, array: bool },
    /// AWS's binary frames.
    Frames { frames: Box<EventStream>, reader: Box<Reader<Field>>, scratch: Vec<u8> },
    /// Nothing that can be read.
    Ignored,
}

impl Body {
    /// A body of this API; `cap` bounds one event.
    pub fn new(api: Api, dialect: Dialect, head: BodyHead<'_>, cap: usize) -> Self {
        let mut unread = Unread::default();
        let mut framing = framing(head, &dialect, cap);
        let decoder = match Decoder::for_encoding(head.content_encoding) {
            Ok(decoder) => decoder.map(Box::new),
            Err(_) => {
                unread.encoding += 1;
                framing = Framing::Ignored;
                None
            }
        };
        let invoke = api == Api::BedrockInvoke;
        let loose = matches!(api, Api::OpenAiChat | Api::OpenAiCompletions);
        let inner = Inner { framing, dialect, invoke, loose, facts: Facts::default(), unread, cap, head_ok: head.ok };
        Self { decoder, inner }
    }

    /// Tells the tool calls apart from here on.
    pub fn tell_calls(&mut self, calls: Calls) {
        self.inner.facts.calls = Some(Box::new(calls));
    }

    /// Keeps the answer's text from here on, up to so many bytes.
    pub fn keep_text(&mut self, most: usize) {
        self.inner.facts.said = Some(Box::new(Said::new(most)));
    }

    /// Reads MCP's messages into this.
    pub fn read_rpc(&mut self, rpc: Box<Rpc>) {
        self.inner.facts.rpc = Some(rpc);
    }

    /// What was read of them, to be told what moment it is.
    pub fn rpc(&mut self) -> Option<&mut Rpc> {
        self.inner.facts.rpc.as_deref_mut()
    }

    /// The same, to take.
    pub fn take_rpc(&mut self) -> Option<Box<Rpc>> {
        self.inner.facts.rpc.take()
    }

    /// Looks for sources in it.
    pub fn read_sources(&mut self, sources: Box<Sources>) {
        self.inner.facts.sources = Some(sources);
    }

    /// Reads a piece as it came from the wire, and says what it brought.
    pub fn push(&mut self, piece: &[u8]) -> Progress {
        match &mut self.decoder {
            None => self.inner.push(piece),
            Some(decoder) => {
                let inner = &mut self.inner;
                if decoder.push(piece, &mut |decoded| inner.push(decoded)).is_err() && !inner.is_ignored() {
                    inner.unread.encoding += 1;
                    inner.framing = Framing::Ignored;
                }
            }
        }
        std::mem::take(&mut self.inner.facts.progress)
    }

    /// The body has ended, in order or not.
    pub fn finish(&mut self) -> Progress {
        self.inner.finish();
        std::mem::take(&mut self.inner.facts.progress)
    }

    /// What is known so far.
    pub fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    /// The same, to take.
    pub fn into_facts(self) -> Facts {
        self.inner.facts
    }

    /// What could not be read so far.
    pub fn unread(&self) -> Unread {
        self.inner.unread
    }

    /// Whether the answer comes as a stream of events.
    pub fn is_stream(&self) -> bool {
        match &self.inner.framing {
            Framing::Sse(_) | Framing::Frames { .. } => true,
            Framing::Documents { lines, array, .. } => *lines || *array,
            Framing::Sniff { .. } | Framing::Ignored => false,
        }
    }

    /// How the answer's events are kept apart; nothing for one that is no stream (or not yet known to be), and for one that is
    /// compressed, into which nothing can be put.
    pub fn events_apart(&self) -> Option<seams::Framing> {
        match &self.inner.framing {
            _ if self.decoder.is_some() => None,
            Framing::Sse(_) => Some(seams::Framing::Sse),
            Framing::Frames { .. } => Some(seams::Framing::Frames),
            Framing::Documents { array: true, .. } => Some(seams::Framing::Array),
            Framing::Documents { lines: true, .. } => Some(seams::Framing::Lines),
            Framing::Documents { .. } | Framing::Sniff { .. } | Framing::Ignored => None,
        }
    }

    /// Whether the format's own end came; true for what cannot be read, of which nobody knows.
    pub fn is_whole(&self) -> bool {
        match &self.inner.framing {
            Framing::Ignored => true,
            Framing::Sniff { .. } => false,
            Framing::Documents { lines: false, reader, lost, .. } => {
                !lost && reader.is_fresh() && self.inner.facts.documents > 0
            }
            // Some who are like OpenAI stream without choices, and so without an end that could be missed.
            _ => self.inner.facts.ended || (self.inner.loose && !self.inner.facts.choices_seen && self.inner.facts.any),
        }
    }

    /// Whether it makes sense to hand over more.
    pub fn is_ignored(&self) -> bool {
        self.inner.is_ignored()
    }
}

fn framing(head: BodyHead<'_>, dialect: &Dialect, cap: usize) -> Framing {
    let kind = head.content_type.split(|b| *b == b';').next().unwrap_or(&[]).trim_ascii();
    let is = |name: &[u8]| kind.eq_ignore_ascii_case(name);
    if is(b"text/event-stream") {
        return Framing::Sse(Box::new(SseBody::new(dialect, cap)));
    }
    if is(b"application/vnd.amazon.eventstream") {
        return frames(dialect, cap);
    }
    if is(b"application/x-ndjson")
        || is(b"application/stream+json")
        || is(b"application/jsonl")
        || is(b"application/x-jsonl")
    {
        return documents(dialect.event, true, false);
    }
    Framing::Sniff { stream_asked: head.stream_asked }
}

fn frames(dialect: &Dialect, cap: usize) -> Framing {
    let reader = Box::new(Reader::new(dialect.event));
    Framing::Frames { frames: Box::new(EventStream::new(cap)), reader, scratch: Vec::new() }
}

fn documents(tree: &'static Tree, lines: bool, array: bool) -> Framing {
    Framing::Documents { reader: Box::new(Reader::new(tree)), lines, lost: false, array }
}

impl Inner {
    fn is_ignored(&self) -> bool {
        matches!(self.framing, Framing::Ignored)
    }

    fn push(&mut self, piece: &[u8]) {
        if let Framing::Sniff { stream_asked } = self.framing {
            let Some(first) = piece.iter().find(|b| !b" \t\r\n".contains(b)) else { return };
            self.framing = match first {
                // Ollama's and Cohere's streams are lines; Gemini's is an array. An error is a document in any case.
                b'{' if stream_asked && self.head_ok => documents(self.dialect.event, true, false),
                b'[' if stream_asked && self.head_ok => documents(self.dialect.event, false, true),
                b'{' | b'[' | b'"' => documents(self.dialect.whole, false, false),
                b'd' | b'e' | b'i' | b':' | b'r' | 0xEF => {
                    Framing::Sse(Box::new(SseBody::new(&self.dialect, self.cap)))
                }
                0 => frames(&self.dialect, self.cap),
                _ => {
                    self.unread.format += u64::from(self.head_ok);
                    Framing::Ignored
                }
            };
        }
        match &mut self.framing {
            Framing::Sse(sse) => {
                let SseBody { framing, reading } = &mut **sse;
                let mut events = Reads { reading, facts: &mut self.facts, unread: &mut self.unread };
                framing.push(piece, &mut events);
            }
            Framing::Documents { reader, lines, lost, .. } => {
                let sink = Sink { facts: &mut self.facts, unread: &mut self.unread };
                sink.documents(reader, piece, *lines, lost);
            }
            Framing::Frames { frames, reader, scratch } => {
                let (facts, unread, invoke) = (&mut self.facts, &mut self.unread, self.invoke);
                frames.push(piece, &mut |frame| Sink { facts, unread }.frame(frame, reader, scratch, invoke));
            }
            Framing::Sniff { .. } | Framing::Ignored => {}
        }
    }

    fn finish(&mut self) {
        match &mut self.framing {
            Framing::Sse(sse) => {
                let SseBody { framing, reading } = &mut **sse;
                let mut events = Reads { reading, facts: &mut self.facts, unread: &mut self.unread };
                framing.finish(&mut events);
            }
            Framing::Documents { reader, lost, .. } if !*lost => {
                if reader.is_fresh() {
                    return;
                }
                if reader.finish(&mut self.facts).is_err() {
                    self.unread.json += 1;
                }
                self.facts.document_ended();
                // The end may be told again.
                *lost = true;
            }
            _ => {}
        }
    }
}

/// Where the facts of a piece go.
struct Sink<'a> {
    facts: &'a mut Facts,
    unread: &'a mut Unread,
}

impl Sink<'_> {
    /// Documents one behind the other. Where they are lines, a broken one is no reason to give up the ones after it.
    fn documents(mut self, reader: &mut Reader<Field>, mut piece: &[u8], lines: bool, lost: &mut bool) {
        while !piece.is_empty() {
            let end = if lines { next_line(piece) } else { None };
            let (line, rest) = piece.split_at_checked(end.unwrap_or(piece.len())).unwrap_or((piece, &[]));
            self.line(reader, line, lost);
            // A line may end within a document, if that is written over several, but not within a text.
            if end.is_some() && !*lost && reader.is_in_string() {
                self.broken(lost);
            }
            if end.is_some() && *lost {
                *lost = false;
                reader.reset();
            }
            piece = rest;
        }
    }

    fn line(&mut self, reader: &mut Reader<Field>, mut piece: &[u8], lost: &mut bool) {
        while !piece.is_empty() && !*lost {
            match reader.feed(piece, &mut *self.facts) {
                Ok(read) => {
                    piece = piece.get(read..).unwrap_or(&[]);
                    if reader.is_done() {
                        self.facts.documents += 1;
                        self.facts.document_ended();
                        reader.reset();
                    }
                }
                Err(_) => self.broken(lost),
            }
        }
    }

    fn broken(&mut self, lost: &mut bool) {
        self.unread.json += 1;
        self.facts.event_ended();
        *lost = true;
    }

    fn frame(
        self,
        frame: Result<Frame<'_>, Unframed>,
        reader: &mut Reader<Field>,
        scratch: &mut Vec<u8>,
        invoke: bool,
    ) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(Unframed::Oversize) => return self.unread.oversize += 1,
            Err(Unframed::Crc) => return self.unread.crc += 1,
            Err(Unframed::Frame) => return self.unread.frame += 1,
        };
        if frame.message_type != b"event" && !frame.message_type.is_empty() {
            let name = if frame.exception_type.is_empty() { frame.error_code } else { frame.exception_type };
            self.facts.exception(name);
            self.facts.event_ended();
            return;
        }
        let document = if invoke { bedrock_chunk::inside(frame.payload, scratch) } else { frame.payload };
        reader.reset();
        let read = reader.feed(document, &mut *self.facts).is_ok() && (reader.is_done() || reader.is_fresh());
        self.unread.json += u64::from(!read);
        self.facts.event_ended();
    }
}

/// A body of server-sent events.
#[derive(Debug)]
struct SseBody {
    framing: Sse,
    reading: Reading,
}

#[derive(Debug)]
struct Reading {
    reader: Reader<Field>,
    shape: Shape,
    spans: Vec<Span>,
}

impl SseBody {
    fn new(dialect: &Dialect, cap: usize) -> Self {
        let reading = Reading { reader: Reader::new(dialect.event), shape: Shape::default(), spans: Vec::new() };
        Self { framing: Sse::new(cap), reading }
    }
}

/// Reads events into facts.
struct Reads<'a> {
    reading: &'a mut Reading,
    facts: &'a mut Facts,
    unread: &'a mut Unread,
}

impl Events for Reads<'_> {
    fn known(&mut self, rest: &[u8]) -> Option<usize> {
        let fit = self.reading.shape.fit(rest)?;
        self.facts.progress.add(Content { text: fit.text, token: true, bytes: fit.content, facts: false });
        Some(fit.len)
    }

    fn event(&mut self, event: Event<'_>) {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            self.facts.ended = true;
            self.facts.event_ended();
            return;
        }
        if !event.name.is_empty() {
            self.facts.event_type(event.name);
        }
        let Reading { reader, shape, spans } = &mut *self.reading;
        reader.reset();
        spans.clear();
        let mut learner = Learner { facts: self.facts, spans, at: event.at.unwrap_or(0) };
        let read = reader.feed(event.data, &mut learner).is_ok() && (reader.is_done() || reader.is_fresh());
        let content = self.facts.event_ended();
        // Replicate and the like send plain text; it brings no facts, and only JSON that breaks is worth a count.
        self.unread.json += u64::from(!read && matches!(data.first(), Some(b'{' | b'[')));
        if read && content.token && !content.facts && event.at.is_some() {
            shape.learn(event.raw, spans, content.text);
        }
    }

    fn oversize(&mut self) {
        self.unread.oversize += 1;
    }
}

/// Tells facts what comes, and notes where the values stand that may differ in the next event.
struct Learner<'a> {
    facts: &'a mut Facts,
    spans: &'a mut Vec<Span>,
    at: usize,
}

impl Learner<'_> {
    fn note(&mut self, free: Free, span: (usize, usize)) {
        self.spans.push(Span { free, start: self.at + span.0, end: self.at + span.1 });
    }
}

impl Visitor<Field> for Learner<'_> {
    fn open(&mut self, means: Field, at: usize) {
        self.facts.open(means, at);
    }

    fn close(&mut self, means: Field, at: usize) {
        self.facts.close(means, at);
    }

    fn scalar(&mut self, means: Field, value: Scalar<'_>, span: Option<(usize, usize)>) {
        self.facts.scalar(means, value, span);
        let content = match means {
            Field::Text | Field::Reasoning | Field::Args | Field::Delta | Field::PartText => true,
            Field::ToolArgs | Field::ArgsDelta => true,
            // It matters for tool calls alone, and events with pieces of those that are told apart never teach.
            Field::BlockIndex => {
                if let Some(span) = span {
                    self.note(Free::Number, span);
                }
                false
            }
            _ => false,
        };
        if let Some(span) = span.filter(|_| content && !value.is_empty()) {
            self.note(Free::Content, span);
        }
    }

    fn named(&mut self, name: &[u8]) -> bool {
        self.facts.named(name)
    }

    fn captures(&self, means: Field) -> bool {
        self.facts.captures(means)
    }

    fn piece(&mut self, means: Field, bytes: &[u8]) {
        self.facts.piece(means, bytes);
    }

    fn skipped(&mut self, span: (usize, usize), number: bool) {
        self.note(if number { Free::Number } else { Free::Text }, span);
    }
}
