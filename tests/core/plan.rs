//! Plans: how they are written, what each call is to them, how far a run did what it planned, and that nothing is lost however
//! workers race.

use proptest::prelude::*;
use weir::features::plan::align::{Done, Row};
use weir::features::plan::plans::{Course, Declared, Made, Plans, Seen, Verdict};
use weir::features::plan::syntax::{MAX_STEPS, MAX_TEXT, NoPlan, Plan};
use weir::settings::Config;
use weir::shared::{Events, NullStore};
use weir::units::Nanos;

use super::memory::Memory;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn tool(name: &str) -> Done<'_> {
    let (name, target) = name.split_once(':').map_or((name, None), |(name, target)| (name, Some(target)));
    Done { tool: Some(name), kind: Some("tool"), target, ..Done::default() }
}

#[test]
fn a_plan_is_read_step_by_step_with_repetitions_written_out() {
    for (text, steps, states) in [
        ("answer", "answer", 2),
        ("search>fetch[2]>answer", "search fetch fetch answer", 5),
        (" search > fetch ", "search fetch", 3),
        ("a?>b", "a b", 3),
        ("a[1-3]", "a a a", 4),
        ("a[0-2]", "a a", 3),
        ("a[2-*]", "a a a", 4),
        ("a*>b+", "a b b", 4),
        ("a[*]", "a", 2),
        ("(a,b,c)>d", "a b c d", 9),
        ("(a, b?)", "a b", 4),
        ("fetch:billing.history>fetch:orders/list", "fetch:billing.history fetch:orders/list", 3),
    ] {
        let plan = Plan::read(text).expect(text);
        let read: Vec<String> =
            plan.steps.iter().map(|s| s.target.map_or(s.name.to_owned(), |t| format!("{}:{t}", s.name))).collect();
        assert_eq!((read.join(" ").as_str(), usize::from(plan.last) + 1), (steps, states), "{text}");
        assert!(plan.skips.windows(2).all(|two| two[0].from <= two[1].from), "{text}");
        assert!(plan.skips.iter().all(|skip| skip.from < skip.to && skip.to <= plan.last), "{text}");
    }
}

#[test]
fn what_is_no_plan_or_too_large_a_one_says_so() {
    let (long, many) = ("a".repeat(65), vec!["a"; MAX_STEPS + 1].join(">"));
    let groups = ["(a,b,c,d,e)"; 5].join(">");
    let text = "a>".repeat(MAX_TEXT);
    for (text, why) in [
        ("", NoPlan::Syntax),
        (">", NoPlan::Syntax),
        ("a>", NoPlan::Syntax),
        ("a>>b", NoPlan::Syntax),
        ("a b", NoPlan::Syntax),
        ("a:", NoPlan::Syntax),
        (":a", NoPlan::Syntax),
        ("a:b:c", NoPlan::Syntax),
        ("(a", NoPlan::Syntax),
        ("a)", NoPlan::Syntax),
        ("()", NoPlan::Syntax),
        ("(a,,b)", NoPlan::Syntax),
        ("(a[2],b)", NoPlan::Syntax),
        ("(a+,b)", NoPlan::Syntax),
        ("(a>b)", NoPlan::Syntax),
        ("a[]", NoPlan::Syntax),
        ("a[0]", NoPlan::Syntax),
        ("a[2-1]", NoPlan::Syntax),
        ("a[-1]", NoPlan::Syntax),
        ("a[+1]", NoPlan::Syntax),
        ("a[1", NoPlan::Syntax),
        ("?", NoPlan::Syntax),
        ("a??", NoPlan::Syntax),
        ("sch\u{f6}n", NoPlan::Syntax),
        ("\u{fffd}", NoPlan::Syntax),
        ("a[33]", NoPlan::TooLarge),
        ("a[99999999999999999999999]", NoPlan::TooLarge),
        ("a[32]>b", NoPlan::TooLarge),
        ("(a,b,c,d,e,f)", NoPlan::TooLarge),
        (&long, NoPlan::TooLarge),
        (&many, NoPlan::TooLarge),
        (&groups, NoPlan::TooLarge),
        (&text, NoPlan::TooLarge),
    ] {
        assert_eq!(Plan::read(text).err(), Some(why), "{}", &text[..text.len().min(40)]);
    }
}

