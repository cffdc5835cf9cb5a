//! A call and its limits: asked at its head and once its body is known, watched while it answers, settled when it is over.

use super::Stream;
use crate::api::Api;
use crate::policies::learned::{Keys, Learned, Lesson};
use crate::policies::limits::claim::{Claims, Place, Verdict};
use crate::policies::limits::headers::{self, Header};
use crate::policies::limits::rule::{Caller, Money, Size};
use crate::policies::limits::{Admit, Limiter, Question};
use crate::policies::lineage::Lineage;
use crate::port::{Headers, Properties};
use crate::record::{Limited, Usage};
use crate::report::LimitCount;
use crate::shared::Store;
use crate::signals::kind::asks_for_tool;
use crate::units::{Nanos, Span};
use crate::wire::refusal::{self, Kind, Refusal, Shaped};
use crate::wire::seams::Seams;
use crate::worker::Worker;

/// Envoy's `response.code_details` of a call that a limit refused.
const LIMIT_DETAILS: &str = "weir_limit";

/// Envoy's `xds.listener_direction` of traffic that comes in.
const INBOUND: u64 = 1;

/// What one call has to do with limits.
#[derive(Debug, Default)]
pub(super) struct Admission {
    claims: Claims,
    lineage: Lineage,
    route: Option<String>,
    /// Bytes of the body, as the head announces them.
    announced: Option<u64>,
    /// Bytes of it that came.
    came: u64,
    /// How large the call was taken to be.
    size: Size,
    /// With how much known of it (`last`) it was asked already. Its size stands until more is known: who waits would
    /// queue again for the rest.
    sized: Option<bool>,
    /// Under which its size is looked up and learned, once its model is known.
    keys: Option<Keys>,
    /// It was let go with all that is known of it.
    pub(super) sent: bool,
    /// It was answered here.
    refused: bool,
    cut: Cut,
    /// Bytes of content from which on it has to claim more.
    watch: Option<u64>,
    seams: Option<Seams>,
}

/// Whether a stream is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cut {
    #[default]
    No,
    /// By this rule, as soon as an event has ended.
    Soon(usize),
    Done,
}

/// What becomes of a call that wants to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It passes.
    Open,
    /// It is held, and asks again at this time, or at each tick.
    Wait {
        /// When its turn comes, if that is known.
        until: Option<Nanos>,
        /// Where it stands if it is not.
        place: Place,
    },
    /// It is answered here.
    Refuse(Box<OwnAnswer>),
}

/// An answer in the upstream's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAnswer {
    /// Status, content type and body, as the call's API has them.
    pub shaped: Shaped,
    /// What else clients are told.
    pub headers: Vec<Header>,
    /// What Envoy's access log says of it (`%RESPONSE_CODE_DETAILS%`).
    pub details: &'static str,
}

/// What becomes of a piece of an answer that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It goes on.
    Forward,
    /// It goes on as these bytes, and the exchange ends behind them.
    Cut(Vec<u8>),
}

impl Stream {
    /// The request's head, as far as limits want to know it. Gives the `baggage` that it is to have, if another.
    pub fn limit_head(&mut self, head: Headers<'_>, limiter: &Limiter, properties: &dyn Properties) -> Option<Vec<u8>> {
        let admission = &mut self.admission;
        admission.announced = head.text("content-length").and_then(|n| n.trim().parse().ok());
        if limiter.rules.is_empty() {
            return None;
        }
        if limiter.needs.route {
            admission.route = property_text(properties, &["xds", "route_name"]);
        }
        if limiter.needs.tool && self.asked.api == Api::Other {
            self.reads_tool |= asks_for_tool(head);
        }
        if !limiter.needs.lineage {
            return None;
        }
        let baggage = head.get("baggage").unwrap_or_default();
        let direction = properties.property(&["xds", "listener_direction"]).and_then(|v| v.first_chunk().copied());
        let inbound = direction.map(u64::from_le_bytes) == Some(INBOUND);
        self.admission.lineage = Lineage::read(baggage, inbound);
        self.admission.lineage.carried(baggage, &self.call, self.run.as_deref())
    }

    /// Whether all of the request that limits want to know has come.
    pub fn is_asked(&self) -> bool {
        !self.wants_request_body() || self.admission.announced.is_some_and(|all| self.admission.came >= all)
    }

    /// A piece of the request's body came by.
    pub(super) fn announce(&mut self, bytes: usize) {
        self.admission.came = self.admission.came.saturating_add(bytes as u64);
    }

