//! The fair bucket: the limit against a naive bucket, fairness against max-min by the book.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir::features::limits::share::{Bucket, Rate, SHARERS, SIZE, Verdict, is_idle};
use weir::units::{Nanos, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;
const START: Nanos = Nanos(1_000_000 * SECOND);
const GRANTED: Verdict = Verdict::Granted { wait: Span(0) };

fn after(seconds: f64) -> Nanos {
    Nanos(START.0.strict_add_signed((seconds * SECOND as f64) as i64))
}

/// 600 calls per minute, 600 at once: ten per second.
fn rate() -> Rate {
    calls(600, 600)
}

fn calls(per_minute: u64, burst: u64) -> Rate {
    Rate::new(per_minute * 1000, Span(60 * SECOND), burst * 1000)
}

/// A value in shared data, and its limit.
struct Value {
    bytes: Vec<u8>,
    rate: Rate,
}

impl Value {
    fn new(rate: Rate) -> Self {
        Self { bytes: vec![0; SIZE], rate }
    }

    fn bucket(&mut self) -> Bucket<'_> {
        Bucket::over(&mut self.bytes).unwrap()
    }

    fn take(&mut self, sharer: u64, cost: u64, now: Nanos) -> Verdict {
        let rate = self.rate;
        self.bucket().take(&rate, sharer, cost, now)
    }

    fn level(&mut self, now: Nanos) -> i64 {
        let rate = self.rate;
        self.bucket().level(&rate, now)
    }

    fn used(&mut self, sharer: u64, now: Nanos) -> u64 {
        let rate = self.rate;
        self.bucket().used(&rate, sharer, now)
    }

    fn fair_level(&mut self, sharer: u64, now: Nanos) -> u64 {
        let rate = self.rate;
        self.bucket().fair_level(&rate, sharer, now)
    }

    fn is_idle(&mut self, now: Nanos) -> bool {
        let rate = self.rate;
        is_idle(&self.bytes, &rate, now)
    }

    /// Calls of one unit that are granted until one is not.
    fn drain(&mut self, sharer: u64, now: Nanos) -> u64 {
        (0..).take_while(|_| self.take(sharer, 1000, now) == GRANTED).count() as u64
    }
}

/// The max-min level by the book: divide what is left by who is left, until all who want less have theirs. One of them
/// wants without end.
fn level_by_the_book(mut capacity: f64, mut demands: Vec<f64>) -> f64 {
    loop {
        let equal = capacity.max(0.0) / (demands.len() + 1) as f64;
        match demands.iter().position(|demand| *demand <= equal) {
            Some(met) => capacity -= demands.remove(met),
            None => return equal,
        }
    }
}

/// The rule as the module's text has it, over a map, in floating point.
struct Naive {
    rate: f64,
    burst: f64,
    level: f64,
    at: f64,
    tick: f64,
    faded_at: f64,
    /// Use, what was refused, and when it asked, by sharer.
    sharers: BTreeMap<u64, (f64, f64, f64)>,
}

impl Naive {
    fn new(rate: f64, burst: f64, now: f64) -> Self {
        let tick = burst / rate * 9.0 / 8.0 / 32.0;
        Self { rate, burst, level: burst, at: now, tick, faded_at: now, sharers: BTreeMap::new() }
    }

    fn pass(&mut self, now: f64) {
        self.level = (self.level + (now - self.at) * self.rate).min(self.burst);
        self.at = now;
        while now - self.faded_at >= self.tick {
            self.faded_at += self.tick;
            for (used, want, _) in self.sharers.values_mut() {
                *used *= 31.0 / 32.0;
                *want *= 31.0 / 32.0;
            }
        }
        let (tick, faded_at) = (self.tick, self.faded_at);
        self.sharers.retain(|_, (_, _, seen)| faded_at - *seen <= 64.5 * tick);
    }

    fn fair_level(&self, sharer: u64) -> f64 {
        let others = self.sharers.iter().filter(|(other, _)| **other != sharer);
        level_by_the_book(self.burst, others.map(|(_, (used, want, _))| used + want).collect())
    }

