//! Accounts of runs: what each call adds, when an account is closed, and that nothing is lost or counted twice however workers race.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use weir::call::kind::SLOTS;
use weir::features::runs::account::{Account, Accounts, Call, SIZE};
use weir::features::runs::config::Runs;
use weir::metrics::Id;
use weir::settings::Config;
use weir::shared::{Broken, Events, Put, Store};
use weir::units::{Nanos, Span};
use weir::worker::Worker;

use super::memory::Memory;
use super::support::{self, Known, counted, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// After which an account is forgotten.
const IDLE: u64 = 60_000_000_000;

fn accounts(config: &str) -> Accounts {
    let config = Config::parse(config.as_bytes()).unwrap();
    let own = weir::features::kind::config::own(config.kinds.as_deref().unwrap_or_default());
    Accounts::new(config.runs.as_ref().expect("accounts"), &own)
}

fn fresh() -> Accounts {
    accounts(r#"{"runs":{"idle_s":60}}"#)
}

fn paid(kind: u8, total: u64, waste: u64) -> Call {
    Call { kind, cost: Some((total, waste)), input: 10, output: 1, ..Call::default() }
}

fn by_kind(costs: &[(usize, u64)]) -> [u64; SLOTS] {
    let mut all = [0; SLOTS];
    costs.iter().for_each(|(kind, cost)| all[*kind] = *cost);
    all
}

#[test]
fn an_account_is_the_sum_of_its_runs_calls_and_the_one_that_closes_it_is_among_them() {
    let (store, mut accounts, mut events) = (Memory::default(), fresh(), Events::default());
    let mut add = |run: (Option<&str>, &str), call: Call, closes: bool, at: u64| {
        accounts.add(run, &call, closes, &mut events, &store, Nanos(at))
    };
    let (run, other) = ((Some("acme"), "r"), (Some("else"), "r"));
    assert_eq!(add(run, paid(0, 700, 0), false, 5), None);
    assert_eq!(add(run, Call { failed: true, ..paid(0, 50, 50) }, false, 6), None);
    assert_eq!(add(run, Call { refused: true, ..Call::default() }, false, 7), None);
    assert_eq!(add(run, Call { kind: 4, ..Call::default() }, false, 8), None);
    // Another tenant's run of the same name, and no tenant's.
    assert_eq!(add(other, paid(0, 1, 0), false, 8), None);
    assert_eq!(add((None, "r"), paid(0, 2, 0), false, 8), None);
    let closed = Account {
        first: Nanos(5),
        last: Nanos(9),
        calls: 4,
        failed: 1,
        refused: 1,
        priced: 3,
        input: 30,
        output: 3,
        waste: 50,
        cost: by_kind(&[(0, 750), (2, 300)]),
    };
    assert_eq!(add(run, paid(2, 300, 0), true, 9), Some(closed));
    assert_eq!(closed.total(), Some(1050));
    let total = |account: Option<Account>| account.map(|account| (account.calls, account.total()));
    assert_eq!(total(add(run, paid(0, 9, 0), true, 9)), Some((1, Some(9))), "begun anew");
    assert_eq!(total(add(other, Call::default(), true, 9)), Some((2, Some(1))));
    assert_eq!(total(add((None, "r"), Call::default(), true, 9)), Some((2, Some(2))));
    assert_eq!(total(add((None, "never seen"), Call::default(), true, 9)), Some((1, None)), "without a price");
}

#[test]
fn an_account_is_forgotten_after_idle_and_not_before() {
    for (gap, calls) in [(1, 2), (IDLE, 2), (IDLE + 1, 1)] {
        let (store, mut accounts, mut events) = (Memory::default(), fresh(), Events::default());
        let start = 7_000;
        accounts.add((None, "r"), &paid(0, 1, 0), false, &mut events, &store, Nanos(start));
        let closed = accounts.add((None, "r"), &paid(0, 1, 0), true, &mut events, &store, Nanos(start + gap));
        assert_eq!(closed.map(|account| account.calls), Some(calls), "{gap}");
    }
}

#[test]
fn what_finds_no_place_has_no_account_and_nothing_is_made_up_for_it() {
    let store = Memory::default();
    let mut accounts = accounts(r#"{"runs":{"max":8,"idle_s":60}}"#);
    let mut events = Events::default();
    let mut add = |run: u64, closes: bool, now: u64| {
        accounts.add((None, &run.to_string()), &paid(0, 1, 0), closes, &mut events, &store, Nanos(now))
    };
    // The one set has 32 entries.
    (0..40).for_each(|run| assert_eq!(add(run, false, 1), None));
    let closed: Vec<bool> = (0..40).map(|run| add(run, true, 1).is_some()).collect();
    // As the first is closed, the last find a place; an account of one call, which is all that is known of them.
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 40);
    (0..32).for_each(|run| assert_eq!(add(run, false, 2), None));
    assert_eq!(add(99, true, 2), None);
    assert_eq!(add(99, true, 2 + IDLE + 1).map(|account| account.calls), Some(1), "the others are forgotten");
    assert_eq!(events.full, 9);
}

#[test]
fn a_store_that_does_not_answer_closes_nothing() {
    let (store, mut accounts, mut events) = (Memory::default(), fresh(), Events::default());
    accounts.add((None, "r"), &paid(0, 1, 0), false, &mut events, &store, Nanos(1));
    store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(accounts.add((None, "r"), &paid(0, 1, 0), true, &mut events, &store, Nanos(2)), None);
    assert_eq!(events.failed, 1);
    store.broken.store(false, std::sync::atomic::Ordering::Relaxed);
    let closed = accounts.add((None, "r"), &paid(0, 1, 0), true, &mut events, &store, Nanos(3));
    assert_eq!(closed.map(|account| account.calls), Some(2));
}

#[test]
fn under_other_kinds_of_its_own_a_config_begins_accounts_anew() {
    let of = |kinds: &str| accounts(&format!(r#"{{"runs":{{}},"kinds":[{kinds}]}}"#));
    let (a, b) = (r#"{"kind":"a"}"#, r#"{"kind":"b"}"#);
    for (before, after, calls) in [
        (a.to_owned(), a.to_owned(), 2),
        (a.to_owned(), format!(r#"{{"kind":"tool"}},{a}"#), 2),
        (a.to_owned(), b.to_owned(), 1),
        (format!("{a},{b}"), format!("{b},{a}"), 1),
    ] {
        let (store, mut events) = (Memory::default(), Events::default());
        of(&before).add((None, "r"), &paid(8, 1, 0), false, &mut events, &store, Nanos(1));
        let closed = of(&after).add((None, "r"), &paid(8, 1, 0), true, &mut events, &store, Nanos(2));
        assert_eq!(closed.map(|account| account.calls), Some(calls), "{before} then {after}");
    }
}

#[test]
fn sums_stop_at_the_largest_number() {
    let mut account = Account::default();
    let most = Call { cost: Some((u64::MAX, u64::MAX)), input: u64::MAX, output: u64::MAX, ..Call::default() };
    (0..3).for_each(|_| account.add(&most, Nanos(u64::MAX)));
    account.add(&Call { kind: u8::MAX, ..most }, Nanos(0));
    account.add(&Call { kind: 1, ..most }, Nanos(0));
    assert_eq!((account.total(), account.waste, account.calls), (Some(u64::MAX), u64::MAX, 5));
}

#[test]
fn an_outcome_is_one_that_the_config_names_or_other() {
    let runs = Runs::default();
    let long = vec![b'x'; 64 << 10];
    for (value, expected) in [
        (&b"resolved"[..], Some("resolved")),
        (b" Escalated\t", Some("escalated")),
        (b"abandoned", Some("abandoned")),
        (b"resolved, abandoned", Some("other")),
        (b"other", Some("other")),
        (b"\xff\xfe;outcome=resolved", Some("other")),
        (&long, Some("other")),
        (b"", None),
        (b"  ", None),
    ] {
        let word = runs.outcome(value).map(|at| runs.words()[usize::from(at)].to_owned());
        assert_eq!(word.as_deref(), expected, "{:?}", &value[..value.len().min(40)]);
    }
}

const ANSWER: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34}}\n\ndata: [DONE]\n\n";

fn refused_by(details: &'static str) -> Known {
    Known(vec![(&["response", "code_details"], details.as_bytes().to_vec())])
}

#[test]
fn a_call_with_an_outcome_closes_its_run_if_it_was_answered_without_an_error() {
    let config = r#"{"identity":{"run":[{"header":"x-run"}]},"runs":{"outcomes":["resolved"]}}"#;
    let with = |run: bool, outcome: Option<&'static str>| {
        let headers = [("x-run", "r")].into_iter().filter(|_| run);
        headers.chain(outcome.map(|outcome| ("x-weir-outcome", outcome))).collect::<Vec<_>>()
    };
    for (what, headers, status, properties, closed) in [
        ("answered", with(true, Some("resolved")), "200", via_upstream(), Some((0, 2))),
        ("under another name", with(true, Some("done")), "200", via_upstream(), Some((1, 2))),
        ("without an outcome", with(true, None), "200", via_upstream(), None),
        ("without a run", with(false, Some("resolved")), "200", via_upstream(), None),
        ("an empty outcome", with(true, Some("")), "200", via_upstream(), None),
        ("an error, after which it comes again", with(true, Some("resolved")), "500", via_upstream(), None),
        ("refused, after which it comes again", with(true, Some("resolved")), "429", refused_by("weir_limit"), None),
        ("answered by Envoy", with(true, Some("resolved")), "204", refused_by("direct_response"), Some((0, 1))),
    ] {
        let (store, mut worker) = (Memory::default(), Worker::new(Config::parse(config.as_bytes()).unwrap()));
        let plain = support::Call { request_headers: with(true, None), config, ..support::Call::default() };
        plain.answered([ANSWER.as_bytes()]).play_in(&mut worker, &via_upstream(), &store);
        let last = support::Call { request_headers: headers, status, config, ..support::Call::default() };
        let pieces = if closed == Some((0, 1)) { "" } else { ANSWER };
        let (report, _) = last.answered([pieces.as_bytes()]).play_in(&mut worker, &properties, &store);
        let seen = counted(&report, Id::RunCalls).first().map(|(_, [outcome, ..], calls)| (*outcome, *calls));
        assert_eq!(seen, closed, "{what}");
    }
}

#[test]
fn without_the_section_nobody_asks_the_store_and_the_header_goes_on() {
    let (store, mut worker) = (Memory::default(), Worker::new(Config::parse(br#"{"kinds":[]}"#).unwrap()));
    let call = support::Call { request_headers: vec![("x-weir-outcome", "resolved")], ..support::Call::default() };
    store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    let (report, _) = call.answered([ANSWER.as_bytes()]).play_in(&mut worker, &via_upstream(), &store);
    assert_eq!((counted(&report, Id::RunCalls), counted(&report, Id::Store)), (vec![], vec![]));
    assert_eq!(store.size().0, 0);
}

/// A call of a run, by whichever worker is free.
#[derive(Clone, Debug)]
struct Op {
    run: (bool, u8),
    call: Call,
    closes: bool,
    /// It comes in between another worker's read and write.
    between: bool,
    passes: u64,
}

fn any_op() -> impl Strategy<Value = Op> {
    let call = (0..SLOTS as u8, 0..4u8, prop::option::of((0..1000u64, 0..10u64)), 0..100u64, 0..100u64);
    let passes = prop_oneof![8 => 0..1_000_000u64, 1 => IDLE / 2..IDLE * 2];
    let run = (any::<bool>(), 0..3u8);
    (run, call, prop::bool::weighted(0.2), prop::bool::weighted(0.6), passes).prop_map(
        |(run, (kind, how, cost, input, output), closes, between, passes)| {
            let call = Call { kind, refused: how == 0, failed: how == 1, cost, input, output };
            // What takes microseconds is not held up for a minute.
            let between = between && passes < 1_000_000;
            Op { run, call, closes, between, passes }
        },
    )
}

/// Workers over one store, of which others come in between while one works.
struct Race {
    memory: Memory,
    workers: Vec<RefCell<Accounts>>,
    ops: Vec<Op>,
    waiting: RefCell<VecDeque<usize>>,
    working: RefCell<Vec<(usize, u64)>>,
    /// In the order in which they were written: which, when.
    written: RefCell<Vec<(usize, u64)>>,
    closed: RefCell<BTreeMap<usize, Account>>,
    now: Cell<u64>,
}

impl Store for Race {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        let value = self.memory.get(key);
        let next = self.waiting.borrow().front().copied();
        if next.is_some_and(|next| self.ops[next].between) && self.working.borrow().len() < self.workers.len() {
            self.step();
        }
        value
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        let put = self.memory.set(key, value, cas);
        if put == Put::Done && key.contains("account") {
            let working = *self.working.borrow().last().unwrap();
            self.written.borrow_mut().push(working);
        }
        put
    }
}

impl Race {
    fn step(&self) {
        let Some(at) = self.waiting.borrow_mut().pop_front() else { return };
        let op = &self.ops[at];
        let now = self.now.get() + op.passes;
        self.now.set(now);
        self.working.borrow_mut().push((at, now));
        let mut worker = self.workers.iter().find_map(|worker| worker.try_borrow_mut().ok()).unwrap();
        let (tenant, run) = (op.run.0.then_some("acme"), op.run.1.to_string());
        let closed = worker.add((tenant, &run), &op.call, op.closes, &mut Events::default(), self, Nanos(now));
        assert_eq!(closed.is_some(), op.closes);
        self.closed.borrow_mut().extend(closed.map(|account| (at, account)));
        self.working.borrow_mut().pop();
    }
}

/// What an account of these calls has to be, added up by hand.
fn ledger(calls: &[(&Call, u64)]) -> Account {
    let sum = |of: &dyn Fn(&Call) -> u64| calls.iter().map(|(call, _)| of(call)).sum::<u64>();
    Account {
        first: Nanos(calls[0].1),
        last: Nanos(calls.iter().map(|(_, at)| *at).max().unwrap()),
        calls: sum(&|call| u64::from(!call.refused)),
        failed: sum(&|call| u64::from(call.failed)),
        refused: sum(&|call| u64::from(call.refused)),
        priced: sum(&|call| u64::from(call.cost.is_some())),
        input: sum(&|call| call.input),
        output: sum(&|call| call.output),
        waste: sum(&|call| call.cost.map_or(0, |(_, waste)| waste)),
        cost: std::array::from_fn(|kind| {
            sum(&|call| call.cost.filter(|_| usize::from(call.kind) == kind).map_or(0, |(total, _)| total))
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_workers_race_each_call_is_in_one_account_and_each_account_has_all_its_calls(
        ops in prop::collection::vec(any_op(), 1..80),
    ) {
        let race = Race {
            memory: Memory::default(),
            workers: (0..4).map(|_| RefCell::new(fresh())).collect(),
            waiting: RefCell::new((0..ops.len()).collect()),
            ops,
            working: RefCell::default(),
            written: RefCell::default(),
            closed: RefCell::default(),
            now: Cell::new(1_000),
        };
        while !race.waiting.borrow().is_empty() {
            race.step();
        }
        let written = race.written.borrow();
        prop_assert_eq!(written.len(), race.ops.len(), "each is written once");
        let mut open: BTreeMap<(bool, u8), Vec<(&Call, u64)>> = BTreeMap::new();
        let mut closed = 0;
        for (at, now) in written.iter() {
            let op = &race.ops[*at];
            let calls = open.entry(op.run).or_default();
            if calls.iter().map(|(_, at)| *at).max().is_some_and(|last| now.saturating_sub(last) > IDLE) {
                calls.clear();
            }
            calls.push((&op.call, *now));
            if op.closes {
                closed += 1;
                prop_assert_eq!(race.closed.borrow()[at], ledger(calls));
                calls.clear();
            }
        }
        prop_assert_eq!(closed, race.closed.borrow().len());
    }

    #[test]
    fn an_account_is_read_as_it_was_written(words in prop::collection::vec(any::<u64>(), SIZE / 8)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut again = vec![0; SIZE];
        Account::read(&bytes).write(&mut again);
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn any_bytes_at_all_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2 * SIZE), now in any::<u64>()) {
        let mut account = Account::read(&bytes);
        Account::is_old(&bytes, Span(IDLE), Nanos(now));
        account.add(&paid(3, u64::MAX, 1), Nanos(now));
        account.write(&mut bytes.clone());
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn what_threads_close_and_leave_open_is_what_they_added() {
    const CALLS: u64 = 3000;
    let store = Memory::default();
    let closed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let (store, closed) = (&store, &closed);
            scope.spawn(move || {
                let (mut accounts, mut events) = (fresh(), Events::default());
                for n in 0..CALLS {
                    let run = ((n * 7 + worker) % 3).to_string();
                    let closes = n % 11 == worker;
                    let call = paid((n % 5) as u8, n, worker);
                    let account = accounts.add((None, &run), &call, closes, &mut events, store, Nanos(1 + n));
                    closed.lock().unwrap().extend(account);
                }
                assert_eq!((events.failed, events.full), (0, 0));
            });
        }
    });
    let (mut accounts, mut events) = (fresh(), Events::default());
    let nothing = Call::default();
    let left = (0..3).map(|run| {
        let left = accounts.add((None, &run.to_string()), &nothing, true, &mut events, &store, Nanos(CALLS)).unwrap();
        Account { calls: left.calls - 1, ..left }
    });
    let all: Vec<Account> = left.chain(closed.into_inner().unwrap()).collect();
    let sum = |of: &dyn Fn(&Account) -> u64| all.iter().map(of).sum::<u64>();
    assert_eq!(sum(&|account| account.calls), 4 * CALLS);
    assert_eq!(sum(&|account| account.input), 4 * CALLS * 10);
    assert_eq!(sum(&|account| account.waste), CALLS * (1 + 2 + 3));
    assert_eq!(sum(&|account| account.total().unwrap_or(0)), 4 * CALLS * (CALLS - 1) / 2);
    eprintln!("{} accounts closed, {} lost races", all.len() - 3, store.lost());
}

#[test]
fn what_the_page_shows_is_a_good_config() {
    let page = include_str!("../../docs/runs.md");
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let config = Config::parse(example.as_bytes()).unwrap();
    assert!(config.runs.is_some() && config.tells_kinds());
    for kind in weir::call::kind::KNOWN {
        assert!(page.contains(&format!("`{kind}`")), "{kind}");
    }
    assert!(page.contains(&format!("An account\ntakes {} bytes", SIZE + 8)), "{SIZE}");
}
