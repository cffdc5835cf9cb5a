//! Plans that a model writes: in a tool call that it asks for, or in its answer. They are its run's once the call that brought
//! them has ended well.

use super::Stream;
use crate::config::fits;
use crate::config::plan::{Plan, PlanAnswer, PlanTool};
use crate::policies::plan::syntax::NoPlan;
use crate::policies::plan::written::{self, MAX_WRITTEN};
use crate::port::Headers;
use crate::wire::arguments::{Arguments, Wanted, is_tool};
use crate::wire::body::Body;
use crate::wire::calls::Call;
use crate::wire::rpc::{Answered, Run};
use crate::wire::said::Said;

/// A plan that a call brought, or why there is none.
pub(super) type Written = Result<String, NoPlan>;

impl Stream {
    fn plan_config(&self) -> Option<&Plan> {
        // Without a run there is nobody whose plan it could be.
        self.config.plan.as_ref().filter(|_| self.run.is_some())
    }

    fn plan_tool(&self) -> Option<&PlanTool> {
        self.plan_config()?.tool.as_ref()
    }

    /// The tool whose arguments are a plan.
    pub(super) fn plan_wanted(&self) -> Option<Wanted> {
        let tool = self.plan_tool()?;
        Some(Wanted { tool: tool.name.clone(), most: MAX_WRITTEN })
    }

    /// Whether a tool of this name does nothing but declare a plan.
    pub(super) fn is_plan_tool(&self, name: &str) -> bool {
        self.plan_tool().is_some_and(|tool| is_tool(&tool.name, name))
    }

    fn plan_answer(&self) -> Option<&PlanAnswer> {
        self.plan_config()?.answer.as_ref()
    }

    /// Whether the call has the header of those whose answers have plans.
    pub(super) fn plan_is_asked(&self, head: Headers<'_>) -> bool {
        let header = self.plan_answer().and_then(|answer| answer.header.as_ref());
        header.is_none_or(|header| head.get(header.as_str()).is_some_and(|value| !value.is_empty()))
    }

    /// The answer of a model is to be read: its text is kept, if it is one that has a plan.
    pub(super) fn plan_reads(&self, body: &mut Body) {
        let Some(answer) = self.plan_answer().filter(|_| self.planning.reads_answer) else { return };
        let model = self.request.asked().model.as_deref().or(self.asked.model.as_deref());
        let matches = &answer.matches;
        if fits(&matches.model, &[model])
            && fits(&matches.route, &[self.planning.route.as_deref()])
            && fits(&matches.tenant, &[self.tenant.as_deref()])
        {
            body.keep_text(MAX_WRITTEN);
        }
    }

    /// The answer of a model is over, in order: it may have a plan in what it says, or in a tool that it asks for.
    pub(super) fn plan_answered(&mut self, calls: &[Call], said: Option<Box<Said>>) {
        let said = said.map(|said| said.finish()).filter(|(text, _)| !text.is_empty());
        let in_text = self.plan_answer().zip(said);
        let in_text = in_text.map(|(answer, (text, cut))| written::in_text(&text, cut, &answer.pointer));
        // Whoever asks for it more than once means the last.
        let call = calls.iter().rfind(|call| self.is_plan_tool(&call.name));
        let in_call = call.and_then(|call| self.plan_in(&call.arguments));
        self.planning.written = in_call.or(in_text).or(self.planning.written.take());
    }

    /// Tools ran: one of them may be that which declares a plan.
    pub(super) fn plan_ran(&mut self, runs: &[Run]) {
        let ran = |run: &&Run| run.answered == Some(Answered::Ok) && self.is_plan_tool(&run.name);
        let run = runs.iter().rfind(ran);
        let written = run.and_then(|run| self.plan_in(&run.arguments));
        self.planning.written = written.or(self.planning.written.take());
    }

    fn plan_in(&self, arguments: &Arguments) -> Option<Written> {
        let cut = arguments.bytes > arguments.kept.len() as u64;
        Some(written::in_arguments(&arguments.kept, cut, &self.plan_tool()?.pointer))
    }
}