/// What the calls are to the plan, as `verdict step/of expected→got adherence`.
fn story(plan: &str, calls: &str) -> (Vec<String>, u8) {
    let plan = Plan::read(plan).unwrap();
    let mut course = Course::start(&plan);
    let tell = |name: &str| {
        let stand = course.step(&plan, &tool(name));
        let step = stand.step.map_or("-".to_owned(), |step| step.to_string());
        let expected = stand.expected.unwrap_or_default();
        let (word, of) = (stand.verdict.word(), stand.of);
        if stand.verdict == Verdict::Matched {
            return format!("{word} {step}/{of} {}", stand.adherence);
        }
        format!("{word} {step}/{of} {expected}→{} {}", stand.got, stand.adherence)
    };
    let told = calls.split_whitespace().map(tell).collect();
    (told, course.whole(&plan))
}

#[test]
fn each_call_is_matched_skipped_unplanned_out_of_order_or_on_the_wrong_target() {
    for (plan, calls, expected, whole) in [
        ("a>b>c", "a b c", vec!["matched 1/3 100", "matched 2/3 100", "matched 3/3 100"], 100),
        ("a>b>c", "", vec![], 0),
        ("a>b>c", "a", vec!["matched 1/3 100"], 50),
        ("a>b>c", "a c", vec!["matched 1/3 100", "skipped 3/3 b→c 50"], 80),
        ("a>b", "a x b", vec!["matched 1/2 100", "unplanned 2/2 b→x 50", "matched 2/2 66"], 80),
        ("a>b", "b a", vec!["skipped 2/2 a→b 0", "out_of_order -/2 →a 50"], 50),
        ("a>b", "a a b", vec!["matched 1/2 100", "out_of_order 2/2 b→a 50", "matched 2/2 66"], 80),
        ("a>b", "a b x", vec!["matched 1/2 100", "matched 2/2 100", "unplanned -/2 →x 66"], 80),
        (
            "search>get>fetch:billing.history>rank>answer",
            "search get fetch:orders.list rank",
            vec![
                "matched 1/5 100",
                "matched 2/5 100",
                "wrong_target 3/5 fetch:billing.history→fetch:orders.list 66",
                "matched 4/5 75",
            ],
            77,
        ),
        ("f:a>g", "f g", vec!["wrong_target 1/2 f:a→f 0", "matched 2/2 50"], 75),
        ("a?>b", "b", vec!["matched 2/2 100"], 100),
        ("a?>b", "a b", vec!["matched 1/2 100", "matched 2/2 100"], 100),
        ("a[2]>b", "a b", vec!["matched 1/3 100", "skipped 3/3 a→b 50"], 80),
        ("a[1-2]>b", "a b", vec!["matched 1/3 100", "matched 3/3 100"], 100),
        ("a+>b", "a a a b", vec!["matched 1/3 100", "matched 2/3 100", "matched 2/3 100", "matched 3/3 100"], 100),
        ("a*>b*>c", "b a", vec!["matched 2/3 100", "out_of_order 3/3 c→a 50"], 33),
        ("(a,b)>c", "b a c", vec!["matched 2/3 100", "matched 1/3 100", "matched 3/3 100"], 100),
        ("(a,b)>c", "b c", vec!["matched 2/3 100", "skipped 3/3 a→c 50"], 80),
        ("(a,b?)>c", "a c", vec!["matched 1/3 100", "matched 3/3 100"], 100),
    ] {
        let (told, adherence) = story(plan, calls);
        assert_eq!((told, adherence), (expected.into_iter().map(str::to_owned).collect(), whole), "{plan}: {calls}");
    }
}

/// A batch's calls in their order; those in brackets are no steps but of plans that name them.
#[test]
fn of_a_batch_each_call_moves_along_and_the_first_that_leaves_the_plan_furthest_speaks_for_it() {
    use Verdict::{Matched, OutOfOrder, Skipped, Unplanned};
    for (plan, batch, verdict, step, verdicts, adherence) in [
        ("a>b>c", "a b", Matched, 2, vec![Matched, Matched], 100),
        ("a>b>c", "a c", Skipped, 3, vec![Matched, Skipped], 50),
        ("a>b>c", "b x c", Unplanned, 3, vec![Skipped, Unplanned, Matched], 33),
        ("a>b>c", "x a a", Unplanned, 1, vec![Unplanned, Matched, OutOfOrder], 33),
        ("a>b>c", "a (m) b", Matched, 2, vec![Matched, Matched], 100),
        ("m>b", "(m) b", Matched, 2, vec![Matched, Matched], 100),
    ] {
        let parsed = Plan::read(plan).unwrap();
        let made: Vec<Made<'_>> = batch
            .split(' ')
            .map(|call| Made { done: tool(call.trim_matches(['(', ')'])), always: !call.starts_with('(') })
            .collect();
        let (stand, seen) = Course::start(&parsed).steps(&parsed, &made).expect("a step");
        let told = (stand.verdict, stand.step, seen, stand.adherence);
        assert_eq!(told, (verdict, Some(step), verdicts, adherence), "{plan}: {batch}");
    }
    let plan = Plan::read("a").unwrap();
    let no_step = [Made { done: tool("m"), always: false }];
    assert_eq!(Course::start(&plan).steps(&plan, &no_step), None);
    assert_eq!(Course::start(&plan).steps(&plan, &[]), None);
}

