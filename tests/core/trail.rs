//! The trail of a run: what is kept of its calls, for how long, and who may see it.

use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir::features::trail::entry::MAX_BYTES;
use weir::features::trail::page;
use weir::features::trail::run::Run;
use weir::features::trail::trails::{Name, Shown, Trails, json};
use weir::record::{
    Cost, Ended, Limited, PlanStep, Record, Retry, Times, ToolCall, ToolRun, Upstream, Usage, UsageSource,
};
use weir::settings::Config;
use weir::shared::{Broken, Events, Put, Store};
use weir::units::Nanos;

use crate::memory::Memory;

const KEY: &str = "0123456789abcdef";
const OPERATOR: &str = "fedcba9876543210";

fn trails(more: Value) -> (Trails, usize) {
    let mut trail = json!({"key": KEY, "operator_key": OPERATOR});
    for (key, value) in more.as_object().unwrap() {
        trail[key] = value.clone();
    }
    let config = Config::parse(json!({"audit": {"trail": trail}}).to_string().as_bytes()).unwrap();
    let trail = config.audit.trail.unwrap();
    (Trails::new(&trail), Trails::max_bytes(&trail))
}

fn s(seconds: u64) -> Nanos {
    Nanos((1_000 + seconds) * 1_000_000_000)
}

fn call(id: &str) -> Record {
    Record {
        call: id.to_owned(),
        api: "openai.chat_completions",
        request_model: Some("m".to_owned()),
        status: Some(200),
        ..Record::default()
    }
}

/// A call of which everything is known.
fn full() -> Record {
    let usage = Usage {
        source: UsageSource::Estimated,
        input: Some(1200),
        output: Some(34),
        cache_read: Some(1000),
        ..Usage::default()
    };
    let tool = |name: &str, outcome, ms| ToolRun { name: name.to_owned(), outcome, ms, ..ToolRun::default() };
    Record {
        call: "3f6a9b1e-6f2a-4b0e-9a39-2f8f2c3d4e5f".to_owned(),
        kind: Some("tool".to_owned()),
        api: "other",
        request_model: Some("asked".to_owned()),
        response_model: Some("answered".to_owned()),
        status: Some(502),
        ended: Ended::Error,
        error_type: Some("overloaded".to_owned()),
        usage,
        time: Times { first_token_ms: Some(12.345), total_ms: Some(678.9), ..Times::default() },
        cost: Some(Cost { total: 5_000_000_001, waste: 7, waste_reason: Some("retried"), ..Cost::default() }),
        retry: Some(Retry { attempt: 2, verdict: "shadow", ..Retry::default() }),
        upstream: Upstream { attempts: Some(3), ..Upstream::default() },
        plan: Some(PlanStep {
            step: Some(3),
            of: 5,
            verdict: "wrong_target",
            expected: Some("billing.history".to_owned()),
            got: Some("orders.list".to_owned()),
            adherence: Some(60),
        }),
        limits: vec![
            Limited { name: "silent".to_owned(), verdict: "pass", ..Limited::default() },
            Limited { name: "slow".to_owned(), verdict: "pass", waited_ms: 2.0, ..Limited::default() },
            Limited { name: "hard".to_owned(), verdict: "cut", ..Limited::default() },
        ],
        tool_runs: vec![tool("search", "ok", Some(310.5)), tool("fetch", "failed", None)],
        tools: vec!["unused".to_owned()],
        tool_calls: vec![ToolCall { name: "answer".to_owned(), ..ToolCall::default() }],
        ..Record::default()
    }
}

fn put(trails: &Trails, name: &Name, record: &Record, store: &dyn Store, now: Nanos) {
    trails.put(name, (record, &["doc-1".to_owned()], 1_700_000_000_000_000), store, &mut Events::default(), now);
}

fn look(trails: &Trails, name: &Name, store: &dyn Store, now: Nanos) -> Option<Run> {
    trails.look(name, Shown { token: name.token().as_bytes(), operator: b"" }, store, now)
}

