//! The table of features: which are compiled in, and in which order a call meets them. Each is a room of its own that knows
//! no other; what one needs of another is an argument here.
//!
//! ```text
//! answers · kind ──► head ──► gate ──► response head, pieces ──► settle ──► recorded
//! ```
//! A room without its Cargo feature is its section of the config alone: [`crate::settings`] refuses that by path.

// With rooms left out, some arguments are without use, and some fields.
#![cfg_attr(not(feature = "all"), allow(unused_variables, unused_mut, unused_imports))]

pub mod audit;
pub mod cost;
pub mod kind;
pub mod limits;
pub mod plan;
pub mod retry;
pub mod runs;
pub mod slo;
pub mod tools;
pub mod trail;

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::call::finished::Finished;
use crate::call::gate::{AtGate, Hold, Watched};
use crate::call::head::{AtHead, HeadEdits};
use crate::call::kind::Kind;
use crate::call::reply::{Header, LocalReply};
use crate::call::size::Money;
use crate::call::subject::{Known, Subject, Wants};
use crate::call::waste::Waste;
use crate::metrics::{Counts, Id, Label, Numbers, Sample, Series};
use crate::port::{Flow, Headers, Properties};
use crate::record::{Cost, Ended, Limited, PlanStep, Record, Retry, ToolCall, ToolRun};
use crate::settings::Config;
use crate::shared::{Events, Store};
use crate::signals::estimate::Ratio;
use crate::units::{Nanos, Span};
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::calls::Call;
use crate::wire::said::Said;

/// What one worker keeps of its features, under one config.
#[derive(Debug)]
pub struct Shared {
    /// Tokens are published for other filters: they are estimated for every call.
    publishes_tokens: bool,
    /// The longest event that is read.
    #[cfg_attr(not(feature = "all"), allow(dead_code))]
    cap: usize,
    /// What kinds calls are.
    #[cfg(feature = "kind")]
    pub kind: kind::kinds::Kinds,
    /// Plans of runs.
    #[cfg(feature = "plan")]
    pub plan: plan::Shared,
    /// Retries, and what holds them.
    #[cfg(feature = "retry")]
    pub retry: retry::Shared,
    /// Limits, and where they count.
    #[cfg(feature = "limits")]
    pub limits: limits::Shared,
    /// What is known of tools.
    #[cfg(feature = "tools")]
    pub tools: tools::Shared,
    /// Prices.
    #[cfg(feature = "cost")]
    pub cost: cost::Shared,
    /// Accounts of runs.
    #[cfg(feature = "runs")]
    pub runs: runs::Shared,
    /// Trails of runs.
    #[cfg(feature = "trail")]
    pub trail: trail::Shared,
    /// Where clients are told of their calls.
    #[cfg(feature = "audit")]
    pub tells: audit::Tells,
    /// Objectives.
    #[cfg(feature = "slo")]
    pub slos: Vec<slo::config::Slo>,
}

/// What one call has to do with features.
#[derive(Debug, Default)]
pub struct Features {
    #[cfg(feature = "plan")]
    plan: plan::call::InCall,
    #[cfg(feature = "retry")]
    retry: retry::call::InCall,
    #[cfg(feature = "limits")]
    limits: limits::call::InCall,
    #[cfg(feature = "tools")]
    tools: tools::call::InCall,
    #[cfg(feature = "cost")]
    cost: cost::call::InCall,
    #[cfg(feature = "runs")]
    runs: runs::call::InCall,
    #[cfg(feature = "trail")]
    trail: trail::call::InCall,
    #[cfg(feature = "audit")]
    audit: audit::call::InCall,
}

