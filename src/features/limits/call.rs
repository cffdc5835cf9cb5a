//! A call and its limits: asked at its head and once its body is known, watched while it answers, settled when it is over.

use std::ops::ControlFlow;

use super::Shared;
use super::claim::{Claims, Verdict};
use super::headers;
use super::limiter::{Admit, Question};
use super::lineage::Lineage;
use super::rule::Caller;
use crate::api::Api;
use crate::call::finished::Finished;
use crate::call::gate::{AtGate, Hold, Watched};
use crate::call::head::{AtHead, HeadEdits};
use crate::call::reply::{Header, LocalReply, retry_after};
use crate::call::size::Size;
use crate::call::subject::{Known, property_number};
use crate::metrics::{Counts, Id, Series};
use crate::port::Headers;
use crate::record::Limited;
use crate::shared::{Events, Store};
use crate::signals::estimate::Ratio;
use crate::units::{Nanos, Span};
use crate::wire::body::Body;
use crate::wire::refusal::{self, Kind, Refusal};
use crate::wire::seams::Seams;

/// Envoy's `response.code_details` of a call that a limit refused.
const DETAILS: &str = "weir_limit";
/// What the record says of a call that a limit refused or cut.
const LIMITED: &str = "rate_limit_exceeded";
/// Envoy's `xds.listener_direction` of traffic that comes in.
const INBOUND: u64 = 1;

/// What one call has to do with limits.
#[derive(Debug, Default)]
pub struct InCall {
    claims: Claims,
    lineage: Lineage,
    /// How large the call was taken to be when it was let go.
    size: Size,
    /// A limit refused it.
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

/// An answer whose pieces are watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The call's API.
    pub api: Api,
    /// Its body, where it is read.
    pub body: Option<&'a Body>,
    /// Bytes of content that came so far.
    pub content: u64,
}

