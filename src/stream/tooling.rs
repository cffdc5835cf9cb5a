//! A call and tools: those that the model asks for, and those that run.

use super::Stream;
use crate::api::Api;
use crate::config::tools::Tools;
use crate::policies::tools::Tools as Known;
use crate::policies::tools::asks::{self, Who};
use crate::port::{Headers, Properties};
use crate::record::{Ended, ToolCall, ToolRun};
use crate::report::Matched;
use crate::shared::{Events, Store};
use crate::signals::kind::asks_for_tool;
use crate::units::Nanos;
use crate::wire::arguments::{self, Arguments};
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::calls::{Call, Calls};
use crate::wire::rpc::{self, Answered, Rpc, Run};

/// The kind of calls that are tools.
const TOOL: &str = "tool";

/// How a tool came out whose answer was there, but too large to be read.
pub(super) const UNREAD: &str = "unread";

/// What one call has to do with tools, where somebody wants to know.
#[derive(Debug)]
pub(super) struct Tooling {
    /// The key of all hashes; nothing if the store does not answer: then there are none.
    salt: Option<u64>,
    /// Nobody but plans wants to know.
    for_plan: bool,
    /// MCP: the request's body, then that of its answer.
    mcp: Option<Mcp>,
    /// What of them could not be read.
    unread: Unread,
    /// When the request was complete.
    asked: Nanos,
}

/// What a model asked for.
#[derive(Debug, Default)]
pub(super) struct AskedFor {
    pub calls: Vec<ToolCall>,
    pub matched: Matched,
    pub store: Events,
}

/// What ran.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub runs: Vec<ToolRun>,
    pub matched: Matched,
    pub store: Events,
    pub unread: Unread,
}

#[derive(Debug)]
enum Mcp {
    Asks(Body),
    Answers(Body),
}

impl Stream {
    /// The request's head, as far as tools want to know it.
    pub fn tool_head(&mut self, head: Headers<'_>, end: bool, known: &mut Known, store: &dyn Store, now: Nanos) {
        let wanted = self.plan_wanted();
        let for_plan = !known.is_on();
        if for_plan && wanted.is_none() {
            return;
        }
        let salt = if for_plan { None } else { known.salt(store, now) };
        let asks = !end && self.asked.api == Api::Other && asks_for_tool(head);
        let mcp = asks.then(|| {
            let of = |name| head.get(name).unwrap_or_default();
            let (content_type, content_encoding) = (of("content-type"), of("content-encoding"));
            let head = BodyHead { content_type, content_encoding, ok: true, stream_asked: false };
            let mut body = self.mcp_body(head);
            body.read_rpc(Box::new(Rpc::new(salt.unwrap_or(0), wanted)));
            Mcp::Asks(body)
        });
        self.tooling = Some(Box::new(Tooling { salt, for_plan, mcp, unread: Unread::default(), asked: now }));
    }

    fn mcp_body(&self, head: BodyHead<'_>) -> Body {
        Body::new(Api::Other, rpc::dialect(), head, self.config.read.max_event_bytes.bytes())
    }

    /// Whether the request's body is to be read for tools.
    pub(super) fn tool_reads_request(&self) -> bool {
        let mcp = self.tooling.as_ref().and_then(|tooling| tooling.mcp.as_ref());
        matches!(mcp, Some(Mcp::Asks(body)) if !body.is_ignored())
    }

    /// A piece of the request's body.
    pub(super) fn tool_request(&mut self, bytes: &[u8], now: Nanos) {
        let Some(tooling) = &mut self.tooling else { return };
        tooling.asked = now;
        if let Some(Mcp::Asks(body)) = &mut tooling.mcp {
            body.push(bytes);
        }
    }

    /// The answer's head: if the request called tools, the answer is read for how they came out.
    pub(super) fn tool_answer_head(&mut self, head: BodyHead<'_>, empty: bool) {
        let Some(mut tooling) = self.tooling.take() else { return };
        if let Some(Mcp::Asks(mut body)) = tooling.mcp.take()
            && let Some(rpc) = tooling.request_ended(&mut body)
        {
            // What could not be read before is in `unread` by now.
            let mut body = if empty { body } else { self.mcp_body(BodyHead { stream_asked: false, ..head }) };
            body.read_rpc(rpc);
            tooling.mcp = Some(Mcp::Answers(body));
        }
        self.tooling = Some(tooling);
    }

