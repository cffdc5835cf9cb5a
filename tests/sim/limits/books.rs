//! What the simulation wrote down itself, and whether the store and the records agree with it.

use std::collections::HashMap;

use serde_json::{Value, json};
use weir::call::size::Size;
use weir::features::limits::claim::Claims;
use weir::features::limits::gcra;
use weir::features::limits::lease::{Entry, GENERATION};
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::{Caller, Kind};
use weir::features::limits::share;
use weir::record::{Record, Usage};
use weir::settings::Config;
use weir::units::{Nanos, Span};

use super::call::{Call, Plan};
use crate::dice::Dice;
use crate::memory::Memory;

pub const SECOND: u64 = 1_000_000_000;
/// When it all begins.
pub const START: u64 = 1000 * SECOND;
/// What is taken from the ledger's buckets in the beginning, so that they are never full and lose nothing at the brim.
const TAKEN_BEFORE: u64 = 60_000;

/// The limits of a run. `ledger` has so long a period that what was taken can be read in the store to the token.
pub fn config(dice: &mut Dice) -> Value {
    let of = |dice: &mut Dice, list: &[&str]| list[dice.below(list.len() as u64) as usize].to_owned();
    let ledger = json!({"name": "ledger", "scope": ["tenant"], "weigh": {"output": 1 + dice.below(4)},
        "rate": {"limit": 110_000 + dice.below(100_000), "per": "day"}, "on_exceeded": of(dice, &["finish", "warn", "cut"])});
    let all = [
        json!({"name": "total", "scope": ["run"], "budget": {"limit": 3000 + dice.below(30_000), "idle_s": 1_000_000},
            "on_exceeded": of(dice, &["finish", "warn", "cut"])}),
        json!({"name": "wide", "scope": ["tenant"], "concurrency": 1 + dice.below(6), "max_wait_ms": dice.below(2) * 3000}),
        json!({"name": "tree", "tree": {"max_depth": 4, "max_fanout": 1 + dice.below(4)}}),
        json!({"name": "calls", "scope": ["tenant"], "unit": "calls", "max_wait_ms": dice.below(2) * 2000,
            "rate": {"limit": 1 + dice.below(20), "per": "second", "burst": 1 + dice.below(9)}}),
        json!({"name": "fair", "scope": ["model"], "share": {"of": of(dice, &["tenant", "user", "run"])},
            "max_wait_ms": dice.below(2) * 2000, "rate": {"limit": 5000 + dice.below(20_000), "per": "second"}}),
        json!({"name": "dark", "mode": "shadow", "unit": "calls", "rate": {"limit": 60, "per": "minute", "burst": 3}}),
        json!({"name": "dark-total", "mode": "shadow", "scope": ["user"], "budget": {"limit": 4000, "idle_s": 1_000_000}}),
    ];
    let mut limits = vec![ledger];
    for limit in all {
        if dice.chance(65) {
            limits.insert(dice.below(limits.len() as u64 + 1) as usize, limit);
        }
    }
    let identity =
        json!({"tenant": [{"header": "x-tenant"}], "user": [{"header": "x-user"}], "run": [{"header": "x-run"}]});
    json!({"identity": identity, "limits": limits, "admission": {"hold_headers": dice.chance(50)}})
}

/// A call that is over.
#[derive(Debug)]
pub struct Line {
    pub plan: Plan,
    pub record: Record,
    pub began: Nanos,
    pub asked: Nanos,
    pub due: Nanos,
    pub ended: Nanos,
    pub sent: bool,
    pub refused: bool,
}

