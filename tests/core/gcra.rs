//! One number is a token bucket: equal to a naive one, whatever is taken, waited for and put right.

use proptest::prelude::*;
use weir::features::limits::gcra::{Rate, Taken};
use weir::units::{Nanos, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;

/// A bucket as one would first write it. Its level is in amounts × the period, so nothing is ever rounded; below zero are
/// the places of those who wait, and debt.
struct Naive {
    rate: Rate,
    level: i128,
    now: u64,
}

impl Naive {
    fn new(rate: Rate) -> Self {
        Self { rate, level: Self::scaled(rate, rate.burst), now: 0 }
    }

    fn scaled(rate: Rate, amount: u64) -> i128 {
        i128::from(amount) * i128::from(rate.period.0)
    }

    fn put(&mut self, scaled: i128) {
        self.level = (self.level + scaled).min(Self::scaled(self.rate, self.rate.burst));
    }

    fn pass_to(&mut self, now: u64) {
        self.put(i128::from(now - self.now) * i128::from(self.rate.amount));
        self.now = now;
    }

    /// How long until there is enough.
    fn wait(&self, cost: u64) -> u64 {
        let lacks = (Self::scaled(self.rate, cost) - self.level).max(0) as u128;
        lacks.div_ceil(self.rate.amount.into()) as u64
    }

    fn take(&mut self, cost: u64, max_wait: u64) -> Taken {
        let wait = self.wait(cost);
        if wait > max_wait {
            return Taken::Never(Span(wait));
        }
        self.level -= Self::scaled(self.rate, cost);
        Taken::After(Span(wait))
    }

    fn settle(&mut self, reserved: u64, actual: u64) {
        self.put(Self::scaled(self.rate, reserved) - Self::scaled(self.rate, actual));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { cost: u64, max_wait: u64 },
    Settle { which: usize, actual: u64 },
    Pass { time: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..60_000u64, prop_oneof![Just(0), 0..5 * SECOND]).prop_map(|(cost, max_wait)| Step::Take { cost, max_wait }),
        2 => (any::<usize>(), prop_oneof![Just(0), 0..120_000u64]).prop_map(|(which, actual)| Step::Settle { which, actual }),
        2 => (0..3 * SECOND).prop_map(|time| Step::Pass { time }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Rates of which every amount comes in in whole nanoseconds, and any others.
fn rates(whole: bool) -> impl Strategy<Value = Rate> {
    let period = move |amount: u64, times: u64| Span(if whole { amount * times } else { times * 977 });
    (1..100_000u64, 1..500_000u64, 1000..50_000u64).prop_map(move |(amount, times, burst)| Rate {
        amount,
        period: period(amount, times),
        burst,
    })
}

proptest! {
    #[test]
    fn every_answer_and_every_level_is_that_of_a_naive_bucket(rate in rates(true), steps in steps()) {
        let (mut naive, mut tat, mut now, mut open) = (Naive::new(rate), 0, 0, Vec::new());
        for step in steps {
            match step {
                Step::Take { cost, max_wait } => {
                    let taken = rate.take(&mut tat, cost, Span(max_wait), Nanos(now));
                    prop_assert_eq!(taken, naive.take(cost, max_wait));
                    if let Taken::After(_) = taken {
                        open.push(cost);
                    }
                }
                Step::Settle { which, actual } if !open.is_empty() => {
                    let reserved = open.swap_remove(which % open.len());
                    rate.settle(&mut tat, reserved, actual, Nanos(now));
                    naive.settle(reserved, actual);
                }
                Step::Settle { .. } => {}
                Step::Pass { time } => {
                    now += time;
                    naive.pass_to(now);
                }
            }
            let level = naive.level.max(0) / i128::from(rate.period.0);
            prop_assert_eq!(i128::from(rate.level(tat, Nanos(now))), level);
            let until_full = (Naive::scaled(rate, rate.burst) - naive.level) / i128::from(rate.amount);
            prop_assert_eq!(i128::from(rate.until_full(tat, Nanos(now)).0), until_full);
        }
    }

    #[test]
    fn what_is_rounded_is_no_more_than_a_nanosecond_a_step(
        rate in rates(false), steps in steps()
    ) {
        let (mut naive, mut tat, mut now, mut open) = (Naive::new(rate), 0, 0, Vec::new());
        for (done, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take { cost, max_wait } => {
                    let (Taken::After(wait) | Taken::Never(wait)) =
                        rate.take(&mut tat, cost, Span(max_wait), Nanos(now));
                    let least = naive.wait(cost);
                    prop_assert!(wait.0.abs_diff(least) <= 2 + done as u64, "{} instead of {least}", wait.0);
                    if wait.0 <= max_wait {
                        naive.take(cost, u64::MAX);
                        open.push(cost);
                    }
                }
                Step::Settle { which, actual } if !open.is_empty() => {
                    let reserved = open.swap_remove(which % open.len());
                    rate.settle(&mut tat, reserved, actual, Nanos(now));
                    naive.settle(reserved, actual);
                }
                Step::Settle { .. } => {}
                Step::Pass { time } => {
                    now += time;
                    naive.pass_to(now);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_runs_to_and_fro_gives_nobody_more_than_its_whole_way_brings_in(
        rate in rates(true),
        asks in proptest::collection::vec((0..100 * SECOND, 1..50_000u64, 0..SECOND), 1..60),
    ) {
        let (mut tat, mut granted) = (0, 0u128);
        let start = 50 * SECOND;
        let (mut first, mut last) = (start, start);
        for (time, cost, max_wait) in asks {
            (first, last) = (first.min(time), last.max(time + max_wait));
            if let Taken::After(wait) = rate.take(&mut tat, cost, Span(max_wait), Nanos(time)) {
                prop_assert!(wait.0 <= max_wait);
                granted += u128::from(cost);
            }
            prop_assert!(rate.level(tat, Nanos(time)) <= rate.burst);
        }
        let most = u128::from(rate.burst) + u128::from(last - first) * u128::from(rate.amount) / u128::from(rate.period.0);
        prop_assert!(granted <= most, "{granted} of {most}");
    }
}

const PER_SECOND: Rate = Rate { amount: 10_000, period: Span(SECOND), burst: 20_000 };

#[test]
fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
    let mut tat = 0;
    let mut take = |cost, at| PER_SECOND.take(&mut tat, cost, Span(0), Nanos(at));
    for (cost, at, taken) in [
        (20_000, 5 * SECOND, Taken::After(Span(0))),
        (1, 5 * SECOND, Taken::Never(Span(100_000))),
        (10_000, 6 * SECOND, Taken::After(Span(0))),
        (10_000, 6 * SECOND + SECOND / 2, Taken::Never(Span(SECOND / 2))),
        (5_000, 6 * SECOND + SECOND / 2, Taken::After(Span(0))),
        (20_001, 100 * SECOND, Taken::Never(Span(100_000))),
        (20_000, 100 * SECOND, Taken::After(Span(0))),
    ] {
        assert_eq!(take(cost, at), taken, "{cost} at {at}");
    }
}

#[test]
fn who_waits_has_taken_and_who_comes_later_waits_longer() {
    let mut tat = 0;
    let mut take = |cost| PER_SECOND.take(&mut tat, cost, Span(3 * SECOND), Nanos(SECOND));
    let waits = [0, 1, 2, 3].map(|seconds| Taken::After(Span(seconds * SECOND)));
    assert_eq!(take(20_000), waits[0]);
    assert_eq!([take(10_000), take(10_000), take(10_000)], [waits[1], waits[2], waits[3]]);
    assert_eq!(take(1), Taken::Never(Span(3 * SECOND + 100_000)));
    assert_eq!(PER_SECOND.level(tat, Nanos(SECOND)), 0);
}

#[test]
fn a_clock_that_jumps_and_numbers_out_of_all_bounds_neither_break_it_nor_lock_it_for_more_than_a_day() {
    const DAY: u64 = 24 * 3600 * SECOND;
    let odd = [0, 1, SECOND, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let rates = [
        PER_SECOND,
        Rate { amount: 1, period: Span(1), burst: 1 },
        Rate { amount: u64::MAX, period: Span(1), burst: u64::MAX },
        Rate { amount: 0, period: Span(0), burst: 0 },
        Rate { amount: 1, period: Span(u64::MAX), burst: u64::MAX },
    ];
    for rate in rates {
        for n in 0..odd.len().pow(3) {
            let [tat, cost, now] = [n % 6, n / 6 % 6, n / 36].map(|at| odd[at]);
            let (mut taken, mut settled) = (tat, tat);
            let _ = rate.take(&mut taken, cost, Span(cost), Nanos(now));
            rate.settle(&mut settled, cost, tat, Nanos(now));
            for after in [taken, settled] {
                let most = rate.span(rate.burst).0.saturating_add(DAY);
                assert!(rate.until_full(after, Nanos(now)).0 <= most, "{rate:?} {tat} {cost} {now}");
                assert!(rate.level(after, Nanos(now)) <= rate.burst);
            }
        }
    }
    // A clock that jumped back by a year: a day of debt, no more.
    let mut tat = 365 * DAY;
    assert!(matches!(PER_SECOND.take(&mut tat, 1, Span(0), Nanos(SECOND)), Taken::Never(Span(w)) if w <= DAY + SECOND));
}
