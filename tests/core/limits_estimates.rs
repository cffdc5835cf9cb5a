//! What becomes of a call's first estimate once its body is known.

use weir::call::size::Size;
use weir::features::limits::claim::Claims;
use weir::features::limits::limiter::{Admit, Limiter, Question};
use weir::features::limits::rule::Caller;
use weir::record::Usage;
use weir::settings::Config;
use weir::units::Nanos;

use super::memory::Memory;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const START: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn limiter(limit: &str) -> Limiter {
    {
        let config = Config::parse(format!(r#"{{"limits":[{limit}]}}"#).as_bytes()).unwrap();
        Limiter::new(&config.limits, &config.admission)
    }
}

/// PendingCalls for so many tokens, so many milliseconds after the start.
fn ask(limiter: &mut Limiter, store: &Memory, claims: &mut Claims, tokens: u64, last: bool, ms: u64) -> Admit {
    let caller = Caller { inference: true, ..Caller::default() };
    let size = Size { input: tokens, output: 0, ..Size::default() };
    limiter.admit(claims, &Question { caller, size, last, room: true }, store, Nanos(START + ms * MS))
}

#[test]
fn a_call_that_waited_is_neither_held_nor_refused_again_for_what_its_estimate_missed() {
    // 50 tokens take half a second, which is all that a call may wait.
    let limit = r#"{"name":"n","max_wait_ms":500,"rate":{"limit":100,"per":"second"}}"#;
    for body in [40, 50, 60, 100] {
        let (mut limiter, store) = (limiter(limit), Memory::default());
        let mut call = Claims::default();
        assert_eq!(ask(&mut limiter, &store, &mut Claims::default(), 100, true, 0), Admit::Pass);
        assert_eq!(ask(&mut limiter, &store, &mut call, 50, false, 0), Admit::Until(Nanos(START + 500 * MS)));
        assert_eq!(ask(&mut limiter, &store, &mut call, 50, false, 500), Admit::Pass);
        // Another one queues behind it.
        let behind = ask(&mut limiter, &store, &mut Claims::default(), 50, true, 500);
        assert_eq!(behind, Admit::Until(Nanos(START + 1000 * MS)));
        assert_eq!(ask(&mut limiter, &store, &mut call, body, true, 500), Admit::Pass, "{body}");
        assert_eq!(call.list[0].waited.0, 500 * MS, "{body}");
        let usage = Usage { input: Some(body), ..Usage::default() };
        limiter.settle(&mut call, &usage, true, &store, Nanos(START + 500 * MS));
        // What it took is missing for the next one, which comes behind all three: (100 + 50 + body) tokens of 10 ms each, and
        // its own, less the second that the bucket holds.
        let next = ask(&mut limiter, &store, &mut Claims::default(), 1, true, 500 + 10 * body);
        assert_eq!(next, Admit::Until(Nanos(START + (510 + 10 * body) * MS)), "{body}");
    }
    // Far more than it waited for is another call.
    let (mut limiter, store) = (limiter(limit), Memory::default());
    let mut call = Claims::default();
    assert_eq!(ask(&mut limiter, &store, &mut Claims::default(), 100, true, 0), Admit::Pass);
    assert!(matches!(ask(&mut limiter, &store, &mut call, 20, false, 0), Admit::Until(_)));
    assert_eq!(ask(&mut limiter, &store, &mut call, 20, false, 200), Admit::Pass);
    assert!(matches!(ask(&mut limiter, &store, &mut call, 90, true, 200), Admit::Refuse(0, Some(_))));
}

#[test]
fn what_was_claimed_too_much_comes_back_at_once_where_less_than_half_is_left_and_else_at_the_end() {
    for (kind, claimed, stands) in [
        (r#""rate":{"limit":1000,"per":"hour"}"#, 400, 400),
        (r#""rate":{"limit":1000,"per":"hour"}"#, 600, 100),
        (r#""rate":{"limit":1000,"per":"hour"},"share":{"of":"user"}"#, 400, 400),
        (r#""rate":{"limit":1000,"per":"hour"},"share":{"of":"user"}"#, 600, 100),
        (r#""budget":{"limit":1000}"#, 400, 400),
        (r#""budget":{"limit":1000}"#, 600, 100),
    ] {
        let (mut limiter, store) = (limiter(&format!(r#"{{"name":"n",{kind}}}"#)), Memory::default());
        let mut call = Claims::default();
        assert_eq!(ask(&mut limiter, &store, &mut call, claimed, false, 0), Admit::Pass);
        assert_eq!(ask(&mut limiter, &store, &mut call, 100, true, 0), Admit::Pass);
        assert_eq!(call.list[0].amount, stands * 1000, "{kind} {claimed}");
        let usage = Usage { input: Some(100), ..Usage::default() };
        limiter.settle(&mut call, &usage, true, &store, Nanos(START));
        let mut next = Claims::default();
        assert_eq!(ask(&mut limiter, &store, &mut next, 1, true, 0), Admit::Pass);
        assert_eq!(next.list[0].left.unwrap().amount, 899_000, "{kind} {claimed}");
    }
}
