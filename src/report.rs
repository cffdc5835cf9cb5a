//! What a call leaves behind: values, no IO. The host takes it apart without `..`.

use crate::config::Config;
use crate::labels::LabelSet;
use crate::metrics::{Id, OUTCOMES, Series};
use crate::policies::account::Account;
use crate::policies::plan::{Seen, Verdict};
use crate::record::{Ended, Record, Usage};
use crate::shared::Events;
use crate::signals::slo;
use crate::signals::timing::Timing;
use crate::units::{Nanos, Span};
use crate::wire::body::Unread;
use crate::worker::Worker;

/// The end of a call.
#[derive(Debug)]
pub struct Report {
    /// For the access log.
    pub record: Record,
    /// The labels of all its counts.
    pub labels: LabelSet,
    /// What to add to a counter, or to record in a histogram.
    pub counts: Vec<(Series, u64)>,
    /// For each TTFT objective (by its place in the config) that counts this call: was it met?
    pub slos: Vec<(usize, bool)>,
    /// What limits said.
    pub limits: Vec<LimitCount>,
    /// What was seen of the store.
    pub store: Events,
    /// The call's attempts, by layer and outcome, and the number of its route's label.
    pub retries: (u16, Vec<RetryCount>),
    /// What its run took, if the call closes the account.
    pub run: Option<RunClosed>,
    /// What was seen of tools.
    pub tools: ToolCounts,
    /// Tokens to charge to limits that others keep; nothing where the config does not ask for it.
    pub charge: Option<u64>,
}

/// What one limit said to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitCount {
    /// Which of the rules.
    pub rule: usize,
    /// What it said, by number (see [`crate::metrics`]).
    pub verdict: u8,
    /// How long the call waited.
    pub waited: Option<Span>,
    /// What is left under which key, for limits of few keys.
    pub left: Option<(String, u64)>,
}

/// Attempts of one layer that ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryCount {
    /// Whose, by number (see [`crate::policies::retry::attempt::Layer`]).
    pub layer: u8,
    /// How they ended, by number (see [`crate::metrics`]).
    pub outcome: u8,
    /// How many there were.
    pub count: u64,
}

/// What a call had to do with its run's plan.
#[derive(Debug)]
pub struct Planned {
    /// What its steps were to it, if it made any.
    pub verdicts: Vec<Verdict>,
    /// What became of plans.
    pub seen: Seen,
    /// What was seen of the store.
    pub store: Events,
}

/// A run's account that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunClosed {
    /// The outcome, by number (see [`crate::config::runs::Runs::words`]).
    pub outcome: u8,
    /// What the run took.
    pub account: Account,
}

/// What was seen of tools: by the numbers of their labels, and of outcomes (see [`crate::metrics`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCounts {
    /// Those that a model asked for.
    pub asked: Vec<u16>,
    /// Those that ran.
    pub ran: Vec<ToolCount>,
    /// How the two were matched.
    pub matched: Matched,
}

/// A tool that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolCount {
    /// Which, by the number of its label.
    pub tool: u16,
    /// How it came out, by number.
    pub outcome: u8,
    /// How long it took.
    pub ms: Option<u64>,
}

/// How many tools that ran were asked for, and how many that were asked for did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Ran, and were asked for.
    pub matched: u64,
    /// Ran, and nobody had asked for them.
    pub unasked: u64,
    /// Were asked for, and did not run in time.
    pub never_run: u64,
}

impl Matched {
    /// Both together.
    pub fn and(self, other: Matched) -> Self {
        let Matched { matched, unasked, never_run } = other;
        Self {
            matched: self.matched.saturating_add(matched),
            unasked: self.unasked.saturating_add(unasked),
            never_run: self.never_run.saturating_add(never_run),
        }
    }
}

