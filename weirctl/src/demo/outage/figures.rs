//! The outage's figures, read back: Envoy's `weir_attempts_total`, the upstream's own count, and what users saw.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::drive::Seen;
use super::plan::PHASES;
use crate::prometheus::Sample;

/// Counts at one moment, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// First tries that were sent.
    pub first: u64,
    /// Attempts that were sent, Envoy's own among them.
    pub sent: u64,
    /// Retries that weir refused.
    pub refused: u64,
    /// Calls that the upstream saw.
    pub upstream: u64,
}

impl Counts {
    /// From Envoy's stats and the upstream's own count.
    pub fn read(stats: &[Sample], upstream: u64) -> Self {
        let mut counts = Self { upstream, ..Self::default() };
        for sample in stats.iter().filter(|sample| sample.name == "weir_attempts_total") {
            let count = sample.value as u64;
            if sample.label("outcome") == "refused" {
                counts.refused += count;
                continue;
            }
            counts.sent += count;
            if sample.label("layer") == "first" {
                counts.first += count;
            }
        }
        counts
    }

    /// What came since then.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            first: self.first.saturating_sub(before.first),
            sent: self.sent.saturating_sub(before.sent),
            refused: self.refused.saturating_sub(before.refused),
            upstream: self.upstream.saturating_sub(before.upstream),
        }
    }

    /// Attempts per first try.
    pub fn amplification(&self) -> f64 {
        self.sent as f64 / self.first.max(1) as f64
    }
}

/// One phase of one side.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// Users that wanted something.
    pub actions: u64,
    /// Those of them that got it.
    pub well: u64,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Attempts per first try.
    pub attempts_per_first_try: f64,
}

/// One side.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// In their order.
    pub phases: Vec<Phase>,
    /// In all.
    pub total: Counts,
    /// Attempts per first try over time; nothing where there was no first try.
    pub over_time: Vec<Option<f64>>,
}

impl Figures {
    /// From the counts at each phase's beginning and those at the end of all.
    pub fn new(begins: &[Counts], end: Counts, seen: &[Seen], over_time: Vec<Option<f64>>) -> Self {
        let ends = begins.iter().skip(1).chain([&end]);
        let phases = PHASES.iter().zip(begins.iter().zip(ends)).zip(seen).map(|((phase, (begin, end)), seen)| {
            let counts = end.since(begin);
            Phase {
                name: phase.name,
                actions: seen.actions.load(Ordering::Relaxed),
                well: seen.well.load(Ordering::Relaxed),
                counts,
                attempts_per_first_try: counts.amplification(),
            }
        });
        Self { phases: phases.collect(), total: end, over_time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus;

    #[test]
    fn a_refused_retry_is_no_attempt_and_phases_are_what_came_in_them() {
        let line = |layer: &str, outcome: &str, count: u64| {
            format!("weir_attempts_total{{route=\"all\",layer=\"{layer}\",outcome=\"{outcome}\"}} {count}\n")
        };
        let text = line("first", "failed", 10) + &line("first", "ok", 2) + &line("sdk", "refused", 9);
        let then = Counts::read(&prometheus::parse(&text), 12);
        assert_eq!(then, Counts { first: 12, sent: 12, refused: 9, upstream: 12 });
        let text = text + &line("envoy", "failed", 5) + &line("agent", "ok", 1);
        let now = Counts::read(&prometheus::parse(&text), 18);
        assert_eq!(now.since(&then), Counts { first: 0, sent: 6, refused: 0, upstream: 6 });
        assert_eq!(now.amplification(), 1.5);
        let seen: [Seen; 2] = Default::default();
        let figures = Figures::new(&[Counts::default(), then], now, &seen, Vec::new());
        let phases: Vec<_> = figures.phases.iter().map(|phase| (phase.counts.first, phase.counts.sent)).collect();
        assert_eq!(phases, [(12, 12), (0, 6)]);
    }
}
