//! A call and tools: those that the model asks for, and those that run.

use super::Shared;
use super::pending::{self, Who};
use crate::api::Api;
use crate::call::finished::Finished;
use crate::call::head::AtHead;
use crate::call::subject::Subject;
use crate::metrics::{Counts, Id, Series, TOOL_OUTCOMES};
use crate::record::{Ended, ToolCall, ToolRun};
use crate::shared::Events;
use crate::units::Nanos;
use crate::wire::arguments::{self, Arguments, Wanted};
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::calls::{Call, Calls};
use crate::wire::rpc::{self, Answered, Rpc, Run};

/// The kind of calls that are tools.
const TOOL: &str = "tool";
/// How a tool came out whose answer was there, but too large to be read.
const UNREAD: &str = "unread";

/// What one call has to do with tools; nothing where they are disabled.
#[derive(Debug, Default)]
pub struct InCall(Option<Box<Tooling>>);

#[derive(Debug)]
struct Tooling {
    /// The key of all hashes; nothing if the store does not answer: then there are none.
    salt: Option<u64>,
    /// Plans alone read tools.
    for_plan: bool,
    /// The tool whose arguments are kept for the call's plan.
    wanted: Option<Wanted>,
    /// MCP: the request's body, then that of its answer.
    mcp: Option<Mcp>,
    /// The longest event that is read.
    cap: usize,
    /// What of them could not be read.
    unread: Unread,
    /// When the request was complete.
    asked: Nanos,
}

#[derive(Debug)]
enum Mcp {
    Asks(Body),
    Answers(Body),
}

/// The tools that ran, as their messages tell.
#[derive(Debug, Default)]
pub struct Runs {
    /// Nothing where no message told of any.
    pub runs: Option<Vec<Run>>,
    /// What of them could not be read.
    pub unread: Unread,
    answer: Unread,
}

/// What a call had to do with tools.
#[derive(Debug, Default)]
pub struct Part {
    /// Those that a model asked for.
    pub calls: Vec<ToolCall>,
    /// Those that ran.
    pub runs: Vec<ToolRun>,
}

impl Part {
    /// Whether a tool ran that did not do what it was to, whatever the call's status says.
    pub fn failed(&self) -> bool {
        self.runs.iter().any(|run| !matches!(run.outcome, "ok" | UNREAD))
    }
}

/// How many tools that ran were asked for, and how many that were asked for did not run.
#[derive(Debug, Default)]
struct Matched {
    matched: u64,
    unasked: u64,
    never_run: u64,
}

impl InCall {
    /// The request's headers. `wanted` is the tool whose arguments are the plan of the call's run, `cap` the longest event that is
    /// read.
    pub fn head(&mut self, at: &AtHead<'_>, wanted: Option<Wanted>, cap: usize, shared: &mut Shared) {
        let for_plan = !shared.enabled();
        if for_plan && wanted.is_none() {
            return;
        }
        let salt = if for_plan { None } else { shared.salt(at.store, at.now) };
        let asks = !at.end && at.subject.may_call_tool;
        let mcp = asks.then(|| {
            let of = |name| at.head.get(name).unwrap_or_default();
            let (content_type, content_encoding) = (of("content-type"), of("content-encoding"));
            let head = BodyHead { content_type, content_encoding, ok: true, stream_asked: false };
            let mut body = mcp_body(head, cap);
            body.read_rpc(Box::new(Rpc::new(salt.unwrap_or(0), wanted.clone())));
            Mcp::Asks(body)
        });
        let unread = Unread::default();
        self.0 = Some(Box::new(Tooling { salt, for_plan, wanted, mcp, cap, unread, asked: at.now }));
    }

    /// Whether the request's body is to be read.
    pub fn reads_request(&self) -> bool {
        let mcp = self.0.as_ref().and_then(|tooling| tooling.mcp.as_ref());
        matches!(mcp, Some(Mcp::Asks(body)) if !body.is_ignored())
    }

    /// A piece of the request's body.
    pub fn request_body(&mut self, bytes: &[u8], now: Nanos) {
        let Some(tooling) = &mut self.0 else { return };
        tooling.asked = now;
        if let Some(Mcp::Asks(body)) = &mut tooling.mcp {
            body.push(bytes);
        }
    }

