//! Plans that a model writes: in a tool call that it asks for, or in its answer. They are its run's once the call that brought
//! them has ended well.

use super::call::InCall;
use super::config::{Plan, PlanTool};
use super::syntax::NoPlan;
use super::written::{self, MAX_WRITTEN};
use super::{Shared, config};
use crate::call::subject::Known;
use crate::config::values::fits;
use crate::port::Headers;
use crate::wire::arguments::{Arguments, Wanted, is_tool};
use crate::wire::body::Body;
use crate::wire::calls::Call;
use crate::wire::rpc::{Answered, Run};
use crate::wire::said::Said;

/// A plan that a call brought, or why there is none.
pub(super) type Written = Result<String, NoPlan>;

impl Plan {
    /// The tool whose arguments are a plan.
    fn wanted(&self) -> Option<Wanted> {
        let tool = self.tool.as_ref()?;
        Some(Wanted { tool: tool.name.clone(), most: MAX_WRITTEN })
    }

    /// Whether a tool of this name does nothing but declare a plan.
    pub(super) fn is_plan_tool(&self, name: &str) -> bool {
        self.tool.as_ref().is_some_and(|tool| is_tool(&tool.name, name))
    }

    /// Whether a call with these headers is one of those whose answers have plans.
    pub(super) fn is_asked_in_answers(&self, head: Headers<'_>) -> bool {
        let header = self.answer.as_ref().map(|answer| answer.header.as_ref());
        header.is_some_and(|header| {
            header.is_none_or(|header| head.get(header.as_str()).is_some_and(|value| !value.is_empty()))
        })
    }
}

impl Shared {
    /// The tool whose arguments are the plan of a call's run: nobody's without a run.
    pub fn wanted(&self, run: Option<&str>) -> Option<Wanted> {
        self.config.as_ref().filter(|_| run.is_some())?.wanted()
    }
}

impl InCall {
    /// The answer of a model is to be read: its text is kept, if it is one that has a plan.
    pub fn reads(&self, known: Known<'_>, shared: &Shared, body: &mut Body) {
        let answer = shared.config.as_ref().and_then(|plan| plan.answer.as_ref()).filter(|_| self.reads_answer);
        let Some(config::PlanAnswer { matches, .. }) = answer else { return };
        let subject = known.subject;
        if fits(&matches.model, &[known.model()])
            && fits(&matches.route, &[subject.route.as_deref()])
            && fits(&matches.tenant, &[subject.tenant.as_deref()])
        {
            body.keep_text(MAX_WRITTEN);
        }
    }

    /// The answer of a model is over, in order: it may have a plan in what it says, or in a tool that it asks for.
    pub fn answered(&mut self, shared: &Shared, calls: &[Call], said: Option<Box<Said>>) {
        let Some(plan) = shared.config.as_ref().filter(|_| self.enabled()) else { return };
        let said = said.map(|said| said.finish()).filter(|(text, _)| !text.is_empty());
        let in_text = plan.answer.as_ref().zip(said);
        let in_text = in_text.map(|(answer, (text, cut))| written::in_text(&text, cut, &answer.pointer));
        // Whoever asks for it more than once means the last.
        let call = calls.iter().rfind(|call| plan.is_plan_tool(&call.name));
        let in_call = call.and_then(|call| in_arguments(plan.tool.as_ref(), &call.arguments));
        self.written = in_call.or(in_text).or(self.written.take());
    }

    /// Tools ran: one of them may be that which declares a plan.
    pub fn ran(&mut self, shared: &Shared, runs: &[Run]) {
        let Some(plan) = shared.config.as_ref().filter(|_| self.enabled()) else { return };
        let ran = |run: &&Run| run.answered == Some(Answered::Ok) && plan.is_plan_tool(&run.name);
        let run = runs.iter().rfind(ran);
        let written = run.and_then(|run| in_arguments(plan.tool.as_ref(), &run.arguments));
        self.written = written.or(self.written.take());
    }
}

fn in_arguments(tool: Option<&PlanTool>, arguments: &Arguments) -> Option<Written> {
    let cut = arguments.bytes > arguments.kept.len() as u64;
    Some(written::in_arguments(&arguments.kept, cut, &tool?.pointer))
}
