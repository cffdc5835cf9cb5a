//! Many callers at once, over all workers, take what a limit has: not more, and not less. How much that is goes by the time that really
//! passed, so that a busy machine changes nothing; how exact it is in made-up time stands in the core's simulations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::client::{Client, post};
use super::super::raw::chunked;
use super::super::rig::{CHAT, EVENTS, Rig, SSE, Setup};
use super::{eventually, with};

/// Tokens per second of the limit that all share, of each of those that have as large a one of their own, and of each of
/// those that have a small one and wait for it.
const ALL: u64 = 6000;
const SMALL: u64 = 750;
const CALLERS: usize = 64;
const LARGE_TENANTS: usize = 3;
const LARGE_CALLERS: usize = 16 * LARGE_TENANTS;
const SMALL_TENANTS: usize = 8;
const SMALL_CALLERS: usize = 3 * SMALL_TENANTS;
const LASTS: Duration = Duration::from_secs(8);

/// More than a call is ever taken for: 256 for an answer of which nothing is known yet, and a little for its prompt.
const LARGEST: u64 = 300;

/// An answer that took so many tokens, as its case says.
fn script(rig: &Rig, tokens: u64) {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens - 1}});
    let usage = format!("data: {usage}\n\n");
    rig.upstream.on(&tokens.to_string(), chunked(SSE, &[EVENTS[0], EVENTS[1], usage.as_bytes(), EVENTS[3]]));
}

/// What a caller saw of a call, in seconds since the start.
struct Saw {
    tenant: String,
    /// Its name.
    run: String,
    status: u16,
    tokens: u64,
    sent: f64,
    answered: f64,
}

/// The same with what its record says.
struct Call {
    saw: Saw,
    reserved: u64,
    charged: u64,
}

impl Call {
    fn least(&self) -> u64 {
        self.reserved.min(self.charged)
    }

    fn most(&self) -> u64 {
        self.reserved.max(self.charged)
    }
}

#[test]
fn what_is_granted_is_the_limit_however_many_ask_at_once() {
    let rate = |per_second: u64| json!({"limit": per_second, "per": "second", "burst": per_second / 5});
    let limits = json!([
        {"name": "all", "match": {"tenant": "all"}, "rate": rate(ALL)},
        {"name": "large", "scope": ["tenant"], "match": {"tenant": "large-*"}, "rate": rate(ALL)},
        {"name": "small", "scope": ["tenant"], "match": {"tenant": "small-*"}, "rate": rate(SMALL), "max_wait_ms": 20000},
    ]);
    // All keys are in one set.
    let rig = with(limits, json!({"keys": 8}), Setup { workers: 2, ..Setup::default() });
    let mut tenants: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for call in with_records(&rig, drive(&rig)) {
        tenants.entry(call.saw.tenant.clone()).or_default().push(call);
    }
    assert_eq!(tenants.len(), 1 + LARGE_TENANTS + SMALL_TENANTS);
    for (tenant, calls) in &mut tenants {
        let small = tenant.starts_with("small");
        let rate = if small { SMALL } else { ALL } as f64;
        calls.sort_by(|a, b| a.saw.sent.total_cmp(&b.saw.sent));
        let (granted, refused): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.saw.status == 200);
        for call in &granted {
            assert_eq!(call.charged, call.saw.tokens, "{tenant}: what was used is charged");
        }
        for call in &refused {
            assert_eq!((call.saw.status, call.charged), (429, 0), "{tenant}");
        }
        assert!(!small || refused.is_empty(), "{tenant}: nobody waits for 20 s");
        no_more_than(tenant, &granted, rate);
        no_less_than(tenant, &granted, &refused, rate);
        let (sum, time) =
            (granted.iter().map(|call| call.charged).sum::<u64>() as f64, granted.last().unwrap().saw.answered);
        println!(
            "{tenant}: {:.3} of burst and rate over {time:.1} s, {} refused",
            sum / (rate / 5.0 + rate * time),
            refused.len()
        );
    }
    rig.has_no_failed_vm("exact");
    let stats = rig.envoy.admin().get("/stats?filter=weir_store").unwrap();
    println!("{} calls; {stats}", tenants.values().map(Vec::len).sum::<usize>());
    assert!(!stats.contains("event=failed"), "{stats}");
}