#[test]
fn a_call_comes_back_as_it_went_in() {
    let (trails, _) = trails(json!({}));
    let store = Memory::default();
    let name = trails.name(Some("acme"), "run");
    put(&trails, &name, &full(), &store, s(0));
    let run = look(&trails, &name, &store, s(1)).unwrap();
    let json: Value = serde_json::from_str(&json(Some("acme"), "run", &run)).unwrap();
    let expected = json!({
        "v": 1,
        "run": "run",
        "tenant": "acme",
        "began_ms": 1_700_000_000_000.0,
        "total_ms": 678.9,
        "dropped": 0,
        "totals": {
            "calls": 1, "failed": 1, "input": 1200, "output": 34, "cost": 5_000_000_001u64, "waste": 7,
            "kinds": [{"kind": "tool", "calls": 1, "cost": 5_000_000_001u64}],
        },
        "plan": {
            "adherence": 60,
            "left": {"at": 1, "step": 3, "of": 5, "expected": "billing.history", "got": "orders.list"},
        },
        "calls": [{
            "n": 1,
            "at_ms": 0.0,
            "call": "3f6a9b1e-6f2a-4b0e-9a39-2f8f2c3d4e5f",
            "kind": "tool",
            "model": "answered",
            "first_token_ms": 12.345,
            "total_ms": 678.9,
            "status": 502,
            "ended": "error",
            "error_type": "overloaded",
            "tokens": {"input": 1200, "output": 34, "cache_read": 1000, "estimated": true},
            "cost": 5_000_000_001u64,
            "waste": 7,
            "waste_reason": "retried",
            "attempt": 2,
            "proxy_attempts": 3,
            "plan": {
                "step": 3, "of": 5, "verdict": "wrong_target", "expected": "billing.history", "got": "orders.list",
                "adherence": 60,
            },
            "limits": [
                {"name": "slow", "verdict": "waited"}, {"name": "hard", "verdict": "cut"},
                {"name": "retries", "verdict": "shadow"},
            ],
            "tools_run": [{"name": "search", "outcome": "ok", "ms": 310.5}, {"name": "fetch", "outcome": "failed"}],
            "tools_asked": ["answer"],
            "sources": ["doc-1"],
        }],
    });
    assert_eq!(json, expected);
}

#[test]
fn a_call_is_as_large_as_it_may_be_and_says_what_it_has_no_room_for() {
    let (trails, _) = trails(json!({}));
    let store = Memory::default();
    let name = trails.name(None, "run");
    // Characters of three bytes, so that every cut falls into one.
    let long = "€".repeat(500);
    let mut record = full();
    record.call = long.clone();
    record.kind = Some(long.clone());
    record.response_model = Some(long.clone());
    record.error_type = Some(long.clone());
    record.usage.input = Some(u64::MAX);
    record.usage.output = Some(u64::MAX);
    record.usage.cache_read = Some(u64::MAX);
    record.time = Times { first_token_ms: Some(1e300), total_ms: Some(f64::MAX), ..Times::default() };
    record.cost = Some(Cost { total: u64::MAX, waste: u64::MAX, waste_reason: Some("duplicated"), ..Cost::default() });
    record.retry = Some(Retry { attempt: u32::MAX, verdict: "pass", ..Retry::default() });
    record.upstream.attempts = Some(u64::MAX);
    record.plan = Some(PlanStep {
        step: Some(u32::MAX),
        of: u32::MAX,
        verdict: "out_of_order",
        expected: Some(long.clone()),
        got: Some(long.clone()),
        adherence: Some(100),
    });
    record.tools = vec![long.clone(); 300];
    put(&trails, &name, &record, &store, s(0));
    let run = look(&trails, &name, &store, s(0)).unwrap();
    let call = &run.calls[0];
    assert_eq!(call.model.as_deref(), Some("€".repeat(16).as_str()));
    assert_eq!(call.plan.as_ref().unwrap().adherence, Some(100), "what stands last of the fixed part has room");
    let kept = call.limits.len() + call.tools_run.len() + call.tools_asked.len() + call.sources.len();
    // Two limits that bit, two tools that ran, one that was asked for, one source.
    assert_eq!(kept as u64 + call.left_out, 2 + 2 + 1 + 1);
    assert_eq!(run.totals.cost, u64::MAX - 1);
    put(&trails, &name, &record, &store, s(0));
    assert_eq!(look(&trails, &name, &store, s(0)).unwrap().totals.cost, u64::MAX, "sums stay at the end of the scale");
    assert!(store.size().1 < 2 * (MAX_BYTES + 2) + 700);
}

