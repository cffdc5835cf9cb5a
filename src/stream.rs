//! One exchange from admit to done: the only place that puts the steps in order.
//!
//! ```text
//! new → request_head → request_body* → response_head → response_body* → done → Report
//! ```
//! A step may be missing (no body, no answer, an abort at any moment); `done` always comes, once.

mod accounting;
mod admission;
mod costing;
mod declaring;
mod planning;
mod retrying;
mod sourcing;
mod telling;
mod tooling;
mod trailing;

use std::rc::Rc;

use crate::api::{self, Api};
use crate::config::Config;
use crate::config::limits::OnExceeded;
use crate::end::{End, how_it_ended};
use crate::port::{Flow, Headers, Properties};
use crate::record::{Ended, Record, ServerTimes, Upstream, Usage, UsageSource, VERSION};
use crate::report::{self, Report, Settled};
use crate::shared::Store;
use crate::signals::estimate::Estimator;
use crate::signals::identity;
use crate::signals::kind::{Kind, asks_for_tool};
use crate::signals::timing::Timing;
use crate::units::{Nanos, Span};
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::dialects;
use crate::wire::facts::Facts;
use crate::wire::hide::HideUsage;
use crate::wire::request::{Asked, Injected, Request};
use crate::wire::usage::{self, RawUsage};
use crate::worker::Worker;
use admission::Admission;
pub use admission::{Gate, OwnAnswer, Watched};
use costing::Costing;
use planning::Planning;
use retrying::{Ending, Retrying};
use sourcing::Sourcing;
use telling::Telling;
use tooling::{Tooling, UNREAD};
use trailing::Trailing;

/// Headers that no longer hold for a request which may be changed, and for an answer which must be read as plain text.
const INJECT_REMOVES: &[&str] = &["content-length", "accept-encoding"];
/// The same where a running answer may be cut: into what is compressed no event can be put.
const CUT_REMOVES: &[&str] = &["accept-encoding"];
/// What the record says of a call that a limit refused or cut.
const LIMITED: &str = "rate_limit_exceeded";
/// Longest call id that is kept, in bytes.
const MAX_CALL: usize = 128;

/// One exchange.
#[derive(Debug)]
pub struct Stream {
    config: Rc<Config>,
    asked: api::Asked,
    call: String,
    tenant: Option<String>,
    user: Option<String>,
    run: Option<String>,
    /// What kind of call it is; nothing where nobody wants to know.
    kind: Option<Kind>,
    /// The number of the outcome of its run that its header names.
    outcome: Option<u8>,
    /// What it has to do with tools; nothing where nobody wants to know.
    tooling: Option<Box<Tooling>>,
    request: Request,
    inject: Inject,
    answer: Option<Answer>,
    timing: Timing,
    /// Bytes of generated content, as they stand in the documents.
    content_bytes: u64,
    events: u64,
    /// The answer's end was seen.
    ended: bool,
    admission: Admission,
    retrying: Retrying,
    telling: Telling,
    trailing: Trailing,
    sourcing: Sourcing,
    planning: Planning,
    costing: Costing,
    /// The body may say which tool is called.
    reads_tool: bool,
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

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Nothing for what is no inference, and for answers without a body.
    body: Option<Box<Body>>,
    /// Token counts that stand in headers (Bedrock).
    counts: RawUsage,
    error: Option<String>,
    server: ServerTimes,
    provider: Option<&'static str>,
}