#[test]
fn a_call_has_the_names_of_its_tool_its_route_and_its_kind() {
    let call = Done { tool: Some("orders.list"), route: Some("crm"), kind: Some("tool"), target: None };
    let model = Done { route: Some("llm"), kind: Some("model"), target: Some("gpt-4o"), ..Done::default() };
    for (plan, call, verdict, got) in [
        ("orders.list", call, Verdict::Matched, "orders.list"),
        ("crm", call, Verdict::Matched, "orders.list"),
        ("tool", call, Verdict::Matched, "orders.list"),
        ("tool:orders.list", call, Verdict::Matched, "orders.list"),
        ("crm:orders.list", call, Verdict::Matched, "orders.list"),
        ("tool:billing.history", call, Verdict::WrongTarget, "tool:orders.list"),
        ("model", model, Verdict::Matched, "llm"),
        ("model:gpt-4o", model, Verdict::Matched, "llm"),
        ("model:gpt-5", model, Verdict::WrongTarget, "model:gpt-4o"),
        ("answer", model, Verdict::Unplanned, "llm"),
    ] {
        let plan = Plan::read(plan).unwrap();
        let stand = Course::start(&plan).step(&plan, &call);
        assert_eq!((stand.verdict, stand.got.as_str()), (verdict, got), "{plan:?}");
    }
}

/// A plan as it is thought of: parts, of which each is some sequences of steps.
#[derive(Clone, Debug)]
enum Part {
    Times(&'static str, usize, Option<usize>),
    Group(Vec<(&'static str, bool)>),
}

const NAMES: [&str; 5] = ["a", "b", "c", "f:x", "f:y"];

fn any_part() -> impl Strategy<Value = Part> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        3 => name().prop_map(|name| Part::Times(name, 1, Some(1))),
        1 => name().prop_map(|name| Part::Times(name, 0, Some(1))),
        1 => (name(), 0..3usize, 1..3usize).prop_map(|(name, least, most)| Part::Times(name, least, Some(least.max(most)))),
        1 => (name(), 0..2usize).prop_map(|(name, least)| Part::Times(name, least, None)),
        1 => prop::collection::vec((name(), any::<bool>()), 1..4).prop_map(Part::Group),
    ]
}

fn written(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Times(name, 1, Some(1)) => (*name).to_owned(),
        Part::Times(name, 0, Some(1)) => format!("{name}?"),
        Part::Times(name, least, most) => match most {
            Some(most) if most == least => format!("{name}[{least}]"),
            Some(most) => format!("{name}[{least}-{most}]"),
            None => format!("{name}[{least}-*]"),
        },
        Part::Group(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, may)| format!("{name}{}", if *may { "?" } else { "" })).collect();
            format!("({})", members.join(","))
        }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(">")
}

