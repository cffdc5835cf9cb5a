//! One call of a trail: as much of its record as a person wants to see, in a few hundred bytes.

use serde::Serialize;

use super::bytes::{Reader, Writer};
use crate::record::{Ended, Limited, Record, ToolRun, UsageSource};

/// The most bytes that a call takes. What always fits is some 280 at the worst and 120 as a rule; the rest is for lists.
pub const MAX_BYTES: usize = 320;

/// Bytes of texts that are kept: names that are longer are cut.
const KIND: usize = 16;
const MODEL: usize = 48;
const ID: usize = 36;
const ERROR: usize = 32;
const WORD: usize = 14;
const STEP: usize = 28;
const ITEM: usize = 64;
/// Most bits of a time in microseconds and of a count that are kept: nine hours, four trillion tokens. They bound what
/// numbers take, and are never met.
const TIME_BITS: u32 = 35;
const COUNT_BITS: u32 = 42;

/// A call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Call {
    /// Its id, as in its record.
    pub call: String,
    /// What kind of call it was.
    pub kind: String,
    /// The model that answered, or was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it began, in microseconds since 1970.
    #[serde(skip)]
    pub began_us: u64,
    /// When the first token came, since it began.
    #[serde(rename = "first_token_ms", serialize_with = "ms", skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// How long it took.
    #[serde(rename = "total_ms", serialize_with = "ms", skip_serializing_if = "Option::is_none")]
    pub total_us: Option<u64>,
    /// The HTTP status, if an answer began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u64>,
    /// How it ended, in the record's words.
    pub ended: &'static str,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Tokens.
    #[serde(skip_serializing_if = "Tokens::is_empty")]
    pub tokens: Tokens,
    /// Nano-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// As much of it as bought nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub waste: u64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waste_reason: Option<String>,
    /// Which try it was, from 1; nothing where nobody looks, or it was the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The proxy's own attempts at it, if there was more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_attempts: Option<u64>,
    /// Where it stands in the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Step>,
    /// Limits that had more to do with it than to let it pass, circuits and budgets too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Tools that ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools_run: Vec<Ran>,
    /// Tools that the model asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools_asked: Vec<String>,
    /// Sources that were retrieved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// How many of the last four there was no room for.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// A call's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// With cached ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// With reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Nobody reported them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Tokens {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A step of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Of how many.
    pub of: u64,
    /// In the record's words.
    pub verdict: String,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// The run's adherence so far, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adherence: Option<u64>,
}

/// A limit that bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Its name; `retries` for what held a retry back.
    pub name: String,
    /// What it said, in the record's words.
    pub verdict: String,
}

/// A tool that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// Its name.
    pub name: String,
    /// In the record's words.
    pub outcome: String,
    /// How long it ran.
    #[serde(rename = "ms", serialize_with = "ms", skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Microseconds as the milliseconds of a record.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form.
pub(super) fn ms<S: serde::Serializer>(us: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_some(&us.map(|us| us as f64 / 1000.0))
}

/// What the lists of a call hold, by their numbers in the store: in the order in which they find room.
const LIMIT: u8 = 1;
const RAN: u8 = 2;
const ASKED: u8 = 3;
const SOURCE: u8 = 4;

/// What a record calls its kind where nobody asked for kinds.
fn kind(record: &Record) -> &str {
    match &record.kind {
        Some(kind) => kind,
        None if !record.tool_runs.is_empty() => "tool",
        None if record.api == "embeddings" => "embedding",
        None if record.api == "other" => "other",
        None => "model",
    }
}

/// Whether a call is a step of its run at all: plain web traffic of no known kind is none.
pub(super) fn is_step(record: &Record) -> bool {
    record.api != "other" || record.kind.is_some() || !record.tool_runs.is_empty() || record.plan.is_some()
}

