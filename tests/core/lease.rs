//! A total with leases: equal to a naive list of who leased what and when.

use proptest::prelude::*;
use weir::features::limits::lease::{Entry, GENERATION, SIZE, Total, generation};
use weir::units::{Nanos, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;

/// What a naive list knows of a lease.
#[derive(Clone, Copy, Debug)]
struct Lease {
    amount: u64,
    /// In which generation it was made or renewed.
    of: u32,
}

#[derive(Debug, Default)]
struct Naive {
    leases: Vec<Option<Lease>>,
    settled: u64,
    touched: u64,
}

impl Naive {
    fn binding(&self, now: Nanos) -> u64 {
        let binds = |lease: &&Lease| lease.of + 1 >= generation(now);
        self.leases.iter().flatten().filter(binds).map(|lease| lease.amount).sum()
    }

    fn used(&mut self, total: Total, now: Nanos) -> u64 {
        let leased = self.binding(now);
        if leased == 0 && now.0.saturating_sub(self.touched) > total.idle.0 {
            self.settled = 0;
        }
        self.settled + leased
    }
}

#[derive(Clone, Debug)]
enum Step {
    Lease(u64),
    Settle {
        which: usize,
        actual: u64,
    },
    Renew {
        which: usize,
        part: u64,
    },
    /// Its worker has died: nobody will renew or settle it.
    Die {
        which: usize,
    },
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..400u64).prop_map(Step::Lease),
        3 => (any::<usize>(), 0..500u64).prop_map(|(which, actual)| Step::Settle { which, actual }),
        2 => (any::<usize>(), 0..=4u64).prop_map(|(which, part)| Step::Renew { which, part }),
        1 => any::<usize>().prop_map(|which| Step::Die { which }),
        3 => prop_oneof![0..30 * SECOND, 0..400 * SECOND].prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn every_answer_and_every_sum_is_that_of_a_naive_list(
        amount in 1..2000u64, idle in prop_oneof![Just(0), 1..600u64], steps in steps()
    ) {
        let total = Total { amount, idle: Span(idle * SECOND) };
        let (mut bytes, mut naive, mut now) = ([0; SIZE], Naive::default(), Nanos(7 * SECOND));
        // Leases that live workers hold: their place in the naive list, their size and generation as the call knows them.
        let mut held: Vec<(usize, u64, u32)> = Vec::new();
        for step in steps {
            let mut entry = Entry::read(&bytes);
            let pick = |which: usize, held: &[_]| if held.is_empty() { None } else { Some(which % held.len()) };
            match step {
                Step::Lease(cost) => {
                    let fits = naive.used(total, now) + cost <= amount;
                    prop_assert_eq!(entry.lease(total, cost, now), fits);
                    if fits {
                        held.push((naive.leases.len(), cost, entry.generation()));
                        naive.leases.push(Some(Lease { amount: cost, of: generation(now) }));
                        naive.touched = now.0;
                    }
                }
                Step::Settle { which, actual } => if let Some(at) = pick(which, &held) {
                    let (place, cost, of) = held.swap_remove(at);
                    naive.used(total, now);
                    entry.settle(total, (cost, of), actual, now);
                    naive.leases[place] = None;
                    naive.settled += actual;
                    naive.touched = now.0;
                },
                Step::Renew { which, part } => if let Some(at) = pick(which, &held) {
                    let (place, cost, of) = &mut held[at];
                    naive.used(total, now);
                    let to = *cost * part / 4;
                    entry.resize(total, (*cost, *of), to, now);
                    (*cost, *of) = (to, entry.generation());
                    naive.leases[*place] = Some(Lease { amount: to, of: generation(now) });
                    naive.touched = now.0;
                },
                Step::Die { which } => if let Some(at) = pick(which, &held) {
                    held.swap_remove(at);
                },
                Step::Pass(time) => now = Nanos(now.0 + time),
            }
            entry.write(&mut bytes);
            let mut seen = Entry::read(&bytes);
            prop_assert_eq!(seen, entry);
            prop_assert_eq!(seen.is_idle(now), naive.used(total, now) == 0);
            seen.catch_up(now);
            prop_assert_eq!(seen.used(), naive.used(total, now));
        }
    }
}

const TOTAL: Total = Total { amount: 10, idle: Span(3600 * SECOND) };

#[test]
fn a_dead_workers_leases_bind_for_one_to_two_generations() {
    for begins in [0, 1, GENERATION.0 / 2, GENERATION.0 - 1] {
        let mut entry = Entry::default();
        assert!(entry.lease(TOTAL, 10, Nanos(begins)));
        for (after, binds) in [(GENERATION.0, true), (2 * GENERATION.0, false)] {
            let mut later = entry;
            assert_eq!(later.lease(TOTAL, 1, Nanos(begins + after)), !binds, "{begins} {after}");
        }
    }
}

#[test]
fn a_lease_that_is_renewed_binds_for_as_long_as_its_call_lives_and_not_a_moment_more() {
    let (mut entry, mut of) = (Entry::default(), 0);
    assert!(entry.lease(TOTAL, 10, Nanos(0)));
    for at in (0..20).map(|i| Nanos(i * GENERATION.0 / 3)) {
        entry.resize(TOTAL, (10, of), 10, at);
        of = entry.generation();
        assert_eq!(entry.used(), 10, "{at:?}");
    }
    entry.settle(TOTAL, (10, of), 0, Nanos(7 * GENERATION.0));
    assert_eq!(entry.used(), 0);
}

#[test]
fn a_worker_whose_reading_of_the_clock_is_a_moment_old_takes_nothing_from_the_others() {
    let (old, new) = (Nanos(GENERATION.0 - 1), Nanos(GENERATION.0 + 1));
    let mut entry = Entry::default();
    assert!(entry.lease(TOTAL, 6, new));
    let first = entry.generation();
    assert!(!entry.lease(TOTAL, 5, old), "six of ten are in use");
    assert!(entry.lease(TOTAL, 4, old));
    let second = entry.generation();
    assert_eq!(entry.used(), 10);
    entry.settle(TOTAL, (4, second), 0, old);
    assert_eq!(entry.used(), 6);
    entry.settle(TOTAL, (6, first), 0, new);
    assert_eq!(entry.used(), 0);
}

#[test]
fn a_clock_that_jumps_back_forgets_leases_but_not_what_was_used_for_good() {
    let mut entry = Entry::default();
    assert!(entry.lease(TOTAL, 4, Nanos(100 * GENERATION.0)));
    entry.settle(TOTAL, (4, entry.generation()), 5, Nanos(100 * GENERATION.0));
    assert!(entry.lease(TOTAL, 2, Nanos(100 * GENERATION.0)));
    entry.catch_up(Nanos(3 * GENERATION.0));
    assert_eq!((entry.settled, entry.used()), (5, 5));
}

#[test]
fn numbers_out_of_all_bounds_saturate() {
    let mut entry = Entry::default();
    let all = Total { amount: u64::MAX, idle: Span(u64::MAX) };
    for now in [0, u64::MAX, 1, u64::MAX - GENERATION.0] {
        entry.lease(all, u64::MAX, Nanos(now));
        entry.resize(all, (0, entry.generation()), u64::MAX, Nanos(now));
        entry.settle(all, (1, entry.generation()), u64::MAX, Nanos(now));
        assert_eq!(entry.used(), u64::MAX);
    }
    for junk in [&[][..], &[255; 3], &[255; SIZE], &[255; 99]] {
        let mut entry = Entry::read(junk);
        entry.catch_up(Nanos(SECOND));
        assert!(junk.len() >= SIZE || entry.used() == 0);
    }
}
