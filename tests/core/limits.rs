//! Several limits on one call: all or nothing, whatever happens to the call, its worker or the store.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use weir::call::size::Size;
use weir::features::limits::claim::{Claims, Verdict};
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::Caller;
use weir::record::Usage;
use weir::settings::Config;
use weir::units::{Nanos, Span};

use super::memory::Memory;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;

fn limiter(config: &str) -> Limiter {
    {
        let config = Config::parse(config.as_bytes()).unwrap();
        Limiter::new(&config.limits, &config.admission)
    }
}

fn by(tenant: &str) -> Caller<'_> {
    Caller { tenant: Some(tenant), run: Some("r"), inference: true, ..Caller::default() }
}

fn asks(caller: Caller<'_>, input: u64) -> Question<'_> {
    Question { caller, size: Size { input, output: 0, ..Size::default() }, last: true, room: true }
}

fn used(input: u64) -> Usage {
    Usage { input: Some(input), ..Usage::default() }
}

fn at(seconds: u64) -> Nanos {
    Nanos((1000 + seconds) * SECOND)
}

#[test]
fn if_the_third_refuses_the_first_two_get_back_what_they_gave() {
    let mut limiter = limiter(
        r#"{"limits":[{"name":"a","rate":{"limit":100,"per":"hour"}},{"name":"b","budget":{"limit":100}},{"name":"c","concurrency":1}]}"#,
    );
    let (store, mut first) = (Memory::default(), Claims::default());
    assert_eq!(limiter.admit(&mut first, &asks(by("t"), 40), &store, at(0)), Admit::Pass);
    for _ in 0..10 {
        let mut other = Claims::default();
        assert_eq!(limiter.admit(&mut other, &asks(by("t"), 60), &store, at(0)), Admit::Refuse(2, Some(Span(SECOND))));
        assert!(other.list.iter().all(|claim| claim.amount == 0));
        // To settle a refused call changes nothing either.
        limiter.settle(&mut other, &used(60), false, &store, at(0));
    }
    limiter.settle(&mut first, &used(40), true, &store, at(0));
    let mut rest = Claims::default();
    assert_eq!(limiter.admit(&mut rest, &asks(by("t"), 60), &store, at(0)), Admit::Pass, "60 of 100 are left of both");
    limiter.settle(&mut rest, &used(60), true, &store, at(0));
    assert!(matches!(limiter.admit(&mut Claims::default(), &asks(by("t"), 1), &store, at(0)), Admit::Refuse(0, _)));
}

#[test]
fn a_limit_never_takes_over_what_another_one_still_counts() {
    // One set for all keys of all totals.
    let mut limiter = limiter(
        r#"{"admission":{"keys":8},"limits":[{"name":"b","scope":["tenant"],"budget":{"limit":100,"idle_s":3600}},
            {"name":"c","scope":["user"],"concurrency":1},{"name":"d","scope":["user"],"budget":{"limit":100,"idle_s":1}}]}"#,
    );
    let store = Memory::default();
    for n in 0..200 {
        let (user, mut claims) = (format!("u{n}"), Claims::default());
        let caller = Caller { user: Some(&user), ..by("t") };
        let admit = limiter.admit(&mut claims, &asks(caller, 1), &store, at(n * 5));
        assert_eq!(admit, if n < 100 { Admit::Pass } else { Admit::Refuse(0, None) }, "call {n}");
        limiter.settle(&mut claims, &used(1), true, &store, at(n * 5));
        assert_eq!(claims.events.full, 0);
    }
    let later = 200 * 5 + 3601;
    assert_eq!(limiter.admit(&mut Claims::default(), &asks(by("t"), 1), &store, at(later)), Admit::Pass, "forgotten");
}

#[test]
fn however_many_limits_a_call_waits_for_in_turn_it_waits_no_longer_than_they_allow() {
    let mut limiter = limiter(
        r#"{"limits":[{"name":"a","scope":["tenant"],"concurrency":1,"max_wait_ms":5000},{"name":"b","scope":["run"],"concurrency":1,"max_wait_ms":5000}]}"#,
    );
    let (store, mut waiting) = (Memory::default(), Claims::default());
    let mut holder: Option<Claims> = None;
    for n in 0..100u64 {
        let now = Nanos(at(0).0 + n * SECOND / 10);
        // Now one of the two is taken, now the other.
        if let Some(mut held) = holder.take() {
            limiter.settle(&mut held, &used(1), true, &store, now);
        }
        let mut held = Claims::default();
        let other = if n % 2 == 0 { Caller { run: Some("x"), ..by("t") } } else { by("x") };
        assert_eq!(limiter.admit(&mut held, &asks(other, 1), &store, now), Admit::Pass);
        holder = Some(held);
        match limiter.admit(&mut waiting, &asks(by("t"), 1), &store, now) {
            Admit::Again => assert!(n < 50, "it waits for {n} tenths of a second"),
            Admit::Refuse(..) => return assert_eq!(n, 50),
            other => panic!("{other:?}"),
        }
    }
    panic!("it waits without end");
}