/// What is known beside the store.
pub struct Books {
    config: Config,
    limiter: Limiter,
    pub lines: Vec<Line>,
    /// Calls whose worker died with them.
    pub lost: u64,
    in_flight: HashMap<(&'static str, u64, u64), u64>,
}

impl Books {
    /// Begins, and takes from the ledger's buckets.
    pub fn open(config: &Value, store: &Memory) -> Self {
        let parse = |config: &Value| Config::parse(config.to_string().as_bytes()).unwrap();
        let ledger = config["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == "ledger").unwrap();
        let only = parse(&json!({"limits": [ledger]}));
        let mut only = Limiter::new(&only.limits, &only.admission);
        for tenant in ["t0", "t1", "t2"] {
            let mut claims = Claims::default();
            let caller = Caller { tenant: Some(tenant), inference: true, ..Caller::default() };
            let question = Question {
                caller,
                size: Size { input: TAKEN_BEFORE, output: 0, ..Size::default() },
                last: true,
                room: false,
            };
            assert_eq!(only.admit(&mut claims, &question, store, Nanos(START)), Admit::Pass);
            let usage = Usage { input: Some(TAKEN_BEFORE), ..Usage::default() };
            only.settle(&mut claims, &usage, true, store, Nanos(START));
        }
        let config = parse(config);
        let limiter = Limiter::new(&config.limits, &config.admission);
        Self { config, limiter, lines: Vec::new(), lost: 0, in_flight: HashMap::new() }
    }

    fn most(&self, name: &str) -> Option<u64> {
        let limit = self.config.limits.iter().find(|limit| limit.name.as_str() == name)?;
        limit.concurrency.or(limit.tree.and_then(|tree| tree.max_fanout)).map(|n| n.get())
    }

    fn places(plan: &Plan) -> [(&'static str, u64, u64); 2] {
        [("wide", plan.tenant, 0), ("tree", plan.run, plan.parent)]
    }

    /// A call is let go: there are never more than may be.
    pub fn sent(&mut self, call: &mut Call) {
        call.counted = true;
        for place in Self::places(&call.plan) {
            let n = self.in_flight.entry(place).or_default();
            *n += 1;
            let n = *n;
            if let Some(most) = self.most(place.0) {
                assert!(n <= most, "{n} in flight of {most} {place:?}");
            }
        }
    }

    /// A call is on its way to its end, or its worker is dead.
    pub fn leaves(&mut self, call: &Call) {
        if call.counted {
            Self::places(&call.plan).iter().for_each(|place| *self.in_flight.get_mut(place).unwrap() -= 1);
        }
    }

    /// All calls are over, and it is so late now: whether everything adds up.
    pub fn close(&self, store: &Memory, now: Nanos) -> Vec<String> {
        self.lines_say_what_happened();
        let after = if self.lost == 0 { now } else { Nanos(now.0 + 2 * GENERATION.0) };
        self.totals(store, after);
        self.ledger(store, now);
        for name in ["ledger", "calls"] {
            self.windows(name);
        }
        self.all_flows_back(store, now);
        self.lines
            .iter()
            .flat_map(|line| line.record.limits.iter().map(|l| format!("{} {}", l.name, l.verdict)))
            .collect()
    }

    fn lines_say_what_happened(&self) {
        for line in &self.lines {
            let Record { limits, usage, .. } = &line.record;
            for limit in limits {
                let counts = limit.verdict != "shadow" || limit.reserved > 0;
                let wanted = match &*limit.name {
                    _ if !line.sent || !counts => 0,
                    "calls" | "dark" => 1,
                    "total" | "dark-total" | "fair" => usage.input.unwrap_or(0) + usage.output.unwrap_or(0),
                    "ledger" => {
                        let of = |limit: &&weir::features::limits::config::Limit| limit.name.as_str() == "ledger";
                        let weight = self.config.limits.iter().find(of).unwrap().weigh.output.milli() / 1000;
                        usage.input.unwrap_or(0) + weight * usage.output.unwrap_or(0)
                    }
                    _ => 0,
                };
                assert_eq!(limit.charged, wanted, "{} of {line:#?}", limit.name);
            }
            assert!(!(line.sent && line.refused));
            let bit = limits.iter().any(|limit| limit.verdict == "refuse");
            assert_eq!(bit, line.refused, "{line:#?}");
        }
    }

    fn charged(&self, of: impl Fn(&str) -> bool) -> u64 {
        self.lines.iter().flat_map(|line| &line.record.limits).filter(|l| of(&l.name)).map(|l| l.charged).sum()
    }

    /// Nothing is leased any more, and what is used for good is what was charged.
    fn totals(&self, store: &Memory, now: Nanos) {
        let mut settled = 0;
        for (entry, _) in entries(store, "weir.1.total", 36) {
            let mut entry = Entry::read(&entry);
            entry.catch_up(now);
            assert_eq!(entry.used(), entry.settled, "a lease is left: {entry:?}");
            settled += entry.settled;
        }
        assert_eq!(settled, 1000 * self.charged(|name| name.ends_with("total")));
    }

    /// The ledger's buckets have given what was charged; of dead workers' calls, what they reserved too.
    fn ledger(&self, store: &Memory, now: Nanos) {
        let rule = self.limiter.rules.iter().find(|rule| &*rule.name == "ledger").unwrap();
        let Kind::Rate(rate) = rule.kind else { panic!("a rate") };
        let tats =
            entries(store, "weir.1.rate", 8).into_iter().map(|(tat, _)| u64::from_le_bytes(tat.try_into().unwrap()));
        // Those of all other limits are full again within the hour.
        let tats: Vec<u64> = tats.filter(|tat| *tat > now.0 + 3600 * SECOND).collect();
        assert_eq!(tats.len(), 3);
        let taken: u64 = tats.iter().map(|tat| tat - START - rate.span(TAKEN_BEFORE * 1000).0).sum();
        let charged = rate.span(1000 * self.charged(|name| name == "ledger")).0;
        // Each time that something is taken or put right it is rounded to a nanosecond or two.
        let slack = 20 * (self.lines.len() as u64 + self.lost) + 10;
        let most_lost = rate.span(self.lost * rate.burst).0;
        assert!(taken + slack >= charged, "{} ns given, {charged} charged", taken);
        assert!(taken <= charged + most_lost + slack, "{taken} ns given, {charged} charged");
        if self.lost == 0 {
            assert!(taken.abs_diff(charged) <= slack, "{taken} ns given, {charged} charged");
        }
    }

    /// In no time did a key have more than its burst and what flowed in, and by how much the estimates were wrong.
    fn windows(&self, name: &str) {
        let Some(rule) = self.limiter.rules.iter().find(|rule| &*rule.name == name) else { return };
        let Kind::Rate(rate) = rule.kind else { panic!("a rate") };
        for tenant in 0..3 {
            let of = |line: &&Line| line.plan.tenant == tenant;
            let limit =
                |line: &Line| line.record.limits.iter().find(|l| l.name == name).map(|l| (l.reserved, l.charged));
            let mut calls: Vec<_> =
                self.lines.iter().filter(of).filter_map(|line| Some((line, limit(line)?))).collect();
            calls.sort_by_key(|(line, _)| line.due);
            let begins = calls.iter().map(|(line, _)| line.asked).collect::<Vec<_>>();
            for begin in begins {
                let mut sum = 0;
                // Of those that wait it is known when they were given their place, and when it was due at the latest.
                for (end, (_, charged)) in calls.iter().filter(|(line, _)| line.asked >= begin) {
                    sum += charged;
                    let alive = |line: &Line| line.began <= end.due && line.ended >= begin;
                    let flows = rate.amount(Span(end.due.0 - begin.0)) / 1000 + 1;
                    if sum <= rate.burst / 1000 + flows {
                        continue;
                    }
                    let wrong =
                        calls.iter().filter(|(line, _)| alive(line)).map(|(_, (r, c))| r.abs_diff(*c)).sum::<u64>();
                    assert!(sum <= rate.burst / 1000 + flows + wrong, "{name}: {sum}, {flows} in, {wrong} wrong");
                }
            }
        }
    }

    /// A week later nothing is left of any rate.
    fn all_flows_back(&self, store: &Memory, now: Nanos) {
        let later = Nanos(now.0 + 7 * 24 * 3600 * SECOND);
        for (tat, _) in entries(store, "weir.1.rate", 8) {
            assert!(u64::from_le_bytes(tat.try_into().unwrap()) <= later.0);
        }
        for rule in &self.limiter.rules {
            if let Kind::Shared(rate, _) = rule.kind {
                let all = entries(store, "weir.1.share", share::SIZE);
                assert!(all.iter().all(|(bucket, _)| share::is_idle(bucket, &rate, later)));
            }
        }
    }
}

/// The entries of a table that were ever used, with their keys' hashes.
fn entries(store: &Memory, table: &str, size: usize) -> Vec<(Vec<u8>, u64)> {
    let sets = store.values(&format!("{table}."));
    let slots = sets.iter().flat_map(|set| set.chunks_exact(size + 8));
    let all = slots.map(|slot| (slot[8..].to_vec(), u64::from_le_bytes(slot[..8].try_into().unwrap())));
    all.filter(|(_, hash)| *hash != 0).collect()
}

/// A bucket of whole tokens.
pub fn bucket(limit: u64, per: u64, burst: u64) -> gcra::Rate {
    gcra::Rate { amount: limit * 1000, period: Span(per), burst: burst * 1000 }
}