    /// Whether it is inside its share and what level it needs.
    fn needed(&self, sharer: u64, cost: f64) -> (bool, f64) {
        let fair = self.fair_level(sharer);
        let used = self.sharers.get(&sharer).map_or(0.0, |(used, _, _)| *used);
        let stands = used + cost.min(fair) / 2.0;
        let above = (self.burst / 8.0 + self.burst - fair).min(self.burst * 5.0 / 8.0);
        let others = self.sharers.iter().filter(|(other, _)| **other != sharer);
        let below: f64 = others.map(|(_, (other, _, _))| (used + cost - other).max(0.0)).sum();
        let reserve = match stands <= fair {
            true => (above / 2.0 * stands / fair).min((above - cost).max(0.0)).min(below),
            false => above + (self.burst / 4.0 * (1.0 - fair / stands) - cost).max(0.0),
        };
        (stands <= fair, (cost + reserve).min(self.burst))
    }

    fn saw(&mut self, sharer: u64, granted: bool, cost: f64) {
        let entry = self.sharers.entry(sharer).or_default();
        if granted {
            self.level -= cost;
            entry.0 += cost;
        }
        entry.1 = if granted { 0.0 } else { cost };
        entry.2 = self.faded_at;
    }
}

proptest! {
    #[test]
    fn the_fair_level_is_that_by_the_book_for_any_demands(
        demands in prop_oneof![
            prop::collection::vec(0u64..2_000_000, 0..SHARERS),
            prop::collection::vec(0u64..20_000, 0..SHARERS),
            prop::collection::vec((0u32..30).prop_map(|power| 1 << power), 0..SHARERS),
        ],
    ) {
        let mut value = Value::new(rate());
        let rate = value.rate;
        for (sharer, demand) in demands.iter().enumerate() {
            value.bucket().settle(&rate, sharer as u64, 0, START, *demand, START);
        }
        let by_the_book = level_by_the_book(600_000.0, demands.iter().map(|demand| *demand as f64).collect());
        let got = value.fair_level(u64::MAX, START) as f64;
        // Uses are rounded up by one part in 2^24, and so by 256 of them in sum at most.
        prop_assert!((got - by_the_book).abs() < 12.0, "{got}, by the book {by_the_book}");
    }

    #[test]
    fn every_verdict_is_that_of_the_rule_by_the_book(
        asks in prop::collection::vec((0u64..12, 1u64..80_000, prop_oneof![Just(0u64), 0u64..3_000, 0u64..40_000]), 1..300),
    ) {
        let mut value = Value::new(rate());
        let mut now_ms = 0u64;
        let mut naive = Naive::new(10_000.0, 600_000.0, 0.0);
        // The first ask starts the clock of both.
        prop_assert_eq!(value.take(99, 1, START), GRANTED);
        naive.saw(99, true, 1.0);
        for (sharer, cost, pause_ms) in asks {
            now_ms += pause_ms;
            let now = Nanos(START.0 + now_ms * 1_000_000);
            naive.pass(now_ms as f64 / 1000.0);
            let (inside, needed) = naive.needed(sharer, cost as f64);
            let fair = naive.fair_level(sharer);
            let got = value.fair_level(sharer, now) as f64;
            prop_assert!((got - fair).abs() < 600.0, "level {got}, by the book {fair}");
            let verdict = value.take(sharer, cost, now);
            let (granted, says_inside, wait) = match verdict {
                Verdict::Granted { .. } => (true, true, 0),
                Verdict::Empty { wait } => (false, true, wait.0),
                Verdict::OverShare { wait } => (false, false, wait.0),
                Verdict::TooLarge => unreachable!(),
            };
            // Parts are rounded: a verdict may differ where it hangs by a thread.
            let thread = (naive.level - needed).abs() < 2_000.0;
            let used = naive.sharers.get(&sharer).map_or(0.0, |(used, _, _)| *used);
            let at_level = (used + (cost as f64).min(fair) / 2.0 - fair).abs() < 2_000.0;
            if !thread && !at_level {
                prop_assert_eq!(granted, naive.level >= needed, "{:?}: {} of {}", verdict, needed, naive.level);
                prop_assert!(granted || says_inside == inside, "{:?}", verdict);
                if !granted {
                    let expected = (needed - naive.level) / 10_000.0;
                    prop_assert!((wait as f64 / 1e9 - expected).abs() < 0.3, "{wait} ns, by the book {expected} s");
                }
            }
            naive.saw(sharer, granted, cost as f64);
            let level = value.level(now) as f64;
            prop_assert!((level - naive.level).abs() < 2.0, "{level}, by the book {}", naive.level);
        }
    }

    #[test]
    fn no_interval_grants_more_than_the_burst_and_the_rate(
        asks in prop::collection::vec((0u64..6, 1u64..300_000, 0u64..20_000, 0u64..30), 1..200),
    ) {
        let mut value = Value::new(rate());
        let rate = value.rate;
        let mut now_ms = 0;
        let mut grants: Vec<(u64, u64)> = Vec::new();
        for (sharer, cost, pause_ms, longest) in asks {
            now_ms += pause_ms;
            let now = Nanos(START.0 + now_ms * 1_000_000);
            let longest = Span(longest * SECOND);
            if let Verdict::Granted { wait } = value.bucket().take_ahead(&rate, sharer, cost, now, longest) {
                prop_assert!(wait <= longest);
                grants.push((now_ms * 1_000_000 + wait.0, cost));
            }
        }
        grants.sort_unstable();
        for (from, (start, _)) in grants.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in &grants[from..] {
                sum += cost;
                // Ten units a second; a milli-unit for rounding.
                let most = 600_000 + (end - start) / 100_000 + 1;
                prop_assert!(sum <= most, "{sum} of {most} in {} ns", end - start);
            }
        }
    }

    #[test]
    fn junk_never_panics_and_time_mends_it(
        junk in prop::collection::vec(any::<u8>(), SIZE),
        asks in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..20),
        limit in (any::<u64>(), any::<u64>(), any::<u64>()),
    ) {
        let mut value = Value { bytes: junk, rate: Rate::new(limit.0, Span(limit.1), limit.2) };
        let rate = value.rate;
        for (sharer, cost, now) in asks {
            let now = Nanos(now);
            value.take(sharer, cost, now);
            value.bucket().take_ahead(&rate, sharer, cost, now, Span(cost));
            value.bucket().settle(&rate, sharer, cost, Nanos(sharer), now.0, now);
            value.bucket().give_back(&rate, sharer, cost, Nanos(cost), now);
            value.fair_level(sharer, now);
            value.used(sharer, now);
            value.level(now);
            value.is_idle(now);
        }
        value.rate = calls(600, 600);
        // A clock that jumped back, or junk, keeps nobody out for longer than a day beyond the burst.
        value.take(1, 1000, START);
        let later = Nanos(START.0 + 25 * 3600 * SECOND);
        prop_assert_eq!(value.take(1, 1000, later), GRANTED);
    }

    #[test]
    fn a_call_that_is_given_back_leaves_no_trace(
        asks in prop::collection::vec((0u64..5, 1u64..200_000, 0u64..9_000), 0..40),
        cost in 1u64..500_000,
        took_ms in 0u64..200_000,
    ) {
        let (mut value, mut now) = (Value::new(rate()), START);
        for (sharer, cost, pause_ms) in asks {
            now.0 += pause_ms * 1_000_000;
            value.take(sharer, cost, now);
        }
        let mut other = Value { bytes: value.bytes.clone(), rate: value.rate };
        let rate = value.rate;
        if let Verdict::Granted { .. } = value.take(7, cost, now) {
            let end = Nanos(now.0 + took_ms * 1_000_000);
            value.bucket().give_back(&rate, 7, cost, now, end);
            // What came in while the call ran ran over where the bucket had been full without it.
            prop_assert!((value.level(end) - other.level(end)).abs() <= 1);
            prop_assert!(value.used(7, end) <= 600, "{} of {cost}", value.used(7, end));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn those_well_inside_find_what_they_need_whatever_those_above_do(
        seed in any::<u64>(),
        hogs in 1u64..60,
        users in 1u64..100,
        largest in 1_000u64..30_000,
    ) {
        let mut value = Value::new(rate());
        let mut state = seed;
        let mut dice = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        // Those above take what they can, until the reserve is there.
        let mut now_ms = 0;
        let at = |ms: u64| Nanos(START.0 + ms * 1_000_000);
        while now_ms < 300_000 {
            now_ms += 1 + dice(400);
            value.take(1_000 + dice(hogs), 1 + dice(largest), at(now_ms));
        }
        let (mut small, mut small_at) = (37_500.0, now_ms);
        let mut asked = 0;
        while asked < 100 && now_ms < 600_000 {
            now_ms += dice(100);
            let (hog, cost) = (1_000 + dice(hogs), 1 + dice(largest));
            let used = value.used(hog, at(now_ms));
            let level = value.fair_level(hog, at(now_ms));
            if used + cost.min(level) / 2 > level + 1 {
                value.take(hog, cost, at(now_ms));
            }
            let (user, cost) = (dice(users), 1 + dice(largest.min(10_000)));
            small = (small + (now_ms - small_at) as f64 * 10.0).min(37_500.0);
            small_at = now_ms;
            let level = value.fair_level(user, at(now_ms));
            let stands = value.used(user, at(now_ms)) + cost.min(level) / 2;
            if stands < level / 5 && cost as f64 + 1.0 <= small {
                small -= cost as f64;
                asked += 1;
                let before = value.level(at(now_ms));
                prop_assert_eq!(value.take(user, cost, at(now_ms)), GRANTED, "{} of {}", cost, before);
            }
        }
        prop_assert!(asked > 0);
    }
}

#[test]
fn one_alone_gets_the_burst_at_once_and_then_the_whole_rate() {
    let mut value = Value::new(rate());
    assert_eq!(value.drain(1, START), 600);
    let mut granted = 0;
    // Half an hour, asking every 50 ms.
    for i in 1..=36_000 {
        granted += u64::from(value.take(1, 1000, after(f64::from(i) / 20.0)) == GRANTED);
    }
    // All that came in, but for the level that is kept.
    let kept = value.level(after(1800.0)) as u64 / 1000;
    assert_eq!(granted + kept, 18_000);
    assert!(kept < 120, "{kept} kept");
}

#[test]
fn several_alike_get_equal_parts_of_the_burst_at_once() {
    for several in [2, 3, 10, 50, 200] {
        let mut value = Value::new(calls(600, 600));
        let mut granted = vec![0u64; several];
        // More rounds than there is for anybody.
        for _ in 0..=600 / several {
            for (sharer, granted) in granted.iter_mut().enumerate() {
                *granted += u64::from(value.take(sharer as u64, 1000, START) == GRANTED);
            }
        }
        let (least, most) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
        assert!(most - least <= 1, "{granted:?}");
        assert!(granted.iter().sum::<u64>() + several as u64 >= 600, "{granted:?}");
    }
}

/// Each asks for its demand (units per second) for 900 seconds; gives what each got per second once the reserve is there.
fn got(rate: Rate, demands: &[(f64, u64)]) -> Vec<f64> {
    let mut value = Value::new(rate);
    let mut next = vec![0.0; demands.len()];
    let mut got = vec![0.0; demands.len()];
    for step in 0..18_000 {
        let now = f64::from(step) / 20.0;
        for (i, (demand, cost)) in demands.iter().enumerate() {
            while next[i] <= now {
                // Who is refused tries again at the next step, and has lost nothing but time.
                if value.take(i as u64, cost * 1000, after(now)) != GRANTED {
                    break;
                }
                next[i] = f64::max(next[i], now - 5.0) + *cost as f64 / demand;
                got[i] += if now >= 500.0 { *cost as f64 / 400.0 } else { 0.0 };
            }
        }
    }
    got
}

#[test]
fn parts_come_to_max_min_shares() {
    // Ten a second for all; demands (a second, each call's cost) and the share of each.
    let table: &[(&[(f64, u64)], &[f64])] = &[
        (&[(1e9, 1)], &[10.0]),
        (&[(1e9, 1), (1e9, 1)], &[5.0, 5.0]),
        (&[(1.0, 1), (1e9, 1)], &[1.0, 9.0]),
        (&[(1.0, 1), (3.0, 1), (1e9, 1), (1e9, 1)], &[1.0, 3.0, 3.0, 3.0]),
        (&[(0.5, 1), (2.0, 1), (1e9, 1), (1e9, 1), (1e9, 1)], &[0.5, 2.0, 2.5, 2.5, 2.5]),
        // The size of a call makes no difference.
        (&[(1e9, 1), (1e9, 20)], &[5.0, 5.0]),
        (&[(1e9, 1), (1e9, 5), (1e9, 30)], &[3.33, 3.33, 3.33]),
        // All that is wanted, where it is there.
        (&[(1.0, 1), (2.0, 1), (3.0, 3)], &[1.0, 2.0, 3.0]),
    ];
    for (demands, shares) in table {
        let got = got(rate(), demands);
        for ((got, share), (_, cost)) in got.iter().zip(*shares).zip(*demands) {
            // Two calls more or less in the time, as calls cannot be cut.
            let two = 2.0 * *cost as f64 / 400.0;
            assert!((got - share).abs() < 0.08 * share + two, "{demands:?}: {got} of {share}");
        }
    }
}

#[test]
fn who_is_new_finds_something_beside_one_who_takes_all() {
    let mut value = Value::new(rate());
    value.drain(1, START);
    for i in 0..30_000 {
        value.take(1, 1000, after(f64::from(i) / 100.0));
    }
    // An eighth of the burst is there for who has not come yet.
    let now = after(300.0);
    assert!((0..30).all(|newcomer| value.take(100 + newcomer, 2000, now) == GRANTED));
    assert!(matches!(value.take(1, 1000, now), Verdict::OverShare { .. }));
}

#[test]
fn what_was_refused_is_kept_for_who_asked() {
    let mut value = Value::new(rate());
    value.drain(1, START);
    // 200 of 600: far more than the other would leave otherwise.
    assert!(matches!(value.take(2, 200_000, after(0.1)), Verdict::Empty { .. }));
    let mut at = None;
    for i in 1..20_000 {
        let now = after(0.1 + f64::from(i) / 100.0);
        value.take(1, 1000, now);
        if i % 100 == 0 && value.take(2, 200_000, now) == GRANTED {
            at = Some(i / 100);
            break;
        }
    }
    assert!(at.is_some_and(|seconds| seconds < 60), "{at:?}");
}

#[test]
fn the_wait_that_is_told_is_exact_when_nobody_else_comes() {
    let mut value = Value::new(rate());
    value.drain(1, START);
    value.take(2, 1000, START);
    for (sharer, cost) in [(1, 1000), (2, 50_000), (1, 30_000), (3, 1000)] {
        let now = after(1.0);
        let (bytes, verdict) = (value.bytes.clone(), value.take(sharer, cost, now));
        let (Verdict::Empty { wait } | Verdict::OverShare { wait }) = verdict else {
            assert_eq!(verdict, GRANTED);
            continue;
        };
        value.bytes = bytes;
        // Uses fade meanwhile, so it may be sooner, never later.
        assert_eq!(value.take(sharer, cost, Nanos(now.0 + wait.0)), GRANTED, "{sharer} {cost} {verdict:?}");
    }
}

#[test]
fn who_waits_inside_its_share_has_its_place_and_who_is_above_has_none() {
    let mut value = Value::new(rate());
    let rate = value.rate;
    value.drain(1, START);
    let mut ahead =
        |sharer, cost, longest| value.bucket().take_ahead(&rate, sharer, cost, START, Span(longest * SECOND));
    let seconds = |seconds| Verdict::Granted { wait: Span(seconds * SECOND) };
    assert_eq!(ahead(2, 10_000, 2), seconds(1));
    assert_eq!(ahead(3, 10_000, 2), seconds(2));
    assert!(matches!(ahead(4, 10_000, 2), Verdict::Empty { wait } if wait >= Span(3 * SECOND)));
    assert!(matches!(ahead(1, 1000, 2), Verdict::OverShare { .. }));
    assert_eq!(value.level(START), -20_000);
    assert_eq!(value.level(after(2.0)), 0);
}

#[test]
fn settling_counts_what_it_was_in_the_end() {
    // Reserved, actual, level and use afterwards, of 600.
    for (reserved, actual, level, used) in
        [(100, 40, 560, 40), (100, 100, 500, 100), (100, 250, 350, 250), (100, 0, 600, 0), (500, 900, -300, 900)]
    {
        let mut value = Value::new(rate());
        let rate = value.rate;
        assert_eq!(value.take(1, reserved * 1000, START), GRANTED);
        value.bucket().settle(&rate, 1, reserved * 1000, START, actual * 1000, START);
        assert_eq!(value.level(START), level * 1000);
        assert!(value.used(1, START).abs_diff(used * 1000) <= 2, "{}", value.used(1, START));
    }
}

#[test]
fn a_call_larger_than_the_burst_is_told_so() {
    let mut value = Value::new(rate());
    assert_eq!(value.take(1, 600_001, START), Verdict::TooLarge);
    assert_eq!(value.take(1, 600_000, START), GRANTED);
    let mut value = Value::new(Rate::new(0, Span(0), 0));
    assert_eq!(value.take(1, 1, START), Verdict::TooLarge);
}

#[test]
fn uses_fade_and_who_stays_away_is_forgotten() {
    let mut value = Value::new(rate());
    value.take(1, 100_000, START);
    let uses: Vec<u64> = [0.0, 30.0, 67.5, 120.0, 134.0].iter().map(|s| value.used(1, after(*s)) / 1000).collect();
    assert!(uses.windows(2).all(|two| two[0] > two[1]), "{uses:?}");
    // A window is 67.5 s; e^-1 and e^-2 of it are left after one and two.
    assert!(uses[2].abs_diff(37) <= 1 && uses[4].abs_diff(14) <= 1, "{uses:?}");
    assert_eq!(value.used(1, after(140.0)), 0);
}

#[test]
fn an_idle_value_may_be_taken_over_and_no_other() {
    let mut value = Value::new(rate());
    assert!(value.is_idle(START));
    value.take(1, 1000, START);
    assert!(!value.is_idle(START));
    assert!(!value.is_idle(after(134.0)));
    assert!(value.is_idle(after(140.0)));
    // An overdrawn one is not idle, however long nobody came.
    let rate = value.rate;
    value.bucket().settle(&rate, 1, 0, after(140.0), 6_000_000, after(140.0));
    assert!(!value.is_idle(after(400.0)));
    assert!(value.is_idle(after(141.0 + 600.0)));
}

#[test]
fn a_clock_that_jumps_hurts_nobody_for_long() {
    for jump in [-1e5, -100.0, -0.001, 0.001, 100.0, 1e5] {
        let mut value = Value::new(rate());
        for sharer in 0..10 {
            value.take(sharer, 20_000, START);
        }
        let now = after(jump);
        // What was taken stays taken, and a clock that went far back makes it look like more: for a day at most.
        let verdict = value.take(77, 1000, now);
        assert_eq!(verdict == GRANTED, jump > -25.0, "{jump} {verdict:?}");
        assert!(value.level(now) <= 600_000);
        let later = Nanos(now.0 + 25 * 3600 * SECOND);
        assert_eq!(value.drain(1, later), 600, "{jump}");
    }
}

#[test]
fn a_heavy_one_is_never_forgotten_among_100_000() {
    let mut value = Value::new(calls(60_000, 60_000));
    // A thousand calls a second: 900 of one-time sharers, and one that takes 100, all of them in turns.
    let heavy = u64::MAX;
    let (mut granted, mut others) = (0u64, 0u64);
    for i in 0..200_000u64 {
        let now = after(i as f64 / 1000.0);
        match i % 10 {
            0 => granted += u64::from(value.take(heavy, 1000, now) == GRANTED),
            _ => others += u64::from(value.take(i % 100_000, 1000, now) == GRANTED),
        }
        if i > 20_000 && i % 100 == 0 {
            // A tenth of 67.5 s of it, at the least what came since the beginning.
            let due = 1000.0 * 6750.0 * (1.0 - f64::exp(-(i as f64) / 67_500.0));
            let used = value.used(heavy, now) as f64;
            assert!(used > 0.95 * due && used < 1.05 * due, "{used} of {due} at {i}");
        }
    }
    assert_eq!((granted, others), (20_000, 180_000));
    // Those who are no longer known count still: what is left for the heavy one is what they leave.
    let level = value.fair_level(heavy, after(200.0));
    assert!(level < 12_000_000, "{level}");
}

#[test]
fn a_full_table_refuses_nobody_for_being_new() {
    let mut value = Value::new(calls(60_000, 60_000));
    for i in 0..100_000 {
        assert_eq!(value.take(i, 100, START.max(after(i as f64 / 5000.0))), GRANTED);
    }
}

#[test]
fn a_value_of_another_size_is_none() {
    for size in [0, 1, SIZE - 1, SIZE + 1] {
        assert!(Bucket::over(&mut vec![0; size]).is_none());
    }
}
