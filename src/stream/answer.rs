//! What came back: the answer's headers and body, while it is read and when it is over.

use crate::api::Api;
use crate::call::{MAX_TEXT, text};
use crate::port::Headers;
use crate::record::ServerTimes;
use crate::signals::timing::Timing;
use crate::units::{Nanos, Span};
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::calls::Call;
use crate::wire::dialects;
use crate::wire::facts::Facts;
use crate::wire::progress::Progress;
use crate::wire::usage::RawUsage;

/// An answer that is read.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// Nothing for what is no inference, and for answers without a body.
    pub body: Option<Box<Body>>,
    /// Its end was seen.
    pub ended: bool,
    /// Bytes of generated content, as they stand in the documents.
    pub content_bytes: u64,
    events: u64,
    head: Told,
}

/// What an answer's headers tell of the call.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Token counts (Bedrock).
    pub counts: RawUsage,
    pub error: Option<String>,
    pub server: ServerTimes,
    pub provider: Option<&'static str>,
}

/// An answer that is over; the default where there was none.
#[derive(Debug)]
pub(super) struct Answered {
    pub status: Option<u16>,
    pub ended: bool,
    pub whole: bool,
    pub stream: bool,
    pub content_bytes: u64,
    pub events: u64,
    pub unread: Unread,
    pub facts: Facts,
    pub head: Told,
}

/// An answer as far as it was read: what a call's ending is told from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub status: Option<u16>,
    /// Its end was seen.
    pub ended: bool,
    /// The format's own end came, or there was nothing to read.
    pub whole: bool,
    /// It came as a stream of events.
    pub stream: bool,
    pub content_bytes: u64,
    pub facts: &'a Facts,
    pub counts: RawUsage,
}

impl Answer {
    pub fn new(
        head: Headers<'_>,
        (status, ended): (u16, bool),
        api: Api,
        (body_head, empty): (BodyHead<'_>, bool),
        cap: usize,
    ) -> Self {
        let dialect = dialects::of(api).filter(|_| !empty);
        let body = dialect.map(|dialect| Box::new(Body::new(api, dialect, body_head, cap)));
        Self { status, body, ended, content_bytes: 0, events: 0, head: Told::read(head) }
    }

    pub fn is_stream(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_stream())
    }

    /// A piece of the body.
    pub fn push(&mut self, bytes: &[u8], end: bool) -> Progress {
        self.ended |= end;
        let Some(body) = &mut self.body else { return Progress::default() };
        let mut progress = body.push(bytes);
        if end {
            progress.merge(body.finish());
        }
        self.add(progress);
        progress
    }

    fn add(&mut self, progress: Progress) {
        self.events = self.events.saturating_add(progress.events);
        self.content_bytes = self.content_bytes.saturating_add(progress.bytes);
    }

    /// As it stands when its end comes; `nothing` is what an answer tells whose body is not read.
    pub fn seen<'a>(&'a self, nothing: &'a Facts) -> Seen<'a> {
        let body = self.body.as_ref();
        Seen {
            status: Some(self.status).filter(|status| *status > 0),
            ended: true,
            whole: body.is_none_or(|body| body.is_whole()),
            stream: self.is_stream(),
            content_bytes: self.content_bytes,
            facts: body.map_or(nothing, |body| body.facts()),
            counts: self.head.counts,
        }
    }

    /// Nothing more comes of it.
    pub fn finish(mut self, timing: &mut Timing, now: Nanos) -> Answered {
        if let Some(body) = &mut self.body {
            // What is left of a body that never ended still counts.
            let rest = body.finish();
            self.add(rest);
            if !self.ended {
                timing.content(rest.tokens, rest.text, Span(u64::MAX), now);
            }
        }
        let body = self.body.as_ref();
        Answered {
            status: Some(self.status).filter(|status| *status > 0),
            ended: self.ended,
            whole: body.is_none_or(|body| body.is_whole()),
            stream: body.is_some_and(|body| body.is_stream()),
            content_bytes: self.content_bytes,
            events: self.events,
            unread: body.map_or(Unread::default(), |body| body.unread()),
            facts: self.body.map_or_else(Facts::default, |body| body.into_facts()),
            head: self.head,
        }
    }
}

impl Default for Answered {
    fn default() -> Self {
        Self {
            status: None,
            ended: false,
            whole: true,
            stream: false,
            content_bytes: 0,
            events: 0,
            unread: Unread::default(),
            facts: Facts::default(),
            head: Told::default(),
        }
    }
}

impl Answered {
    pub fn seen(&self) -> Seen<'_> {
        let Self { status, ended, whole, stream, content_bytes, ref facts, .. } = *self;
        Seen { status, ended, whole, stream, content_bytes, facts, counts: self.head.counts }
    }

    /// The tool calls that the model asked for.
    pub fn take_calls(&mut self) -> Vec<Call> {
        self.facts.calls.take().map(|calls| calls.finish()).unwrap_or_default()
    }
}

impl Told {
    fn read(head: Headers<'_>) -> Self {
        let number = |name| head.text(name)?.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let count = |name| head.text(name)?.trim().parse::<u64>().ok();
        let error = head.get("x-amzn-errortype").unwrap_or_default();
        let error = error.split(|b| *b == b':').next().unwrap_or_default();
        Self {
            counts: RawUsage {
                // Bedrock's; those of Hugging Face's servers.
                input: count("x-amzn-bedrock-input-token-count")
                    .or_else(|| count("x-prompt-tokens"))
                    .or_else(|| count("x-compute-tokens")),
                output: count("x-amzn-bedrock-output-token-count").or_else(|| count("x-generated-tokens")),
                cache_read: count("x-amzn-bedrock-cache-read-input-token-count"),
                cache_write: count("x-amzn-bedrock-cache-write-input-token-count"),
                ..RawUsage::default()
            },
            error: Some(text(error, MAX_TEXT)).filter(|error| !error.is_empty()),
            server: ServerTimes {
                processing_ms: number("openai-processing-ms"),
                envoy_ms: number("x-envoy-upstream-service-time"),
                ..ServerTimes::default()
            },
            provider: head.get("openai-version").map(|_| "openai"),
        }
    }
}