/// The features' parts of the record, and what else they leave.
#[derive(Debug, Default)]
pub struct Parts {
    /// What limits said.
    pub limits: Vec<Limited>,
    /// Which try it was.
    pub retry: Option<Retry>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// The tools that its model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// The tools that ran.
    pub tool_runs: Vec<ToolRun>,
    /// Where it stands in its run's plan.
    pub plan: Option<PlanStep>,
    /// The error's type, if a feature refused or cut it.
    pub error: Option<&'static str>,
    /// The sources that its answer names.
    pub sources: Vec<String>,
    /// What of its bodies only features read, and could not.
    pub unread: Unread,
}

/// What is told at the end of an answer.
#[derive(Debug, Default)]
pub struct AtEnd {
    /// For behind the body.
    pub trailers: Vec<Header>,
    /// For the end of the body.
    pub comment: Option<String>,
}

impl Shared {
    /// Under this config.
    pub fn new(config: &Config) -> Self {
        #[cfg(feature = "kind")]
        let kind = kind::kinds::Kinds::new(config.kinds.as_deref(), config.tells_kinds());
        Self {
            publishes_tokens: config.filter_state.tokens,
            cap: config.read.max_event_bytes.bytes(),
            #[cfg(feature = "plan")]
            plan: plan::Shared::new(config.plan.as_ref()),
            #[cfg(feature = "retry")]
            retry: retry::Shared::new(
                config.retries.as_ref(),
                &config.retry_budgets,
                &config.circuits,
                !config.limits.is_empty(),
                config.identity.knows_runs_by_trace(),
            ),
            #[cfg(feature = "limits")]
            limits: limits::Shared::new(&config.limits, &config.admission),
            #[cfg(feature = "tools")]
            tools: tools::Shared::new(config.tools.as_ref()),
            #[cfg(feature = "cost")]
            cost: cost::Shared::new(&config.prices),
            #[cfg(feature = "runs")]
            runs: runs::Shared::new(config.runs.as_ref(), &kind.own_words()),
            #[cfg(feature = "trail")]
            trail: trail::Shared::new(config.audit.trail.as_ref()),
            #[cfg(feature = "audit")]
            tells: config.audit.tells(),
            #[cfg(feature = "slo")]
            slos: config.slo.clone(),
            #[cfg(feature = "kind")]
            kind,
        }
    }

    /// What features want to know when a call comes.
    pub fn wants(&self) -> Wants {
        let wants = Wants::default();
        #[cfg(feature = "kind")]
        let wants = wants.or(self.kind.wants());
        #[cfg(feature = "plan")]
        let wants = wants.or(self.plan.wants());
        #[cfg(feature = "retry")]
        let wants = wants.or(self.retry.wants());
        #[cfg(feature = "limits")]
        let wants = wants.or(self.limits.wants());
        #[cfg(feature = "cost")]
        let wants = wants.or(self.cost.wants());
        wants
    }

    /// Whether how large calls will be is estimated before they are sent.
    pub fn estimates_size(&self) -> bool {
        #[cfg(feature = "limits")]
        let limited = self.limits.enabled();
        #[cfg(not(feature = "limits"))]
        let limited = false;
        limited || self.publishes_tokens
    }

    /// Whether calls hold leases that have to be renewed.
    pub fn holds_leases(&self) -> bool {
        #[cfg(feature = "limits")]
        return self.limits.limiter.needs.leases;
        #[cfg(not(feature = "limits"))]
        false
    }

    /// The counters that are there from the start, at zero: a rate over a counter that is not there yet misses its first
    /// count.
    pub fn counters(&self) -> Vec<Sample> {
        let mut counters = Vec::new();
        let mut add = |series: Series, at: Numbers| counters.push(Sample { series, at });
        #[cfg(feature = "slo")]
        for (at, _) in (0..).zip(&self.slos) {
            (0..2).for_each(|value| add(Series { id: Id::Slo, value }, [at, 0, 0, 0]));
        }
        #[cfg(feature = "limits")]
        for (at, _) in (0..).zip(&self.limits.limiter.rules) {
            (0..2).for_each(|value| add(Series { id: Id::Limit, value }, [at, 0, 0, 0]));
        }
        #[cfg(feature = "runs")]
        for (at, _) in (0..).zip(self.runs.outcomes()) {
            for id in [Id::RunCost, Id::RunCalls, Id::RunWaste] {
                add(id.into(), [at, 0, 0, 0]);
            }
            for (kind, _) in (0..).zip(self.kind.words()) {
                add(Id::RunCostByKind.into(), [at, kind, 0, 0]);
            }
        }
        counters
    }