    /// Whether the answer's body is to be read for tools.
    pub(super) fn tool_reads_answer(&self) -> bool {
        let mcp = self.tooling.as_ref().and_then(|tooling| tooling.mcp.as_ref());
        matches!(mcp, Some(Mcp::Answers(body)) if !body.is_ignored())
    }

    /// Whether what cannot be read of the answer is counted here.
    pub(super) fn tool_tells_answer(&self) -> bool {
        matches!(self.tooling.as_ref().and_then(|tooling| tooling.mcp.as_ref()), Some(Mcp::Answers(_)))
    }

    /// A piece of the answer's body.
    pub(super) fn tool_response(&mut self, bytes: &[u8], now: Nanos) {
        let Some(Mcp::Answers(body)) = self.tooling.as_mut().and_then(|tooling| tooling.mcp.as_mut()) else { return };
        body.push(bytes);
        if let Some(rpc) = body.rpc() {
            rpc.looked(now);
        }
    }

    /// The answer of a model is to be read: its tool calls are told apart, if somebody wants to know.
    pub(super) fn tool_answer(&self, body: &mut Body) {
        if let Some(tooling) = &self.tooling {
            body.tell_calls(Calls::new(tooling.salt.unwrap_or(0), self.kept_arguments(), self.plan_wanted()));
        }
    }

    fn tools_config(&self) -> Option<&Tools> {
        self.config.tools.as_ref()
    }

    /// How many bytes of a call's arguments are kept.
    fn kept_arguments(&self) -> usize {
        let arguments = self.tools_config().and_then(|tools| tools.arguments.as_ref());
        arguments.map_or(0, |arguments| arguments.max_bytes.into())
    }

    /// The calls that the model asked for, which are remembered until they run.
    pub(super) fn tools_asked_for(
        &self,
        calls: Vec<Call>,
        known: &mut Known,
        store: &dyn Store,
        now: Nanos,
    ) -> AskedFor {
        let mut asked_for = AskedFor::default();
        if !known.is_on() {
            return asked_for;
        }
        if let (Some(asks), Some(salt), Some(who), false) =
            (known.asks, self.tool_salt(), self.who_asks(), calls.is_empty())
        {
            let asked: Vec<asks::Call<'_>> = calls.iter().map(known_as).collect();
            let seen = asks.ask(store, salt, who, (&self.call, &asked), now);
            asked_for.matched.never_run = seen.never_run;
            asked_for.store = seen.store;
        }
        let call = |Call { name, id, arguments }: Call| self.tool_call(name, id, arguments);
        asked_for.calls = calls.into_iter().map(call).collect();
        asked_for
    }

    fn tool_salt(&self) -> Option<u64> {
        self.tooling.as_ref()?.salt
    }

