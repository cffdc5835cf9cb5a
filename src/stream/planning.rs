//! A call and its run's plan: declared at its head, asked before the call is sent, moved along when it is over.

use super::Stream;
use super::admission::{OwnAnswer, property_text};
use super::declaring::Written;
use crate::api::Api;
use crate::baggage;
use crate::config::plan::Enforce;
use crate::policies::limits::headers::Header;
use crate::policies::plan::align::Done;
use crate::policies::plan::syntax::{MAX_NAME, NoPlan};
use crate::policies::plan::{Made, Seen, Stand, Verdict};
use crate::port::{Headers, Properties};
use crate::record::{Ended, PlanStep};
use crate::report::Planned;
use crate::shared::{Events, Store};
use crate::signals::identity;
use crate::signals::kind::{asks_for_tool, is_mcp};
use crate::units::Nanos;
use crate::wire::refusal::{self, Kind, Refusal};
use crate::worker::Worker;

/// For Envoy's access log and the record: the call was not in its run's plan.
const NOT_PLANNED: &str = "plan_violation";
/// Envoy's `response.code_details` of it.
const DETAILS: &str = "weir_plan";

/// What one call has to do with its run's plan.
#[derive(Debug, Default)]
pub(super) struct Planning {
    /// Somebody looks, and the call is part of a run.
    on: bool,
    /// It speaks MCP: only what asks for a tool is a step.
    mcp: bool,
    pub route: Option<String>,
    target: Option<String>,
    asked: bool,
    /// The plan under which it was let go, and where it stood then.
    found: Option<(u64, Option<Stand>)>,
    refused: bool,
    /// Its answer may have a plan in it, as far as its headers tell.
    pub reads_answer: bool,
    /// The plan that a model wrote.
    pub written: Option<Written>,
    seen: Seen,
    events: Events,
}

impl Stream {
    /// The request's head, as far as plans want to know it. One that it declares is its run's from here on.
    pub fn plan_head(
        &mut self,
        head: Headers<'_>,
        worker: &mut Worker,
        properties: &dyn Properties,
        store: &dyn Store,
        now: Nanos,
    ) {
        let Some((plans, run)) = worker.plans.as_mut().zip(self.run.as_deref()) else { return };
        let config = std::rc::Rc::clone(&self.config);
        let Some(plan) = &config.plan else { return };
        let reads_answer = plan.answer.is_some() && self.plan_is_asked(head);
        let planning = &mut self.planning;
        (planning.on, planning.reads_answer) = (true, reads_answer);
        planning.mcp = self.asked.api == Api::Other && is_mcp(head);
        self.reads_tool |= self.asked.api == Api::Other && asks_for_tool(head);
        planning.route = property_text(properties, &["xds", "route_name"]);
        planning.target = plan.target_header.as_ref().and_then(|name| identity::printable(head.get(name.as_str())?));
        let by_header = head.get(plan.header.as_str()).map(<[u8]>::to_vec);
        let by_baggage = || {
            let value = baggage::member(head.get("baggage")?, plan.baggage.as_deref()?)?;
            Some(baggage::decoded(value))
        };
        let Some(text) = by_header.or_else(by_baggage) else { return };
        // What is no text is no plan either.
        let text = std::str::from_utf8(&text).map(str::trim_ascii).map_err(|_| NoPlan::Syntax);
        let whose = (self.tenant.as_deref(), run);
        plans.declare(whose, text, &mut planning.seen, &mut planning.events, store, now);
    }

    /// Whether plans want to be asked before the call is sent.
    pub(super) fn plan_looks(&self) -> bool {
        self.planning.on
    }

    /// Whether the request's headers are better held until it is known which tool is called.
    pub(super) fn plan_holds(&self) -> bool {
        self.planning.on && self.config.plan.as_ref().is_some_and(|plan| plan.enforce == Enforce::Refuse)
    }

