//! The storm: many users at a human pace and a few runs that fan out, on one limit. Events on a made-up clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir::features::limits::share::{Bucket, Rate, SIZE, Verdict};
use weir::units::{Nanos, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;
/// How often a call that waits asks again.
const POLL: u64 = SECOND / 100;

/// Who is there, and what the limit is. Tokens are whole tokens, times are seconds.
#[derive(Clone, Debug)]
struct Mix {
    name: &'static str,
    /// Tokens per second.
    rate: u64,
    /// The time in which the bucket fills.
    fill: f64,
    users: usize,
    /// Calls that a user makes at once, and the mean pause after them.
    batch: u64,
    think: f64,
    /// Mean tokens of a call, and the spread of their logarithm.
    size: f64,
    spread: f64,
    runs: Vec<Run>,
    /// Reserve the mean, and settle after the answer.
    estimate: bool,
    max_wait: f64,
    lasts: f64,
}

/// A run that fans out.
#[derive(Clone, Debug)]
struct Run {
    callers: usize,
    /// What a call costs, in tokens.
    size: f64,
    /// Each caller has so many calls to make, again after so many seconds; none: without end.
    wave: Option<(u64, f64)>,
    /// How long a caller is busy with a call that was granted.
    busy: f64,
    /// How soon a caller asks again after a refusal, at least.
    patience: f64,
}

/// The bucket that everyone ships.
#[derive(Default)]
struct Plain(u64);

enum Limit {
    Fair(Box<[u8; SIZE]>),
    Plain(Plain),
}

impl Limit {
    fn ask(&mut self, rate: &Rate, sharer: u64, cost: u64, now: u64, longest: u64) -> Verdict {
        match self {
            Limit::Fair(bytes) => {
                Bucket::over(&mut bytes[..]).unwrap().take_ahead(rate, sharer, cost, Nanos(now), Span(longest))
            }
            Limit::Plain(Plain(full_at)) => {
                let next = (*full_at).max(now) + rate.span(cost).0;
                let wait = next.saturating_sub(now + rate.fill().0);
                if rate.span(cost) > rate.fill() {
                    return Verdict::TooLarge;
                }
                if wait > longest {
                    return Verdict::Empty { wait: Span(wait) };
                }
                *full_at = next;
                Verdict::Granted { wait: Span(wait) }
            }
        }
    }

    fn settle(&mut self, rate: &Rate, sharer: u64, reserved: u64, taken_at: u64, actual: u64, now: u64) {
        match self {
            Limit::Fair(bytes) => {
                let mut bucket = Bucket::over(&mut bytes[..]).unwrap();
                bucket.settle(rate, sharer, reserved, Nanos(taken_at), actual, Nanos(now));
            }
            Limit::Plain(Plain(full_at)) if actual > reserved => {
                *full_at = (*full_at).max(now) + rate.span(actual).0 - rate.span(reserved).0;
            }
            Limit::Plain(Plain(full_at)) => *full_at -= rate.span(reserved).0 - rate.span(actual).0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    sharer: usize,
    reserve: u64,
    actual: u64,
    since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    User(usize),
    Ask(Call),
    Wave { run: usize },
    Caller { run: usize, left: u64, cost: u64 },
    Settle(Call),
}

/// Seedable random numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    fn lognormal(&mut self, mean: f64, spread: f64) -> f64 {
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        mean * (spread * normal - spread * spread / 2.0).exp()
    }
}

/// What came of it.
#[derive(Clone, Debug)]
struct Outcome {
    calls: u64,
    /// Calls of users that were refused, and those of them that were inside their share.
    refused: u64,
    inside: u64,
    too_large: u64,
    waits: Vec<u64>,
    /// Granted tokens and what was asked for, by sharer; runs stand last.
    granted: Vec<f64>,
    offered: Vec<f64>,
    users: usize,
    capacity: f64,
    burst: f64,
}

impl Outcome {
    fn utilisation(&self) -> f64 {
        self.granted.iter().sum::<f64>() / self.capacity
    }

    fn runs_part(&self) -> f64 {
        self.granted[self.users..].iter().sum::<f64>() / self.granted.iter().sum::<f64>()
    }

    fn wait_ms(&self, part: f64) -> f64 {
        let mut sorted = self.waits.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(f64::NAN, |wait| *wait as f64 / 1e6)
    }

    /// Jain's index of what each got to its max-min share of all there was.
    fn jain(&self) -> f64 {
        let level = level(self.capacity + self.burst, &self.offered);
        let parts: Vec<f64> =
            self.granted.iter().zip(&self.offered).filter(|(_, o)| **o > 0.0).map(|(g, o)| g / o.min(level)).collect();
        let sum: f64 = parts.iter().sum();
        sum * sum / (parts.len() as f64 * parts.iter().map(|x| x * x).sum::<f64>())
    }
}

/// The max-min level by the book: divide what is left by who is left, until all who want less have theirs.
fn level(capacity: f64, demands: &[f64]) -> f64 {
    let mut open: Vec<f64> = demands.to_vec();
    let mut left = capacity;
    loop {
        if open.is_empty() {
            return f64::INFINITY;
        }
        let equal = left / open.len() as f64;
        let met: f64 = open.iter().filter(|d| **d <= equal).sum();
        let before = open.len();
        open.retain(|d| *d > equal);
        if open.len() == before {
            return equal;
        }
        left -= met;
    }
}

fn play(mix: &Mix, fair: bool, seed: u64) -> Outcome {
    let burst = (mix.rate as f64 * mix.fill) as u64 * 1000;
    let rate = Rate::new(mix.rate * 1000, Span(SECOND), burst);
    let mut limit = match fair {
        true => Limit::Fair(Box::new([0; SIZE])),
        false => Limit::Plain(Plain::default()),
    };
    let all = mix.users + mix.runs.len();
    // Each has dice of its own, so that a verdict changes nobody's calls.
    let mut dice: Vec<Dice> = (0..all as u64).map(|i| Dice(seed.wrapping_mul(1_000_003) + i * 7_919)).collect();
    let mut outcome = Outcome {
        calls: 0,
        refused: 0,
        inside: 0,
        too_large: 0,
        waits: Vec::new(),
        granted: vec![0.0; all],
        offered: vec![0.0; all],
        users: mix.users,
        capacity: mix.rate as f64 * mix.lasts,
        burst: burst as f64 / 1000.0,
    };
    let mut queue = BinaryHeap::new();
    let mut count = 0u64;
    let mut push = |queue: &mut BinaryHeap<_>, at: u64, event| {
        count += 1;
        queue.push(Reverse((at, count, event)));
    };
    let ns = |seconds: f64| (seconds * SECOND as f64) as u64;
    let start = 1_000_000 * SECOND;
    let end = start + ns(mix.lasts);
    for (user, dice) in dice.iter_mut().enumerate().take(mix.users) {
        push(&mut queue, start + ns(dice.exponential(mix.think)), Event::User(user));
    }
    for (run, of) in mix.runs.iter().enumerate() {
        // Users are there first, but where there are only runs.
        let at = if mix.users > 0 { mix.fill.min(mix.lasts / 10.0).max(30.0) } else { 0.0 };
        push(&mut queue, start + ns(at), Event::Wave { run });
        if of.wave.is_none() {
            outcome.offered[mix.users + run] = f64::INFINITY;
        }
    }
    let hash = |sharer: usize| (sharer as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while let Some(Reverse((now, _, event))) = queue.pop() {
        if now >= end {
            break;
        }
        match event {
            Event::User(user) => {
                for _ in 0..mix.batch {
                    let actual = (dice[user].lognormal(mix.size, mix.spread).max(1.0) * 1000.0) as u64;
                    let reserve = if mix.estimate { (mix.size * 1000.0) as u64 } else { actual };
                    outcome.calls += 1;
                    outcome.offered[user] += actual as f64 / 1000.0;
                    let call = Call { sharer: user, reserve, actual, since: now };
                    push(&mut queue, now, Event::Ask(call));
                }
                push(&mut queue, now + ns(dice[user].exponential(mix.think)), Event::User(user));
            }
            Event::Ask(call) => {
                let until = call.since + ns(mix.max_wait);
                match limit.ask(&rate, hash(call.sharer), call.reserve, now, until - now) {
                    Verdict::Granted { wait } => {
                        outcome.waits.push(now + wait.0 - call.since);
                        outcome.granted[call.sharer] += call.actual as f64 / 1000.0;
                        if mix.estimate {
                            let took = (call.actual as f64 / 1000.0 / 50.0 * SECOND as f64) as u64;
                            let call = Call { since: now, ..call };
                            push(&mut queue, now + wait.0 + took, Event::Settle(call));
                        }
                    }
                    Verdict::TooLarge => {
                        outcome.too_large += 1;
                        outcome.offered[call.sharer] -= call.actual as f64 / 1000.0;
                    }
                    verdict if now + POLL > until => {
                        outcome.refused += 1;
                        outcome.inside += u64::from(matches!(verdict, Verdict::Empty { .. }));
                    }
                    _ => push(&mut queue, now + POLL, Event::Ask(call)),
                }
            }
            Event::Settle(call) => {
                limit.settle(&rate, hash(call.sharer), call.reserve, call.since, call.actual, now);
            }
            Event::Wave { run } => {
                let of = &mix.runs[run];
                let left = of.wave.map_or(u64::MAX, |(calls, _)| calls);
                for _ in 0..of.callers {
                    let cost = (of.size * 1000.0) as u64;
                    if of.wave.is_some() {
                        outcome.offered[mix.users + run] += cost as f64 / 1000.0 * left as f64;
                    }
                    push(&mut queue, now, Event::Caller { run, left, cost });
                }
                if let Some((_, every)) = of.wave {
                    push(&mut queue, now + ns(every), Event::Wave { run });
                }
            }
            Event::Caller { run, left, cost } => {
                let of = &mix.runs[run];
                match limit.ask(&rate, hash(mix.users + run), cost, now, 0) {
                    Verdict::Granted { .. } => {
                        outcome.granted[mix.users + run] += cost as f64 / 1000.0;
                        if left > 1 {
                            let next = now + ns(dice[mix.users + run].exponential(of.busy));
                            push(&mut queue, next, Event::Caller { run, left: left - 1, cost });
                        }
                    }
                    Verdict::OverShare { wait } | Verdict::Empty { wait } => {
                        let next = now + wait.0.max(ns(of.patience)) + ns(dice[mix.users + run].unit() * 0.002);
                        push(&mut queue, next, Event::Caller { run, left, cost });
                    }
                    Verdict::TooLarge => panic!("a run's call of {cost} is larger than the burst"),
                }
            }
        }
    }
    outcome
}

/// 480,000 tokens per minute; users take `users_part` of it.
fn mix(name: &'static str, users_part: f64, runs: Vec<Run>) -> Mix {
    let (rate, size, users) = (8_000, 1_500.0, 99);
    Mix {
        name,
        rate,
        fill: 60.0,
        users,
        batch: 1,
        think: users as f64 * size / (rate as f64 * users_part),
        size,
        spread: 1.0,
        runs,
        estimate: false,
        max_wait: 0.0,
        lasts: 1200.0,
    }
}

/// Three users, who are often away for longer than a window.
fn few(name: &'static str, users_part: f64, run: Run) -> Mix {
    let all = mix(name, users_part, vec![run]);
    Mix { users: 3, think: all.think * 3.0 / all.users as f64, lasts: 3600.0, ..all }
}

fn greedy() -> Run {
    Run { callers: 47, size: 1_500.0, wave: None, busy: 0.2, patience: 0.001 }
}

/// Every ten minutes 47 callers with calls that make `part` of the limit on the mean.
fn waves(part: f64) -> Run {
    let calls = (part * 8_000.0 * 600.0 / 47.0 / 1_500.0).round() as u64;
    Run { wave: Some((calls, 600.0)), ..greedy() }
}

fn head() {
    println!(
        "{:<44} {:<4} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>6} {:>6} {:>7}",
        "", "fair", "calls", "429s", "inside", "large", "p50 ms", "p99 ms", "runs", "used", "Jain"
    );
}

/// One line for some seeds: calls of users, those refused, those of them inside their share, those larger than the burst
/// (all summed); users' waits and Jain's index (the worst); the runs' part of all that was granted, and the utilisation
/// (the mean).
fn row(mix: &Mix, fair: bool, seeds: &[u64]) -> Vec<Outcome> {
    let all: Vec<Outcome> = seeds.iter().map(|seed| play(mix, fair, *seed)).collect();
    let sum = |of: fn(&Outcome) -> u64| all.iter().map(of).sum::<u64>();
    let most = |of: fn(&Outcome) -> f64| all.iter().map(of).fold(f64::NAN, f64::max);
    let mean = |of: fn(&Outcome) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
    println!(
        "{:<44} {:<4} {:>7} {:>7} {:>7} {:>7} {:>8.1} {:>8.1} {:>6.3} {:>6.3} {:>7.4}",
        mix.name,
        if fair { "on" } else { "off" },
        sum(|o| o.calls),
        sum(|o| o.refused),
        sum(|o| o.inside),
        sum(|o| o.too_large),
        most(|o| o.wait_ms(0.5)),
        most(|o| o.wait_ms(0.99)),
        mean(Outcome::runs_part),
        mean(Outcome::utilisation),
        all.iter().map(Outcome::jain).fold(f64::INFINITY, f64::min)
    );
    all
}

/// The mixes of the long table.
fn mixes() -> Vec<Mix> {
    let storm = mix("62 % users, a greedy run", 0.62, vec![greedy()]);
    let waved = mix("40 % users, a run of 22 % in waves", 0.40, vec![waves(0.22)]);
    vec![
        waved.clone(),
        Mix { name: "the same, waits 2 s", max_wait: 2.0, ..waved.clone() },
        storm.clone(),
        Mix { name: "the same, waits 2 s", max_wait: 2.0, ..storm.clone() },
        Mix { name: "the same, estimates that are settled", estimate: true, ..storm.clone() },
        Mix { name: "the same, users bursty (5 calls at once)", batch: 5, think: storm.think * 5.0, ..storm.clone() },
        Mix { name: "the same, sizes spread wider", spread: 1.5, ..storm.clone() },
        mix("62 % users, 10 greedy runs", 0.62, (0..10).map(|_| greedy()).collect()),
        mix(
            "62 % users, 10 runs, calls of 200 to 20,000",
            0.62,
            (0..10).map(|i| Run { size: 200.0 * 100f64.powf(i as f64 / 9.0), ..greedy() }).collect(),
        ),
        mix("30 % users, 10 greedy runs", 0.30, (0..10).map(|_| greedy()).collect()),
        Mix { users: 0, ..mix("10 greedy runs only", 0.62, (0..10).map(|_| greedy()).collect()) },
        Mix {
            users: 0,
            ..mix(
                "10 runs only, patience of 1 ms to 5 s",
                0.62,
                (0..10).map(|i| Run { patience: 0.001 * 5000f64.powf(i as f64 / 9.0), ..greedy() }).collect(),
            )
        },
        Mix {
            users: 0,
            ..mix(
                "10 runs only, calls of 200 to 20,000",
                0.62,
                (0..10).map(|i| Run { size: 200.0 * 100f64.powf(i as f64 / 9.0), ..greedy() }).collect(),
            )
        },
        Mix { users: 0, ..mix("a greedy run only", 0.62, vec![greedy()]) },
        few("3 users of 20 %, a run of 22 % in waves", 0.2, waves(0.22)),
        few("3 users of 20 %, a greedy run", 0.2, greedy()),
        few("3 users of 2 %, a run of 22 % in waves", 0.02, waves(0.22)),
        few("3 users of 2 %, a greedy run", 0.02, greedy()),
        mix("62 % users only", 0.62, vec![]),
        mix("80 % users only", 0.80, vec![]),
        mix("95 % users only", 0.95, vec![]),
        mix("120 % users only", 1.20, vec![]),
        mix("80 % users, a greedy run", 0.80, vec![greedy()]),
        mix("95 % users, a greedy run", 0.95, vec![greedy()]),
        mix("120 % users, a greedy run", 1.20, vec![greedy()]),
        Mix { name: "fills in 10 s: 62 % users only", fill: 10.0, ..mix("", 0.62, vec![]) },
        Mix { name: "fills in 10 s: 62 % users, a greedy run", fill: 10.0, ..storm.clone() },
        Mix { name: "fills in 1 s: 62 % users only", fill: 1.0, ..mix("", 0.62, vec![]) },
        Mix { name: "fills in 1 s: 62 % users, a greedy run", fill: 1.0, ..storm.clone() },
        Mix { name: "the same, waits 2 s", fill: 1.0, max_wait: 2.0, ..storm.clone() },
        Mix { name: "fills in 1 h: 62 % users, a greedy run", fill: 3600.0, lasts: 3.0 * 3600.0, ..storm.clone() },
    ]
}

/// `cargo test --release --test core storm -- --ignored --nocapture`
#[test]
#[ignore = "a table to read, of many minutes of made-up time"]
fn the_long_table_of_storms() {
    head();
    for mix in mixes() {
        for fair in [true, false] {
            row(&mix, fair, &[1, 2, 3]);
        }
    }
}

/// Prints what happens with and without, and holds what has to hold with it.
fn holds(mix: &Mix) {
    head();
    for outcome in row(mix, true, &[1, 2]) {
        assert_eq!(outcome.refused, 0, "{}: users were refused", mix.name);
        assert!(outcome.jain() >= 0.99, "{}: {}", mix.name, outcome.jain());
    }
    // Without it the same is a storm, or the above would show nothing.
    let without: u64 = row(mix, false, &[1, 2]).iter().map(|outcome| outcome.refused).sum();
    assert!(without > 20, "{}: only {without} refused without", mix.name);
}

#[test]
fn none_of_99_users_is_refused_for_a_run_that_fans_out_over_47_callers() {
    // 62 % on the mean: 40 % users, and a run that comes at once.
    holds(&Mix { lasts: 400.0, ..mix("40 % users, a run of 22 % in waves", 0.40, vec![waves(0.22)]) });
}

#[test]
fn none_of_99_users_is_refused_for_a_run_without_end() {
    let patient = Run { patience: 0.05, ..greedy() };
    let storm = Mix { lasts: 300.0, ..mix("62 % users, a greedy run", 0.62, vec![patient]) };
    holds(&storm);
    let all = play(&storm, true, 3);
    assert!(all.utilisation() > 0.97, "{}", all.utilisation());
}

#[test]
fn none_of_few_users_who_are_often_away_is_refused() {
    let patient = Run { patience: 0.05, ..greedy() };
    holds(&Mix { lasts: 600.0, ..few("3 users of 2 %, a greedy run", 0.02, patient) });
}

#[test]
fn runs_get_equal_parts_however_often_they_ask_and_whatever_a_call_costs() {
    let runs = (0..5).map(|i| Run { patience: 0.02 * 3f64.powi(i), size: 6_000.0 / f64::from(i + 1), ..greedy() });
    let mix = Mix { users: 0, lasts: 400.0, ..mix("5 runs only, all different", 0.0, runs.collect()) };
    head();
    let with = row(&mix, true, &[1])[0].jain();
    let without = row(&mix, false, &[1])[0].jain();
    assert!(with >= 0.99 && without < 0.9, "{with}, without {without}");
}
