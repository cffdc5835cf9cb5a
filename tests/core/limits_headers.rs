//! What clients are told of limits.

use weir::call::reply::retry_after;
use weir::call::size::Size;
use weir::features::limits::claim::Claims;
use weir::features::limits::headers;
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::Caller;
use weir::settings::Config;
use weir::units::{Nanos, Span};

use super::memory::Memory;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;

const CALLER: Caller<'_> = Caller {
    tenant: Some("t"),
    user: None,
    run: None,
    root: None,
    parent: None,
    depth: 0,
    model: Some("m"),
    route: None,
    tool: None,
    batch: &[],
    inference: true,
    unread: false,
    model_sure: false,
};

fn question(tokens: u64) -> Question<'static> {
    Question { caller: CALLER, size: Size { input: tokens, output: 0, ..Size::default() }, last: true, room: true }
}

fn told(limiter: &Limiter, claims: &Claims) -> Vec<(String, String)> {
    let (rule, claim) = limiter.tightest(claims).unwrap();
    headers::left(rule, claim).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn limiter(limits: &str) -> Limiter {
    {
        let config = Config::parse(format!(r#"{{"limits":[{limits}]}}"#).as_bytes()).unwrap();
        Limiter::new(&config.limits, &config.admission)
    }
}

#[test]
fn each_kind_of_limit_tells_what_it_is_and_what_is_left_of_it() {
    for (limit, headers) in [
        (
            r#"{"name":"tpm","rate":{"limit":600,"per":"minute"}}"#,
            &[
                ("ratelimit-policy", "\"tpm\";q=600;w=60"),
                ("ratelimit", "\"tpm\";r=500;t=10"),
                ("x-ratelimit-limit-tokens", "600"),
                ("x-ratelimit-remaining-tokens", "500"),
                ("x-ratelimit-reset-tokens", "10s"),
            ][..],
        ),
        (
            r#"{"name":"rph","unit":"calls","rate":{"limit":30,"per":"hour","burst":5}}"#,
            &[
                ("ratelimit-policy", "\"rph\";q=30;w=3600"),
                ("ratelimit", "\"rph\";r=4;t=120"),
                ("x-ratelimit-limit-requests", "30"),
                ("x-ratelimit-remaining-requests", "4"),
                ("x-ratelimit-reset-requests", "2m0s"),
            ],
        ),
        (
            r#"{"name":"half","weigh":{"input":0.5},"rate":{"limit":1000,"per":"second"}}"#,
            &[
                ("ratelimit-policy", "\"half\";q=1000;w=1"),
                ("ratelimit", "\"half\";r=950;t=1"),
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "950"),
                ("x-ratelimit-reset-tokens", "50ms"),
            ],
        ),
        (
            r#"{"name":"all","budget":{"limit":1000}}"#,
            &[
                ("ratelimit-policy", "\"all\";q=1000"),
                ("ratelimit", "\"all\";r=900"),
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "900"),
            ],
        ),
        (
            r#"{"name":"wide","concurrency":3}"#,
            &[
                ("ratelimit-policy", "\"wide\";q=3"),
                ("ratelimit", "\"wide\";r=2"),
                ("x-ratelimit-limit-requests", "3"),
                ("x-ratelimit-remaining-requests", "2"),
            ],
        ),
        (
            r#"{"name":"fair","rate":{"limit":600,"per":"minute"},"share":{"of":"tenant"}}"#,
            &[
                ("ratelimit-policy", "\"fair\";q=600;w=60"),
                ("ratelimit", "\"fair\";r=500;t=10"),
                ("x-ratelimit-limit-tokens", "600"),
                ("x-ratelimit-remaining-tokens", "500"),
                ("x-ratelimit-reset-tokens", "10s"),
            ],
        ),
    ] {
        let (mut limiter, mut claims, store) = (limiter(limit), Claims::default(), Memory::default());
        assert_eq!(limiter.admit(&mut claims, &question(100), &store, Nanos(SECOND)), Admit::Pass);
        let told = told(&limiter, &claims);
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, headers);
    }
}

#[test]
fn of_several_limits_the_one_with_the_least_part_left_is_told() {
    let mut limiter = limiter(
        r#"{"name":"a","rate":{"limit":1000,"per":"minute"}},{"name":"b","budget":{"limit":300}},{"name":"c","concurrency":2}"#,
    );
    let store = Memory::default();
    for (tokens, tightest) in [(10, "c"), (200, "b")] {
        let mut claims = Claims::default();
        limiter.admit(&mut claims, &question(tokens), &store, Nanos(SECOND));
        let (rule, _) = limiter.tightest(&claims).unwrap();
        assert_eq!(&*rule.name, tightest, "{tokens}");
        limiter.settle(&mut claims, &Default::default(), false, &store, Nanos(SECOND));
    }
}

#[test]
fn when_to_come_again_is_rounded_up_and_never_zero() {
    for (nanos, seconds, ms) in [
        (0, "1", "1"),
        (1, "1", "1"),
        (1_000_000, "1", "1"),
        (1_000_001, "1", "2"),
        (SECOND, "1", "1000"),
        (SECOND + 1, "2", "1001"),
        (90 * SECOND, "90", "90000"),
        (u64::MAX, "18446744074", "18446744073710"),
    ] {
        let told = retry_after(Span(nanos));
        assert_eq!(told, [("retry-after", seconds.to_owned()), ("retry-after-ms", ms.to_owned())], "{nanos}");
    }
}

#[test]
fn who_comes_again_when_he_is_told_to_passes_and_a_nanosecond_earlier_does_not() {
    for (limit, per) in [(600, "minute"), (7, "second"), (1000, "hour"), (999, "day")] {
        let mut limiter = limiter(&format!(r#"{{"name":"n","rate":{{"limit":{limit},"per":"{per}"}}}}"#));
        let (store, mut now) = (Memory::default(), Nanos(SECOND));
        for tokens in [limit, 1, limit / 2, limit / 3 + 1, limit] {
            let refused = limiter.admit(&mut Claims::default(), &question(tokens), &store, now);
            let Admit::Refuse(0, Some(after)) = refused else {
                assert_eq!(refused, Admit::Pass);
                continue;
            };
            let early = Nanos(now.0 + after.0 - 1);
            assert!(matches!(
                limiter.admit(&mut Claims::default(), &question(tokens), &store, early),
                Admit::Refuse(..)
            ));
            now = Nanos(now.0 + after.0);
            assert_eq!(
                limiter.admit(&mut Claims::default(), &question(tokens), &store, now),
                Admit::Pass,
                "{limit} {tokens}"
            );
        }
    }
}