/// The call of a record, as it lies in the store; `sources` are what its answer's headers name.
pub(super) fn encode(record: &Record, sources: &[String], began_us: u64) -> Vec<u8> {
    let mut to = Writer::new(MAX_BYTES);
    let count = |n: Option<u64>| n.map(|n| n.min((1 << COUNT_BITS) - 1));
    to.number(began_us);
    to.byte(Ended::number(record.ended));
    to.number(record.status.unwrap_or(0).into());
    to.text(&record.call, ID);
    to.text(kind(record), KIND);
    to.text(record.response_model.as_deref().or(record.request_model.as_deref()).unwrap_or_default(), MODEL);
    to.text(record.error_type.as_deref().unwrap_or_default(), ERROR);
    to.perhaps(time(record.time.first_token_ms));
    to.perhaps(time(record.time.total_ms));
    let usage = &record.usage;
    to.byte(u8::from(usage.source == UsageSource::Estimated));
    [usage.input, usage.output, usage.cache_read].into_iter().for_each(|tokens| to.perhaps(count(tokens)));
    to.perhaps(record.cost.map(|cost| cost.total));
    to.number(record.cost.map_or(0, |cost| cost.waste));
    to.text(record.cost.and_then(|cost| cost.waste_reason).unwrap_or_default(), WORD);
    to.number(record.retry.as_ref().map_or(0, |retry| retry.attempt).into());
    to.number(record.upstream.attempts.unwrap_or(0).min(u64::from(u16::MAX)));
    to.byte(u8::from(record.plan.is_some()));
    if let Some(plan) = &record.plan {
        to.perhaps(plan.step.map(u64::from));
        to.number(plan.of.into());
        to.text(plan.verdict, WORD);
        to.text(plan.expected.as_deref().unwrap_or_default(), STEP);
        to.text(plan.got.as_deref().unwrap_or_default(), STEP);
        to.perhaps(plan.adherence.map(u64::from));
    }
    lists(&mut to, record, sources);
    to.done()
}

/// Milliseconds as microseconds.
fn time(ms: Option<f64>) -> Option<u64> {
    ms.map(|ms| ((ms * 1000.0) as u64).min((1 << TIME_BITS) - 1))
}

fn lists(to: &mut Writer, record: &Record, sources: &[String]) {
    let bit = |limit: &&Limited| limit.verdict != "pass" || limit.waited_ms > 0.0;
    let limits = record.limits.iter().filter(bit).map(|limit| {
        let word = if limit.verdict == "pass" { "waited" } else { limit.verdict };
        (LIMIT, limit.name.as_str(), word, None)
    });
    let retry =
        record.retry.iter().filter(|retry| retry.verdict != "pass").map(|r| (LIMIT, "retries", r.verdict, None));
    let ran = record.tool_runs.iter().map(|run: &ToolRun| (RAN, run.name.as_str(), run.outcome, time(run.ms)));
    // The tools' own section tells more of them than the dialects, which know their names.
    let told = record.tool_calls.iter().map(|tool| tool.name.as_str());
    let known = record.tools.iter().map(String::as_str).filter(|_| record.tool_calls.is_empty());
    let asked = told.chain(known).map(|name| (ASKED, name, "", None));
    let sources = sources.iter().map(|source| (SOURCE, source.as_str(), "", None));
    let mut left_out = 0u64;
    for (what, name, word, us) in limits.chain(retry).chain(ran).chain(asked).chain(sources) {
        // Its number, two lengths, two texts, a run's time; then the end and the number of those that are left out.
        let ran = if what == RAN { 6 } else { 0 };
        let need = 3 + name.floor_char_boundary(ITEM) + word.floor_char_boundary(WORD) + ran + 3;
        if left_out > 0 || to.room() < need {
            left_out = left_out.saturating_add(1).min(0x3fff);
            continue;
        }
        to.byte(what);
        to.text(name, ITEM);
        to.text(word, WORD);
        if what == RAN {
            to.perhaps(us);
        }
    }
    to.byte(0);
    to.number(left_out);
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Call {
    let mut from = Reader(bytes);
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let some = |number: u64| Some(number).filter(|number| *number > 0);
    let mut call = Call { began_us: from.number(), ..Call::default() };
    call.ended = Ended::WORDS.get(usize::from(from.byte())).copied().unwrap_or_default();
    call.status = some(from.number());
    call.call = from.text();
    call.kind = from.text();
    call.model = said(from.text());
    call.error_type = said(from.text());
    call.first_token_us = from.perhaps();
    call.total_us = from.perhaps();
    call.tokens.estimated = from.byte() == 1;
    call.tokens.input = from.perhaps();
    call.tokens.output = from.perhaps();
    call.tokens.cache_read = from.perhaps();
    call.cost = from.perhaps();
    call.waste = from.number();
    call.waste_reason = said(from.text());
    call.attempt = some(from.number());
    call.proxy_attempts = some(from.number()).filter(|attempts| *attempts > 1);
    if from.byte() == 1 {
        call.plan = Some(Step {
            step: from.perhaps(),
            of: from.number(),
            verdict: from.text(),
            expected: said(from.text()),
            got: said(from.text()),
            adherence: from.perhaps(),
        });
    }
    loop {
        match from.byte() {
            LIMIT => call.limits.push(Limit { name: from.text(), verdict: from.text() }),
            RAN => call.tools_run.push(Ran { name: from.text(), outcome: from.text(), us: from.perhaps() }),
            ASKED => {
                call.tools_asked.push(from.text());
                from.text();
            }
            SOURCE => {
                call.sources.push(from.text());
                from.text();
            }
            _ => break,
        }
    }
    call.left_out = from.number();
    call
}
