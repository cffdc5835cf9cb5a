//! Retries as plain arithmetic: who is one, what a budget gives, when a circuit opens, what is remembered.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;
use weir::features::retry::attempt::{Layer, Source, layer, told};
use weir::features::retry::budget::{self, Budget};
use weir::features::retry::circuit::{self, Circuit, Passage};
use weir::features::retry::config::{Retries, RetrySource};
use weir::features::retry::deadline::{Medians, allowed};
use weir::features::retry::fingerprint::Fingerprint;
use weir::features::retry::retrier::{Ask, Held, Outcome, Retrier, Verdict};
use weir::features::retry::rule::Caller;
use weir::features::retry::seen::{self, Seen};
use weir::port::Headers;
use weir::settings::Config;
use weir::shared::{ABSENT, Broken, Put, Store};
use weir::units::{Nanos, Span};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::support::{every_split, pairs};

const S: u64 = 1_000_000_000;

fn retries(json: &str) -> Retries {
    Config::parse(format!(r#"{{"retries":{json}}}"#).as_bytes()).unwrap().retries.unwrap()
}

#[test]
fn headers_tell_a_retry_and_the_first_that_tells_counts() {
    let of = Source::Of;
    for (headers, expected) in [
        (vec![], None),
        (vec![("x-stainless-retry-count", "0")], None),
        (vec![("x-stainless-retry-count", "2")], Some((3, of(RetrySource::Stainless), Layer::Sdk))),
        (vec![("x-stainless-retry-count", "-1")], None),
        (vec![("x-stainless-retry-count", "99999999999")], None),
        (vec![("x-stainless-retry-count", "4294967295")], Some((1001, of(RetrySource::Stainless), Layer::Sdk))),
        (vec![("x-envoy-attempt-count", "1")], None),
        (vec![("x-envoy-attempt-count", "2")], Some((2, of(RetrySource::Envoy), Layer::Envoy))),
        (vec![("amz-sdk-request", "attempt=1; max=3")], None),
        (
            vec![("amz-sdk-request", "ttl=20250101T000000Z; attempt=3; max=3")],
            Some((3, of(RetrySource::AmzSdk), Layer::Sdk)),
        ),
        (vec![("amz-sdk-request", "attempts=3")], None),
        (vec![("x-mine", "1")], Some((2, Source::Header, Layer::Agent))),
        (vec![("x-mine", "true")], Some((2, Source::Header, Layer::Agent))),
        (vec![("x-mine", "false")], None),
        (vec![("idempotency-key", "k")], None),
        // The SDK's own first try may be an agent's retry.
        (vec![("x-stainless-retry-count", "0"), ("x-mine", "2")], Some((3, Source::Header, Layer::Agent))),
        (
            vec![("x-envoy-attempt-count", "3"), ("x-stainless-retry-count", "1")],
            Some((2, of(RetrySource::Stainless), Layer::Sdk)),
        ),
        (vec![("x-stainless-retry-count", "\u{1F}")], None),
    ] {
        let map = pairs(&headers);
        let told = told(Headers(&map), &retries(r#"{"header":"X-Mine"}"#));
        let seen = told.retry.map(|(n, source)| (n, source, layer(source, told.first_of_sdk)));
        assert_eq!(seen, expected, "{headers:?}");
    }
}

#[test]
fn a_source_that_is_switched_off_is_not_believed() {
    let all = [
        ("x-stainless-retry-count", "1"),
        ("x-envoy-attempt-count", "2"),
        ("amz-sdk-request", "attempt=2"),
        ("amz-sdk-invocation-id", "i"),
        ("idempotency-key", "k"),
    ];
    for (sources, retry, key) in [
        ("[]", None, None),
        (r#"["stainless"]"#, Some("stainless"), None),
        (r#"["envoy"]"#, Some("envoy"), None),
        (r#"["amz_sdk"]"#, Some("amz_sdk"), Some(&b"i"[..])),
        (r#"["idempotency_key"]"#, None, Some(&b"k"[..])),
        (r#"["body"]"#, None, None),
    ] {
        let map = pairs(&all);
        let told = told(Headers(&map), &retries(&format!(r#"{{"sources":{sources}}}"#)));
        assert_eq!(told.retry.map(|(_, source)| source.word()), retry, "{sources}");
        assert_eq!(told.key.map(|(_, key)| key), key, "{sources}");
    }
}

#[test]
fn what_nobody_said_is_a_retry_is_the_agents_if_the_sdk_takes_it_for_a_new_call() {
    let body = Source::Of(RetrySource::Body);
    assert_eq!((layer(body, true), layer(body, false)), (Layer::Agent, Layer::Unknown));
}

fn print(pieces: &[&[u8]], json_rpc: bool) -> u64 {
    let mut print = Fingerprint::new(7, &[b"caller", b"POST", b"/mcp"], json_rpc);
    pieces.iter().for_each(|piece| print.push(piece));
    print.value()
}

#[test]
fn a_fingerprint_is_the_same_however_the_body_is_cut() {
    let body = br#"{"jsonrpc":"2.0","id":"a\"}b","method":"tools/call","params":{"name":"t","arguments":{"id":[1,{"id":2}]},"_meta":{"progressToken":7}}}"#;
    for json_rpc in [false, true] {
        for pieces in every_split(body) {
            assert_eq!(print(&pieces, json_rpc), print(&[body], json_rpc));
        }
    }
}

#[test]
fn of_json_rpc_everything_counts_but_the_id_and_the_meta_of_params() {
    let base = r#"{"method":"tools/call","params":{"name":"t","arguments":{"q":"a"}},"id":1}"#;
    for (other, same) in [
        (r#"{"method":"tools/call","params":{"name":"t","arguments":{"q":"a"}},"id":22}"#, true),
        (r#"{"method":"tools/call","params":{"name":"t","arguments":{"q":"a"}},"id":"x,\"y}"}"#, true),
        (r#"{"method":"tools/call","params":{"name":"t","arguments":{"q":"b"}},"id":1}"#, false),
        (r#"{"method":"tools/call","params":{"name":"u","arguments":{"q":"a"}},"id":1}"#, false),
        (r#"{"method":"tools/list","params":{"name":"t","arguments":{"q":"a"}},"id":1}"#, false),
    ] {
        assert_eq!(print(&[base.as_bytes()], true) == print(&[other.as_bytes()], true), same, "{other}");
        assert!(print(&[base.as_bytes()], false) != print(&[other.as_bytes()], false), "plain: every byte counts");
    }
    let with = |meta: &str, id: &str| {
        let text = format!(r#"{{"id":{id},"params":{{"_meta":{meta},"arguments":{{"id":1}}}},"method":"m"}}"#);
        print(&[text.as_bytes()], true)
    };
    assert_eq!(with(r#"{"progressToken":1}"#, "1"), with(r#"{"progressToken":[2,{"a":3}]}"#, "{}"));
    // An id that is an argument is no id of JSON-RPC.
    let argument = |id: u32| print(&[format!(r#"{{"id":1,"params":{{"arguments":{{"id":{id}}}}}}}"#).as_bytes()], true);
    assert_ne!(argument(1), argument(2));
}

#[test]
fn another_caller_path_or_key_is_another_request() {
    let of = |salt, head: &[&[u8]]| Fingerprint::new(salt, head, false).value();
    let base = of(1, &[b"a", b"POST", b"/x"]);
    for (salt, head) in [
        (2, [&b"a"[..], b"POST", b"/x"]),
        (1, [b"b", b"POST", b"/x"]),
        (1, [b"a", b"POST", b"/y"]),
        (1, [b"aP", b"OST", b"/x"]),
    ] {
        assert_ne!(of(salt, &head), base);
    }
}

#[test]
fn what_was_seen_is_remembered_for_its_window_and_its_id_is_kept() {
    let window = Span(60 * S);
    for (id, kept) in [
        ("", ""),
        ("0b0c0d0e-0000-4000-8000-000000000001", "0b0c0d0e-0000-4000-8000-000000000001"),
        ("0b0c0d0e-0000-4000-8000-000000000001-and-more", "0b0c0d0e-0000-4000-8000-000000000001"),
        ("ééééééééééééééééééé", "éééééééééééééééééé"),
    ] {
        let mut bytes = [0; seen::SIZE];
        let mut seen = Seen::new(id, Nanos(100 * S));
        (seen.status, seen.attempts) = (503, 3);
        seen.write(&mut bytes);
        assert_eq!(seen.call(), kept);
        for (now, there) in [(100, true), (160, true), (161, false), (99, true), (30, false)] {
            assert_eq!(Seen::read(&bytes, window, Nanos(now * S)), there.then_some(seen), "{now}");
        }
    }
    assert_eq!(Seen::read(&[0; seen::SIZE], window, Nanos(0)), None);
    assert_eq!(Seen::read(&[0; 3], window, Nanos(0)), None);
}

const TERMS: budget::Terms = budget::Terms { ratio: 100, reserve: 0, window: Span(10 * S) };

fn fresh(now: u64) -> Budget {
    Budget::read(&[0; budget::SIZE], &TERMS, Nanos(now))
}

#[test]
fn a_retry_needs_ten_first_tries_at_a_ratio_of_a_tenth() {
    let mut budget = fresh(S);
    for first in 1..=30u64 {
        budget.deposit(1000);
        assert_eq!(budget.withdraw(1000, &TERMS), first % 10 == 0, "after {first}");
    }
}

#[test]
fn what_was_charged_beyond_the_budget_is_paid_before_anybody_withdraws() {
    let mut budget = fresh(S);
    (0..20).for_each(|_| budget.deposit(1000));
    budget.charge(5000, &TERMS);
    for first in 21..=60u64 {
        budget.deposit(1000);
        // Fifty first tries pay for the five; the sixtieth for one more.
        assert_eq!(budget.withdraw(1000, &TERMS), first == 60, "after {first}");
    }
}

#[test]
fn what_was_not_sent_is_given_back() {
    let mut budget = fresh(S);
    (0..10).for_each(|_| budget.deposit(1000));
    assert!(budget.withdraw(1000, &TERMS) && !budget.withdraw(1000, &TERMS));
    budget.give_back(1000, Nanos(S), &TERMS);
    assert!(budget.withdraw(1000, &TERMS));
    budget.give_back(1000, Nanos(S), &TERMS);
    budget.cancel(1000, Nanos(S), &TERMS);
    assert!(!budget.withdraw(1000, &TERMS), "nine first tries are too few");
}

#[test]
fn what_is_given_back_late_does_not_give_back_what_others_withdrew_since() {
    // When the first is given back: while it counts, and when it is forgotten.
    for back in [109, 116] {
        let mut bytes = [0; budget::SIZE];
        let terms = budget::Terms { reserve: 2000, ..TERMS };
        let mut at = |second: u64, work: &dyn Fn(&mut Budget) -> bool| {
            let mut budget = Budget::read(&bytes, &terms, Nanos(second * S));
            let done = work(&mut budget);
            budget.write(&mut bytes);
            done
        };
        let withdraw = |budget: &mut Budget| budget.withdraw(1000, &terms);
        assert!(at(100, &withdraw) && at(108, &withdraw) && !at(108, &withdraw));
        at(back, &|budget| {
            budget.give_back(1000, Nanos(100 * S), &terms);
            true
        });
        assert!(at(117, &withdraw), "{back}: there is place for one");
        assert!(!at(117, &withdraw), "{back}: the second still counts");
        assert!(at(120, &withdraw), "{back}: and is forgotten in its time");
    }
}

#[test]
fn what_lies_ready_for_calls_in_flight_leaves_half_to_those_who_ask() {
    for reserve in [1000, 2000, 7000, 30_000] {
        let terms = budget::Terms { reserve, ..TERMS };
        let mut budget = Budget::read(&[0; budget::SIZE], &terms, Nanos(S));
        let ready = (0..100).filter(|_| budget.may_lie_ready(1000, &terms) && budget.withdraw(1000, &terms)).count();
        assert_eq!(ready as u64, reserve.div_ceil(2000), "of {reserve}");
    }
}

#[test]
fn the_wait_that_is_told_is_long_enough_and_no_longer_than_a_window() {
    let terms = budget::Terms { reserve: 2000, ..TERMS };
    let mut bytes = [0; budget::SIZE];
    let at = |bytes: &[u8], ms: u64| Budget::read(bytes, &terms, Nanos(ms * 1_000_000));
    for ms in [100_000, 103_300] {
        let mut budget = at(&bytes, ms);
        assert!(budget.withdraw(1000, &terms));
        budget.write(&mut bytes);
    }
    let wait = at(&bytes, 104_000).wait(1000, &terms, Nanos(104_000 * 1_000_000));
    assert!(wait > Span(0) && wait <= Span(11 * S), "{wait:?}");
    let then = 104_000 + wait.0 / 1_000_000;
    assert!(!at(&bytes, then - 1).withdraw(1000, &terms));
    assert!(at(&bytes, then).withdraw(1000, &terms));
}

#[test]
fn the_last_failure_is_known_for_a_window_or_two() {
    let mut budget = fresh(S);
    budget.failed(529, &TERMS, Nanos(20 * S));
    for (at, status) in [(20, Some(529)), (39, Some(529)), (40, None)] {
        assert_eq!(budget.last_status(&TERMS, Nanos(at * S)), status, "{at}");
    }
    assert_eq!(fresh(S).last_status(&TERMS, Nanos(S)), None);
    for (at, failing) in [(20, true), (39, true), (40, false)] {
        assert_eq!(budget.is_failing(&TERMS, Nanos(at * S)), failing, "{at}");
    }
    budget.went_well();
    assert!(!budget.is_failing(&TERMS, Nanos(20 * S)));
    assert_eq!(budget.last_status(&TERMS, Nanos(20 * S)), Some(529), "which it was is still known");
    assert!(!fresh(S).is_failing(&TERMS, Nanos(S)));
}

/// A store of one process.
#[derive(Default)]
struct Process {
    map: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    next: RefCell<u32>,
    /// Before so many sets, somebody else is faster.
    disturbed: RefCell<Vec<bool>>,
}

impl Store for Process {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        Ok(self.map.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        if self.disturbed.borrow_mut().pop() == Some(true) {
            return Put::Lost;
        }
        let mut map = self.map.borrow_mut();
        let now = map.get(key).map_or(ABSENT, |(_, cas)| *cas);
        if now != cas {
            return Put::Lost;
        }
        *self.next.borrow_mut() += 1;
        map.insert(key.to_owned(), (value.to_vec(), *self.next.borrow()));
        Put::Done
    }
}

fn ask(caller: Caller<'_>, tokens: u64, chance: u64) -> Ask<'_> {
    Ask { caller, tokens, last: true, chance }
}

fn workers(config: &str, count: usize) -> Vec<Retrier> {
    let Config { retries, retry_budgets, circuits, .. } = Config::parse(config.as_bytes()).unwrap();
    (0..count).map(|_| Retrier::new(retries.as_ref(), &retry_budgets, &circuits)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    First(u64),
    Retry(u64),
    /// The last that passed turns out not to have been sent.
    Unsent,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..50u64).prop_map(Step::First),
        6 => (1..50u64).prop_map(Step::Retry),
        1 => Just(Step::Unsent),
        4 => (0..3_000u64).prop_map(Step::Pass),
    ]
}

/// So that a failure here prints which.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    at: u64,
    amount: u64,
    retry: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn within_any_window_retries_are_at_most_the_ratio_of_first_tries_and_the_minimum(
        steps in prop::collection::vec((step(), 0..4usize), 1..200),
        disturbed in prop::collection::vec(any::<bool>(), 0..100),
        ratio in 0..=2000u64,
        min in 0..=2000u64,
        tokens in any::<bool>(),
    ) {
        let unit = if tokens { "tokens" } else { "calls" };
        let config = format!(
            r#"{{"retry_budgets":[{{"name":"b","scope":["cluster"],"ratio":{},"min_per_second":{},"ttl_s":5,"unit":"{unit}"}}]}}"#,
            ratio as f64 / 1000.0, min as f64 / 1000.0,
        );
        let store = Process { disturbed: RefCell::new(disturbed), ..Process::default() };
        let mut workers = workers(&config, 4);
        let caller = Caller { cluster: Some("c"), ..Caller::default() };
        let mut now = 100 * S;
        let mut book: Vec<Entry> = Vec::new();
        let mut open: Vec<(Held, Entry)> = Vec::new();
        for (step, worker) in steps {
            let retrier = &mut workers[worker];
            let mut held = Held::default();
            let amount = |n: u64| if tokens { n * 1000 } else { 1000 };
            match step {
                Step::First(n) => {
                    retrier.deposit(&mut held, &ask(caller, n, 0), &store, Nanos(now));
                    let entry = Entry { at: now, amount: amount(n), retry: false };
                    book.push(entry);
                    open.push((held, entry));
                }
                Step::Retry(n) => {
                    if retrier.withdraw(&mut held, &ask(caller, n, 0), &store, Nanos(now)) == Verdict::Pass {
                        let entry = Entry { at: now, amount: amount(n), retry: true };
                        book.push(entry);
                        open.push((held, entry));
                        // The last window, as a naive book has it.
                        let within = book.iter().filter(|e| e.at + 5 * S > now);
                        let sum = |retry: bool| within.clone().filter(|e| e.retry == retry).map(|e| e.amount).sum::<u64>();
                        prop_assert!(sum(true) * 1000 <= sum(false) * ratio + min * 5 * 1000, "{} of {}", sum(true), sum(false));
                    }
                }
                Step::Unsent => {
                    // A first try that counted for a retry stays in both books.
                    let Some((mut held, entry)) = open.pop().filter(|(_, entry)| entry.retry) else { continue };
                    let outcome = Outcome { sent: false, failed: None, upstream_failed: None, envoy_retries: 0, tokens: 1 };
                    retrier.settle(&mut held, &outcome, &store, Nanos(now));
                    if let Some(at) = book.iter().rposition(|e| *e == entry) {
                        book.remove(at);
                    }
                }
                Step::Pass(ms) => now += ms * 1_000_000,
            }
        }
    }

    #[test]
    fn any_bytes_are_a_budget_and_a_circuit_that_work(bytes in prop::collection::vec(any::<u8>(), 0..300), now in any::<u64>()) {
        let mut budget = Budget::read(&bytes, &TERMS, Nanos(now));
        budget.deposit(1000);
        budget.charge(u64::MAX, &TERMS);
        budget.withdraw(u64::MAX, &TERMS);
        budget.wait(1, &TERMS, Nanos(now));
        budget.write(&mut [0; budget::SIZE]);
        let terms = CIRCUIT;
        let mut circuit = Circuit::read(&bytes, &terms, Nanos(now));
        circuit.ask(&terms, Nanos(now));
        circuit.told(true, true, &terms, Nanos(now));
        Budget::is_old(&bytes, Span(u64::MAX), Nanos(now));
    }
}

#[test]
fn of_two_budgets_a_retry_takes_from_both_or_from_none() {
    let config = r#"{"retry_budgets":[
        {"name":"wide","scope":[],"ratio":1,"min_per_second":0},
        {"name":"narrow","scope":["tenant"],"ratio":0.5,"min_per_second":0}]}"#;
    let (store, mut retrier) = (Process::default(), workers(config, 1).remove(0));
    let of = |tenant| Caller { tenant: Some(tenant), ..Caller::default() };
    for tenant in ["a", "a", "b"] {
        retrier.deposit(&mut Held::default(), &ask(of(tenant), 1, 0), &store, Nanos(S));
    }
    let mut withdraw = |tenant| {
        let verdict = retrier.withdraw(&mut Held::default(), &ask(of(tenant), 1, 0), &store, Nanos(S));
        matches!(verdict, Verdict::Pass)
    };
    // b's own budget has a half; what it took of the wide one came back, so a has one, and not two.
    assert_eq!([withdraw("b"), withdraw("b"), withdraw("a"), withdraw("a")], [false, false, true, false]);
}

#[test]
fn a_restarted_worker_finds_the_budget_as_it_was() {
    let config = r#"{"retry_budgets":[{"name":"b","ratio":1,"min_per_second":0}]}"#;
    let store = Process::default();
    let caller = Caller { route: Some("r"), cluster: Some("c"), ..Caller::default() };
    let mut first = workers(config, 1).remove(0);
    first.deposit(&mut Held::default(), &ask(caller, 1, 0), &store, Nanos(S));
    drop(first);
    let mut second = workers(config, 1).remove(0);
    let mut withdraw = |caller| second.withdraw(&mut Held::default(), &ask(caller, 1, 0), &store, Nanos(S));
    assert!(matches!(withdraw(Caller { cluster: Some("d"), ..caller }), Verdict::Refuse(_)), "another cluster");
    assert_eq!(withdraw(caller), Verdict::Pass);
    assert!(matches!(withdraw(caller), Verdict::Refuse(_)));
}

#[test]
fn a_store_that_does_not_answer_lets_retries_pass_unless_the_config_says_otherwise() {
    for (fail, refused) in [("open", false), ("closed", true)] {
        let config = format!(r#"{{"retry_budgets":[{{"name":"b","ratio":1,"fail":"{fail}"}}]}}"#);
        let mut retrier = workers(&config, 1).remove(0);
        let verdict =
            retrier.withdraw(&mut Held::default(), &ask(Caller::default(), 1, 0), &weir::shared::NullStore, Nanos(S));
        assert_eq!(matches!(verdict, Verdict::Refuse(_)), refused);
        assert!(refused || verdict == Verdict::Open);
    }
}

const CIRCUIT: circuit::Terms =
    circuit::Terms { window: Span(10 * S), failures: 500, min_calls: 10, probe_every: Span(S), close_after: 2 };

#[test]
fn a_circuit_opens_at_its_share_of_failures_and_closes_after_probes_that_went_well() {
    let mut circuit = Circuit::read(&[0; circuit::SIZE], &CIRCUIT, Nanos(100 * S));
    let at = |ms: u64| Nanos(100 * S + ms * 1_000_000);
    for call in 0..10 {
        assert_eq!(circuit.ask(&CIRCUIT, at(0)), Passage::Closed, "call {call}");
        circuit.told(call % 2 == 1, false, &CIRCUIT, at(0));
    }
    assert!(circuit.is_open(), "five of ten failed");
    assert_eq!(circuit.ask(&CIRCUIT, at(400)), Passage::Open(Span(600_000_000)));
    assert_eq!(circuit.ask(&CIRCUIT, at(1000)), Passage::Probe);
    assert!(matches!(circuit.ask(&CIRCUIT, at(1000)), Passage::Open(_)), "one probe a second");
    circuit.told(false, true, &CIRCUIT, at(1100));
    // What had passed before says nothing now.
    circuit.told(false, false, &CIRCUIT, at(1100));
    assert!(circuit.is_open());
    assert_eq!(circuit.ask(&CIRCUIT, at(2000)), Passage::Probe);
    circuit.told(true, true, &CIRCUIT, at(2100));
    for (ms, open) in [(3000, true), (4000, false)] {
        assert_eq!(circuit.ask(&CIRCUIT, at(ms)), Passage::Probe);
        circuit.told(false, true, &CIRCUIT, at(ms + 50));
        assert_eq!(circuit.is_open(), open, "{ms}");
    }
    assert_eq!(circuit.ask(&CIRCUIT, at(4100)), Passage::Closed);
    // All is forgotten: it takes as many failures as before to open it again.
    for call in 0..10 {
        assert!(!circuit.is_open(), "call {call}");
        circuit.told(true, false, &CIRCUIT, at(4200));
    }
    assert!(circuit.is_open());
}

#[test]
fn few_calls_or_few_failures_open_no_circuit() {
    for (calls, failures) in [(9, 9), (10, 4), (100, 49)] {
        let mut circuit = Circuit::read(&[0; circuit::SIZE], &CIRCUIT, Nanos(S));
        // The good ones first: the share is right when each failure comes.
        (0..calls).for_each(|call| circuit.told(call >= calls - failures, false, &CIRCUIT, Nanos(S)));
        assert!(!circuit.is_open(), "{failures} of {calls}");
    }
}

#[test]
fn clients_of_an_open_circuit_are_told_different_times_around_what_the_config_says() {
    let config = r#"{"circuits":[{"name":"c","min_calls":1,"retry_after_ms":2000}]}"#;
    let (store, mut retrier) = (Process::default(), workers(config, 1).remove(0));
    let caller = Caller { cluster: Some("c"), ..Caller::default() };
    let mut held = Held::default();
    assert_eq!(retrier.pass(&mut held, &ask(caller, 1, 0), &store, Nanos(S)), Verdict::Pass);
    let outcome = Outcome { sent: true, failed: Some(503), upstream_failed: Some(true), envoy_retries: 0, tokens: 0 };
    retrier.settle(&mut held, &outcome, &store, Nanos(S));
    let told: Vec<u64> = [0, u64::MAX / 4, u64::MAX / 2, u64::MAX]
        .into_iter()
        .map(|chance| match retrier.pass(&mut Held::default(), &ask(caller, 1, chance), &store, Nanos(S)) {
            Verdict::Refuse(refused) => refused.after.0 / 1_000_000,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [1000, 1499, 1999, 2999]);
}

#[test]
fn the_earliest_deadline_counts() {
    let retries =
        retries(r#"{"deadline":{"header":"x-request-deadline","stainless_timeout":true,"grpc_timeout":true}}"#);
    let wall = 1_700_000_000_000u64;
    for (headers, expected_ms) in [
        (vec![], None),
        (vec![("x-request-deadline", "1700000002500")], Some(2500)),
        (vec![("x-request-deadline", "1600000000000")], Some(0)),
        (vec![("x-request-deadline", "soon")], None),
        (vec![("x-stainless-timeout", "600")], Some(600_000)),
        (vec![("x-stainless-timeout", "0.25")], Some(250)),
        (vec![("x-stainless-timeout", "NaN")], None),
        (vec![("x-stainless-timeout", "-1")], None),
        (vec![("grpc-timeout", "100m")], Some(100)),
        (vec![("grpc-timeout", "2S")], Some(2000)),
        (vec![("grpc-timeout", "1H")], Some(3_600_000)),
        (vec![("grpc-timeout", "m")], None),
        (vec![("grpc-timeout", "")], None),
        (vec![("grpc-timeout", "5é")], None),
        (
            vec![("x-stainless-timeout", "3"), ("grpc-timeout", "2S"), ("x-request-deadline", "1700000009000")],
            Some(2000),
        ),
    ] {
        let map = pairs(&headers);
        let seen = allowed(Headers(&map), &retries.deadline, || Some(wall * 1_000_000));
        assert_eq!(seen.map(|span| span.0 / 1_000_000), expected_ms, "{headers:?}");
        assert_eq!(allowed(Headers(&map), &Default::default(), || None), None, "nobody asked");
    }
}

#[test]
fn a_median_is_known_after_a_few_answers_and_is_near_the_true_one() {
    let mut medians = Medians::default();
    let ms = |ms: u64| Span(ms * 1_000_000);
    // 100, 300, ... 1900 ms, in another order; the median is 1000.
    for round in 0..60u64 {
        assert_eq!(medians.of(Some("m"), Some("r")).is_some(), round >= 8);
        medians.learn(Some("m"), Some("r"), ms(100 + round * 7 % 10 * 200));
    }
    let median = medians.of(Some("m"), Some("r")).unwrap();
    assert!(ms(800) < median && median < ms(1200), "{median:?}");
    assert_eq!(medians.of(Some("new"), Some("r")), medians.of(None, Some("r")), "of the route");
    assert_eq!(medians.of(Some("m"), Some("other")), None);
    let came = Nanos(S);
    let late = |allowed, now| medians.too_late(Some("m"), Some("r"), came, ms(allowed), now);
    assert!(late(500, came) && !late(1500, came));
    assert!(late(1500, Nanos(2 * S)), "a second has passed already");
}

#[test]
fn medians_of_many_models_take_no_more_room_and_the_common_one_stays() {
    let mut medians = Medians::default();
    for n in 0..5_000u64 {
        medians.learn(Some("common"), Some("r"), Span(S));
        medians.learn(Some(&n.to_string()), Some("r"), Span(S));
    }
    assert!(medians.of(Some("common"), Some("r")).is_some());
}