    /// The answer's headers: if the request called tools, the answer is read for how they came out.
    pub fn response_head(&mut self, head: BodyHead<'_>, empty: bool) {
        let Some(tooling) = &mut self.0 else { return };
        if let Some(Mcp::Asks(mut body)) = tooling.mcp.take()
            && let Some(rpc) = tooling.request_ended(&mut body)
        {
            // What could not be read before is in `unread` by now.
            let head = BodyHead { stream_asked: false, ..head };
            let mut body = if empty { body } else { mcp_body(head, tooling.cap) };
            body.read_rpc(rpc);
            tooling.mcp = Some(Mcp::Answers(body));
        }
    }

    /// The answer of a model is to be read: its tool calls are told apart.
    pub fn reads_model(&self, shared: &Shared, body: &mut Body) {
        if let Some(tooling) = &self.0 {
            let kept = shared.arguments.as_ref().map_or(0, |arguments| arguments.max_bytes.into());
            body.tell_calls(Calls::new(tooling.salt.unwrap_or(0), kept, tooling.wanted.clone()));
        }
    }

    /// Whether the answer's body is to be read.
    pub fn reads_answer(&self) -> bool {
        let mcp = self.0.as_ref().and_then(|tooling| tooling.mcp.as_ref());
        matches!(mcp, Some(Mcp::Answers(body)) if !body.is_ignored())
    }

    /// Whether what cannot be read of the answer is counted here.
    pub fn counts_answer(&self) -> bool {
        matches!(self.0.as_ref().and_then(|tooling| tooling.mcp.as_ref()), Some(Mcp::Answers(_)))
    }

    /// A piece of the answer's body.
    pub fn response_body(&mut self, bytes: &[u8], now: Nanos) {
        let Some(Mcp::Answers(body)) = self.0.as_mut().and_then(|tooling| tooling.mcp.as_mut()) else { return };
        body.push(bytes);
        if let Some(rpc) = body.rpc() {
            rpc.looked(now);
        }
    }

    /// The answer is over: the tools that ran.
    pub fn ended(&mut self, now: Nanos) -> Runs {
        let Some(tooling) = &mut self.0 else { return Runs::default() };
        let (runs, answer) = match tooling.mcp.take() {
            None => (None, Unread::default()),
            Some(Mcp::Asks(mut body)) => (tooling.request_ended(&mut body).map(|rpc| rpc.finish()), Unread::default()),
            Some(Mcp::Answers(mut body)) => {
                body.finish();
                let runs = body.take_rpc().map(|mut rpc| {
                    rpc.looked(now);
                    rpc.finish()
                });
                (runs, body.unread())
            }
        };
        let mut unread = tooling.unread;
        if !tooling.for_plan && runs.is_some() {
            unread.add(answer);
        }
        Runs { runs, unread, answer }
    }

    /// The call is over: the tools that the model asked for, which are remembered until they run, and those that ran.
    pub fn settle(
        self,
        call: &Finished<'_>,
        (asked, ran): (Vec<Call>, Runs),
        refused: bool,
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) -> Part {
        let Some(tooling) = self.0.filter(|tooling| !tooling.for_plan) else { return Part::default() };
        let mut matched = Matched::default();
        let calls = tooling.asked_for(call, asked, shared, (&mut matched, events));
        let runs = match ran.runs {
            Some(runs) => tooling.ran(call, (runs, ran.answer), refused, shared, (&mut matched, events)),
            None => tooling.plain_run(call, refused).into_iter().collect(),
        };
        let part = Part { calls, runs };
        count(&part, &matched, shared, counts);
        part
    }
}

impl Tooling {
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

    fn asked_for(
        &self,
        call: &Finished<'_>,
        calls: Vec<Call>,
        shared: &Shared,
        (matched, events): (&mut Matched, &mut Events),
    ) -> Vec<ToolCall> {
        let subject = call.known.subject;
        if let (Some(pending), Some(salt), Some(who), false) =
            (shared.pending, self.salt, who(subject), calls.is_empty())
        {
            let asked: Vec<pending::Call<'_>> = calls.iter().map(of_call).collect();
            let seen = pending.ask(call.store, salt, who, (&subject.call, &asked), call.now);
            matched.never_run = matched.never_run.saturating_add(seen.never_run);
            events.add(seen.store);
        }
        let shown = shared.arguments.as_ref();
        let tool_call = |Call { name, id, arguments }: Call| {
            let Arguments { bytes, hash, kept } = arguments;
            let arguments = shown.map(|shown| arguments::redacted(&kept, &shown.redact, shown.max_bytes.into()));
            ToolCall { name, id, bytes, hash: self.shown_hash(hash), arguments }
        };
        calls.into_iter().map(tool_call).collect()
    }

