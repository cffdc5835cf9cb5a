//! Limits in a real Envoy: what is refused, what waits, what is cut, and what is given back. Both ways of holding a request:
//! with its headers until its body is known, and, as in a stock Istio, with its headers let go.

mod bodies;
mod cuts;
mod ends;
mod exact;
mod hostile;
mod kinds;
pub mod meters;
mod reloads;
mod trees;
mod waits;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Client, PATIENCE, post};
use super::raw::{Step, chunked};
use super::rig::{CHAT, EVENTS, Rig, SSE, Setup};

/// What [`EVENTS`] report.
const TOKENS: u64 = 46;
/// A call that is taken for about as many.
const ASK: &[u8] = br#"{"model":"m","stream":true,"max_tokens":34,"messages":[{"role":"user","content":"hi"}]}"#;

/// Header names of who calls.
fn identity() -> Value {
    json!({"tenant": [{"header": "x-tenant"}], "user": [{"header": "x-user"}], "run": [{"header": "x-run"}]})
}

/// An Envoy with these limits.
fn rig(limits: Value, hold_headers: bool) -> Rig {
    with(limits, json!({"hold_headers": hold_headers}), Setup { hold_headers, ..Setup::default() })
}

/// The same with more of the config and of Envoy said.
fn with(limits: Value, admission: Value, setup: Setup) -> Rig {
    let weir = json!({"identity": identity(), "limits": limits, "admission": admission});
    Rig::with(Setup { weir: Some(weir), ..setup })
}

/// One for each way of holding a request.
fn both(limits: &Value) -> [Rig; 2] {
    [false, true].map(|hold_headers| rig(limits.clone(), hold_headers))
}

/// One call on a connection of its own.
fn call(rig: &Rig, case: &str, headers: &[(&str, &str)], body: &[u8], steps: Vec<Step>) -> Answer {
    let mut client = begin(rig, case, headers, body, steps);
    client.answer("POST")
}

/// A call whose answer nobody has read yet.
fn begin(rig: &Rig, case: &str, headers: &[(&str, &str)], body: &[u8], steps: Vec<Step>) -> Client {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    let headers: Vec<_> = [("x-case", case)].into_iter().chain(headers.iter().copied()).collect();
    client.send(&post(CHAT, &headers, body));
    client
}

/// A call that is at the filter by now, and whose answer nobody has read yet.
fn arrives(rig: &Rig, case: &str, headers: &[(&str, &str)], body: &[u8], steps: Vec<Step>) -> Client {
    let before = rig.heard_of();
    let client = begin(rig, case, headers, body, steps);
    rig.hears_of(before + 1);
    client
}

/// Does something under another name again and again until it was done in so much time. What takes longer on a busy machine is decided
/// otherwise, and rightly so.
fn within<T>(most: Duration, mut attempt: impl FnMut(&str) -> T) -> T {
    let begun = Instant::now();
    for n in 0.. {
        let (tried, found) = (Instant::now(), attempt(&n.to_string()));
        if tried.elapsed() < most {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it always takes longer than {most:?}");
    }
    unreachable!("there are always more numbers")
}

/// An ordinary call of a tenant, answered with [`EVENTS`]: its status.
fn status(rig: &Rig, case: &str, tenant: &str) -> u16 {
    call(rig, case, &[("x-tenant", tenant)], ASK, answer()).status
}

fn answer() -> Vec<Step> {
    chunked(SSE, &EVENTS)
}

/// What the record says of each limit: its name and verdict.
fn verdicts(rig: &Rig, case: &str) -> Vec<(String, String)> {
    let limits = rig.record(case)["limits"].clone();
    let word = |limit: &Value, key: &str| limit[key].as_str().unwrap().to_owned();
    limits.as_array().into_iter().flatten().map(|limit| (word(limit, "name"), word(limit, "verdict"))).collect()
}

/// The one limit of a record.
fn limit(rig: &Rig, case: &str) -> Value {
    rig.record(case)["limits"][0].clone()
}

/// Looks until it is so.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