fn orders(members: &[(&'static str, bool)]) -> Vec<Vec<&'static str>> {
    let Some(((_, may), _)) = members.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for at in 0..members.len() {
        let mut rest = members.to_vec();
        let (name, _) = rest.remove(at);
        for mut order in orders(&rest) {
            order.insert(0, name);
            all.push(order);
        }
    }
    // What may be left out may be missing.
    if *may {
        all.extend(orders(&members[1..]));
    }
    for at in 1..members.len() {
        if members[at].1 {
            let mut rest = members.to_vec();
            rest.remove(at);
            all.extend(orders(&rest));
        }
    }
    all
}

/// All that the plan allows, with no step made more often than `most` times without a bound.
fn words(parts: &[Part], most: usize) -> Vec<Vec<&'static str>> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for part in parts {
        let ways: Vec<Vec<&str>> = match part {
            Part::Times(name, least, limit) => {
                (*least..=limit.unwrap_or(most.max(*least))).map(|times| vec![*name; times]).collect()
            }
            Part::Group(members) => orders(members),
        };
        all = all.iter().flat_map(|front| ways.iter().map(|way| [&front[..], way].concat())).collect();
        all.sort();
        all.dedup();
    }
    all
}

/// The table that everybody knows, for one sequence: the cost of all of it, and the least of any beginning of it.
fn edits(word: &[&str], trace: &[&str]) -> (u16, u16) {
    let mut table = vec![vec![0u16; word.len() + 1]; trace.len() + 1];
    for i in 0..=trace.len() {
        for j in 0..=word.len() {
            let mut least = if (i, j) == (0, 0) { 0 } else { u16::MAX };
            if i > 0 {
                least = least.min(table[i - 1][j] + 1);
            }
            if j > 0 {
                least = least.min(table[i][j - 1] + 1);
            }
            if i > 0 && j > 0 {
                let name = |text: &str| text.split(':').next().unwrap().to_owned();
                if word[j - 1] == trace[i - 1] {
                    least = least.min(table[i - 1][j - 1]);
                } else if name(word[j - 1]) == name(trace[i - 1]) {
                    least = least.min(table[i - 1][j - 1] + 1);
                }
            }
            table[i][j] = least;
        }
    }
    let last = table.last().unwrap();
    (*last.last().unwrap(), *last.iter().min().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn adherence_is_that_of_the_best_of_all_sequences_that_the_plan_allows(
        parts in prop::collection::vec(any_part(), 1..4),
        trace in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "f:x", "f:y", "z"]), 0..7),
    ) {
        let text = written(&parts);
        let Ok(plan) = Plan::read(&text) else { return Err(TestCaseError::fail(text)) };
        let all = words(&parts, trace.len());
        let least = all.iter().map(Vec::len).min().unwrap() as u32;
        let (mut row, mut course) = (Row::start(&plan), Course::start(&plan));
        for end in 0..=trace.len() {
            let seen = &trace[..end];
            let costs: Vec<_> = all.iter().map(|word| edits(word, seen)).collect();
            let whole = costs.iter().map(|(whole, _)| *whole).min().unwrap();
            let so_far = costs.iter().map(|(_, so_far)| *so_far).min().unwrap();
            prop_assert_eq!((row.whole(&plan), row.so_far(&plan)), (whole, so_far), "{} {:?}", text, seen);
            let percent = |cost: u16, worst: u32| match worst {
                0 => 100,
                _ => ((worst - u32::from(cost)) * 100 / worst) as u8,
            };
            let worst = end as u32;
            prop_assert_eq!(course.whole(&plan), percent(whole, worst + least));
            prop_assert_eq!(course.so_far(&plan), percent(so_far, worst));
            // Whoever does what the plan says is matched in every step.
            if let Some(next) = trace.get(end) {
                let clean = so_far == 0;
                row.step(&plan, &tool(next));
                let stand = course.step(&plan, &tool(next));
                if clean && stand.verdict == Verdict::Matched {
                    prop_assert!(stand.step.is_some());
                }
            }
        }
    }

    #[test]
    fn any_text_at_all_is_survived_and_what_is_read_keeps_its_bounds(text in "[a-c>()\\[\\]0-9?*+,:. -]{0,60}") {
        if let Ok(plan) = Plan::read(&text) {
            prop_assert!(plan.steps.len() <= MAX_STEPS && plan.last < 128);
            let mut course = Course::start(&plan);
            for name in ["a", "b", "c", "a:b", ""] {
                prop_assert!(course.step(&plan, &tool(name)).adherence <= 100);
            }
            prop_assert!(course.whole(&plan) <= 100);
        }
    }
}

/// After which a plan is forgotten.
const IDLE: u64 = 60_000_000_000;

fn plans(more: &str) -> Plans {
    let config = Config::parse(format!(r#"{{"plan":{{"idle_s":60{more}}}}}"#).as_bytes()).unwrap();
    Plans::new(config.plan.as_ref().expect("plans"))
}

/// One worker at a store.
struct At<'a> {
    plans: Plans,
    store: &'a Memory,
    events: Events,
}

impl At<'_> {
    fn declare(&mut self, whose: (Option<&str>, &str), text: &str, now: u64) -> Seen {
        let mut seen = Seen::default();
        self.plans.declare(whose, Ok(text), &mut seen, &mut self.events, self.store, Nanos(now));
        seen
    }

    /// Verdict and adherence of a call, and of runs that it closes.
    fn call(
        &mut self,
        whose: (Option<&str>, &str),
        name: &str,
        closes: bool,
        now: u64,
    ) -> (Option<(Verdict, u8)>, Vec<u8>) {
        let (made, mut seen) = ([Made { done: tool(name), always: true }], Seen::default());
        let found = self.plans.peek(whose, &made, &mut self.events, self.store, Nanos(now));
        let Some((hash, _)) = found else { return (None, Vec::new()) };
        let stand = self.plans.go((whose, hash), (&made, closes), &mut seen, &mut self.events, self.store, Nanos(now));
        (stand.map(|(stand, _)| (stand.verdict, stand.adherence)), seen.closed)
    }
}