/// What a call had to do with retries.
#[derive(Debug)]
pub struct Retried {
    /// Its attempts.
    pub counts: Vec<RetryCount>,
    /// Tokens of attempts that failed.
    pub failed_tokens: u64,
    /// Tokens of an attempt that repeated what had not failed.
    pub repeated_tokens: u64,
    /// What was seen of the store.
    pub store: Events,
}

/// A call of which all is known.
#[derive(Debug)]
pub struct Settled<'a> {
    /// Its record.
    pub record: Record,
    /// Its moments.
    pub timing: &'a Timing,
    /// What of it could not be read.
    pub unread: Unread,
    /// The output tokens that its time per output token divides by.
    pub tokens: u64,
    /// Whether it asked for a stream.
    pub stream_asked: bool,
    /// Its end.
    pub end: Nanos,
    /// What limits said.
    pub limits: Vec<LimitCount>,
    /// What was seen of the store.
    pub store: Events,
    /// What it had to do with retries; nothing if nobody looked.
    pub retried: Option<Retried>,
    /// How its tools were matched.
    pub matched: Matched,
    /// Its run's account, if it closes it.
    pub closed: Option<RunClosed>,
    /// What it had to do with its run's plan; nothing if nobody looked.
    pub planned: Option<Planned>,
}

/// What a call leaves behind under this config.
pub fn of(call: Settled<'_>, config: &Config, worker: &mut Worker) -> Report {
    let slos = verdicts(&call, config);
    let Settled {
        record,
        timing,
        unread,
        tokens,
        stream_asked: _,
        end,
        limits,
        mut store,
        retried,
        closed,
        matched,
        planned,
    } = call;
    let labels = labels(&record, worker);
    let mut counts = Vec::with_capacity(48);
    let mut add = |series: Series, value: u64| counts.push((series, value));

    add(of_ended(record.ended), 1);
    add(Id::Call.into(), timing.total(end).round_ms());
    let usage = &record.usage;
    for (kind, count) in
        [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning].iter().enumerate()
    {
        if let Some(count) = count.filter(|c| *c > 0) {
            add(Series { id: Id::Tokens, value: kind as u8 }, count);
        }
    }
    let ms = |span: Span| span.round_ms();
    if let Some(span) = timing.first_byte() {
        add(Id::FirstByte.into(), ms(span));
    }
    if record.stream {
        if let Some(span) = timing.first_token() {
            add(Id::FirstToken.into(), ms(span));
        }
        if let Some(span) = timing.first_text() {
            add(Id::FirstText.into(), ms(span));
        }
        if let Some(span) = timing.per_output_token(tokens, end) {
            add(Id::TimePerOutputToken.into(), span.as_us());
        }
        add(Id::Stalls.into(), timing.stalls());
    }
    if let Some(gaps) = timing.gaps() {
        for (value, count) in gaps.cumulative().enumerate() {
            if count > 0 {
                add(Series { id: Id::InterTokenBucket, value: value as u8 }, count);
            }
        }
        add(Id::InterTokenSum.into(), gaps.sum().round_ms());
        add(Id::InterTokenCount.into(), gaps.count());
    }
    if timing.first_token().is_none() && generates(record.api) {
        add(Series { id: Id::NoFirstToken, value: no_first_token(record.ended) }, 1);
    }
    let Unread { oversize, json, crc, frame, encoding, format } = unread;
    for (reason, count) in [oversize, json, crc, frame, encoding, format].into_iter().enumerate() {
        if count > 0 {
            add(Series { id: Id::Unread, value: reason as u8 }, count);
        }
    }

    let mut attempts = Vec::new();
    if let Some(Retried { counts: seen, failed_tokens, repeated_tokens, store: events }) = retried {
        for (value, tokens) in [failed_tokens, repeated_tokens].into_iter().enumerate() {
            if tokens > 0 {
                add(Series { id: Id::WastedTokens, value: value as u8 }, tokens);
            }
        }
        store.add(events);
        attempts = seen;
    }
    let retries = (labels.route, attempts);

    if let Some(Planned { verdicts, seen: Seen { closed, declared }, store: events }) = planned {
        for verdict in verdicts {
            add(Series { id: Id::PlanSteps, value: verdict as u8 }, 1);
        }
        for percent in closed {
            add(Id::PlanAdherence.into(), percent.into());
        }
        store.add(events);
        for declared in declared {
            add(Series { id: Id::Plans, value: declared as u8 }, 1);
        }
    }

    let charge = config.filter_state.tokens.then(|| charge(&record.usage));
    let tools = tools(&record, matched, worker);
    Report { record, labels, counts, slos, limits, store, retries, run: closed, tools, charge }
}