/// When a call is granted, what was granted before it and itself are within the burst and what the rate gave since the start.
fn no_more_than(tenant: &str, granted: &[&Call], rate: f64) {
    let mut by_answer = granted.to_vec();
    by_answer.sort_by(|a, b| a.saw.answered.total_cmp(&b.saw.answered));
    let (mut before, mut next) = (0, 0);
    for call in granted {
        while by_answer[next].saw.answered < call.saw.sent {
            before += by_answer[next].least();
            next += 1;
        }
        let (taken, given) = ((before + call.reserved) as f64, rate / 5.0 + rate * call.saw.answered);
        assert!(taken <= given, "{tenant}: {taken} granted of {given} by {} s", call.saw.answered);
    }
}

/// When a call is refused, there is a time since which the burst and what the rate gave, but for less than a call, were taken.
fn no_less_than(tenant: &str, granted: &[&Call], refused: &[&Call], rate: f64) {
    for refusal in refused {
        let (sent, answered) = (refusal.saw.sent, refusal.saw.answered);
        let taken = |since: f64| {
            let within = granted.iter().filter(|call| call.saw.answered >= since && call.saw.sent <= answered);
            within.map(|call| call.most()).sum::<u64>() as f64
        };
        // The bucket was last full at the start, or just before a call took of it.
        let full = granted.iter().map(|call| call.saw.sent).filter(|since| *since <= sent);
        let empty = |since: f64| taken(since) + LARGEST as f64 > rate / 5.0 + rate * (sent - since);
        assert!([0.0].into_iter().chain(full).any(empty), "{tenant}: refused at {sent} s with something left");
    }
}

/// All callers, for a while.
fn drive(rig: &Rig) -> Vec<Saw> {
    let sizes = [20, 30, 35, 40, 50, 60, 65, 100];
    sizes.iter().for_each(|tokens| script(rig, *tokens));
    let all: Mutex<Vec<Saw>> = Mutex::default();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS + LARGE_CALLERS + SMALL_CALLERS {
            let all = &all;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(caller as u64);
                let tenant = match caller.checked_sub(CALLERS) {
                    None => "all".to_owned(),
                    Some(of) if of < LARGE_CALLERS => format!("large-{}", of % LARGE_TENANTS),
                    Some(of) => format!("small-{}", of % SMALL_TENANTS),
                };
                let (mut client, mut calls) = (rig.connect(), Vec::new());
                while begun.elapsed() < LASTS {
                    let (tokens, run) = (sizes[random.usize(..sizes.len())], format!("{caller}-{}", calls.len()));
                    let (sent, status) = (begun.elapsed().as_secs_f64(), ask(&mut client, tokens, &tenant, &run));
                    let answered = begun.elapsed().as_secs_f64();
                    calls.push(Saw { tenant: tenant.clone(), run, status, tokens, sent, answered });
                    if status == 429 {
                        // Its body had come with its head: Envoy closes the connection of a client that it answers early.
                        client = rig.connect();
                        std::thread::sleep(Duration::from_millis(random.u64(40..120)));
                    }
                }
                all.lock().unwrap().extend(calls);
            });
        }
    });
    all.into_inner().unwrap()
}

fn ask(client: &mut Client, tokens: u64, tenant: &str, run: &str) -> u16 {
    client.send(&post(CHAT, &[("x-case", &tokens.to_string()), ("x-tenant", tenant), ("x-run", run)], ASK_OPEN));
    let answer = client.answer("POST");
    assert!(answer.whole, "{run}: {} {:?}", answer.status, String::from_utf8_lossy(&answer.head));
    answer.status
}

/// Calls with their records, as soon as those are there.
fn with_records(rig: &Rig, seen: Vec<Saw>) -> Vec<Call> {
    let mut records = eventually("all records", || {
        let log = String::from_utf8(rig.log_bytes()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let records = lines.filter_map(|line| serde_json::from_str::<Value>(line["record"].as_str()?).ok());
        let by_run: HashMap<_, _> =
            records.map(|record| (record["run"].as_str().unwrap().to_owned(), record)).collect();
        (by_run.len() >= seen.len()).then_some(by_run)
    });
    let call = |saw: Saw| {
        let record = records.remove(&saw.run).unwrap_or_else(|| panic!("no record of {}", saw.run));
        let number = |key: &str| record["limits"][0][key].as_u64().unwrap_or(0);
        Call { reserved: number("reserved"), charged: number("charged"), saw }
    };
    let calls: Vec<_> = seen.into_iter().map(call).collect();
    assert!(records.is_empty(), "nobody made these calls: {records:#?}");
    calls
}

/// Says nothing of how much its answer may be.
const ASK_OPEN: &[u8] = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
