//! A call and its run's plan: declared at its head, asked before the call is sent, moved along when it is over.

use std::ops::ControlFlow;

use super::Shared;
use super::align::Done;
use super::config::{Enforce, Plan};
use super::declaring::Written;
use super::plans::{Made, Seen, Stand, Verdict};
use super::syntax::{MAX_NAME, NoPlan};
use crate::baggage;
use crate::call::finished::Finished;
use crate::call::gate::{AtGate, Hold};
use crate::call::head::AtHead;
use crate::call::reply::{Header, LocalReply};
use crate::call::subject::Known;
use crate::metrics::{Counts, Id, Series};
use crate::record::{Ended, PlanStep};
use crate::shared::Events;
use crate::signals::identity;
use crate::wire::refusal::{self, Kind, Refusal};

/// For Envoy's access log and the record: the call was not in its run's plan.
const NOT_PLANNED: &str = "plan_violation";
/// Envoy's `response.code_details` of it.
const DETAILS: &str = "weir_plan";

/// What one call has to do with its run's plan.
#[derive(Debug, Default)]
pub struct InCall {
    /// Plans are enabled, and the call is part of a run.
    on: bool,
    /// What is not planned is refused.
    refuses: bool,
    target: Option<String>,
    asked: bool,
    /// The plan under which it was let go, and where it stood then.
    found: Option<(u64, Option<Stand>)>,
    refused: bool,
    /// Its answer may have a plan in it, as far as its headers tell.
    pub(super) reads_answer: bool,
    /// The plan that a model wrote.
    pub(super) written: Option<Written>,
    seen: Seen,
    events: Events,
}

