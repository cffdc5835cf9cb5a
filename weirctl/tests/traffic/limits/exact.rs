//! Many callers at once, over all workers, take what a limit has: not more, and not less.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::client::post;
use super::super::raw::chunked;
use super::super::rig::{CHAT, EVENTS, Rig, SSE, Setup};
use super::{ASK, with};

/// Tokens per second of the limit that all share, of each of those that have as large a one of their own, and of each of
/// those that have a small one and wait for it.
const ALL: u64 = 6000;
const SMALL: u64 = 750;
const CALLERS: usize = 64;
const LARGE_TENANTS: usize = 3;
const LARGE_CALLERS: usize = 16 * LARGE_TENANTS;
const SMALL_TENANTS: usize = 8;
const SMALL_CALLERS: usize = 3 * SMALL_TENANTS;
/// The estimates settle in the first of these, in seconds.
const SETTLED: u64 = 2;
const WINDOW: u64 = 2;
const WINDOWS: usize = 3;

/// An answer that took so many tokens, as its case says.
fn script(rig: &Rig, tokens: u64) {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens - 1}});
    let usage = format!("data: {usage}\n\n");
    rig.upstream.on(&tokens.to_string(), chunked(SSE, &[EVENTS[0], EVENTS[1], usage.as_bytes(), EVENTS[3]]));
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
    let sizes = [20, 30, 35, 40, 50, 60, 65, 100];
    sizes.iter().for_each(|tokens| script(&rig, *tokens));
    let granted: Mutex<Vec<(String, u64, Duration)>> = Mutex::default();
    let end = Duration::from_secs(SETTLED + WINDOW * WINDOWS as u64);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS + LARGE_CALLERS + SMALL_CALLERS {
            let (rig, granted) = (&rig, &granted);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(caller as u64);
                let tenant = match caller.checked_sub(CALLERS) {
                    None => "all".to_owned(),
                    Some(of) if of < LARGE_CALLERS => format!("large-{}", of % LARGE_TENANTS),
                    Some(of) => format!("small-{}", of % SMALL_TENANTS),
                };
                let mut client = rig.connect();
                while begun.elapsed() < end {
                    let tokens = sizes[random.usize(..sizes.len())];
                    client.send(&post(CHAT, &[("x-case", &tokens.to_string()), ("x-tenant", &tenant)], ASK_OPEN));
                    let status = client.answer("POST").status;
                    if status == 429 {
                        // Its body had come with its head: Envoy closes the connection of a client that it answers early.
                        client = rig.connect();
                        std::thread::sleep(Duration::from_millis(random.u64(40..120)));
                        continue;
                    }
                    assert_eq!(status, 200);
                    granted.lock().unwrap().push((tenant.clone(), tokens, begun.elapsed()));
                }
            });
        }
    });
    let granted = granted.into_inner().unwrap();
    let mut sums: BTreeMap<&str, [u64; WINDOWS]> = BTreeMap::new();
    for (tenant, tokens, at) in &granted {
        let window = at.as_secs().checked_sub(SETTLED).map(|after| (after / WINDOW) as usize);
        if let Some(window) = window.filter(|window| *window < WINDOWS) {
            sums.entry(tenant).or_default()[window] += tokens;
        }
    }
    let part = |sum: u64, limit: u64, windows: usize| sum as f64 / (limit * WINDOW * windows as u64) as f64;
    let is_small = |tenant: &str| tenant.starts_with("small");
    for (tenant, windows) in &sums {
        let limit = if is_small(tenant) { SMALL } else { ALL };
        let parts = windows.map(|sum| format!("{:.3}", part(sum, limit, 1)));
        println!(
            "{tenant}: {parts:?} of the limit in windows of {WINDOW} s, {:.4} over all",
            part(windows.iter().sum(), limit, WINDOWS)
        );
    }
    for (tenant, windows) in sums.iter().filter(|(tenant, _)| !is_small(tenant)) {
        let all = part(windows.iter().sum(), ALL, WINDOWS);
        assert!((0.97..=1.01).contains(&all), "{tenant}: {all} of the limit");
        for sum in windows {
            let part = part(*sum, ALL, 1);
            // An answer is counted when its client has read it: 20 ms late, on a busy machine, is one percent of a window. Less
            // comes of a machine that has no time for the callers.
            assert!((0.96..=1.02).contains(&part), "{tenant}: {part} of the limit");
        }
    }
    // Of the small ones, one call is more than a percent of a window; and those who wait have taken their estimates, which
    // only the next ones see put right.
    let small: u64 = sums.iter().filter(|(tenant, _)| is_small(tenant)).flat_map(|(_, windows)| windows).sum();
    let small = part(small, SMALL * SMALL_TENANTS as u64, WINDOWS);
    assert!((small - 1.0).abs() <= 0.03, "{small} of the limits");
    rig.has_no_failed_vm("exact");
    let stats = rig.envoy.admin().get("/stats?filter=weir_store").unwrap();
    println!("{} calls; {stats}", granted.len());
    assert!(!stats.contains("event=failed"), "{stats}");
    let _ = ASK;
}

/// Says nothing of how much its answer may be.
const ASK_OPEN: &[u8] = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