#[test]
fn what_is_no_step_of_a_run_is_not_kept() {
    let (trails, _) = trails(json!({}));
    let store = Memory::default();
    let name = trails.name(None, "run");
    put(&trails, &name, &Record { api: "other", ..Record::default() }, &store, s(0));
    assert_eq!(look(&trails, &name, &store, s(0)), None);
    assert_eq!(store.size().1, 0);
}

#[test]
fn a_run_is_forgotten_when_nobody_touched_it_for_long() {
    let (trails, _) = trails(json!({"forget_after_s": 60}));
    let store = Memory::default();
    let name = trails.name(None, "run");
    assert_eq!(trails.has_begun(&name, &store, s(0)), Ok(false));
    put(&trails, &name, &call("1"), &store, s(0));
    assert_eq!(trails.has_begun(&name, &store, s(60)), Ok(true));
    put(&trails, &name, &call("2"), &store, s(60));
    assert_eq!(look(&trails, &name, &store, s(120)).unwrap().calls.len(), 2);
    assert_eq!(look(&trails, &name, &store, s(121)), None);
    assert_eq!(trails.has_begun(&name, &store, s(121)), Ok(false));
    put(&trails, &name, &call("3"), &store, s(121));
    let run = look(&trails, &name, &store, s(121)).unwrap();
    assert_eq!((run.calls.len(), run.totals.calls, run.dropped), (1, 1, 0), "it begins anew");
}

#[test]
fn a_full_set_gives_up_the_run_that_was_idle_for_longest() {
    let (trails, _) = trails(json!({"runs": 4}));
    let store = Memory::default();
    let names: Vec<_> = (0..6).map(|i| trails.name(None, &format!("run-{i}"))).collect();
    for (at, name) in names.iter().take(4).enumerate() {
        put(&trails, name, &call("1"), &store, s(at as u64));
    }
    put(&trails, &names[0], &call("2"), &store, s(10));
    let mut events = Events::default();
    trails.put(&names[4], (&call("1"), &[], 0), &store, &mut events, s(11));
    assert_eq!(events.taken_over, 1);
    let there = |name: &Name| look(&trails, name, &store, s(12)).map(|run| run.calls.len());
    assert_eq!(names.iter().map(there).collect::<Vec<_>>(), [Some(2), None, Some(1), Some(1), Some(1), None]);
}

#[test]
fn kinds_beyond_the_eighth_are_told_together() {
    let (trails, _) = trails(json!({}));
    let store = Memory::default();
    let name = trails.name(None, "run");
    for i in 0..20 {
        let record = Record { kind: Some(format!("kind-{i}")), ..call("1") };
        put(&trails, &name, &record, &store, s(i));
    }
    let kinds = look(&trails, &name, &store, s(20)).unwrap().totals.kinds;
    assert_eq!(kinds.len(), 8);
    assert_eq!((kinds[7].kind.as_str(), kinds[7].calls), ("other", 13));
}

