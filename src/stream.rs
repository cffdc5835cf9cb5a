//! One exchange from its first header to its end: the only place that puts the steps in order.
//!
//! ```text
//! new → request_head → request_body* → response_head → response_body* → done → Report
//!            └───── admit ─────┘
//! ```
//! A step may be missing (no body, no answer, an abort at any moment); `done` always comes, once.

mod answer;
mod ending;
mod sizing;

use std::ops::ControlFlow;
use std::rc::Rc;

use crate::api::Api;
use crate::call::finished::Finished;
use crate::call::gate::{AtGate, Gate, Hold, Watched};
use crate::call::head::{AtHead, Head, HeadEdits};
use crate::call::reply::Header;
use crate::call::subject::{Known, Subject, property_text};
use crate::features::{AtEnd, Features};
use crate::metrics::Counts;
use crate::port::{Flow, Headers, Properties};
use crate::report::{self, Report};
use crate::settings::Config;
use crate::shared::{Events, Store};
use crate::signals::timing::Timing;
use crate::units::Nanos;
use crate::wire::body::{Body, BodyHead};
use crate::wire::facts::Facts;
use crate::wire::hide::HideUsage;
use crate::wire::request::{Injected, Request};
use crate::worker::Worker;
use answer::{Answer, Answered};
use sizing::Sizing;

/// Headers that no longer hold for a request which may be changed, and for an answer which must be read as plain text.
const INJECT_REMOVES: &[&str] = &["content-length", "accept-encoding"];
/// The same where a running answer may be cut: into what is compressed no event can be put.
const CUT_REMOVES: &[&str] = &["accept-encoding"];

/// One exchange.
#[derive(Debug)]
pub struct Stream {
    config: Rc<Config>,
    subject: Subject,
    request: Request,
    inject: Inject,
    answer: Option<Answer>,
    timing: Timing,
    sizing: Sizing,
    gate: Asked,
    features: Features,
}

/// How far the call got at the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    /// It was not asked, or not with all that is known of it.
    #[default]
    Open,
    /// It was let go with all that is known of it.
    Sent,
    /// It was answered here.
    Refused,
}

/// Whether the request is to ask for usage that its client does not want.
#[derive(Debug)]
enum Inject {
    No,
    /// If it turns out to be streamed.
    Perhaps,
    /// It was done; the extra chunk is hidden once it is clear that the answer is a stream of plain text.
    Done(Option<Box<HideUsage>>),
}