impl InCall {
    /// The request's headers: where the call stands in its run's tree, and the `baggage` that says so to those behind it.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &Shared, edits: &mut HeadEdits) {
        if !shared.limiter.needs.lineage {
            return;
        }
        let baggage = at.head.get("baggage").unwrap_or_default();
        let inbound = property_number(at.properties, &["xds", "listener_direction"]) == Some(INBOUND);
        self.lineage = Lineage::read(baggage, inbound);
        let carried = self.lineage.carried(baggage, &at.subject.call, at.subject.run.as_deref());
        edits.replace.extend(carried.map(|value| ("baggage", value)));
    }

    /// Calls stand in these queues already, before this one asks for the first time.
    pub fn stands_behind(&mut self, queues: Vec<u64>) {
        self.claims.queues = queues;
    }

    /// Asks all limits.
    pub fn gate(&mut self, at: &AtGate<'_>, ratio: Ratio<'_>, shared: &mut Shared) -> ControlFlow<Hold> {
        let mut claims = std::mem::take(&mut self.claims);
        let question = Question { caller: self.caller(at.known), size: at.size, last: at.last, room: at.room };
        let admit = shared.limiter.admit(&mut claims, &question, at.store, at.now);
        let position = claims.position;
        (self.claims, self.size) = (claims, at.size);
        match admit {
            Admit::Pass => {
                self.watch = self.claims.watch.filter(|_| at.last).map(|tokens| ratio.bytes(tokens));
                ControlFlow::Continue(())
            }
            Admit::Until(turn) => ControlFlow::Break(Hold::Wait { until: Some(turn), position }),
            Admit::Again => ControlFlow::Break(Hold::Wait { until: None, position }),
            Admit::Refuse(rule, after) => {
                self.refused = true;
                ControlFlow::Break(Hold::Refuse(Box::new(self.reply(at.known, shared, rule, after))))
            }
        }
    }

    fn caller<'a>(&'a self, known: Known<'a>) -> Caller<'a> {
        let (subject, lineage) = (known.subject, &self.lineage);
        Caller {
            tenant: subject.tenant.as_deref(),
            user: subject.user.as_deref(),
            run: subject.run.as_deref(),
            root: lineage.root.as_deref(),
            parent: lineage.parent.as_deref(),
            depth: lineage.depth,
            model: known.model(),
            route: subject.route.as_deref(),
            tool: known.tool(),
            batch: known.batch(),
            inference: subject.is_inference(),
            unread: known.is_unread(),
            model_sure: known.is_model_sure(),
        }
    }

    fn reply(&self, known: Known<'_>, shared: &Shared, rule: usize, after: Option<Span>) -> LocalReply {
        let rules = &shared.limiter.rules;
        let name = rules.get(rule).map_or("", |rule| &rule.name);
        let refusal = Refusal { kind: Kind::RateLimited, limit: name, why: "", retry_after: after };
        let mut headers: Vec<Header> = vec![("x-weir-limit", name.to_owned())];
        headers.extend(after.iter().flat_map(|after| retry_after(*after)));
        let claim = self.claims.list.iter().rfind(|claim| claim.rule == rule);
        if let Some((rule, claim)) = rules.get(rule).zip(claim) {
            headers.extend(headers::left(rule, claim));
        }
        LocalReply { shaped: refusal::body(known.subject.asked.api, &refusal), headers, details: DETAILS }
    }

    /// What the client of a call that passed is told: what is left of its tightest limit. What the upstream says of its own
    /// limits stays as it is.
    pub fn response_headers(&self, shared: &Shared, head: Headers<'_>) -> Vec<Header> {
        if self.claims.list.is_empty() || self.refused || !shared.headers {
            return Vec::new();
        }
        let Some((rule, claim)) = shared.limiter.tightest(&self.claims) else { return Vec::new() };
        let mut headers = headers::remaining(rule, claim);
        headers.retain(|(name, _)| head.get(name).is_none());
        headers
    }

    /// The tightest of its limits, and what that said.
    pub fn tightest<'a>(&'a self, shared: &'a Shared) -> Option<(&'a str, &'static str)> {
        let (rule, claim) = shared.limiter.tightest(&self.claims)?;
        Some((&rule.name, claim.verdict.word()))
    }

    /// Whether the answer's pieces have to be shown to [`InCall::watch`].
    pub fn is_watched(&self) -> bool {
        self.watch.is_some() || self.cut != Cut::No
    }

    /// A piece of an answer that is watched has been read: whether there is enough for it.
    pub fn watch(
        &mut self,
        bytes: &[u8],
        answer: Watch<'_>,
        ratio: Ratio<'_>,
        shared: &Shared,
        (store, now): (&dyn Store, Nanos),
    ) -> Watched {
        let Watch { api, body, content } = answer;
        if self.watch.is_some_and(|watch| content >= watch) {
            let size = Size { output: ratio.tokens(content), ..self.size };
            if let Some(rule) = shared.limiter.extend(&mut self.claims, size, store, now) {
                self.cut = Cut::Soon(rule);
            }
            self.watch = self.claims.watch.map(|tokens| ratio.bytes(tokens));
        }
        if self.seams.is_none() {
            self.seams = body.and_then(|body| body.events_apart()).map(Seams::new);
        }
        let rule = match (self.cut, &mut self.seams) {
            (Cut::No | Cut::Done, seams) => {
                if let Some(seams) = seams {
                    seams.pass(bytes);
                }
                return Watched::Forward;
            }
            (Cut::Soon(rule), _) => rule,
        };
        // A whole body is not cut: its client would have nothing. One whose events cannot be told apart just ends.
        let Some(seams) = &mut self.seams else {
            if body.is_some_and(|body| body.is_stream()) {
                self.cut = Cut::Done;
                return Watched::Cut(bytes.to_vec());
            }
            return Watched::Forward;
        };
        let Some(at) = seams.first(bytes) else { return Watched::Forward };
        let name = shared.limiter.rules.get(rule).map_or("", |rule| &rule.name);
        let refusal = Refusal { kind: Kind::RateLimited, limit: name, why: "", retry_after: None };
        let mut piece = bytes.get(..at).unwrap_or(bytes).to_vec();
        piece.extend(refusal::event(api, seams, &refusal).unwrap_or_default());
        self.cut = Cut::Done;
        Watched::Cut(piece)
    }

    /// Whether it was cut here.
    pub fn is_cut(&self) -> bool {
        self.cut == Cut::Done
    }

    /// The error's type of a call that a limit refused or cut.
    pub fn error(&self) -> Option<&'static str> {
        let bit = |verdict| matches!(verdict, Verdict::Refuse | Verdict::Cut | Verdict::Closed);
        self.claims.list.iter().any(|claim| bit(claim.verdict)).then_some(LIMITED)
    }

    /// Renews what a long call holds.
    pub fn renew(&mut self, shared: &Shared, store: &dyn Store, now: Nanos) {
        shared.limiter.renew(&mut self.claims, store, now);
    }

    /// The call is over, and cost so many nano-dollars: what it holds is settled.
    pub fn settle(
        &mut self,
        call: &Finished<'_>,
        cost: u64,
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) -> Vec<Limited> {
        let is_cut = self.is_cut();
        // It was to be cut, but ended first, or came whole.
        for claim in self.claims.list.iter_mut().filter(|claim| claim.verdict == Verdict::Cut && !is_cut) {
            claim.verdict = Verdict::Warn;
        }
        self.claims.cost = cost;
        shared.limiter.settle(&mut self.claims, call.usage, call.sent, call.store, call.now);
        events.add(self.claims.events);
        let caller = self.caller(call.known);
        let mut limited: Vec<Limited> = Vec::with_capacity(self.claims.list.len());
        for claim in &self.claims.list {
            let Some(rule) = shared.limiter.rules.get(claim.rule) else { continue };
            let at = claim.rule as u16;
            counts.sample(Series { id: Id::Limit, value: claim.verdict as u8 }, [at, 0, 0, 0], 1);
            if claim.waited > Span(0) {
                counts.sample(Id::LimitWait, [at, 0, 0, 0], claim.waited.round_ms());
            }
            if let Some(left) = claim.left.filter(|_| rule.has_few_keys())
                && let Some(key) = shared.keys.number(claim.rule, &rule.key_text(&caller))
            {
                counts.sample(Id::LimitRemaining, [at, key, 0, 0], rule.whole(left.amount));
            }
            // The tools of a batch are one line, with the worst of what was said.
            if claim.part > 0
                && let Some(line) = limited.last_mut()
            {
                line.reserved = line.reserved.saturating_add(rule.whole(claim.reserved));
                line.charged = line.charged.saturating_add(rule.whole(claim.charged));
                line.waited_ms = line.waited_ms.max(claim.waited.as_ms());
                if claim.verdict != Verdict::Pass {
                    line.verdict = claim.verdict.word();
                }
                continue;
            }
            limited.push(Limited {
                name: rule.name.to_string(),
                verdict: claim.verdict.word(),
                reserved: rule.whole(claim.reserved),
                charged: rule.whole(claim.charged),
                waited_ms: claim.waited.as_ms(),
            });
        }
        limited
    }
}