    /// Which steps the call is: a tool that ran, a source that was asked. What is neither is one only in plans that name
    /// it. Nothing of MCP but tools' calls is a step, and each of a batch is one.
    fn plan_steps(&self) -> Vec<Made<'_>> {
        let asked = self.request.asked();
        let tools = asked.tools_called().filter(|_| self.reads_tool);
        let made: Vec<Made<'_>> = tools.map(|tool| self.plan_step(Some(tool))).collect();
        if !made.is_empty() || self.planning.mcp {
            return made;
        }
        vec![self.plan_step(self.kind.as_ref().and_then(|kind| kind.name.as_deref()))]
    }

    fn plan_step<'a>(&'a self, tool: Option<&'a str>) -> Made<'a> {
        let asked = self.request.asked();
        let kind = self.kind.as_ref().map(|kind| &*kind.word);
        let model = asked.model.as_deref().or(self.asked.model.as_deref()).filter(|_| self.asked.api != Api::Other);
        let target = self.planning.target.as_deref().or(model);
        // To say what the plan is, is no part of it.
        let declares = tool.is_some_and(|tool| self.is_plan_tool(tool));
        let always = !declares && (tool.is_some() || matches!(kind, Some("tool" | "retrieval" | "rerank")));
        Made { done: Done { tool, route: self.planning.route.as_deref(), kind, target }, always }
    }

    /// Asks where the call stands in its run's plan, once all is known of it. Gives the answer of a call that is refused.
    pub(super) fn plan_gate(
        &mut self,
        worker: &mut Worker,
        store: &dyn Store,
        last: bool,
        now: Nanos,
    ) -> Option<Box<OwnAnswer>> {
        if !self.planning.on || !last || std::mem::replace(&mut self.planning.asked, true) {
            return None;
        }
        let (plans, run) = worker.plans.as_mut().zip(self.run.as_deref())?;
        let mut events = Events::default();
        let found = plans.peek((self.tenant.as_deref(), run), &self.plan_steps(), &mut events, store, now);
        self.planning.events.add(events);
        self.planning.found = found;
        let (_, stand) = self.planning.found.as_ref()?;
        let stand = stand.as_ref().filter(|_| self.plan_holds())?;
        if matches!(stand.verdict, Verdict::Matched | Verdict::Skipped) {
            return None;
        }
        let why = diverged(stand);
        let shaped = if self.planning.mcp || self.reads_tool {
            refusal::json_rpc(&why)
        } else {
            let refusal = Refusal { kind: Kind::Forbidden, limit: "", why: &why, retry_after: None };
            refusal::body(self.asked.api, &refusal)
        };
        let headers = vec![("x-weir-plan", told(stand, false)), ("x-should-retry", "false".to_owned())];
        self.planning.refused = true;
        Some(Box::new(OwnAnswer { shaped, headers, details: DETAILS }))
    }

    /// What the client of a step is told of where it stands.
    pub fn plan_headers(&self) -> Vec<Header> {
        let stand = self.planning.found.as_ref().and_then(|(_, stand)| stand.as_ref());
        let Some((stand, plan)) = stand.filter(|_| !self.planning.refused).zip(self.config.plan.as_ref()) else {
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
    pub(super) fn plan_error(&self) -> Option<&'static str> {
        self.planning.refused.then_some(NOT_PLANNED)
    }

    /// The call is over: where it stood in its run's plan, for the record, and what became of plans.
    ///
    /// One that failed, or was answered in front of the upstream, moves nothing: whoever made it makes it again.
    pub(super) fn plan_settle(
        &mut self,
        worker: &mut Worker,
        (ended, status): (Ended, Option<u16>),
        store: &dyn Store,
        now: Nanos,
    ) -> Option<(Option<PlanStep>, Planned)> {
        if !self.planning.on {
            return None;
        }
        let found = self.planning.found.take();
        let (mut seen, mut events) = (std::mem::take(&mut self.planning.seen), self.planning.events);
        let refused = self.planning.refused;
        let fine = ended != Ended::Refused && status.is_some_and(|status| status < 400);
        let closes = self.outcome.is_some() && fine;
        let stands = match found {
            Some((_, asked)) if refused => asked.map(|stand| (stand.clone(), vec![stand.verdict])),
            Some((hash, asked)) if fine && (asked.is_some() || closes) => {
                let whose = (self.tenant.as_deref(), self.run.as_deref().unwrap_or_default());
                let plans = worker.plans.as_mut()?;
                plans.go((whose, hash), (&self.plan_steps(), closes), &mut seen, &mut events, store, now)
            }
            _ => None,
        };
        // What it brought is a plan for what comes after it, if anything does.
        if let Some(written) = self.planning.written.take().filter(|_| fine && ended == Ended::Complete && !closes) {
            let (plans, whose) = (worker.plans.as_mut()?, (self.tenant.as_deref(), self.run.as_deref()?));
            plans.declare(whose, written.as_deref().map_err(|why| *why), &mut seen, &mut events, store, now);
        }
        let (stand, verdicts) = stands.unzip();
        let step = stand.map(|stand| PlanStep {
            step: stand.step.map(u32::from),
            of: stand.of.into(),
            verdict: stand.verdict.word(),
            expected: stand.expected.filter(|_| stand.verdict != Verdict::Matched),
            got: Some(stand.got).filter(|_| stand.verdict != Verdict::Matched),
            // What was not sent changes nothing.
            adherence: Some(stand.adherence).filter(|_| !refused),
        });
        Some((step, Planned { verdicts: verdicts.unwrap_or_default(), seen, store: events }))
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