    /// Whether the request's headers are to be held until its body is known.
    pub fn holds_headers(&self) -> bool {
        self.config.admission.hold_headers
            && (!self.config.limits.is_empty() || self.retry_holds() || self.plan_holds())
    }

    /// Whether so much of a body came that no more of it is held.
    pub fn is_held_enough(&self) -> bool {
        self.admission.came >= self.max_held() as u64
    }

    /// The most of a request's body that is held, in bytes.
    pub fn max_held(&self) -> usize {
        self.config.admission.max_held_bytes as usize
    }

    /// Others wait in these lines already, before this call asks for the first time.
    pub fn stands_behind(&mut self, lines: Vec<u64>) {
        self.admission.claims.lines = lines;
    }

    /// Asks the limits. `last` says that all is known that ever will be, `room` that one more call may wait.
    pub fn admit(&mut self, worker: &mut Worker, store: &dyn Store, last: bool, room: bool, now: Nanos) -> Gate {
        let idle = worker.limiter.rules.is_empty() && !self.config.filter_state.tokens;
        if (idle && !self.retry_holds() && !self.plan_looks()) || self.admission.sent || self.admission.refused {
            return Gate::Open;
        }
        // Before all others: what is not planned takes nothing of a budget or a limit.
        if let Some(answer) = self.plan_gate(worker, store, last, now) {
            self.admission.refused = true;
            return Gate::Refuse(answer);
        }
        let size = self.expected(worker, last);
        // First, so that a retry that is refused takes nothing of a limit.
        if let Some(answer) = self.retry_gate(worker, (size.input, size.output), store, last, now) {
            self.admission.refused = true;
            return Gate::Refuse(answer);
        }
        if idle {
            self.admission.sent = last;
            return Gate::Open;
        }
        let Worker { limiter, estimator, .. } = worker;
        let asked = self.request.asked();
        let model = asked.model.as_deref().or(self.asked.model.as_deref());
        let mut claims = std::mem::take(&mut self.admission.claims);
        let question = Question { caller: self.caller(), size, last, room };
        let admit = limiter.admit(&mut claims, &question, store, now);
        let place = claims.place;
        self.admission.claims = claims;
        (self.admission.size, self.admission.sized) = (size, Some(last));
        match admit {
            Admit::Pass => {
                self.admission.sent = last;
                let bytes = |tokens| estimator.output_bytes(model.unwrap_or_default(), tokens);
                self.admission.watch = self.admission.claims.watch.filter(|_| last).map(bytes);
                Gate::Open
            }
            Admit::Until(turn) => Gate::Wait { until: Some(turn), place },
            Admit::Again => Gate::Wait { until: None, place },
            Admit::Refuse(rule, after) => {
                self.admission.refused = true;
                Gate::Refuse(Box::new(self.own_answer(limiter, rule, after)))
            }
        }
    }

    /// Tokens that the call will probably take, as far as it is known.
    fn expected(&mut self, worker: &Worker, last: bool) -> Size {
        if self.admission.sized == Some(last) {
            return self.admission.size;
        }
        let Worker { learned, estimator, .. } = worker;
        let asked = self.request.asked();
        let model = asked.model.as_deref().or(self.asked.model.as_deref());
        let bytes = match asked.prompt_bytes {
            // Of a body that is too large to be held, what is announced.
            read if last && self.request.is_over() => read,
            read => read.max(self.admission.announced.unwrap_or(0)),
        };
        let keys = Keys::of(self.tenant.as_deref(), model, self.admission.route.as_deref());
        let input = learned
            .input(keys, bytes)
            .filter(|_| !(last && self.request.is_over()))
            .unwrap_or_else(|| estimator.input(model.unwrap_or_default(), bytes));
        let output = self.output_to_expect(learned, keys, last);
        let by_price = worker.limiter.needs.prices;
        let money = if by_price { self.expected_price(input) } else { Money::default() };
        self.admission.keys = Some(keys).filter(|_| last);
        Size { input, output, money }
    }

    /// Tokens that the call will probably take, if the config wants it published; none that is not known yet.
    pub fn reserve(&self) -> Option<u64> {
        let Size { input, output, .. } = self.admission.size;
        self.config.filter_state.tokens.then(|| input.saturating_add(output))
    }