    /// The text of a label's value that a feature numbers.
    pub fn label(&self, label: Label, number: u16, at: Numbers) -> Cow<'_, str> {
        let index = usize::from(number);
        match label {
            #[cfg(feature = "limits")]
            Label::Limit => self.limits.limiter.rules.get(index).map_or("", |rule| &rule.name).into(),
            #[cfg(feature = "limits")]
            Label::Key => self.limits.keys.text(at[0], number),
            #[cfg(feature = "retry")]
            Label::Layer => retry::attempt::Layer::WORDS.get(index).copied().unwrap_or_default().into(),
            #[cfg(feature = "kind")]
            Label::Kind => self.kind.words().get(index).map_or("", |word| word).into(),
            #[cfg(feature = "runs")]
            Label::Outcome => self.runs.outcomes().get(index).copied().unwrap_or_default().into(),
            #[cfg(feature = "tools")]
            Label::Tool => self.tools.label.value(number).into(),
            #[cfg(feature = "slo")]
            Label::Slo => slo::call::name(self.slos.get(index), number),
            _ => "".into(),
        }
    }
}

impl Features {
    /// The answer of a call that asks for something of weir's own. It is then no call of any run.
    pub fn answers(at: &AtHead<'_>, shared: &Shared) -> Option<LocalReply> {
        #[cfg(feature = "trail")]
        return trail::call::InCall::asks(at, &shared.trail);
        #[cfg(not(feature = "trail"))]
        None
    }

    /// What kind of call it is.
    pub fn kind(head: Headers<'_>, subject: &Subject, shared: &Shared) -> Option<Kind> {
        #[cfg(feature = "kind")]
        return shared.kind.of(head, subject);
        #[cfg(not(feature = "kind"))]
        None
    }