impl Stream {
    /// A call of which nothing is known yet.
    pub fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            subject: Subject::default(),
            request: Request::default(),
            inject: Inject::No,
            answer: None,
            timing: Timing::default(),
            sizing: Sizing::default(),
            gate: Asked::Open,
            features: Features::default(),
        }
    }

    /// The name of the call's API, known once the request's headers are.
    pub fn api(&self) -> &'static str {
        self.subject.asked.api.name()
    }

    fn known(&self) -> Known<'_> {
        Known { subject: &self.subject, request: &self.request }
    }

    /// The request's headers.
    pub fn request_head(
        &mut self,
        head: Headers<'_>,
        end: bool,
        worker: &mut Worker,
        properties: &dyn Properties,
        store: &dyn Store,
        now: Nanos,
    ) -> Head {
        self.timing.asked(now);
        let shared = &mut worker.shared;
        let mut subject = Subject::read(head, &self.config.identity, worker.wants, properties);
        if let Some(reply) = Features::answers(&AtHead { head, end, subject: &subject, properties, store, now }, shared)
        {
            let Subject { call, tenant, user, .. } = subject;
            self.subject = Subject { call, tenant, user, ..Subject::default() };
            self.gate = Asked::Refused;
            return Head { reply: Some(Box::new(reply)), ..Head::default() };
        }
        subject.kind = Features::kind(head, &subject, shared);
        self.request = Request::encoded(head.get("content-encoding").unwrap_or_default());
        self.sizing.announced = head.text("content-length").and_then(|n| n.trim().parse().ok());
        let mut edits = HeadEdits::default();
        edits.remove.extend(self.removes(&subject, head, end).iter().map(|name| (*name).into()));
        let at = AtHead { head, end, subject: &subject, properties, store, now };
        self.features.head(&at, shared, &mut edits);
        self.subject = subject;
        Head { edits, reply: None }
    }

    /// Headers that are taken off the request, for what may be done to it and to its answer.
    fn removes(&mut self, subject: &Subject, head: Headers<'_>, end: bool) -> &'static [&'static str] {
        let may_ask = matches!(subject.asked.api, Api::OpenAiChat | Api::OpenAiCompletions);
        let plain = head.get("content-encoding").unwrap_or_default().is_empty();
        if self.config.usage.inject && may_ask && !end && plain {
            self.inject = Inject::Perhaps;
            return INJECT_REMOVES;
        }
        if subject.is_inference() && self.config.cuts_streams() { CUT_REMOVES } else { &[] }
    }

    /// Whether the request's body is to be read at all. If not, the host need not copy it.
    pub fn wants_request_body(&self) -> bool {
        self.reads_request() || self.features.reads_request()
    }

    fn reads_request(&self) -> bool {
        (self.subject.is_inference() || self.subject.reads_tool)
            && (!self.request.is_over() || self.features.hashes_body())
    }

    /// Whether the request may have to be changed: then what is held of it is to be shown again.
    pub fn may_change_request(&self) -> bool {
        matches!(self.inject, Inject::Perhaps)
    }

    /// The request goes on as it came.
    pub fn keep_request(&mut self) {
        self.inject = Inject::No;
    }

    /// A piece of the request's body: all that is buffered, if the piece before was held.
    pub fn request_body(&mut self, bytes: &[u8], end: bool, now: Nanos) -> Flow {
        self.timing.asked(now);
        self.sizing.came(bytes.len());
        self.features.request_body(bytes, now);
        if !self.reads_request() {
            return Flow::Forward;
        }
        if !matches!(self.inject, Inject::Perhaps) {
            self.features.request_passes(bytes, end);
            self.request.push(bytes);
            if end {
                self.request.end();
            }
            self.subject.find_rpc(self.request.asked());
            self.subject.find_run(&self.config.identity.run, self.request.asked());
            return Flow::Forward;
        }
        let injected = self.request.push_and_inject(bytes);
        if end || injected != Injected::Again {
            self.features.request_passes(bytes, end);
        }
        if end && injected != Injected::Again {
            self.request.end();
        }
        match injected {
            Injected::Same => Flow::Forward,
            // Nothing follows that could end what was cut: it goes on as it is.
            Injected::Again if end => {
                self.request.push(bytes);
                self.request.end();
                Flow::Forward
            }
            Injected::Again => Flow::Hold,
            Injected::Changed(bytes) => {
                self.inject = Inject::Done(None);
                Flow::Replace(bytes)
            }
        }
    }

    /// Whether all of the request that is asked for at the gate has come.
    pub fn is_asked(&self) -> bool {
        !self.wants_request_body() || self.sizing.is_whole()
    }

    /// Whether the request's headers are to be held until its body is known.
    pub fn holds_headers(&self, worker: &Worker) -> bool {
        self.config.admission.hold_headers && self.features.holds(&worker.shared)
    }

    /// Whether so much of a body came that no more of it is held.
    pub fn is_held_enough(&self) -> bool {
        self.sizing.bytes_came() >= self.max_held() as u64
    }

    /// The most of a request's body that is held, in bytes.
    pub fn max_held(&self) -> usize {
        self.config.admission.max_held_bytes as usize
    }

    /// Calls wait in these queues already, before this one asks for the first time.
    pub fn stands_behind(&mut self, queues: Vec<u64>) {
        self.features.stands_behind(queues);
    }

    /// The call asks to pass. `last` says that all is known that ever will be, `room` that one more call may wait.
    pub fn admit(&mut self, worker: &mut Worker, store: &dyn Store, last: bool, room: bool, now: Nanos) -> Gate {
        if self.gate != Asked::Open || !self.features.asks(&worker.shared) {
            return Gate::Open;
        }
        let size = self.expected_size(worker, last);
        let known = Known { subject: &self.subject, request: &self.request };
        let at = AtGate { known, size, last, whole: self.is_asked(), room, store, now };
        let ratio = worker.estimator.of(known.model());
        match self.features.gate(&at, ratio, &mut worker.shared) {
            ControlFlow::Continue(()) => {
                if last {
                    self.gate = Asked::Sent;
                }
                Gate::Open
            }
            ControlFlow::Break(Hold::Wait { until, position }) => Gate::Wait { until, position },
            ControlFlow::Break(Hold::Refuse(reply)) => {
                self.gate = Asked::Refused;
                Gate::Refuse(reply)
            }
        }
    }

    /// Tokens that the call will probably take, if the config wants it published; none that is not known yet.
    pub fn reserve(&self) -> Option<u64> {
        self.config.filter_state.tokens.then(|| self.sizing.tokens())
    }

    /// How often Envoy may retry the call by itself, if its route is not to say.
    pub fn envoy_may_retry(&self) -> Option<u8> {
        self.features.envoy_may_retry()
    }

    /// Renews what a long call holds.
    pub fn renew(&mut self, worker: &Worker, store: &dyn Store, now: Nanos) {
        self.features.renew(&worker.shared, store, now);
    }

    /// The answer's headers (not those of a 1xx).
    pub fn response_head(
        &mut self,
        head: Headers<'_>,
        end: bool,
        worker: &Worker,
        now: Nanos,
    ) -> (Vec<Header>, Vec<Header>) {
        self.timing.headers(now);
        let of = |name| head.get(name).unwrap_or_default();
        let status = head.text(":status").and_then(|s| s.parse().ok()).unwrap_or(0);
        let body_head = BodyHead {
            content_type: of("content-type"),
            content_encoding: of("content-encoding"),
            ok: status < 400,
            stream_asked: self.stream_asked(),
        };
        if self.subject.asked.by_body && self.request.embeds() {
            self.subject.asked.api = Api::Embeddings;
        }
        let empty = end || matches!(status, 204 | 205 | 304);
        let cap = self.config.read.max_event_bytes.bytes();
        let mut answer = Answer::new(head, (status, end), self.subject.asked.api, (body_head, empty), cap);
        let known = Known { subject: &self.subject, request: &self.request };
        let body = answer.body.as_deref_mut();
        self.features.response_head(known, (head, body_head, empty), (status, body), &worker.shared);
        if let Inject::Done(hide) = &mut self.inject
            && body_head.content_encoding.is_empty()
            && answer.is_stream()
        {
            *hide = Some(Box::new(HideUsage::new(cap)));
        }
        self.answer = Some(answer);
        self.features.response_headers(self.known(), head, &worker.shared)
    }

    fn stream_asked(&self) -> bool {
        // Ollama streams unless it is told not to.
        let by_default = matches!(self.subject.asked.api, Api::OllamaChat | Api::OllamaGenerate);
        self.subject.asked.stream || self.request.asked().stream.unwrap_or(by_default)
    }

    /// Whether the answer's body is to be read at all.
    pub fn wants_response_body(&self) -> bool {
        self.answer_body().is_some_and(|body| !body.is_ignored())
            || self.features.reads_answer()
            || matches!(self.inject, Inject::Done(Some(_)))
    }

    fn answer_body(&self) -> Option<&Body> {
        self.answer.as_ref()?.body.as_deref()
    }

    /// A piece of the answer's body as it came from the upstream. An unread one (see above) is empty.
    pub fn response_body(&mut self, bytes: &[u8], end: bool, now: Nanos) -> Flow {
        self.features.response_body(bytes, now);
        let Some(answer) = &mut self.answer else { return Flow::Forward };
        if !bytes.is_empty() {
            self.timing.byte(now);
        }
        let progress = answer.push(bytes, end);
        // What an error's body has is no answer, whatever it looks like.
        if answer.status < 400 {
            self.timing.content(progress.tokens, progress.text, self.config.timing.stall(), now);
        }
        let flow = match &mut self.inject {
            Inject::Done(Some(hide)) => {
                let kept = hide.push(bytes, end);
                if kept == bytes { Flow::Forward } else { Flow::Replace(kept) }
            }
            _ => Flow::Forward,
        };
        self.features.response_passes(&flow, bytes);
        flow
    }

    /// Whether the answer's pieces have to be shown to [`Stream::watch`].
    pub fn is_watched(&self) -> bool {
        self.features.is_watched()
    }

    /// A piece of an answer that is watched has been read: whether there is enough for it.
    pub fn watch(&mut self, bytes: &[u8], worker: &mut Worker, store: &dyn Store, now: Nanos) -> Watched {
        let known = Known { subject: &self.subject, request: &self.request };
        let ratio = worker.estimator.of(known.model());
        let (body, content) = self.answer.as_ref().map_or((None, 0), |a| (a.body.as_deref(), a.content_bytes));
        self.features.watch(bytes, (known, body, content), ratio, &worker.shared, (store, now))
    }

    /// Whether it was cut here.
    pub fn is_cut(&self) -> bool {
        self.features.is_cut()
    }

    /// Whether anything is told at the answer's end.
    pub fn tells_end(&self) -> bool {
        self.features.tells_end()
    }

    /// What is told at the end of the answer's body; nothing is settled by it.
    pub fn told_at_end(&self, worker: &Worker, properties: &dyn Properties, store: &dyn Store, now: Nanos) -> AtEnd {
        let Some(answer) = &self.answer else { return AtEnd::default() };
        let nothing = Facts::default();
        let seen = answer.seen(&nothing);
        let ending = self.ending(&seen, worker, properties);
        let call = self.finished(&seen, &ending, properties, (store, now));
        let first_token = self.timing.first_token().filter(|_| seen.stream);
        self.features.at_end(&call, (answer.body.as_deref(), first_token), &worker.shared)
    }

    /// The end of the call, however it came.
    pub fn done(mut self, worker: &mut Worker, properties: &dyn Properties, store: &dyn Store, now: Nanos) -> Report {
        let stream_asked = self.stream_asked();
        let mut answered = self.answer.take().map_or_else(Answered::default, |a| a.finish(&mut self.timing, now));
        let (calls, said) = (answered.take_calls(), answered.facts.said.take());
        let property = |name| property_text(properties, &["xds", name]);
        self.subject.route = self.subject.route.take().or_else(|| property("route_name"));
        self.subject.cluster = self.subject.cluster.take().or_else(|| property("cluster_name"));
        let seen = answered.seen();
        let ending = self.ending(&seen, worker, properties);
        self.observe_tokens(worker, &ending, &answered);

        let mut features = std::mem::take(&mut self.features);
        let call = self.finished(&seen, &ending, properties, (store, now));
        let call =
            Finished { cut: features.is_cut(), waste: features.waste(ending.ended, self.is_held(&features)), ..call };
        let mut counts = Counts::of(worker.label_set(&call));
        let mut events = Events::default();
        let streamed = (seen.stream || stream_asked, self.timing.first_token());
        let out = (&mut counts, &mut events);
        let parts = features.settle(&call, (calls, said), streamed, &mut worker.shared, out);
        self.observe_size(worker, &call);

        let mut unread = answered.unread;
        unread.add(parts.unread);
        // Pictures and sound come in forms.
        let form = matches!(self.subject.asked.api, Api::Images | Api::Transcriptions);
        // Of MCP's messages the room of tools counts them.
        let here = self.subject.is_inference() && !form;
        unread.request += u64::from(here && self.request.is_unread());
        let tokens = ending.usage.output.unwrap_or_else(|| self.timing.tokens());
        report::count(&mut counts, &call, &self.timing, (seen.stream, tokens, unread));
        let sources = parts.sources.clone();
        let publishes = self.config.filter_state.tokens;
        let record = self.record(&answered, &ending, parts, (properties, unread.total(), tokens, now));
        features.recorded((&record, &sources), &worker.shared, properties, &mut events, (store, now));
        report::count_store(&mut counts, events);
        let charge = publishes.then(|| report::charge(&record.usage));
        Report { record, counts, charge }
    }
}
