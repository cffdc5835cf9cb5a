//! The storm's figures, read back from Envoy: the lines of its access log, and its stats.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::plan::{AGENT, RATE};
use crate::prometheus::Sample;
use crate::quantiles::Quantiles;

/// Columns of what is shown over time.
pub const SLOTS: usize = 48;

/// What the access log says of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// When it came, in seconds since the epoch.
    pub at: f64,
    /// Who made it.
    pub user: String,
    /// Its number, and the tokens that it was to take.
    pub call: (u32, f64),
    /// The answer's status.
    pub status: u64,
    /// Tokens that the limit charged it.
    pub charged: f64,
    /// How long it waited for the limit, in ms.
    pub waited_ms: f64,
}

impl Line {
    /// Reads a line; nothing if it is none of the storm's.
    pub fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let record: Value = serde_json::from_str(line["record"].as_str()?).ok()?;
        let (number, tokens) = line["case"].as_str()?.split_once(':')?;
        let limit = record["limits"].get(0)?;
        Some(Self {
            at: line["start"].as_str()?.parse().ok()?,
            user: record["user"].as_str()?.to_owned(),
            call: (number.parse().ok()?, tokens.parse().ok()?),
            status: line["code"].as_u64()?,
            charged: limit["charged"].as_f64()?,
            waited_ms: limit["waited_ms"].as_f64()?,
        })
    }

    fn is_agent(&self) -> bool {
        self.user == AGENT
    }

    fn is_refused(&self) -> bool {
        self.status == 429
    }
}

/// What became of one side's calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Answers to users' calls.
    pub users_calls: u64,
    /// Those of them that were a 429.
    pub users_refused: u64,
    /// Users that got at least one of these.
    pub users_hit: u64,
    /// How long users' calls that passed waited, the median, in ms.
    pub users_wait_p50_ms: f64,
    /// The same, the longest in a hundred.
    pub users_wait_p99_ms: f64,
    /// Calls of the run that passed.
    pub run_calls: u64,
    /// Attempts of the run that were refused.
    pub run_refused: u64,
    /// From the run's first call to its last one that passed, in s.
    pub run_took_s: f64,
    /// The run's part of all tokens that were granted.
    pub run_part: f64,
    /// Granted tokens to what flowed in during the storm.
    pub utilisation: f64,
    /// Jain's index over what each one was granted to its max-min fair share of all there was.
    pub jain: f64,
    /// Answers that were neither 200 nor 429.
    pub failed: u64,
    /// Calls that the stats have for the limit, by verdict.
    pub in_stats: BTreeMap<String, u64>,
    /// Lines in the access log.
    pub in_access_log: u64,
    /// Users' refusals over time.
    pub users_refused_over_time: Vec<u64>,
    /// Calls of the run that passed, over time.
    pub run_calls_over_time: Vec<u64>,
}

impl Figures {
    /// From the access log's lines and the stats; `burst` is what the limit had when it began.
    pub fn read(lines: &[Line], stats: &[Sample], burst: u64) -> Self {
        let begin = lines.iter().map(|line| line.at).fold(f64::INFINITY, f64::min);
        let lasted = lines.iter().map(|line| line.at - begin).fold(0.0, f64::max).max(1e-3);
        let mut figures = Self {
            in_access_log: lines.len() as u64,
            in_stats: in_stats(stats),
            users_refused_over_time: vec![0; SLOTS],
            run_calls_over_time: vec![0; SLOTS],
            ..Self::default()
        };
        let mut of: BTreeMap<&str, Sharer> = BTreeMap::new();
        let mut waits = Quantiles::default();
        let (mut run_began, mut run_ended) = (f64::INFINITY, 0f64);
        for line in lines {
            let slot = ((line.at - begin) / lasted * SLOTS as f64) as usize;
            let sharer = of.entry(&line.user).or_default();
            // Several attempts at a call want it once.
            sharer.wanted.insert(line.call.0, line.call.1.max(line.charged));
            sharer.granted += line.charged;
            figures.failed += u64::from(line.status != 200 && !line.is_refused());
            let (calls, refused, shown) = match line.is_agent() {
                true => (&mut figures.run_calls, &mut figures.run_refused, !line.is_refused()),
                false => (&mut figures.users_calls, &mut figures.users_refused, line.is_refused()),
            };
            *refused += u64::from(line.is_refused());
            *calls += u64::from(!(line.is_agent() && line.is_refused()));
            let over_time = match line.is_agent() {
                true => &mut figures.run_calls_over_time,
                false => &mut figures.users_refused_over_time,
            };
            if let Some(count) = over_time.get_mut(slot.min(SLOTS - 1)) {
                *count += u64::from(shown);
            }
            match line.is_agent() {
                true => {
                    run_began = run_began.min(line.at);
                    run_ended = run_ended.max(if line.is_refused() { 0.0 } else { line.at });
                }
                false if line.is_refused() => sharer.refused = true,
                false => waits.record(line.waited_ms),
            }
        }
        let granted: f64 = of.values().map(|sharer| sharer.granted).sum();
        figures.users_hit = of.values().filter(|sharer| sharer.refused).count() as u64;
        figures.users_wait_p50_ms = waits.at(0.50);
        figures.users_wait_p99_ms = waits.at(0.99);
        figures.run_took_s = (run_ended - run_began).max(0.0);
        figures.run_part = of.get(AGENT).map_or(0.0, |run| run.granted) / granted.max(1.0);
        figures.utilisation = granted / (RATE as f64 * lasted);
        let parts: Vec<(f64, f64)> = of.values().map(|s| (s.granted, s.wanted.values().sum())).collect();
        figures.jain = jain(&parts, RATE as f64 * lasted + burst as f64);
        figures
    }