    /// The request's headers came.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &mut Shared, edits: &mut HeadEdits) {
        #[cfg(feature = "trail")]
        self.trail.head(at, &shared.trail);
        #[cfg(feature = "cost")]
        self.cost.head(at, &shared.cost);
        #[cfg(feature = "runs")]
        self.runs.head(at, &shared.runs, edits);
        #[cfg(feature = "audit")]
        self.audit.head(at, shared.tells);
        #[cfg(feature = "tools")]
        {
            #[cfg(feature = "plan")]
            let wanted = shared.plan.wanted(at.subject.run.as_deref());
            #[cfg(not(feature = "plan"))]
            let wanted = None;
            self.tools.head(at, wanted, shared.cap, &mut shared.tools);
        }
        #[cfg(feature = "plan")]
        self.plan.head(at, &mut shared.plan);
        #[cfg(feature = "retry")]
        self.retry.head(at, &mut shared.retry);
        #[cfg(feature = "limits")]
        self.limits.head(at, &shared.limits, edits);
    }

    /// Whether the call is asked anything before it is sent.
    pub fn asks(&self, shared: &Shared) -> bool {
        #[cfg(feature = "plan")]
        if self.plan.enabled() {
            return true;
        }
        #[cfg(feature = "retry")]
        if self.retry.enabled() {
            return true;
        }
        shared.estimates_size()
    }

    /// Whether the request's headers are better held until its body is known. (Limits and retries are: that is why they are
    /// enabled.)
    pub fn holds(&self, shared: &Shared) -> bool {
        #[cfg(feature = "limits")]
        if shared.limits.enabled() {
            return true;
        }
        #[cfg(feature = "retry")]
        if self.retry.enabled() {
            return true;
        }
        #[cfg(feature = "plan")]
        if self.plan.holds() {
            return true;
        }
        false
    }

    /// What a call of so large a prompt will probably cost, where a limit wants to know.
    pub fn expected_price(&self, known: Known<'_>, input: u64, shared: &Shared) -> Money {
        #[cfg(all(feature = "cost", feature = "limits"))]
        if shared.limits.limiter.needs.prices {
            return self.cost.expected(known, input, &shared.cost);
        }
        Money::default()
    }

    /// The call asks to pass. What an earlier gate refuses takes nothing of a later one: a call that is not planned takes
    /// nothing of a budget, a retry that is refused nothing of a limit.
    pub fn gate(&mut self, at: &AtGate<'_>, ratio: Ratio<'_>, shared: &mut Shared) -> ControlFlow<Hold> {
        #[cfg(feature = "plan")]
        self.plan.gate(at, &mut shared.plan)?;
        #[cfg(feature = "retry")]
        self.retry.gate(at, &mut shared.retry)?;
        #[cfg(feature = "limits")]
        self.limits.gate(at, ratio, &mut shared.limits)?;
        ControlFlow::Continue(())
    }

    /// Calls wait in these queues already, before this one asks for the first time.
    pub fn stands_behind(&mut self, queues: Vec<u64>) {
        #[cfg(feature = "limits")]
        self.limits.stands_behind(queues);
    }

    /// How often Envoy may retry the call by itself, if its route is not to say.
    pub fn envoy_may_retry(&self) -> Option<u8> {
        #[cfg(feature = "retry")]
        return self.retry.envoy_may_retry();
        #[cfg(not(feature = "retry"))]
        None
    }

    /// Renews what a long call holds.
    pub fn renew(&mut self, shared: &Shared, store: &dyn Store, now: Nanos) {
        #[cfg(feature = "limits")]
        self.limits.renew(&shared.limits, store, now);
    }

    /// Whether all of the request's body is read, whatever the model's part of it.
    pub fn hashes_body(&self) -> bool {
        #[cfg(feature = "retry")]
        return self.retry.hashes_body();
        #[cfg(not(feature = "retry"))]
        false
    }

    /// Whether features read the request's body by themselves.
    pub fn reads_request(&self) -> bool {
        #[cfg(feature = "tools")]
        return self.tools.reads_request();
        #[cfg(not(feature = "tools"))]
        false
    }

    /// A piece of the request's body came.
    pub fn request_body(&mut self, bytes: &[u8], now: Nanos) {
        #[cfg(feature = "tools")]
        self.tools.request_body(bytes, now);
    }

    /// A piece of the request's body goes on: one that is held comes again, and then only once by here.
    pub fn request_passes(&mut self, bytes: &[u8], end: bool) {
        #[cfg(feature = "retry")]
        self.retry.request_body(bytes, end);
    }

    /// The answer's headers came. `body` is what is read of a model's answer.
    pub fn response_head(
        &mut self,
        known: Known<'_>,
        (head, body_head, empty): (Headers<'_>, BodyHead<'_>, bool),
        (status, body): (u16, Option<&mut Body>),
        shared: &Shared,
    ) {
        #[cfg(feature = "tools")]
        self.tools.response_head(body_head, empty);
        #[cfg(feature = "trail")]
        {
            #[cfg(feature = "tools")]
            let counted = self.tools.counts_answer();
            #[cfg(not(feature = "tools"))]
            let counted = false;
            let answer = (head, body_head, empty);
            self.trail.response_head(known.subject, answer, (counted, shared.cap), &shared.trail);
        }
        if let Some(body) = body {
            #[cfg(feature = "tools")]
            self.tools.reads_model(&shared.tools, body);
            #[cfg(feature = "plan")]
            if status < 400 {
                self.plan.reads(known, &shared.plan, body);
            }
        }
        #[cfg(feature = "audit")]
        self.audit.response_head(known.subject.asked.api, head, status, shared.tells);
    }

    /// What the answer's headers are to say. The first list is added to what the upstream says, the second takes its place: what it
    /// says of itself under these names, it does not say of this call.
    pub fn response_headers(&self, known: Known<'_>, head: Headers<'_>, shared: &Shared) -> (Vec<Header>, Vec<Header>) {
        let (mut added, mut replaced) = (Vec::new(), Vec::new());
        #[cfg(feature = "trail")]
        replaced.extend(self.trail.response_headers());
        #[cfg(feature = "limits")]
        added.extend(self.limits.response_headers(&shared.limits, head));
        #[cfg(feature = "audit")]
        if shared.tells.headers {
            #[cfg(feature = "limits")]
            let limit = self.limits.tightest(&shared.limits);
            #[cfg(not(feature = "limits"))]
            let limit = None;
            #[cfg(feature = "retry")]
            let retry = self.retry.told();
            #[cfg(not(feature = "retry"))]
            let retry = None;
            replaced.extend(audit::call::InCall::response_headers(known, head, limit, retry));
        }
        #[cfg(feature = "plan")]
        added.extend(self.plan.response_headers(&shared.plan));
        (added, replaced)
    }

    /// Whether features read the answer's body by themselves.
    pub fn reads_answer(&self) -> bool {
        #[cfg(feature = "tools")]
        if self.tools.reads_answer() {
            return true;
        }
        #[cfg(feature = "trail")]
        if self.trail.reads_answer() {
            return true;
        }
        false
    }

    /// A piece of the answer's body came.
    pub fn response_body(&mut self, bytes: &[u8], now: Nanos) {
        #[cfg(feature = "tools")]
        self.tools.response_body(bytes, now);
        #[cfg(feature = "trail")]
        self.trail.response_body(bytes);
    }

    /// What becomes of a piece of the answer's body is known.
    pub fn response_passes(&mut self, flow: &Flow, bytes: &[u8]) {
        #[cfg(feature = "audit")]
        self.audit.passes(flow, bytes);
    }

    /// Whether the answer's pieces have to be shown to [`Features::watch`].
    pub fn is_watched(&self) -> bool {
        #[cfg(feature = "limits")]
        return self.limits.is_watched();
        #[cfg(not(feature = "limits"))]
        false
    }

    /// A piece of an answer that is watched has been read, `content` bytes of content in all.
    pub fn watch(
        &mut self,
        bytes: &[u8],
        (known, body, content): (Known<'_>, Option<&Body>, u64),
        ratio: Ratio<'_>,
        shared: &Shared,
        (store, now): (&dyn Store, Nanos),
    ) -> Watched {
        #[cfg(feature = "limits")]
        return {
            let answer = limits::call::Watch { api: known.subject.asked.api, body, content };
            self.limits.watch(bytes, answer, ratio, &shared.limits, (store, now))
        };
        #[cfg(not(feature = "limits"))]
        Watched::Forward
    }

    /// Whether the answer was cut here.
    pub fn is_cut(&self) -> bool {
        #[cfg(feature = "limits")]
        return self.limits.is_cut();
        #[cfg(not(feature = "limits"))]
        false
    }

    /// Whether anything is told at the answer's end.
    pub fn tells_end(&self) -> bool {
        #[cfg(feature = "audit")]
        return self.audit.tells_end();
        #[cfg(not(feature = "audit"))]
        false
    }

    /// What is told at the end of the answer's body, where the call stands so; nothing is settled by it.
    pub fn at_end(
        &self,
        call: &Finished<'_>,
        (body, first_token): (Option<&Body>, Option<Span>),
        shared: &Shared,
    ) -> AtEnd {
        #[cfg(feature = "audit")]
        return {
            #[cfg(feature = "cost")]
            let cost = self.cost.cost(call, &shared.cost).map(|cost| cost.total);
            #[cfg(not(feature = "cost"))]
            let cost = None;
            let audit::call::AtEnd { trailers, comment } = self.audit.at_end(call, body, cost, first_token);
            AtEnd { trailers, comment }
        };
        #[cfg(not(feature = "audit"))]
        AtEnd::default()
    }

    /// Why what the call took bought nothing, if that is so.
    pub fn waste(&self, ended: Ended, here: bool) -> Option<Waste> {
        #[cfg(feature = "retry")]
        return self.retry.waste(ended, here);
        #[cfg(not(feature = "retry"))]
        Waste::of(ended, here, false, false)
    }

    /// The call is over. `calls` and `said` are what its model asked for and said, `streamed` that its answer came as a
    /// stream or was asked to.
    pub fn settle(
        &mut self,
        call: &Finished<'_>,
        (calls, said): (Vec<Call>, Option<Box<Said>>),
        (streamed, first_token): (bool, Option<Span>),
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) -> Parts {
        let mut parts = Parts::default();
        #[cfg(feature = "plan")]
        if call.ended == Ended::Complete {
            self.plan.answered(&shared.plan, &calls, said);
        }
        #[cfg(not(feature = "tools"))]
        let tool_failed = false;
        #[cfg(feature = "tools")]
        let tool_failed = {
            let ran = self.tools.ended(call.now);
            #[cfg(feature = "plan")]
            self.plan.ran(&shared.plan, ran.runs.as_deref().unwrap_or_default());
            parts.unread.add(ran.unread);
            let refused = call.ended == Ended::Refused || self.error().is_some();
            let tools = std::mem::take(&mut self.tools);
            let of_tools = tools.settle(call, (calls, ran), refused, &mut shared.tools, (counts, events));
            let failed = of_tools.failed();
            (parts.tool_calls, parts.tool_runs) = (of_tools.calls, of_tools.runs);
            failed
        };
        #[cfg(feature = "cost")]
        {
            parts.cost = self.cost.settle(call, &mut shared.cost, counts);
        }
        let cost = parts.cost.map_or(0, |cost| cost.total);
        #[cfg(feature = "limits")]
        {
            parts.limits = self.limits.settle(call, cost, &mut shared.limits, (counts, events));
        }
        #[cfg(feature = "retry")]
        {
            parts.retry = self.retry.settle(call, tool_failed, &mut shared.retry, (counts, events));
        }
        #[cfg(feature = "plan")]
        {
            #[cfg(feature = "runs")]
            let closes = self.runs.closes();
            #[cfg(not(feature = "runs"))]
            let closes = false;
            parts.plan = self.plan.settle(call, closes, &mut shared.plan, (counts, events));
        }
        #[cfg(feature = "runs")]
        std::mem::take(&mut self.runs).settle(call, parts.cost, &mut shared.runs, (counts, events));
        #[cfg(feature = "trail")]
        {
            let (sources, unread) = self.trail.ended();
            // What is inference too was read once more.
            if !call.known.subject.is_inference() {
                parts.unread.add(unread);
            }
            parts.sources = sources;
        }
        #[cfg(feature = "slo")]
        slo::call::settle(&shared.slos, call, (streamed, first_token), counts);
        parts.error = self.error();
        parts
    }

    /// The error's type of a call that a feature refused or cut.
    fn error(&self) -> Option<&'static str> {
        #[cfg(feature = "limits")]
        if let Some(error) = self.limits.error() {
            return Some(error);
        }
        #[cfg(feature = "retry")]
        if let Some(error) = self.retry.error() {
            return Some(error);
        }
        #[cfg(feature = "plan")]
        if let Some(error) = self.plan.error() {
            return Some(error);
        }
        None
    }

    /// The call's record is made.
    pub fn recorded(
        self,
        (record, sources): (&Record, &[String]),
        shared: &Shared,
        properties: &dyn Properties,
        events: &mut Events,
        (store, now): (&dyn Store, Nanos),
    ) {
        #[cfg(feature = "trail")]
        self.trail.settle((record, sources), &shared.trail, properties, events, (store, now));
    }
}
