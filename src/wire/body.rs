//! One answer's body: from bytes as they came, through the content's coding and the framing, to facts.

use crate::api::Api;
use memchr::{memchr2, memmem};

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
    /// Requests that could not be read.
    pub request: u64,
}

impl Unread {
    /// Adds what of another body could not be read.
    pub fn add(&mut self, other: Unread) {
        let Unread { oversize, json, crc, frame, encoding, format, request } = other;
        self.oversize += oversize;
        self.json += json;
        self.crc += crc;
        self.frame += frame;
        self.encoding += encoding;
        self.format += format;
        self.request += request;
    }

    fn frame(&mut self, why: Unframed) {
        match why {
            Unframed::Oversize => self.oversize += 1,
            Unframed::Crc => self.crc += 1,
            Unframed::Frame => self.frame += 1,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { oversize, json, crc, frame, encoding, format, request } = self;
        oversize + json + crc + frame + encoding + format + request
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
    /// Frames around what is read, which are cut without regard to it (SageMaker).
    frames: Option<Box<EventStream>>,
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
    /// Its streams have no end of their own: usage is the last that comes.
    endless: bool,
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
    /// JSON documents one behind the other: one, or a line each. `told` says that a stream of them was told of.
    Documents { reader: Box<Reader<Field>>, lines: bool, lost: bool, array: bool, told: bool },
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
        // A transcript may come as nothing but its text.
        let kind = head.content_type;
        if api == Api::Transcriptions && kind.starts_with(b"text/") && !kind.starts_with(b"text/event-stream") {
            framing = Framing::Ignored;
        }
        let mut frames = None;
        if let (Api::SageMaker, Framing::Frames { .. }) = (api, &framing) {
            frames = Some(Box::new(EventStream::new(cap)));
            framing = Framing::Sniff { stream_asked: true };
        }
        let invoke = api == Api::BedrockInvoke;
        let loose = matches!(api, Api::OpenAiChat | Api::OpenAiCompletions);
        let endless = api == Api::SnowflakeComplete;
        let inner =
            Inner { framing, dialect, invoke, loose, endless, facts: Facts::default(), unread, cap, head_ok: head.ok };
        Self { decoder, frames, inner }
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
        let (inner, frames) = (&mut self.inner, &mut self.frames);
        let mut read = |inner: &mut Inner, piece: &[u8]| match frames {
            None => inner.push(piece),
            Some(frames) => frames.push(piece, &mut |frame| inner.payload(frame)),
        };
        match &mut self.decoder {
            None => read(inner, piece),
            Some(decoder) => {
                if decoder.push(piece, &mut |decoded| read(inner, decoded)).is_err() && !inner.is_ignored() {
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
        let by_itself = match &self.inner.framing {
            Framing::Sse(_) | Framing::Frames { .. } => true,
            // What was asked for is not what came: one document is no stream.
            Framing::Documents { array, told, .. } => *array || *told || self.inner.facts.documents > 1,
            Framing::Sniff { .. } | Framing::Ignored => false,
        };
        by_itself || self.frames.is_some()
    }

    /// How the answer's events are kept apart; nothing for one that is no stream (or not yet known to be), and for one that is
    /// compressed, into which nothing can be put.
    pub fn events_apart(&self) -> Option<seams::Framing> {
        match &self.inner.framing {
            _ if self.decoder.is_some() || self.frames.is_some() => None,
            Framing::Sse(_) => Some(seams::Framing::Sse),
            Framing::Frames { .. } => Some(seams::Framing::Frames),
            Framing::Documents { array: true, .. } => Some(seams::Framing::Array),
            Framing::Documents { lines: true, told, .. }
                if *told || self.inner.dialect.lines || self.inner.facts.documents > 1 =>
            {
                Some(seams::Framing::Lines)
            }
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
            // One document is its own end, where an API's streams are something else.
            Framing::Documents { told: false, reader, lost: false, .. }
                if !self.inner.dialect.lines && self.inner.facts.documents == 1 =>
            {
                reader.is_fresh()
            }
            // Some who are like OpenAI stream without choices, and so without an end that could be missed.
            _ if self.inner.endless && self.inner.facts.usage.total.is_some() => true,
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
    // Sound, pictures: there is nothing to read in them.
    let media = [&b"audio/"[..], b"image/", b"video/"];
    if media.iter().any(|of| kind.get(..of.len()).is_some_and(|front| front.eq_ignore_ascii_case(of))) {
        return Framing::Ignored;
    }
    if is(b"application/vnd.amazon.eventstream") {
        return frames(dialect, cap);
    }
    if is(b"application/x-ndjson")
        || is(b"application/stream+json")
        || is(b"application/jsonl")
        || is(b"application/x-jsonl")
    {
        return documents(dialect.event, true, false, true);
    }
    Framing::Sniff { stream_asked: head.stream_asked }
}

fn frames(dialect: &Dialect, cap: usize) -> Framing {
    let reader = Box::new(Reader::new(dialect.event));
    Framing::Frames { frames: Box::new(EventStream::new(cap)), reader, scratch: Vec::new() }
}

fn documents(tree: &'static Tree, lines: bool, array: bool, told: bool) -> Framing {
    Framing::Documents { reader: Box::new(Reader::new(tree)), lines, lost: false, array, told }
}

/// What begins with a JSON document although a stream was asked for, or events were told of.
fn bare(dialect: &Dialect, array: bool) -> Framing {
    let tree = if array || dialect.lines { dialect.event } else { dialect.whole };
    documents(tree, !array, array, false)
}

/// What a line of server-sent events may begin with, and no JSON document.
fn begins_event(byte: u8) -> bool {
    matches!(byte, b'd' | b'e' | b'i' | b':' | b'r')
}

impl Inner {
    /// What a frame carries of a body that is framed once more.
    fn payload(&mut self, frame: Result<Frame<'_>, Unframed>) {
        match frame {
            Ok(frame) if frame.message_type == b"event" || frame.message_type.is_empty() => self.push(frame.payload),
            Ok(frame) => {
                self.facts.exception(frame.error());
                self.facts.event_ended();
            }
            Err(why) => self.unread.frame(why),
        }
    }

    fn is_ignored(&self) -> bool {
        matches!(self.framing, Framing::Ignored)
    }

    fn push(&mut self, mut piece: &[u8]) {
        let begins = match &self.framing {
            Framing::Sniff { .. } => true,
            Framing::Sse(sse) => sse.framing.is_fresh(),
            _ => false,
        };
        if begins {
            let Some(first) = piece.iter().copied().find(|b| !b" \t\r\n".contains(b)) else {
                return self.events(piece);
            };
            self.begin(first);
        }
        if let Framing::Documents { reader, lines, lost, .. } = &mut self.framing {
            let sink = Sink { facts: &mut self.facts, unread: &mut self.unread };
            let Some(events) = sink.documents(reader, piece, *lines, lost) else { return };
            // Behind a document events begin.
            self.framing = Framing::Sse(Box::new(SseBody::new(&self.dialect, self.cap)));
            piece = events;
        }
        match &mut self.framing {
            Framing::Frames { frames, reader, scratch } => {
                let (facts, unread, invoke) = (&mut self.facts, &mut self.unread, self.invoke);
                frames.push(piece, &mut |frame| Sink { facts, unread }.frame(frame, reader, scratch, invoke));
            }
            _ => self.events(piece),
        }
    }

    /// The first byte that is no white space: the body tells what it is, not its type and not what was asked for.
    fn begin(&mut self, first: u8) {
        let bracket = matches!(first, b'{' | b'[');
        let asked = match self.framing {
            Framing::Sse(_) if bracket => self.head_ok,
            Framing::Sniff { stream_asked } => stream_asked && self.head_ok,
            _ => return,
        };
        self.framing = match first {
            // Ollama's and Cohere's streams are lines; Gemini's is an array. An error is a document in any case.
            b'{' | b'[' if asked => bare(&self.dialect, first == b'['),
            b'{' | b'[' | b'"' => documents(self.dialect.whole, false, false, false),
            0 => frames(&self.dialect, self.cap),
            _ if begins_event(first) || first == 0xEF => Framing::Sse(Box::new(SseBody::new(&self.dialect, self.cap))),
            _ => {
                self.unread.format += u64::from(self.head_ok);
                Framing::Ignored
            }
        };
    }

    /// A piece of a stream of events.
    fn events(&mut self, piece: &[u8]) {
        if let Framing::Sse(sse) = &mut self.framing {
            let SseBody { framing, reading } = &mut **sse;
            let mut events = Reads { reading, facts: &mut self.facts, unread: &mut self.unread };
            framing.push(piece, &mut events);
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
    /// Documents one behind the other. Where they are lines, a broken one is no reason to give up the ones after it. Gives
    /// what is no document any more, if events begin there.
    fn documents<'p>(
        mut self,
        reader: &mut Reader<Field>,
        mut piece: &'p [u8],
        lines: bool,
        lost: &mut bool,
    ) -> Option<&'p [u8]> {
        while !piece.is_empty() {
            let end = if lines { next_line(piece) } else { None };
            let (line, rest) = piece.split_at_checked(end.unwrap_or(piece.len())).unwrap_or((piece, &[]));
            if let Some(left) = self.line(reader, line, lost) {
                return piece.get(line.len() - left..);
            }
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
        None
    }

    /// Gives how much of the line is left where events begin in it.
    fn line(&mut self, reader: &mut Reader<Field>, mut piece: &[u8], lost: &mut bool) -> Option<usize> {
        while !piece.is_empty() && !*lost {
            if reader.is_fresh() && self.facts.documents > 0 {
                piece = piece.trim_ascii_start();
                if piece.first().is_some_and(|b| begins_event(*b)) {
                    return Some(piece.len());
                }
            }
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
        None
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
            Err(why) => return self.unread.frame(why),
        };
        if frame.message_type != b"event" && !frame.message_type.is_empty() {
            self.facts.exception(frame.error());
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
    /// How a whole answer looks, where that is something else than an event.
    whole: Option<&'static Tree>,
    shape: Shape,
    spans: Vec<Span>,
    passing: Passing,
}

/// An event too large to be put together, which is read as it passes.
#[derive(Debug, Default)]
struct Passing {
    line: Line,
    /// A document of it was read whole.
    read: bool,
    /// What comes of the line at hand makes no sense.
    lost: bool,
    /// Some line made none.
    broken: bool,
}

/// Where in a line of such an event.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// In its name, of which so many bytes are those of `data:`.
    Name(usize),
    /// Before its value.
    Space,
    /// In its value, of which so many bytes are those of `[DONE]`.
    Done(usize),
    Document,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(0)
    }
}

const DATA: &[u8] = b"data:";
const DONE: &[u8] = b"[DONE]";

impl SseBody {
    fn new(dialect: &Dialect, cap: usize) -> Self {
        let reading = Reading {
            reader: Reader::new(dialect.event),
            whole: Some(dialect.whole).filter(|whole| !std::ptr::eq(*whole, dialect.event)),
            shape: Shape::default(),
            spans: Vec::new(),
            passing: Passing::default(),
        };
        Self { framing: Sse::new(cap), reading }
    }
}

/// Reads events into facts.
struct Reads<'a> {
    reading: &'a mut Reading,
    facts: &'a mut Facts,
    unread: &'a mut Unread,
}

impl Reads<'_> {
    /// Reads the document that begins here, and gives how much of it there is; nothing if it is none, or not whole.
    fn document(&mut self, event: &Event<'_>, data: &[u8]) -> Option<usize> {
        let Reading { reader, whole, shape, spans, .. } = &mut *self.reading;
        reader.reset();
        spans.clear();
        let from = event.data.len() - data.len();
        let mut learner = Learner { facts: self.facts, spans, at: event.at.unwrap_or(0) + from };
        let read = reader.feed(data, &mut learner).ok().filter(|_| reader.is_done() || reader.is_fresh());
        // No piece of an answer, and nothing said: perhaps the whole of one.
        if let Some(whole) = whole.filter(|_| read.is_some() && self.facts.says_nothing()) {
            let _ = Reader::new(whole).feed(data, &mut *self.facts);
        }
        let content = self.facts.event_ended();
        // Replicate and the like send plain text; it brings no facts, and only JSON that breaks is worth a count.
        self.unread.json += u64::from(read.is_none() && matches!(data.first(), Some(b'{' | b'[')));
        let alone = from == 0 && read.is_some_and(|read| data.get(read..).unwrap_or(&[]).trim_ascii().is_empty());
        if alone && content.token && !content.facts && event.at.is_some() {
            shape.learn(event.raw, spans, content.text);
        }
        read
    }

    /// A piece of a line of an event that is read as it passes.
    fn passing(&mut self, mut piece: &[u8]) {
        let Reading { reader, passing, .. } = &mut *self.reading;
        while let Some((byte, rest)) = piece.split_first() {
            passing.line = match passing.line {
                Line::Name(0) if matches!(byte, b'{' | b'[') => Line::Document,
                Line::Name(have) if DATA.get(have) == Some(byte) => {
                    piece = rest;
                    if have + 1 == DATA.len() { Line::Space } else { Line::Name(have + 1) }
                }
                Line::Name(_) => Line::Other,
                Line::Space => {
                    piece = if *byte == b' ' { rest } else { piece };
                    if reader.is_fresh() { Line::Done(0) } else { Line::Document }
                }
                Line::Done(have) if DONE.get(have) == Some(byte) => {
                    piece = rest;
                    if have + 1 == DONE.len() {
                        self.facts.ended = true;
                        self.facts.event_ended();
                        passing.read = true;
                        Line::Other
                    } else {
                        Line::Done(have + 1)
                    }
                }
                Line::Done(have) => {
                    let _ = reader.feed(DONE.get(..have).unwrap_or(&[]), &mut *self.facts);
                    Line::Document
                }
                Line::Document if passing.lost => Line::Other,
                Line::Document => {
                    match reader.feed(piece, &mut *self.facts) {
                        Ok(read) => piece = piece.get(read..).unwrap_or(&[]),
                        Err(_) => passing.lost = true,
                    }
                    if reader.is_done() {
                        reader.reset();
                        self.facts.event_ended();
                        passing.read = true;
                    }
                    Line::Document
                }
                Line::Other => return,
            };
        }
    }
}

impl Events for Reads<'_> {
    fn known(&mut self, rest: &[u8]) -> Option<usize> {
        let fit = self.reading.shape.fit(rest)?;
        self.facts.progress.add(Content { text: fit.text, token: true, bytes: fit.content, facts: false });
        Some(fit.len)
    }

    fn event(&mut self, event: Event<'_>) {
        let mut data = event.data;
        loop {
            if let Some(rest) = data.trim_ascii_start().strip_prefix(DONE) {
                self.facts.ended = true;
                self.facts.event_ended();
                data = rest;
            } else {
                if !event.name.is_empty() {
                    self.facts.event_type(event.name);
                }
                // Several documents, a line each: a broken one is no reason to give up the ones behind it.
                let next = || Some(memmem::find(data, b"\n{").or(memmem::find(data, b"\n[DONE]"))? + 1);
                let Some(read) = self.document(&event, data).or_else(next) else { return };
                data = data.get(read..).unwrap_or(&[]);
            }
            data = data.trim_ascii_start();
            if !matches!(data.first(), Some(b'{' | b'[')) {
                return;
            }
        }
    }

    /// Some send a document without its field, an error most of all.
    fn blank(&mut self, raw: &[u8]) {
        let data = raw.trim_ascii();
        if data.starts_with(b"{") {
            self.event(Event { raw, name: &[], data, at: None });
        }
    }

    fn oversize(&mut self) {
        self.reading.reader.reset();
        self.reading.passing = Passing::default();
    }

    fn passed(&mut self, mut raw: &[u8]) {
        while !raw.is_empty() {
            let end = memchr2(b'\n', b'\r', raw);
            self.passing(raw.get(..end.unwrap_or(raw.len())).unwrap_or(raw));
            let Some(end) = end else { return };
            self.reading.passing.line = Line::default();
            if std::mem::take(&mut self.reading.passing.lost) {
                self.reading.passing.broken = true;
                self.reading.reader.reset();
            }
            raw = raw.get(end + 1..).unwrap_or(&[]);
        }
    }

    fn passed_all(&mut self) {
        let Reading { reader, passing, .. } = &mut *self.reading;
        if !reader.is_fresh() || !passing.read || passing.broken {
            self.unread.oversize += 1;
            self.facts.event_ended();
        }
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
            Field::ReasoningAs(name) => {
                // Said twice under two names, it is content once.
                let again = !self.facts.reasons_as(name);
                if let Some(span) = span.filter(|_| again) {
                    self.note(Free::Text, span);
                }
                !again
            }
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