fn tools(record: &Record, matched: Matched, worker: &mut Worker) -> ToolCounts {
    let label = &mut worker.tools.label;
    // A model may ask for whatever its client told it: it vouches for no name.
    let asked = record.tool_calls.iter().map(|call| label.number(Some(&call.name), false)).collect();
    let ran = record.tool_runs.iter().map(|run| ToolCount {
        // That a tool answered with success vouches for its name; a made-up one ends in an error.
        tool: label.number(Some(&run.name), run.outcome == "ok"),
        outcome: OUTCOMES.iter().position(|outcome| *outcome == run.outcome).unwrap_or_default() as u8,
        ms: run.ms.map(|ms| ms.round() as u64),
    });
    ToolCounts { ran: ran.collect(), asked, matched }
}

/// What a call is charged: what its record says, so that the sum over an access log is the sum that was charged.
fn charge(usage: &Usage) -> u64 {
    usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0))
}

/// APIs from which content is expected.
fn generates(api: &str) -> bool {
    api != "other" && api != "embeddings"
}

/// As in the table of metrics.
fn of_ended(ended: Ended) -> Series {
    let value = match ended {
        Ended::Complete => 0,
        Ended::ClientAbort => 1,
        Ended::UpstreamReset => 2,
        Ended::Refused => 3,
        Ended::Error => 4,
        Ended::Truncated => 5,
    };
    Series { id: Id::Calls, value }
}

/// As in the table of metrics.
fn no_first_token(ended: Ended) -> u8 {
    match ended {
        Ended::ClientAbort => 0,
        Ended::UpstreamReset => 1,
        Ended::Refused => 2,
        Ended::Error => 3,
        Ended::Truncated => 4,
        Ended::Complete => 5,
    }
}

fn labels(record: &Record, worker: &mut Worker) -> LabelSet {
    // A made-up name must not take a real one's place: only an upstream's success vouches for it.
    let vouched = record.status.is_some_and(|s| (200..300).contains(&s)) && record.upstream.address.is_some();
    let labels = &mut worker.labels;
    let model = record.request_model.as_deref().or(record.response_model.as_deref());
    let set = LabelSet {
        model: labels.model.number(model, vouched),
        route: labels.route.number(record.route.as_deref(), true),
        tenant: labels.tenant.number(record.tenant.as_deref(), vouched),
        api: labels.api.number(Some(record.api), true),
    };
    labels.bounded(set)
}

fn verdicts(call: &Settled<'_>, config: &Config) -> Vec<(usize, bool)> {
    let Settled { record, timing, stream_asked, end, .. } = call;
    // A call that was never to be streamed has no time to first token, and must not count only where it fails.
    if config.slo.is_empty() || !generates(record.api) || !(record.stream || *stream_asked) {
        return Vec::new();
    }
    let call = slo::Call {
        models: [record.request_model.as_deref(), record.response_model.as_deref()],
        route: record.route.as_deref(),
        tenant: record.tenant.as_deref(),
        first_token: timing.first_token(),
        total: timing.total(*end),
        ended: record.ended,
        status: record.status,
    };
    let judged = config.slo.iter().enumerate().map(|(at, slo)| (at, slo::verdict(slo, &call)));
    judged.filter_map(|(at, verdict)| Some((at, verdict?))).collect()
}