    fn who_asks(&self) -> Option<Who<'_>> {
        Some(Who { tenant: self.tenant.as_deref(), run: self.run.as_deref()? })
    }

    fn tool_call(&self, name: String, id: Option<String>, arguments: Arguments) -> ToolCall {
        let Arguments { bytes, hash, kept } = arguments;
        let shown = self.tools_config().and_then(|tools| tools.arguments.as_ref());
        ToolCall {
            name,
            id,
            bytes,
            hash: self.shown_hash(hash),
            arguments: shown.map(|shown| arguments::redacted(&kept, &shown.redact, shown.max_bytes.into())),
        }
    }

    fn shown_hash(&self, hash: Option<u64>) -> Option<String> {
        self.tooling.as_ref()?.salt?;
        hash.map(|hash| format!("{hash:016x}"))
    }

    /// The tools that ran, and who asked for them.
    pub(super) fn tools_ran(
        &mut self,
        (ended, status): (Ended, Option<u16>),
        known: &mut Known,
        properties: &dyn Properties,
        store: &dyn Store,
        now: Nanos,
    ) -> Ran {
        let Some(mut tooling) = self.tooling.take() else { return Ran::default() };
        let refused = ended == Ended::Refused || self.held_by_limit() || self.retry_error().is_some();
        let asked = tooling.asked;
        let runs = tooling.ended(now);
        if let Some((runs, _)) = &runs {
            self.plan_ran(runs);
        }
        let mut ran = Ran { unread: tooling.unread, ..Ran::default() };
        if tooling.for_plan {
            return ran;
        }
        self.tooling = Some(tooling);
        let Some((runs, answer_unread)) = runs else {
            ran.runs.extend(self.plain_run(ended, status, refused, properties, now));
            return ran;
        };
        ran.unread.add(answer_unread);
        // What was too large to be read was an answer all the same, of which nobody knows how it came out.
        let unseen = answer_unread.oversize > 0 && ended == Ended::Complete;
        let outcome = |run: &Run| match run.answered {
            _ if refused => "refused",
            Some(Answered::Ok) => "ok",
            Some(Answered::Error) => "error",
            None if unseen => UNREAD,
            Some(Answered::Failed | Answered::Interim) | None => "failed",
        };
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.answered != Some(Answered::Interim)).collect();
        let mut who_asked = Vec::new();
        if let (Some(asks), Some(salt), Some(who), false) =
            (known.asks, self.tool_salt(), self.who_asks(), runs.is_empty())
        {
            // What has not run may be tried again, and waits on.
            let calls: Vec<_> =
                runs.iter().map(|run| (matches!(outcome(run), "ok" | "error" | UNREAD), known_run(run))).collect();
            let (found, seen) = asks.ran(store, salt, who, &calls, now);
            ran.matched.never_run = seen.never_run;
            ran.store = seen.store;
            if let Ok(found) = found {
                let ran_with = found.iter().zip(&calls);
                for (found, _) in ran_with.filter(|(_, (used_up, _))| *used_up) {
                    let slot = if found.is_some() { &mut ran.matched.matched } else { &mut ran.matched.unasked };
                    *slot = slot.saturating_add(1);
                }
                who_asked = found;
            }
        }
        let mut who_asked = who_asked.into_iter();
        let run = |run: Run| {
            let asked_by = who_asked.next().flatten();
            ToolRun {
                outcome: outcome(&run),
                name: run.name,
                id: asked_by.as_ref().and_then(|asked| asked.id.clone()),
                asked_by: asked_by.map(|asked| asked.by),
                bytes: run.arguments.bytes,
                hash: self.shown_hash(run.arguments.hash),
                result_bytes: run.result_bytes,
                ms: run.at.map(|at| (at - asked).as_ms()),
            }
        };
        ran.runs = runs.into_iter().map(run).collect();
        ran
    }

    /// A tool that is called by plain HTTP, as the config's kinds say: one run, and its status says how it came out.
    fn plain_run(
        &self,
        ended: Ended,
        status: Option<u16>,
        refused: bool,
        properties: &dyn Properties,
        now: Nanos,
    ) -> Option<ToolRun> {
        let kind = self.kind.as_ref().filter(|kind| *kind.word == *TOOL)?;
        let name = kind.name.as_ref()?.to_string();
        let size = |half: &str| {
            let bytes: Option<[u8; 8]> = properties.property(&[half, "size"]).and_then(|size| size.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let outcome = match ended {
            _ if refused => "refused",
            Ended::Complete => "ok",
            Ended::Error if status.is_some() => "error",
            _ => "failed",
        };
        let ms = self.tooling.as_ref().map(|tooling| (now - tooling.asked).as_ms());
        Some(ToolRun {
            name,
            outcome,
            bytes: size("request"),
            result_bytes: size("response"),
            ms,
            ..ToolRun::default()
        })
    }
}

/// What stands for a call among those that are remembered.
fn known_as(call: &Call) -> asks::Call<'_> {
    asks::Call { name: &call.name, id: call.id.as_deref(), hash: call.arguments.hash }
}

/// What stands for a run where that is looked for.
fn known_run(run: &Run) -> asks::Call<'_> {
    asks::Call { name: &run.name, id: run.asked_as.as_deref(), hash: run.arguments.hash }
}

impl Tooling {
    /// The call is over: the runs of its request, if it had any to tell, and what of its answer could not be read.
    fn ended(&mut self, now: Nanos) -> Option<(Vec<Run>, Unread)> {
        match self.mcp.take()? {
            Mcp::Asks(mut body) => Some((self.request_ended(&mut body)?.finish(), Unread::default())),
            Mcp::Answers(mut body) => {
                body.finish();
                let mut rpc = body.take_rpc()?;
                rpc.looked(now);
                Some((rpc.finish(), body.unread()))
            }
        }
    }

    /// The request is over: what it calls, if it calls any tool.
    fn request_ended(&mut self, body: &mut Body) -> Option<Box<Rpc>> {
        body.finish();
        let mut rpc = body.take_rpc()?;
        // Whoever accepts what MCP accepts need not speak JSON.
        self.unread.json += body.unread().json;
        if self.for_plan {
            rpc.only_wanted();
        }
        rpc.answers().then_some(rpc)
    }
}