#[test]
fn who_waits_for_a_rate_is_let_go_at_the_very_moment_and_who_goes_away_leaves_nothing() {
    let mut limiter = limiter(r#"{"limits":[{"name":"a","rate":{"limit":10,"per":"second"},"max_wait_ms":3000}]}"#);
    let store = Memory::default();
    let mut ask = |claims: &mut Claims, tokens, now| limiter.admit(claims, &asks(by("t"), tokens), &store, now);
    let mut claims: [Claims; 5] = Default::default();
    let [a, b, c, d, e] = &mut claims;
    assert_eq!(ask(a, 10, at(0)), Admit::Pass);
    assert_eq!(ask(b, 10, at(0)), Admit::Until(at(1)));
    assert_eq!(ask(c, 10, at(0)), Admit::Until(at(2)));
    assert_eq!(ask(d, 10, at(0)), Admit::Until(at(3)));
    assert_eq!(ask(e, 10, at(0)), Admit::Refuse(0, Some(Span(4 * SECOND))));
    assert_eq!(ask(b, 10, Nanos(at(1).0 - 1)), Admit::Until(at(1)));
    assert_eq!(ask(b, 10, at(1)), Admit::Pass);
    assert_eq!((b.list[0].waited, b.list[0].verdict), (Span(SECOND), Verdict::Pass));
    for gone in [c, d] {
        limiter.settle(gone, &Usage::default(), false, &store, at(1));
    }
    let mut after = Claims::default();
    assert_eq!(limiter.admit(&mut after, &asks(by("t"), 10), &store, at(1)), Admit::Until(at(2)), "only a and b took");
}

#[test]
fn what_cannot_be_decided_is_open_or_closed_as_the_config_says() {
    for (kind, wanted) in [
        (r#""rate":{"limit":10,"per":"second"}"#, Verdict::Open),
        (r#""rate":{"limit":10,"per":"second"},"fail":"closed""#, Verdict::Closed),
        (r#""rate":{"limit":10,"per":"second"},"fail":"closed","mode":"shadow""#, Verdict::Shadow),
        (r#""rate":{"limit":10,"per":"second"},"share":{"of":"user"},"fail":"closed""#, Verdict::Closed),
        (r#""budget":{"limit":10}"#, Verdict::Open),
        (r#""concurrency":10,"fail":"closed""#, Verdict::Closed),
        (r#""tree":{"max_fanout":10},"fail":"closed""#, Verdict::Closed),
    ] {
        for broken_before in [true, false] {
            let mut limiter = limiter(&format!(r#"{{"limits":[{{"name":"n",{kind}}}]}}"#));
            let (store, mut claims) = (Memory::default(), Claims::default());
            if !broken_before {
                limiter.admit(&mut Claims::default(), &asks(by("t"), 1), &store, at(0));
            }
            store.broken.store(true, Ordering::Relaxed);
            let admit = limiter.admit(&mut claims, &asks(by("t"), 1), &store, at(0));
            assert_eq!(claims.list[0].verdict, wanted, "{kind}");
            assert_eq!(admit == Admit::Pass, wanted != Verdict::Closed, "{kind}: {admit:?}");
            limiter.settle(&mut claims, &used(1), admit == Admit::Pass, &store, at(0));
        }
    }
}

#[test]
fn a_key_without_a_place_passes_or_is_refused_as_the_config_says_and_is_counted() {
    for (on_full, passes) in [("allow", true), ("refuse", false)] {
        let mut limiter = limiter(&format!(
            r#"{{"admission":{{"keys":8}},"limits":[{{"name":"n","scope":["tenant"],"on_full":"{on_full}","concurrency":1}}]}}"#
        ));
        let (store, mut full) = (Memory::default(), 0);
        for n in 0..100 {
            let (tenant, mut claims) = (format!("t{n}"), Claims::default());
            let admit = limiter.admit(&mut claims, &asks(by(&tenant), 1), &store, at(0));
            full += claims.events.full;
            assert_eq!(admit == Admit::Pass, passes || claims.events.full == 0, "{on_full} {n}");
        }
        assert_eq!(full, 100 - 32, "one set of 32 places");
    }
}

proptest! {
    #[test]
    fn clocks_that_jump_and_sizes_out_of_all_bounds_break_nothing_and_leave_nothing_in_flight(
        calls in proptest::collection::vec(
            (prop_oneof![0..100 * SECOND, Just(u64::MAX), any::<u64>()], prop_oneof![0..50u64, any::<u64>()], any::<u64>(), any::<bool>()),
            1..40,
        )
    ) {
        let mut limiter = limiter(
            r#"{"limits":[{"name":"a","rate":{"limit":100,"per":"second"},"max_wait_ms":1000},
                {"name":"b","scope":["tenant"],"budget":{"limit":1000}},{"name":"c","concurrency":2,"max_wait_ms":600000},
                {"name":"d","rate":{"limit":1000000000000,"per":"day"},"weigh":{"input":1000},"share":{"of":"run"},"on_exceeded":"cut"}]}"#,
        );
        let store = Memory::default();
        let mut open = Vec::new();
        for (time, input, actual, ends) in &calls {
            let (now, mut claims) = (Nanos(*time), Claims::default());
            limiter.admit(&mut claims, &asks(by("t"), *input), &store, now);
            limiter.extend(&mut claims, Size { input: *input, output: *actual, ..Size::default() }, &store, now);
            limiter.renew(&mut claims, &store, now);
            if *ends {
                limiter.settle(&mut claims, &used(*actual), true, &store, now);
            } else {
                open.push(claims);
            }
        }
        for mut claims in open {
            limiter.settle(&mut claims, &used(1), true, &store, Nanos(5));
        }
        // Ten minutes after the latest clock that was ever seen, calls are in flight again.
        let latest = calls.iter().map(|(time, ..)| *time).max().unwrap_or(0).saturating_add(600 * SECOND);
        let mut only = self::limiter(r#"{"limits":[{"name":"c","concurrency":2,"max_wait_ms":600000}]}"#);
        prop_assert_eq!(only.admit(&mut Claims::default(), &asks(by("t"), 1), &store, Nanos(latest)), Admit::Pass);
    }
}