/// Who shows what: whether it opens the trail of acme's run.
#[test]
fn a_trail_is_open_to_those_who_show_its_token_and_to_operators() {
    let (trails, _) = trails(json!({}));
    let store = Counted::default();
    let name = trails.name(Some("acme"), "run");
    put(&trails, &name, &call("1"), &store, s(0));
    let token = name.token();
    let others = trails.name(Some("other"), "run").token();
    assert_ne!(token, others);
    assert_ne!(token, trails.name(None, "run").token());
    assert_ne!(trails.name(Some("a"), "bc").token(), trails.name(Some("ab"), "c").token());
    let absent = trails.name(Some("acme"), "no run");
    let absents = absent.token();
    let upper = token.to_uppercase();
    for (what, name, shown, operator, expected) in [
        ("its token", &name, token.as_str(), "", true),
        ("nothing", &name, "", "", false),
        ("the token of another tenant's run of that id", &name, others.as_str(), "", false),
        ("another run's token", &name, absents.as_str(), "", false),
        ("half a token", &name, &token[..16], "", false),
        ("a token and more", &name, &format!("{token}0"), "", false),
        ("another writing of it", &name, upper.as_str(), "", token == upper),
        ("an operator's key", &name, "", OPERATOR, true),
        ("not quite an operator's key", &name, "", "fedcba987654321", false),
        ("the key itself", &name, KEY, KEY, false),
        ("the right token of a run that is not there", &absent, absents.as_str(), "", false),
        ("a wrong token of a run that is not there", &absent, token.as_str(), "", false),
        ("nothing, of a run that is not there", &absent, "", "", false),
        ("an operator's key, of a run that is not there", &absent, "", OPERATOR, false),
    ] {
        store.calls.set(0);
        let shown = Shown { token: shown.as_bytes(), operator: operator.as_bytes() };
        assert_eq!(trails.look(name, shown, &store, s(1)).is_some(), expected, "{what}");
        assert_eq!(store.calls.get(), 1, "{what}: one read of the store, whatever comes of it");
    }
    let no_operator = Config::parse(br#"{"audit":{"trail":{"key":"0123456789abcdef"}}}"#).unwrap().audit.trail.unwrap();
    let trails = Trails::new(&no_operator);
    for operator in ["", "0"] {
        let shown = Shown { token: b"", operator: operator.as_bytes() };
        assert_eq!(trails.look(&name, shown, &store, s(1)), None, "without an operator's key nobody is one");
    }
}

/// Who is not let in must not be able to tell by the time that it takes whether the run is there: another set is read.
#[test]
fn who_is_not_let_in_is_not_even_read_the_run() {
    let (trails, _) = trails(json!({"runs": 65536}));
    let store = Counted::default();
    for i in 0..20 {
        let name = trails.name(Some("acme"), &format!("run-{i}"));
        put(&trails, &name, &call("1"), &store, s(0));
        let kept = store.last.borrow().clone();
        let _ = trails.look(&name, Shown { token: b"guess", operator: b"" }, &store, s(0));
        assert_ne!(*store.last.borrow(), kept);
        assert!(look(&trails, &name, &store, s(0)).is_some());
        assert_eq!(*store.last.borrow(), kept);
    }
}

#[derive(Default)]
struct Counted {
    memory: Memory,
    calls: std::cell::Cell<u32>,
    last: std::cell::RefCell<String>,
}

impl Store for Counted {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        self.calls.set(self.calls.get() + 1);
        *self.last.borrow_mut() = key.to_owned();
        self.memory.get(key)
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        self.calls.set(self.calls.get() + 1);
        self.memory.set(key, value, cas)
    }
}

#[test]
fn a_call_is_one_read_and_one_write_of_the_store() {
    let (trails, _) = trails(json!({}));
    let store = Counted::default();
    let name = trails.name(None, "run");
    for i in 0..100 {
        store.calls.set(0);
        put(&trails, &name, &full(), &store, s(i));
        assert_eq!(store.calls.get(), 2);
    }
}

#[test]
fn all_of_it_takes_no_more_than_docs_trail_says() {
    assert_eq!(trails(json!({})).1, 1000 * (64 * 322 + 666));
    assert_eq!(trails(json!({"runs": 6, "records": 2})).1, 8 * (2 * 322 + 666), "sets are whole");
}