    fn ran(
        &self,
        call: &Finished<'_>,
        (runs, answer): (Vec<Run>, Unread),
        refused: bool,
        shared: &Shared,
        (matched, events): (&mut Matched, &mut Events),
    ) -> Vec<ToolRun> {
        // What was too large to be read was an answer all the same, of which nobody knows how it came out.
        let unseen = answer.oversize > 0 && call.ended == Ended::Complete;
        let outcome = |run: &Run| match run.answered {
            _ if refused => "refused",
            Some(Answered::Ok) => "ok",
            Some(Answered::Error) => "error",
            None if unseen => UNREAD,
            Some(Answered::Failed | Answered::Interim) | None => "failed",
        };
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.answered != Some(Answered::Interim)).collect();
        let mut who_asked = Vec::new();
        if let (Some(pending), Some(salt), Some(who), false) =
            (shared.pending, self.salt, who(call.known.subject), runs.is_empty())
        {
            // What has not run may be tried again, and waits on.
            let calls: Vec<_> =
                runs.iter().map(|run| (matches!(outcome(run), "ok" | "error" | UNREAD), of_run(run))).collect();
            let (found, seen) = pending.ran(call.store, salt, who, &calls, call.now);
            matched.never_run = matched.never_run.saturating_add(seen.never_run);
            events.add(seen.store);
            if let Ok(found) = found {
                let ran_with = found.iter().zip(&calls);
                for (found, _) in ran_with.filter(|(_, (used_up, _))| *used_up) {
                    let slot = if found.is_some() { &mut matched.matched } else { &mut matched.unasked };
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
                ms: run.at.map(|at| (at - self.asked).as_ms()),
            }
        };
        runs.into_iter().map(run).collect()
    }

    /// A tool that is called by plain HTTP, as the config's kinds say: one run, and its status says how it came out.
    fn plain_run(&self, call: &Finished<'_>, refused: bool) -> Option<ToolRun> {
        let kind = call.known.subject.kind.as_ref().filter(|kind| *kind.word == *TOOL)?;
        let name = kind.name.as_ref()?.to_string();
        let size = |half: &str| {
            let bytes = call.properties.property(&[half, "size"]).and_then(|size| size.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let outcome = match call.ended {
            _ if refused => "refused",
            Ended::Complete => "ok",
            Ended::Error if call.status.is_some() => "error",
            _ => "failed",
        };
        Some(ToolRun {
            name,
            outcome,
            bytes: size("request"),
            result_bytes: size("response"),
            ms: Some((call.now - self.asked).as_ms()),
            ..ToolRun::default()
        })
    }

    fn shown_hash(&self, hash: Option<u64>) -> Option<String> {
        self.salt?;
        hash.map(|hash| format!("{hash:016x}"))
    }
}

fn mcp_body(head: BodyHead<'_>, cap: usize) -> Body {
    Body::new(Api::Other, rpc::dialect(), head, cap)
}

fn who(subject: &Subject) -> Option<Who<'_>> {
    Some(Who { tenant: subject.tenant.as_deref(), run: subject.run.as_deref()? })
}

/// What stands for a call among those that are remembered.
fn of_call(call: &Call) -> pending::Call<'_> {
    pending::Call { name: &call.name, id: call.id.as_deref(), hash: call.arguments.hash }
}

/// What stands for a run where that is looked for.
fn of_run(run: &Run) -> pending::Call<'_> {
    pending::Call { name: &run.name, id: run.asked_as.as_deref(), hash: run.arguments.hash }
}

fn count(part: &Part, matched: &Matched, shared: &mut Shared, counts: &mut Counts) {
    for call in &part.calls {
        // A model may ask for whatever its client told it: it vouches for no name.
        counts.sample(Id::ToolAsked, [shared.label.number(Some(&call.name), false), 0, 0, 0], 1);
    }
    for run in &part.runs {
        // That a tool answered with success vouches for its name; a made-up one ends in an error.
        let tool = shared.label.number(Some(&run.name), run.outcome == "ok");
        let outcome = TOOL_OUTCOMES.iter().position(|outcome| *outcome == run.outcome).unwrap_or_default();
        counts.sample(Series { id: Id::ToolCalls, value: outcome as u8 }, [tool, 0, 0, 0], 1);
        if let Some(ms) = run.ms {
            counts.sample(Id::ToolTime, [tool, 0, 0, 0], ms.round() as u64);
        }
    }
    let Matched { matched, unasked, never_run } = *matched;
    for (value, count) in (0..).zip([matched, unasked, never_run]).filter(|(_, count)| *count > 0) {
        counts.sample(Series { id: Id::ToolMatched, value }, [0; 4], count);
    }
}