    fn caller(&self) -> Caller<'_> {
        let (asked, lineage) = (self.request.asked(), &self.admission.lineage);
        Caller {
            tenant: self.tenant.as_deref(),
            user: self.user.as_deref(),
            run: self.run.as_deref(),
            root: lineage.root.as_deref(),
            parent: lineage.parent.as_deref(),
            depth: lineage.depth,
            model: asked.model.as_deref().or(self.asked.model.as_deref()),
            route: self.admission.route.as_deref(),
            tool: asked.tool().filter(|_| self.reads_tool),
            inference: self.asked.api != Api::Other,
        }
    }

    fn output_to_expect(&self, learned: &Learned, keys: Keys, last: bool) -> u64 {
        let most = self.request.asked().max_tokens.unwrap_or(u64::MAX);
        match self.asked.api {
            api if !api.generates() => 0,
            // A worker that has seen no call yet does not guess before the body says how much it may be, unless another filter
            // is to ask now.
            _ if !last && !self.config.filter_state.tokens => learned.known_output(keys).unwrap_or(0).min(most),
            _ => learned.output(keys).min(most),
        }
    }

    fn own_answer(&self, limiter: &Limiter, rule: usize, after: Option<Span>) -> OwnAnswer {
        let name = limiter.rules.get(rule).map_or("", |rule| &rule.name);
        let refusal = Refusal { kind: Kind::RateLimited, limit: name, why: "", retry_after: after };
        let mut headers: Vec<Header> = vec![("x-weir-limit", name.to_owned())];
        headers.extend(after.iter().flat_map(|after| headers::retry(*after)));
        let claim = self.admission.claims.list.iter().find(|claim| claim.rule == rule);
        if let Some((rule, claim)) = limiter.rules.get(rule).zip(claim) {
            headers.extend(headers::left(rule, claim));
        }
        OwnAnswer { shaped: refusal::body(self.asked.api, &refusal), headers, details: LIMIT_DETAILS }
    }

    /// What the client of a call that passed is told: what is left of its tightest limit. What the upstream says of its own
    /// limits stays as it is.
    pub fn limit_headers(&self, limiter: &Limiter, head: Headers<'_>) -> Vec<Header> {
        let admission = &self.admission;
        if admission.claims.list.is_empty() || admission.refused || !self.config.admission.headers {
            return Vec::new();
        }
        let Some((rule, claim)) = limiter.tightest(&admission.claims) else { return Vec::new() };
        let mut headers = headers::remaining(rule, claim);
        headers.retain(|(name, _)| head.get(name).is_none());
        headers
    }

    /// The tightest of its limits, and what that said.
    pub(super) fn tightest<'a>(&'a self, limiter: &'a Limiter) -> Option<(&'a str, &'static str)> {
        let (rule, claim) = limiter.tightest(&self.admission.claims)?;
        Some((&rule.name, claim.verdict.word()))
    }

    /// Whether the answer's pieces have to be shown to [`Stream::watch`].
    pub fn is_watched(&self) -> bool {
        self.admission.watch.is_some() || self.admission.cut != Cut::No
    }

    /// A piece of an answer that is watched has been read: whether there is enough for it.
    pub fn watch(&mut self, bytes: &[u8], worker: &mut Worker, store: &dyn Store, now: Nanos) -> Watched {
        if self.admission.watch.is_some_and(|watch| self.content_bytes >= watch) {
            self.claim_more(worker, store, now);
        }
        let body = self.answer.as_ref().and_then(|answer| answer.body.as_ref());
        let admission = &mut self.admission;
        if admission.seams.is_none() {
            admission.seams = body.and_then(|body| body.events_apart()).map(Seams::new);
        }
        let rule = match (admission.cut, &mut admission.seams) {
            (Cut::No | Cut::Done, seams) => {
                if let Some(seams) = seams {
                    seams.pass(bytes);
                }
                return Watched::Forward;
            }
            (Cut::Soon(rule), _) => rule,
        };
        // A whole body is not cut: its client would have nothing. One whose events cannot be told apart just ends.
        let Some(seams) = &mut admission.seams else {
            if body.is_some_and(|body| body.is_stream()) {
                admission.cut = Cut::Done;
                return Watched::Cut(bytes.to_vec());
            }
            return Watched::Forward;
        };
        let Some(at) = seams.first(bytes) else { return Watched::Forward };
        let name = worker.limiter.rules.get(rule).map_or("", |rule| &rule.name);
        let refusal = Refusal { kind: Kind::RateLimited, limit: name, why: "", retry_after: None };
        let mut piece = bytes.get(..at).unwrap_or(bytes).to_vec();
        piece.extend(refusal::event(self.asked.api, seams, &refusal).unwrap_or_default());
        admission.cut = Cut::Done;
        Watched::Cut(piece)
    }

    fn claim_more(&mut self, worker: &mut Worker, store: &dyn Store, now: Nanos) {
        let asked = self.request.asked();
        let model = asked.model.as_deref().or(self.asked.model.as_deref()).unwrap_or_default();
        let output = worker.estimator.output(model, self.content_bytes);
        let admission = &mut self.admission;
        let size = Size { output, ..admission.size };
        if let Some(rule) = worker.limiter.extend(&mut admission.claims, size, store, now) {
            admission.cut = Cut::Soon(rule);
        }
        admission.watch = admission.claims.watch.map(|tokens| worker.estimator.output_bytes(model, tokens));
    }

    /// Whether it was cut here.
    pub fn is_cut(&self) -> bool {
        self.admission.cut == Cut::Done
    }

    /// Makes what a long call holds good for longer.
    pub fn renew(&mut self, limiter: &Limiter, store: &dyn Store, now: Nanos) {
        limiter.renew(&mut self.admission.claims, store, now);
    }

    /// The call is over and took this.
    pub(super) fn settle(&mut self, worker: &mut Worker, usage: &Usage, cost: u64, store: &dyn Store, now: Nanos) {
        let is_cut = self.is_cut();
        let claims = &mut self.admission.claims;
        // It was to be cut, but ended first, or came whole.
        for claim in claims.list.iter_mut().filter(|claim| claim.verdict == Verdict::Cut && !is_cut) {
            claim.verdict = Verdict::Warn;
        }
        claims.cost = cost;
        worker.limiter.settle(claims, usage, self.admission.sent, store, now);
    }

    /// What one that ended well teaches of those to come.
    pub(super) fn teach(&self, worker: &mut Worker, usage: &Usage) {
        let caller = self.caller();
        let wanted = !worker.limiter.rules.is_empty() || self.config.filter_state.tokens;
        let Some(output) = usage.output.filter(|_| wanted) else { return };
        let input = usage.input.zip(self.admission.announced);
        let keys = || Keys::of(caller.tenant, caller.model, caller.route);
        worker.learned.learn(self.admission.keys.unwrap_or_else(keys), Lesson { output, input });
    }

    /// For the record.
    pub(super) fn limited(&self, limiter: &Limiter) -> Vec<Limited> {
        let of = |amount: u64, rule: &crate::policies::limits::rule::Rule| rule.whole(amount);
        let claims = self.admission.claims.list.iter();
        let known = claims.filter_map(|claim| Some((claim, limiter.rules.get(claim.rule)?)));
        let limited = known.map(|(claim, rule)| Limited {
            name: rule.name.to_string(),
            verdict: claim.verdict.word(),
            reserved: of(claim.reserved, rule),
            charged: of(claim.charged, rule),
            waited_ms: claim.waited.as_ms(),
        });
        limited.collect()
    }

    /// For the metrics.
    pub(super) fn limit_counts(&self, limiter: &Limiter) -> Vec<LimitCount> {
        let caller = self.caller();
        let claims = self.admission.claims.list.iter();
        let known = claims.filter_map(|claim| Some((claim, limiter.rules.get(claim.rule)?)));
        let counts = known.map(|(claim, rule)| LimitCount {
            rule: claim.rule,
            verdict: claim.verdict as u8,
            waited: Some(claim.waited).filter(|w| *w > Span(0)),
            left: claim
                .left
                .filter(|_| rule.has_few_keys())
                .map(|left| (rule.key_text(&caller), rule.whole(left.amount))),
        });
        counts.collect()
    }

    /// What was seen of the store.
    pub(super) fn store_events(&self) -> crate::shared::Events {
        self.admission.claims.events
    }

    /// Whether it was answered here.
    pub(super) fn is_refused(&self) -> bool {
        self.admission.refused
    }

    /// Whether a limit cut it, or refused it.
    pub(super) fn held_by_limit(&self) -> bool {
        let bit = |verdict| matches!(verdict, Verdict::Refuse | Verdict::Cut | Verdict::Closed);
        self.admission.claims.list.iter().any(|claim| bit(claim.verdict))
    }

    /// Envoy's route, if limits wanted to know it.
    pub(super) fn known_route(&self) -> Option<String> {
        self.admission.route.clone()
    }
}

pub(super) fn property_text(properties: &dyn Properties, path: &[&str]) -> Option<String> {
    let value = properties.property(path)?;
    (!value.is_empty()).then(|| super::text(&value, super::MAX_CALL))
}