#[test]
fn nothing_shows_a_key_or_a_token() {
    let (trails, _) = trails(json!({}));
    let name = trails.name(Some("acme"), "run");
    let shown = format!("{trails:?} {name:?}");
    for secret in [KEY, OPERATOR, name.token().as_str()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_is_wrong_with_the_section_is_named_by_its_path() {
    for (trail, path, reason) in [
        (json!({}), "audit.trail", "missing field `key`"),
        (json!({"key": "short"}), "audit.trail.key", "at least 16"),
        (json!({"key": KEY, "operator_key": "short"}), "audit.trail.operator_key", "at least 16"),
        (json!({"key": KEY, "path": "runs/"}), "audit.trail.path", "begins and ends"),
        (json!({"key": KEY, "path": "/runs"}), "audit.trail.path", "begins and ends"),
        (json!({"key": KEY, "path": "/"}), "audit.trail.path", "begins and ends"),
        (json!({"key": KEY, "path": "/a?b/"}), "audit.trail.path", "begins and ends"),
        (json!({"key": KEY, "runs": 3}), "audit.trail.runs", "not between 4 and 65536"),
        (json!({"key": KEY, "records": 0}), "audit.trail.records", "not between 1 and 512"),
        (json!({"key": KEY, "forget_after_s": 604801}), "audit.trail.forget_after_s", "not between 1 and 604800"),
        (json!({"key": KEY, "tokens": "never"}), "audit.trail.tokens", "unknown variant"),
        (json!({"key": KEY, "sources": vec!["x"; 9]}), "audit.trail.sources", "at most 8"),
        (json!({"key": KEY, "sources": ["a b"]}), "audit.trail.sources[0]", "not a header name"),
        (json!({"key": KEY, "tone": 1}), "audit.trail.tone", "unknown field"),
    ] {
        let error = Config::parse(json!({"audit": {"trail": trail}}).to_string().as_bytes()).unwrap_err();
        assert!(error.starts_with(&format!("{path}: ")) && error.contains(reason), "{error}");
    }
}

#[test]
fn money_time_and_moments_are_told_as_people_tell_them() {
    for (nano, expected) in [
        (0, "$0"),
        (1, "$0.000000001"),
        (99, "$0.000000099"),
        (123, "$0.00000012"),
        (1_234, "$0.0000012"),
        (12_345, "$0.000012"),
        (123_456, "$0.00012"),
        (1_234_567, "$0.0012"),
        (12_345_678, "$0.0123"),
        (999_999_999, "$1.0000"),
        (1_234_567_890, "$1.23"),
        (1_234_567_890_000, "$1,234.57"),
        (u64::MAX, "$18,446,744,073.71"),
    ] {
        assert_eq!(page::dollars(nano), expected, "{nano}");
    }
    for (us, expected) in [
        (0, "less than 1 ms"),
        (1_499, "1 ms"),
        (999_499, "999 ms"),
        (999_500, "1.0 s"),
        (1_250_000, "1.3 s"),
        (59_949_999, "59.9 s"),
        (59_950_000, "1 min 0 s"),
        (125_000_000, "2 min 5 s"),
        (3_600_000_000, "1 h 0 min"),
        (90_000_000_000, "1 day 1 h"),
        (183_600_000_000, "2 days 3 h"),
    ] {
        assert_eq!(page::span(us).replace('\u{a0}', " "), expected, "{us}");
    }
    for (s, expected) in [
        (0, "1 January 1970, 00:00:00 UTC"),
        (951_782_399, "28 February 2000, 23:59:59 UTC"),
        (951_782_400, "29 February 2000, 00:00:00 UTC"),
        (951_868_800, "1 March 2000, 00:00:00 UTC"),
        (1_735_689_599, "31 December 2024, 23:59:59 UTC"),
        (1_764_313_879, "28 November 2025, 07:11:19 UTC"),
        (4_107_542_400, "1 March 2100, 00:00:00 UTC"),
    ] {
        assert_eq!(page::date(s * 1_000_000), expected);
    }
}

/// Names that would be markup, would end an attribute, or would be seen as something else.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</code></style><style>*{display:none}",
    "&lt;b&gt; &amp;",
    "a\u{202e}txt.exe\u{2066}",
    "a\0b\u{7f}\n\u{200b}",
    "<!--",
    "]]>",
];

#[test]
fn the_page_shows_hostile_names_as_text() {
    let (trails, _) = trails(json!({}));
    for hostile in HOSTILE {
        let store = Memory::default();
        let name = trails.name(None, "run");
        let mut record = full();
        let own = || Some((*hostile).to_owned());
        (record.kind, record.response_model, record.error_type) = (own(), own(), own());
        record.call = (*hostile).to_owned();
        record.tool_runs[0].name = (*hostile).to_owned();
        record.tool_calls[0].name = (*hostile).to_owned();
        record.limits[1].name = (*hostile).to_owned();
        let plan = record.plan.as_mut().unwrap();
        (plan.expected, plan.got) = (own(), own());
        for kind in ["tool", "model", hostile] {
            record.kind = Some(kind.to_owned());
            let sources = [(*hostile).to_owned()];
            trails.put(&name, (&record, &sources, 1), &store, &mut Events::default(), s(0));
        }
        let run = look(&trails, &name, &store, s(0)).unwrap();
        let page = page::page(Some(hostile), hostile, &run);
        let body = page.split_once("</style></head>").unwrap().1;
        let tags = ["script", "img", "style", "b", "!--"];
        let known = "a b body br code dd div dl dt em footer h1 h2 h3 header html li main ol p rect small span svg ul";
        for tag in body.split('<').skip(1) {
            let tag: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '!' || *c == '-')
                .collect();
            assert!(known.split(' ').any(|k| k == tag), "{hostile}: <{tag}");
            assert!(tag == "b" || !tags.contains(&tag.as_str()), "{hostile}: <{tag}");
        }
        for never in ["onerror=alert(1)>", "onmouseover='", "\u{202e}", "\0", "\u{200b}", "style=", "<script"] {
            assert!(!body.contains(never), "{hostile}: {never}");
        }
        // And JSON is JSON.
        let _: Value = serde_json::from_str(&json(Some(hostile), hostile, &run)).unwrap();
    }
}