    /// Calls that the stats have.
    pub fn counted(&self) -> u64 {
        self.in_stats.values().sum()
    }
}

/// One who has a share.
#[derive(Default)]
struct Sharer {
    granted: f64,
    wanted: BTreeMap<u32, f64>,
    refused: bool,
}

fn in_stats(stats: &[Sample]) -> BTreeMap<String, u64> {
    let counted = stats.iter().filter(|sample| sample.name == "weir_limit_total" && sample.value > 0.0);
    counted.map(|sample| (sample.label("verdict").to_owned(), sample.value as u64)).collect()
}

/// Jain's index of what each was granted to the max-min fair share of what it wanted; 1 is perfectly fair.
fn jain(parts: &[(f64, f64)], capacity: f64) -> f64 {
    let wanted: Vec<f64> = parts.iter().map(|(_, wanted)| *wanted).collect();
    let level = level(capacity, wanted);
    let parts: Vec<f64> =
        parts.iter().filter(|(_, wanted)| *wanted > 0.0).map(|(granted, wanted)| granted / wanted.min(level)).collect();
    let sum: f64 = parts.iter().sum();
    let squares: f64 = parts.iter().map(|part| part * part).sum();
    if squares > 0.0 { sum * sum / (parts.len() as f64 * squares) } else { 0.0 }
}

/// The max-min level: what is left is divided by who is left, until all who want less have theirs.
fn level(capacity: f64, mut wanted: Vec<f64>) -> f64 {
    let mut left = capacity;
    loop {
        if wanted.is_empty() {
            return f64::INFINITY;
        }
        let equal = left / wanted.len() as f64;
        let met: f64 = wanted.iter().filter(|wanted| **wanted <= equal).sum();
        let before = wanted.len();
        wanted.retain(|wanted| *wanted > equal);
        if wanted.len() == before {
            return equal;
        }
        left -= met;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_one_is_a_share_for_each_that_is_fair() {
        for (parts, capacity, wanted) in [
            // All have what they want.
            (vec![(1.0, 1.0), (5.0, 5.0)], 10.0, 1.0),
            // Who wants little has it, the others have the same.
            (vec![(1.0, 1.0), (2.0, 8.0), (2.0, 3.0)], 5.0, 1.0),
            // One has all.
            (vec![(6.0, 9.0), (0.0, 9.0), (0.0, 9.0)], 6.0, 1.0 / 3.0),
            // Who wants nothing does not count.
            (vec![(0.0, 0.0), (3.0, 3.0)], 6.0, 1.0),
            (vec![], 6.0, 0.0),
        ] {
            assert!((jain(&parts, capacity) - wanted).abs() < 1e-9, "{parts:?}");
        }
    }

    #[test]
    fn figures_are_those_of_the_lines() {
        let line = |at: f64, user: &str, call: u32, status: u64, charged: f64, waited_ms: f64| Line {
            at: 1000.0 + at,
            user: user.into(),
            call: (call, 100.0),
            status,
            charged,
            waited_ms,
        };
        let lines = [
            line(0.0, "user-1", 1, 200, 100.0, 0.0),
            line(5.0, AGENT, 2, 429, 0.0, 0.0),
            line(6.0, "user-1", 3, 429, 0.0, 0.0),
            line(7.0, AGENT, 2, 200, 100.0, 80.0),
            line(8.0, "user-2", 4, 200, 200.0, 12.0),
            line(10.0, "user-2", 5, 503, 0.0, 0.0),
        ];
        let figures = Figures::read(&lines, &[], 0);
        assert_eq!((figures.users_calls, figures.users_refused, figures.users_hit), (4, 1, 1));
        assert_eq!((figures.run_calls, figures.run_refused, figures.failed), (1, 1, 1));
        assert_eq!((figures.users_wait_p50_ms, figures.users_wait_p99_ms), (0.0, 12.0));
        assert_eq!((figures.run_took_s, figures.run_part), (2.0, 0.25));
        assert_eq!(figures.utilisation, 400.0 / (RATE as f64 * 10.0));
        let slots = |counts: &[u64]| counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, _)| at).collect();
        let refused: Vec<usize> = slots(&figures.users_refused_over_time);
        let run: Vec<usize> = slots(&figures.run_calls_over_time);
        assert_eq!((refused, run), (vec![SLOTS * 6 / 10], vec![SLOTS * 7 / 10]));
    }
}
