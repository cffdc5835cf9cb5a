//! Where a call uses what it reserved, limits are exact to the token, whoever asks and however many.

use std::sync::atomic::{AtomicU64, Ordering};

use weir::call::size::Size;
use weir::features::limits::claim::Claims;
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::Caller;
use weir::record::Usage;
use weir::settings::Config;
use weir::units::Nanos;

use super::books::{SECOND, bucket};
use crate::dice::Dice;
use crate::memory::Memory;

fn limiter(limits: &str) -> Limiter {
    {
        let config = Config::parse(format!(r#"{{"limits":[{limits}]}}"#).as_bytes()).unwrap();
        Limiter::new(&config.limits, &config.admission)
    }
}

fn question(tokens: u64) -> Question<'static> {
    let caller = Caller { tenant: Some("t"), inference: true, ..Caller::default() };
    Question { caller, size: Size { input: tokens, output: 0, ..Size::default() }, last: true, room: false }
}

#[test]
fn at_one_moment_exactly_the_burst_passes_however_many_workers_ask() {
    for (limit, tokens, pass) in [
        (r#"{"name":"n","rate":{"limit":10000,"per":"minute"}}"#, 10, 1000),
        (r#"{"name":"n","rate":{"limit":10000,"per":"minute"}}"#, 7, 1428),
        (r#"{"name":"n","unit":"calls","rate":{"limit":10,"per":"hour","burst":333}}"#, 7, 333),
        (r#"{"name":"n","budget":{"limit":5000}}"#, 3, 1666),
        (r#"{"name":"n","concurrency":99}"#, 3, 99),
        (r#"{"name":"n","rate":{"limit":1000,"per":"minute"},"share":{"of":"tenant"}}"#, 10, 100),
    ] {
        for workers in [1, 2, 4, 8] {
            let (store, passed) = (Memory::default(), AtomicU64::new(0));
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        let mut limiter = limiter(limit);
                        for _ in 0..4000 / workers {
                            let mut claims = Claims::default();
                            let admit = limiter.admit(&mut claims, &question(tokens), &store, Nanos(SECOND));
                            // One that others were faster than all the time was let pass undecided.
                            let decided = admit == Admit::Pass && claims.events.failed == 0;
                            passed.fetch_add(decided.into(), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(passed.into_inner(), pass, "{limit}, {tokens} tokens a call, {workers} workers");
        }
    }
}

#[test]
fn in_any_time_no_more_passes_than_burst_and_rate_and_under_pressure_not_a_token_less() {
    const LIMIT: u64 = 6000;
    let rate = bucket(LIMIT, 60 * SECOND, LIMIT);
    for seed in 0..20 {
        let (mut dice, store) = (Dice(seed), Memory::default());
        let mut workers: Vec<_> =
            (0..2 + seed % 7).map(|_| limiter(r#"{"name":"n","rate":{"limit":6000,"per":"minute"}}"#)).collect();
        let (mut now, mut granted) = (Nanos(SECOND), Vec::<(Nanos, u64)>::new());
        for _ in 0..3000 {
            now = Nanos(now.0 + dice.below(2) * dice.below(SECOND));
            let (at, tokens) = (dice.below(workers.len() as u64) as usize, 1 + dice.below(200));
            let (limiter, mut claims) = (&mut workers[at], Claims::default());
            if limiter.admit(&mut claims, &question(tokens), &store, now) == Admit::Pass {
                granted.push((now, tokens));
                let usage = Usage { input: Some(tokens), ..Usage::default() };
                limiter.settle(&mut claims, &usage, true, &store, now);
            }
        }
        let flowed = |from: Nanos, to: Nanos| rate.amount(to - from) / 1000;
        for (first, (from, _)) in granted.iter().enumerate() {
            let mut sum = 0;
            for (to, tokens) in granted.iter().skip(first) {
                sum += tokens;
                assert!(sum <= LIMIT + flowed(*from, *to), "seed {seed}: {sum} tokens from {from:?} to {to:?}");
            }
        }
        // Everybody wants far more than there is: what is left is less than one call and a pause.
        let (all, most) = (granted.iter().map(|(_, tokens)| tokens).sum::<u64>(), LIMIT + flowed(Nanos(SECOND), now));
        assert!(all + 200 + 100 >= most, "seed {seed}: {all} of {most}");
    }
}