#[test]
fn the_page_has_the_style_that_its_policy_allows() {
    use sha2::{Digest, Sha256};
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(page::STYLE);
    let text: String = hash
        .chunks(3)
        .flat_map(|three| {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            (0..4)
                .map(move |i| if i > three.len() { '=' } else { DIGITS[(bits >> (18 - 6 * i) & 63) as usize] as char })
        })
        .collect();
    assert!(page::POLICY.contains(&format!("style-src 'sha256-{text}'")), "the style's hash is sha256-{text}");
    let shown = page::page(None, "run", &Run::default());
    assert!(shown.contains(&format!("<style>{}</style>", page::STYLE)));
    assert_eq!(shown.matches("<style").count(), 1);
}

proptest! {
    #[test]
    fn a_trail_is_the_end_of_the_list_of_all_calls(
        records in 1u64..6,
        calls in prop::collection::vec((0usize..3, "[a-zé€]{0,60}", any::<u32>(), prop::option::of(any::<u64>())), 1..40),
    ) {
        let (trails, most) = trails(json!({"records": records, "runs": 4}));
        let store = Memory::default();
        let names = [("a", "run"), ("b", "run"), ("a", "other")].map(|(tenant, run)| trails.name(Some(tenant), run));
        // The naive version: all calls of each run.
        let mut all: [Vec<(String, u64, Option<u64>)>; 3] = Default::default();
        for (at, (who, text, input, cost)) in calls.into_iter().enumerate() {
            let mut record = call(&format!("{at}"));
            record.request_model = Some(text.clone());
            record.usage.input = Some(input.into());
            record.cost = cost.map(|total| Cost { total, ..Cost::default() });
            put(&trails, &names[who], &record, &store, s(at as u64));
            all[who].push((format!("{at}"), input.into(), cost));
            prop_assert!(store.size().1 <= most, "{} of at most {most} bytes", store.size().1);
        }
        for (name, all) in names.iter().zip(&all) {
            let run = look(&trails, name, &store, s(100));
            prop_assert_eq!(run.is_none(), all.is_empty());
            let Some(run) = run else { continue };
            let kept = all.len().min(records as usize);
            prop_assert_eq!(run.dropped as usize, all.len() - kept);
            let last: Vec<_> = run.calls.iter().map(|c| (c.call.clone(), c.tokens.input.unwrap(), c.cost)).collect();
            prop_assert_eq!(&last[..], &all[all.len() - kept..]);
            prop_assert_eq!(run.totals.calls as usize, all.len());
            prop_assert_eq!(run.totals.input, all.iter().map(|c| c.1).sum::<u64>());
            prop_assert_eq!(run.totals.cost, all.iter().fold(0u64, |sum, c| sum.saturating_add(c.2.unwrap_or(0))));
        }
    }

    #[test]
    fn whatever_lies_in_the_store_is_survived(junk in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
        let (trails, _) = trails(json!({"runs": 4}));
        let store = Memory::default();
        let name = trails.name(None, "run");
        put(&trails, &name, &full(), &store, s(0));
        let key = "weir.2.trail.0";
        let (mut set, cas) = store.get(key).unwrap().unwrap();
        let at = at.min(set.len());
        set.splice(at..(at + junk.len()).min(set.len()), junk);
        store.set(key, &set, cas);
        if let Some(run) = look(&trails, &name, &store, s(0)) {
            let _ = page::page(None, "run", &run);
            let _ = json(None, "run", &run);
        }
        put(&trails, &name, &full(), &store, s(0));
        prop_assert!(look(&trails, &name, &store, s(0)).is_some());
    }
}