impl InCall {
    /// The request's headers. A plan that they declare is its run's from here on.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &mut Shared) {
        let Shared { config: Some(plan), plans: Some(plans) } = shared else { return };
        let (head, subject) = (at.head, at.subject);
        let Some(run) = subject.run.as_deref() else { return };
        (self.on, self.refuses) = (true, plan.enforce == Enforce::Refuse);
        self.reads_answer = plan.is_asked_in_answers(head);
        self.target = plan.target_header.as_ref().and_then(|name| identity::printable(head.get(name.as_str())?));
        let by_header = head.get(plan.header.as_str()).map(<[u8]>::to_vec);
        let by_baggage = || {
            let value = baggage::member(head.get("baggage")?, plan.baggage.as_deref()?)?;
            Some(baggage::decoded(value))
        };
        let Some(text) = by_header.or_else(by_baggage) else { return };
        // What is no text is no plan either.
        let text = std::str::from_utf8(&text).map(str::trim_ascii).map_err(|_| NoPlan::Syntax);
        let whose = (subject.tenant.as_deref(), run);
        plans.declare(whose, text, &mut self.seen, &mut self.events, at.store, at.now);
    }

    /// Whether plans are asked before the call is sent.
    pub fn enabled(&self) -> bool {
        self.on
    }

    /// Whether the request's headers are better held until it is known which tool is called.
    pub fn holds(&self) -> bool {
        self.on && self.refuses
    }

    /// Which steps the call is: a tool that ran, a source that was asked. What is neither is one only in plans that name
    /// it. Nothing of MCP but tools' calls is a step, and each of a batch is one.
    fn steps<'a>(&'a self, known: Known<'a>, plan: &Plan) -> Vec<Made<'a>> {
        let made: Vec<Made<'_>> = known.tools().map(|tool| self.step(known, plan, Some(tool))).collect();
        if !made.is_empty() || known.subject.mcp {
            return made;
        }
        let tool = known.subject.kind.as_ref().and_then(|kind| kind.name.as_deref());
        vec![self.step(known, plan, tool)]
    }

    fn step<'a>(&'a self, known: Known<'a>, plan: &Plan, tool: Option<&'a str>) -> Made<'a> {
        let subject = known.subject;
        let kind = subject.kind.as_ref().map(|kind| &*kind.word);
        let model = known.model().filter(|_| subject.is_inference());
        let target = self.target.as_deref().or(model);
        // To say what the plan is, is no part of it.
        let declares = tool.is_some_and(|tool| plan.is_plan_tool(tool));
        let always = !declares && (tool.is_some() || matches!(kind, Some("tool" | "retrieval" | "rerank")));
        Made { done: Done { tool, route: subject.route.as_deref(), kind, target }, always }
    }

    /// Asks where the call stands in its run's plan, once all is known of it.
    pub fn gate(&mut self, at: &AtGate<'_>, shared: &mut Shared) -> ControlFlow<Hold> {
        if !self.on || !at.last || std::mem::replace(&mut self.asked, true) {
            return ControlFlow::Continue(());
        }
        match self.refusal(at, shared) {
            Some(reply) => ControlFlow::Break(Hold::Refuse(Box::new(reply))),
            None => ControlFlow::Continue(()),
        }
    }

    fn refusal(&mut self, at: &AtGate<'_>, shared: &mut Shared) -> Option<LocalReply> {
        let Shared { config: Some(plan), plans: Some(plans) } = shared else { return None };
        let AtGate { known, store, now, .. } = *at;
        let subject = known.subject;
        let whose = (subject.tenant.as_deref(), subject.run.as_deref()?);
        let mut events = Events::default();
        let found = plans.peek(whose, &self.steps(known, plan), &mut events, store, now);
        self.events.add(events);
        self.found = found;
        let (_, stand) = self.found.as_ref()?;
        let stand = stand.as_ref().filter(|_| self.holds())?;
        if matches!(stand.verdict, Verdict::Matched | Verdict::Skipped) {
            return None;
        }
        let why = diverged(stand);
        let shaped = if subject.mcp || known.tool().is_some() {
            refusal::json_rpc(&why)
        } else {
            let refusal = Refusal { kind: Kind::Forbidden, limit: "", why: &why, retry_after: None };
            refusal::body(subject.asked.api, &refusal)
        };
        let headers = vec![("x-weir-plan", told(stand, false)), ("x-should-retry", "false".to_owned())];
        self.refused = true;
        Some(LocalReply { shaped, headers, details: DETAILS })
    }

    /// What the client of a step is told of where it stands.
    pub fn response_headers(&self, shared: &Shared) -> Vec<Header> {
        let stand = self.found.as_ref().and_then(|(_, stand)| stand.as_ref());
        let Some((stand, plan)) = stand.filter(|_| !self.refused).zip(shared.config.as_ref()) else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        if plan.headers {
            headers.push(("x-weir-plan", told(stand, true)));
        }
        if plan.enforce == Enforce::Warn && stand.verdict != Verdict::Matched {
            headers.push(("x-weir-plan-warning", diverged(stand)));
        }
        headers
    }

    /// The error's type of a call that was refused here.
    pub fn error(&self) -> Option<&'static str> {
        self.refused.then_some(NOT_PLANNED)
    }

    /// The call is over: where it stood in its run's plan, for the record, and what became of plans. `closes` says that it
    /// names its run's outcome.
    ///
    /// One that failed, or was answered in front of the upstream, moves nothing: whoever made it makes it again.
    pub fn settle(
        &mut self,
        call: &Finished<'_>,
        closes: bool,
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) -> Option<PlanStep> {
        let Shared { config: Some(plan), plans: Some(plans) } = shared else { return None };
        let (known, store, now) = (call.known, call.store, call.now);
        let subject = known.subject;
        let run = subject.run.as_deref().filter(|_| self.on)?;
        let whose = (subject.tenant.as_deref(), run);
        let (mut seen, mut seen_events) = (std::mem::take(&mut self.seen), self.events);
        let fine = call.ended != Ended::Refused && call.is_answered();
        let closes = closes && fine;
        let stands = match self.found.take() {
            Some((_, asked)) if self.refused => asked.map(|stand| (stand.clone(), vec![stand.verdict])),
            Some((hash, asked)) if fine && (asked.is_some() || closes) => {
                plans.go((whose, hash), (&self.steps(known, plan), closes), &mut seen, &mut seen_events, store, now)
            }
            _ => None,
        };
        // What it brought is a plan for what comes after it, if anything does.
        if let Some(written) = self.written.take().filter(|_| fine && call.ended == Ended::Complete && !closes) {
            plans.declare(whose, written.as_deref().map_err(|why| *why), &mut seen, &mut seen_events, store, now);
        }
        let (stand, verdicts) = stands.unzip();
        for verdict in verdicts.unwrap_or_default() {
            counts.add(Series { id: Id::PlanSteps, value: verdict as u8 }, 1);
        }
        for percent in seen.closed {
            counts.sample(Id::PlanAdherence, [0; 4], percent.into());
        }
        for declared in seen.declared {
            counts.sample(Series { id: Id::Plans, value: declared as u8 }, [0; 4], 1);
        }
        events.add(seen_events);
        stand.map(|stand| PlanStep {
            step: stand.step.map(u32::from),
            of: stand.of.into(),
            verdict: stand.verdict.word(),
            expected: stand.expected.filter(|_| stand.verdict != Verdict::Matched),
            got: Some(stand.got).filter(|_| stand.verdict != Verdict::Matched),
            // What was not sent changes nothing.
            adherence: Some(stand.adherence).filter(|_| !self.refused),
        })
    }
}

/// `step=3/5;verdict=matched;adherence=80`
fn told(stand: &Stand, sent: bool) -> String {
    let mut told = String::from("step=");
    match stand.step {
        Some(step) => told.push_str(&step.to_string()),
        None => told.push('-'),
    }
    for part in ["/", &stand.of.to_string(), ";verdict=", stand.verdict.word()] {
        told.push_str(part);
    }
    if sent {
        told.push_str(";adherence=");
        told.push_str(&stand.adherence.to_string());
    }
    told
}

/// The divergence, as a sentence for whoever wrote the agent, and for the agent.
fn diverged(stand: &Stand) -> String {
    let of = stand.of.to_string();
    let mut why = String::from("Not as planned: ");
    match (stand.step, &stand.expected) {
        (Some(step), Some(expected)) => {
            for part in ["step ", &step.to_string(), " of ", &of, ", expected ", expected] {
                why.push_str(part);
            }
        }
        _ => {
            for part in ["all ", &of, " steps are done"] {
                why.push_str(part);
            }
        }
    }
    why.push_str(", got ");
    // It comes from a body, and goes into a header.
    let fine = |char: char| if char == ' ' || char.is_ascii_graphic() { char } else { '_' };
    why.extend(stand.got.chars().take(MAX_NAME).map(fine));
    why.push('.');
    why
}