#[test]
fn a_plan_is_its_tenants_runs_until_it_is_closed_replaced_or_forgotten() {
    let store = Memory::default();
    let mut at = At { plans: plans(""), store: &store, events: Events::default() };
    let (run, other) = ((Some("acme"), "r"), (Some("else"), "r"));
    assert_eq!(at.call(run, "a", false, 1), (None, vec![]), "no plan");
    assert_eq!(at.declare(run, "a>b", 2).declared, [Declared::New]);
    assert_eq!(at.declare(run, "a>b", 3).declared, [], "the same again");
    assert_eq!(at.call(other, "a", false, 4), (None, vec![]), "another tenant's run of the same name");
    assert_eq!(at.call(run, "a", false, 5), (Some((Verdict::Matched, 100)), vec![]));
    assert_eq!(at.declare(run, "a>b", 6).declared, [], "it goes on");
    assert_eq!(at.call(run, "b", true, 7), (Some((Verdict::Matched, 100)), vec![100]), "closed, that call included");
    assert_eq!(at.call(run, "b", false, 8), (None, vec![]));
    at.declare(run, "a>b", 9);
    at.call(run, "x", false, 10);
    let replaced = at.declare(run, "b", 11);
    assert_eq!((replaced.declared, replaced.closed), (vec![Declared::Replaces], vec![0]));
    assert!(at.declare(run, "c", 12).closed.is_empty(), "of a plan of which nothing was done nothing is told");
    // Idle, not closed: whole, with what is missing.
    at.call(run, "c", false, 13);
    assert_eq!(at.call(run, "c", false, 13 + IDLE + 1), (None, vec![]));
    let again = at.declare(run, "c", 14 + IDLE + 1);
    assert_eq!((again.declared, again.closed), (vec![Declared::New], vec![100]));
    for (text, declared) in [("a>", Declared::Unread), ("a[99]", Declared::TooLarge)] {
        assert_eq!(at.declare(run, text, 15 + IDLE).declared, [declared]);
        assert!(at.call(run, "c", false, 16 + IDLE).0.is_some(), "the old one stands");
    }
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_told_when_its_place_is_taken() {
    let store = Memory::default();
    let mut at = At { plans: plans(r#","max":8"#), store: &store, events: Events::default() };
    let mut placed = 0;
    for run in 0..40 {
        placed += usize::from(at.declare((None, &run.to_string()), "a>b", 1).declared == [Declared::New]);
    }
    assert_eq!((placed, at.events.full), (8, 32));
    let mut told = Vec::new();
    for run in 100..140 {
        told.extend(at.declare((None, &run.to_string()), "a", 2 + IDLE).closed);
    }
    assert_eq!(told, [0; 8], "nothing was done of them");
    assert_eq!(store.size().0, 9, "the salt and eight places");
}

#[test]
fn a_store_that_does_not_answer_makes_nothing_up() {
    let mut plans = plans("");
    let (mut seen, mut events) = (Seen::default(), Events::default());
    plans.declare((None, "r"), Ok("a"), &mut seen, &mut events, &NullStore, Nanos(1));
    let made = [Made { done: tool("a"), always: true }];
    assert!(plans.peek((None, "r"), &made, &mut events, &NullStore, Nanos(1)).is_none());
    assert_eq!(seen, Seen::default());
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn steps_of_one_run_that_threads_make_at_once_are_all_counted() {
    const CALLS: usize = 500;
    let store = Memory::default();
    let start = At { plans: plans(""), store: &store, events: Events::default() };
    let mut start = start;
    start.declare((None, "r"), "a[32]", 1);
    let verdicts: Vec<Verdict> = std::thread::scope(|scope| {
        let work = || {
            let mut at = At { plans: plans(""), store: &store, events: Events::default() };
            (0..CALLS)
                .filter_map(|_| at.call((None, "r"), "a", false, 2).0)
                .map(|(verdict, _)| verdict)
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(verdicts.len(), 4 * CALLS);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Matched).count(), 32);
    // 2000 calls, of which 32 are planned, and one more that is not: 33 / 2033.
    let (_, closed) = start.call((None, "r"), "x", true, 3);
    assert_eq!(closed, [(64 * 100 / 2033) as u8]);
}
