//! A trace under a limit: the core's own limits and learned sizes, with events in the place of a proxy.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Result, anyhow};
use serde_json::json;
use weir::call::size::Size;
use weir::features::limits::claim::Claims;
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::Caller;
use weir::record::Usage;
use weir::settings::Config;
use weir::signals::size::{Keys, Sample, SizeEstimator};
use weir::units::Nanos;

use super::Row;
use super::trace::Trace;
use crate::quantiles::Quantiles;
use crate::store::Memory;

/// Where made-up time begins: not at zero, which is no time of a running clock.
const START: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MS;

/// A limit of tokens per minute, with as large a burst.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How much.
    pub tokens_per_minute: u64,
    /// How long a call may be held.
    pub max_wait_ms: u32,
}

/// What is reserved for a call's answer, beside its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// What such calls wrote before.
    Learned,
    /// The `max_tokens` of the request.
    MaxTokens,
    /// Nothing, nor for the prompt: a call passes while anything is left, and is charged afterwards.
    Nothing,
}

impl Reserve {
    fn words(self) -> &'static str {
        match self {
            Self::Learned => "learned size",
            Self::MaxTokens => "max_tokens",
            Self::Nothing => "none: charged after",
        }
    }
}

/// How fast the upstream answers.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Until the first token.
    pub first_token_ms: u64,
    /// From each token to the next.
    pub token_ms: u64,
}

/// In the order in which they are handled at the same moment: what ends makes room for what begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(usize),
    Turn(usize),
    Comes(usize),
}

/// A bucket of what calls really used, taken when they were let go: how far it is overdrawn is by how much the limit was exceeded.
struct Ideal {
    per_minute: f64,
    level: f64,
    at: u64,
    least: f64,
}

impl Ideal {
    fn new(limit: Limit) -> Self {
        let burst = limit.tokens_per_minute as f64;
        Self { per_minute: burst, level: burst, at: START, least: burst }
    }

    fn take(&mut self, tokens: u64, now: u64) {
        let flowed = (now - self.at) as f64 / MINUTE as f64 * self.per_minute;
        self.at = now;
        self.level = (self.level + flowed).min(self.per_minute) - tokens as f64;
        self.least = self.least.min(self.level);
    }

    fn over_percent(&self) -> f64 {
        100.0 * (-self.least).max(0.0) / self.per_minute
    }
}

/// Plays a trace under a limit.
///
/// # Errors
/// The limit is out of range.
pub fn play(trace: &Trace, limit: Limit, reserve: Reserve, max_tokens: u64, pace: Pace) -> Result<Row> {
    let rate = json!({"limit": limit.tokens_per_minute, "per": "minute"});
    let limits = json!([{"name": "trace", "rate": rate, "max_wait_ms": limit.max_wait_ms}]);
    let config = Config::parse(json!({"limits": limits}).to_string().as_bytes()).map_err(|e| anyhow!(e))?;
    let mut limiter = Limiter::new(&config.limits, &config.admission);
    let (mut sizes_seen, store) = (SizeEstimator::default(), Memory::default());
    let keys = Keys::of(None, Some("trace"), None);
    let caller = Caller { model: Some("trace"), inference: true, ..Caller::default() };

    let mut claims: Vec<Claims> = trace.calls.iter().map(|_| Claims::default()).collect();
    let mut sizes = vec![Size::default(); trace.calls.len()];
    let comes = trace.calls.iter().enumerate().map(|(at, call)| Reverse((START + call.at, Event::Comes(at))));
    let mut events: BinaryHeap<_> = comes.collect();
    let (mut refused, mut used, mut waits, mut ideal) = (0u64, 0u64, Quantiles::default(), Ideal::new(limit));
    while let Some(Reverse((now, event))) = events.pop() {
        let (Event::Ends(at) | Event::Turn(at) | Event::Comes(at)) = event;
        let (Some(call), Some(claims), Some(size)) = (trace.calls.get(at), claims.get_mut(at), sizes.get_mut(at))
        else {
            continue;
        };
        match event {
            Event::Ends(_) => {
                let usage = Usage { input: Some(call.input), output: Some(call.output), ..Usage::default() };
                limiter.settle(claims, &usage, true, &store, Nanos(now));
                sizes_seen.observe(keys, Sample { output: call.output, input: None });
                continue;
            }
            Event::Comes(_) => {
                *size = match reserve {
                    Reserve::Learned => {
                        Size { input: call.input, output: sizes_seen.output(keys).min(max_tokens), ..Size::default() }
                    }
                    Reserve::MaxTokens => Size { input: call.input, output: max_tokens, ..Size::default() },
                    Reserve::Nothing => Size::default(),
                };
            }
            Event::Turn(_) => {}
        }
        match limiter.admit(claims, &Question { caller, size: *size, last: true, room: true }, &store, Nanos(now)) {
            Admit::Pass => {
                let tokens = call.input + call.output;
                used += tokens;
                ideal.take(tokens, now);
                let waited = now - START - call.at;
                if waited > 0 {
                    waits.record(waited as f64 / MS as f64);
                }
                let answers = pace.first_token_ms.saturating_add(pace.token_ms.saturating_mul(call.output));
                events.push(Reverse((now.saturating_add(answers.saturating_mul(MS)), Event::Ends(at))));
            }
            Admit::Until(turn) => events.push(Reverse((turn.0, Event::Turn(at)))),
            Admit::Again | Admit::Refuse(..) => refused += 1,
        }
    }
    let calls = trace.calls.len() as u64;
    let of_calls = |n: u64| 100.0 * n as f64 / calls as f64;
    let given = limit.tokens_per_minute as f64 * (1.0 + trace.lasts as f64 / MINUTE as f64);
    Ok(Row {
        limit_percent: 0,
        tokens_per_minute: limit.tokens_per_minute,
        reserve: reserve.words(),
        calls,
        refused_percent: of_calls(refused),
        held_percent: of_calls(waits.count()),
        wait_p50_ms: waits.at(0.5).round() as u64,
        wait_p99_ms: waits.at(0.99).round() as u64,
        used_percent: 100.0 * used as f64 / given,
        over_percent: ideal.over_percent(),
    })
}