impl Stream {
    /// A call of which nothing is known yet.
    pub fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            asked: api::Asked::default(),
            call: String::new(),
            tenant: None,
            user: None,
            run: None,
            kind: None,
            outcome: None,
            tooling: None,
            request: Request::default(),
            inject: Inject::No,
            answer: None,
            timing: Timing::default(),
            content_bytes: 0,
            events: 0,
            ended: false,
            admission: Admission::default(),
            retrying: Retrying::default(),
            telling: Telling::default(),
            trailing: Trailing::default(),
            sourcing: Sourcing::default(),
            planning: Planning::default(),
            costing: Costing::default(),
            reads_tool: false,
        }
    }

    /// The name of the call's API, known once the request's headers are.
    pub fn api(&self) -> &'static str {
        self.asked.api.name()
    }

    /// The request's headers; gives the names of headers to take off it.
    pub fn request_head(
        &mut self,
        head: Headers<'_>,
        end: bool,
        properties: &dyn Properties,
        now: Nanos,
    ) -> &'static [&'static str] {
        self.timing.asked(now);
        let of = |name| head.get(name).unwrap_or_default();
        self.asked = api::asked(of(":method"), of(":path"), of(":authority"));
        self.call = text(of("x-request-id"), MAX_CALL);
        let identity = &self.config.identity;
        self.tenant = identity::find(&identity.tenant, head, properties);
        self.user = identity::find(&identity.user, head, properties);
        self.run = identity::find(&identity.run, head, properties);
        // MCP carries trace context in its messages where no header does.
        let nowhere = self.run.is_none() && !identity.run.is_empty();
        self.reads_tool |= nowhere && self.asked.api == Api::Other && asks_for_tool(head);
        let may_ask = matches!(self.asked.api, Api::OpenAiChat | Api::OpenAiCompletions);
        if self.config.usage.inject && may_ask && !end && of("content-encoding").is_empty() {
            self.inject = Inject::Perhaps;
            return INJECT_REMOVES;
        }
        if self.asked.api != Api::Other && self.config.limits.iter().any(|l| l.on_exceeded == OnExceeded::Cut) {
            return CUT_REMOVES;
        }
        &[]
    }

    /// Whether the request's body is to be read at all. If not, the host need not copy it.
    pub fn wants_request_body(&self) -> bool {
        self.reads_request() || self.tool_reads_request()
    }

    fn reads_request(&self) -> bool {
        (self.asked.api != Api::Other || self.reads_tool) && (!self.request.is_over() || self.hashes_body())
    }

    /// Whether the request may have to be changed: then what is held of it is to be shown again.
    pub fn may_change_request(&self) -> bool {
        matches!(self.inject, Inject::Perhaps)
    }

    /// A piece of the request's body: all that is buffered, if the piece before was held.
    pub fn request_body(&mut self, bytes: &[u8], end: bool, now: Nanos) -> Flow {
        self.timing.asked(now);
        self.announce(bytes.len());
        self.tool_request(bytes, now);
        if !self.reads_request() {
            return Flow::Forward;
        }
        if !matches!(self.inject, Inject::Perhaps) {
            self.retry_body(bytes, end);
            self.request.push(bytes);
            self.run_in_body();
            return Flow::Forward;
        }
        let injected = self.request.push_and_inject(bytes);
        if end || injected != Injected::Again {
            self.retry_body(bytes, end);
        }
        match injected {
            Injected::Same => Flow::Forward,
            // Nothing follows that could end what was cut: it goes on as it is.
            Injected::Again if end => {
                self.request.push(bytes);
                Flow::Forward
            }
            Injected::Again => Flow::Hold,
            Injected::Changed(bytes) => {
                self.inject = Inject::Done(None);
                Flow::Replace(bytes)
            }
        }
    }

    /// The run of an MCP request, from what its message carries, if its head has none.
    fn run_in_body(&mut self) {
        struct NoProperties;
        impl Properties for NoProperties {
            fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
                None
            }
        }
        let Asked { traceparent, baggage, .. } = self.request.asked();
        if self.run.is_some() || traceparent.is_none() && baggage.is_none() {
            return;
        }
        let of = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let (traceparent, baggage) = (of(traceparent), of(baggage));
        let head = [(&b"traceparent"[..], &*traceparent), (b"baggage", &*baggage)];
        self.run = identity::find(&self.config.identity.run, Headers(&head), &NoProperties);
    }

    /// The answer's headers (not those of a 1xx).
    pub fn response_head(&mut self, head: Headers<'_>, end: bool, now: Nanos) {
        self.timing.headers(now);
        self.ended = end;
        let of = |name| head.get(name).unwrap_or_default();
        let number = |name| head.text(name)?.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let status = head.text(":status").and_then(|s| s.parse().ok()).unwrap_or(0);
        let body_head = BodyHead {
            content_type: of("content-type"),
            content_encoding: of("content-encoding"),
            ok: status < 400,
            stream_asked: self.stream_asked(),
        };
        if self.asked.by_body && self.request.embeds() {
            self.asked.api = Api::Embeddings;
        }
        let cap = self.config.read.max_event_bytes.bytes();
        let empty = end || matches!(status, 204 | 205 | 304);
        self.tool_answer_head(body_head, empty);
        self.sources_head(head, body_head, empty);
        let dialect = dialects::of(self.asked.api).filter(|_| !empty);
        let mut body = dialect.map(|dialect| Box::new(Body::new(self.asked.api, dialect, body_head, cap)));
        if let Some(body) = &mut body {
            self.tool_answer(body);
            if status < 400 {
                self.plan_reads(body);
            }
        }
        if let Inject::Done(hide) = &mut self.inject
            && body_head.content_encoding.is_empty()
            && body.as_ref().is_some_and(|b| b.is_stream())
        {
            *hide = Some(Box::new(HideUsage::new(cap)));
        }
        self.comment_head(head, status);
        let count = |name| head.text(name)?.trim().parse::<u64>().ok();
        let error_type = of("x-amzn-errortype").split(|b| *b == b':').next().unwrap_or_default();
        self.answer = Some(Answer {
            status,
            body,
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
            error: Some(text(error_type, MAX_CALL)).filter(|e| !e.is_empty()),
            server: ServerTimes {
                processing_ms: number("openai-processing-ms"),
                envoy_ms: number("x-envoy-upstream-service-time"),
                ..ServerTimes::default()
            },
            provider: head.get("openai-version").map(|_| "openai"),
        });
    }

    fn stream_asked(&self) -> bool {
        self.asked.stream || self.request.asked().stream.unwrap_or(self.streams_by_default())
    }

    /// Ollama streams unless it is told not to.
    fn streams_by_default(&self) -> bool {
        matches!(self.asked.api, Api::OllamaChat | Api::OllamaGenerate)
    }

    /// Whether the answer's body is to be read at all.
    pub fn wants_response_body(&self) -> bool {
        let body = self.answer.as_ref().and_then(|a| a.body.as_ref());
        body.is_some_and(|body| !body.is_ignored())
            || self.tool_reads_answer()
            || self.sourcing.reads_answer()
            || matches!(self.inject, Inject::Done(Some(_)))
    }

    /// A piece of the answer's body as it came from the upstream. An unread one (see above) is empty.
    pub fn response_body(&mut self, bytes: &[u8], end: bool, now: Nanos) -> Flow {
        self.ended |= end;
        self.tool_response(bytes, now);
        self.sourcing.piece(bytes);
        let Some(answer) = &mut self.answer else { return Flow::Forward };
        if !bytes.is_empty() {
            self.timing.byte(now);
        }
        if let Some(body) = &mut answer.body {
            let mut progress = body.push(bytes);
            if end {
                progress.merge(body.finish());
            }
            self.events = self.events.saturating_add(progress.events);
            self.content_bytes = self.content_bytes.saturating_add(progress.bytes);
            let stall = Span(self.config.timing.stall_ms.get().saturating_mul(1_000_000));
            // What an error's body has is no answer, whatever it looks like.
            if answer.status < 400 {
                self.timing.content(progress.tokens, progress.text, stall, now);
            }
        }
        let flow = match &mut self.inject {
            Inject::Done(Some(hide)) => {
                let kept = hide.push(bytes, end);
                if kept == bytes { Flow::Forward } else { Flow::Replace(kept) }
            }
            _ => Flow::Forward,
        };
        self.passes(flow, bytes)
    }

    /// The end of the call, however it came.
    pub fn done(mut self, worker: &mut Worker, properties: &dyn Properties, store: &dyn Store, now: Nanos) -> Report {
        let said = |path: &[&str]| properties.property(path).map(|v| text(&v, MAX_CALL)).filter(|v| !v.is_empty());
        let number = |path: &[&str]| {
            let bytes: [u8; 8] = properties.property(path)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let status = self.answer.as_ref().map(|a| a.status).filter(|s| *s > 0);
        let upstream = Upstream {
            address: said(&["upstream", "address"]),
            attempts: number(&["upstream", "request_attempt_count"]).filter(|n| *n > 0),
            pool_ms: number(&["upstream", "cx_pool_ready_duration"]).map(|ns| Span(ns).as_ms()),
        };
        let stream_asked = self.stream_asked();
        let answer = self.answer.take();
        let (counts, head_error, mut server, told) = match &answer {
            Some(a) => (a.counts, a.error.clone(), a.server.clone(), a.provider),
            None => Default::default(),
        };
        let mut body = answer.and_then(|a| a.body);
        if let Some(body) = &mut body {
            // What is left of a body that never ended still counts.
            let rest = body.finish();
            self.events = self.events.saturating_add(rest.events);
            self.content_bytes = self.content_bytes.saturating_add(rest.bytes);
            if !self.ended {
                self.timing.content(rest.tokens, rest.text, Span(u64::MAX), now);
            }
        }
        let stream = body.as_ref().is_some_and(|b| b.is_stream());
        let mut unread = body.as_ref().map_or(Unread::default(), |b| b.unread());
        let whole = body.as_ref().is_none_or(|b| b.is_whole());
        let mut facts = body.map_or_else(Facts::default, |b| b.into_facts());
        let calls = facts.calls.take().map(|calls| calls.finish()).unwrap_or_default();

        // Asked only where something is amiss: a property costs a microsecond.
        let fine = self.ended && status.is_some_and(|s| s < 400) && upstream.address.is_some();
        let details = if fine { None } else { said(&["response", "code_details"]) };
        let end = End {
            ended: self.ended,
            status,
            reached: upstream.address.is_some(),
            details: details.as_deref(),
            failed: facts.failed,
            whole,
        };
        let ended = if self.is_cut() { Ended::Truncated } else { how_it_ended(&end) };

        if ended == Ended::Complete {
            self.plan_answered(&calls, facts.said.take());
        }
        let asked_for = self.tools_asked_for(calls, &mut worker.tools, store, now);
        let ran = self.tools_ran((ended, status), &mut worker.tools, properties, store, now);
        unread.add(ran.unread);
        let (sources, of_sources) = self.sourcing.finish();
        // What is inference too was read once more.
        if self.asked.api == Api::Other {
            unread.add(of_sources);
        }

        server.merge(&facts.server);
        let asked = self.request.asked();
        let request_model = asked.model.clone().or_else(|| self.asked.model.clone());
        let success = status.is_some_and(|s| s < 400);
        let model = request_model.clone().or_else(|| facts.model.clone());
        let reported = self.reported(&facts, counts);
        let reported = reported.filter(|_| success);
        let bytes = (asked.prompt_bytes, self.content_bytes);
        let complete = ended == Ended::Complete;
        // An error has no estimate, in a stream of status 200 neither: nothing says that it was billed.
        let good = (success && !facts.failed, complete);
        let usage = self.count(worker, reported, bytes, good, model.as_deref().unwrap_or_default());
        let (reached, waste) = (upstream.address.is_some(), self.waste(ended));
        let cost = self.cost(Some(&facts), &usage, (success, reached), waste, now);
        self.settle(worker, &usage, cost.map_or(0, |cost| cost.total), store, now);
        let ending = Ending {
            ended,
            status,
            reached,
            attempts: upstream.attempts.unwrap_or(0),
            tool_failed: ran.runs.iter().any(|run| !matches!(run.outcome, "ok" | UNREAD)),
            waste,
            usage: &usage,
            model: model.as_deref(),
        };
        let retry_error = self.retry_error().map(str::to_owned);
        let (retry, retried) = self.retry_settle(worker, &ending, store, now).unzip();
        let plan_error = self.plan_error().map(str::to_owned);
        let (plan, planned) = self.plan_settle(worker, (ended, status), store, now).unzip();
        let tokens = usage.output.unwrap_or_else(|| self.timing.tokens());

        let mut time = self.timing.times(tokens, stream, now);
        time.server = server;
        if ended == Ended::Complete && usage.source == UsageSource::Reported {
            self.teach(worker, &usage);
        }
        let trailing = std::mem::take(&mut self.trailing);
        let asked = self.request.asked();
        let (limits, mut events) = (self.limit_counts(&worker.limiter), self.store_events());
        events.add(asked_for.store);
        events.add(ran.store);
        let matched = asked_for.matched.and(ran.matched);
        let limited = self.limited(&worker.limiter);
        let own = self.held_by_limit().then(|| LIMITED.to_owned()).or(retry_error).or(plan_error);
        let accounting = self.accounting();
        let record = Record {
            v: VERSION,
            route: self.known_route().or_else(|| said(&["xds", "route_name"])),
            call: self.call,
            cluster: said(&["xds", "cluster_name"]),
            tenant: self.tenant,
            user: self.user,
            run: self.run,
            api: self.asked.api.name(),
            provider: self.asked.provider.or(told.filter(|_| self.asked.api != Api::Other)),
            request_model,
            response_model: facts.model.clone(),
            stream,
            max_tokens: asked.max_tokens,
            status,
            ended,
            error_type: own.or_else(|| error_type(ended, &facts, head_error, status, details)),
            finish_reasons: facts.finish_reasons(),
            usage,
            time,
            upstream,
            tools: facts.tools,
            tools_offered: asked.tools.clone(),
            system_fingerprint: facts.fingerprint,
            service_tier: facts.service_tier,
            response_id: facts.id,
            attempts: Vec::new(),
            limits: limited,
            retry: retry.flatten(),
            kind: self.kind.as_ref().map(|kind| kind.word.to_string()),
            cost,
            tool_calls: asked_for.calls,
            tool_runs: ran.runs,
            plan: plan.flatten(),
            events: self.events,
            unread: unread.total(),
        };
        let closed = accounting.and_then(|account| account.settle(&record, worker, &mut events, store, now));
        trailing.settle(worker, (&record, &sources), properties, store, &mut events, now);
        let call = Settled {
            record,
            timing: &self.timing,
            unread,
            tokens,
            stream_asked,
            end: now,
            limits,
            store: events,
            matched,
            retried,
            closed,
            planned,
        };
        report::of(call, &self.config, worker)
    }

    /// The call's tokens as the provider says them.
    fn reported(&self, facts: &Facts, counts: RawUsage) -> Option<Usage> {
        // What is no inference has no tokens, whatever its headers are called.
        let sum = dialects::of(self.asked.api)?.sum;
        // These count reasoning beside their output; Perplexity's totals leave it out.
        let beside = match self.asked.provider {
            Some("perplexity") => true,
            Some("x_ai") => facts.usage.total.is_none(),
            _ => false,
        };
        usage::settle(sum, beside, facts.usage, facts.meter, counts).or_else(|| {
            // A report without a count, of an answer without content: nothing to count, and nothing to estimate.
            let nothing = facts.usage_opened && self.ended && !facts.any;
            nothing.then(|| Usage { source: UsageSource::Reported, ..Usage::default() })
        })
    }

    /// The call's tokens: as reported, or estimated. Calls that report teach the estimator.
    fn count(
        &self,
        worker: &mut Worker,
        reported: Option<Usage>,
        bytes: (u64, u64),
        good: (bool, bool),
        model: &str,
    ) -> Usage {
        let usage = self.counted(&worker.estimator, reported, bytes, good, model);
        if usage.source == UsageSource::Reported {
            let (prompt, content) = bytes;
            let plain = usage.reasoning.unwrap_or(0) == 0;
            let output = usage.output.filter(|_| self.ended && plain);
            worker.estimator.learn(model, (prompt, usage.input), (content, output));
        }
        usage
    }

    /// The same, which teaches nobody.
    fn counted(
        &self,
        estimator: &Estimator,
        reported: Option<Usage>,
        (prompt, content): (u64, u64),
        (success, complete): (bool, bool),
        model: &str,
    ) -> Usage {
        if let Some(usage) = reported {
            // What a stream that broke off had reported by then may say how it began (Anthropic's does), not what came.
            let seen = estimator.output(model, content);
            if success && !complete && self.config.usage.estimate && usage.output.unwrap_or(0) < seen {
                let total = usage.input.map(|input| input.saturating_add(seen));
                return Usage { source: UsageSource::Estimated, output: Some(seen), total, ..usage };
            }
            return usage;
        }
        let counts = success && self.asked.api.is_text() && self.config.usage.estimate && (prompt > 0 || content > 0);
        if !counts {
            return Usage::default();
        }
        let input = estimator.input(model, prompt);
        let output = estimator.output(model, content);
        let output = Some(output).filter(|_| self.asked.api != Api::Embeddings);
        let total = Some(input.saturating_add(output.unwrap_or(0)));
        Usage { source: UsageSource::Estimated, input: Some(input), output, total, ..Usage::default() }
    }
}

/// The provider's own word for what went wrong; else OpenTelemetry's: the status, or how the call broke.
fn error_type(
    ended: Ended,
    facts: &Facts,
    head: Option<String>,
    status: Option<u16>,
    details: Option<String>,
) -> Option<String> {
    let by_end = || match ended {
        Ended::Complete | Ended::Truncated | Ended::ClientAbort => None,
        Ended::UpstreamReset | Ended::Refused => details?.split(['{', '|']).next().map(str::to_owned),
        Ended::Error => status.filter(|s| *s >= 400).map(|s| s.to_string()),
    };
    facts.error.clone().filter(|_| facts.failed).or(head).or_else(by_end)
}

/// Text that is fit for a record: cut, and what is no UTF-8 replaced.
fn text(bytes: &[u8], max: usize) -> String {
    String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes)).into_owned()
}
