//! Limits in a real Envoy: what is refused, what waits, what is cut, and what is given back.

use serde_json::{Value, json};

use super::client::{Answer, post};
use super::raw::{Step, chunked};
use super::rig::{CHAT, EVENTS, Rig, SSE, Setup};

/// The answer reports 46 tokens.
const TOKENS: u64 = 46;

fn rig(limits: Value, hold_headers: bool) -> Rig {
    let weir = json!({
        "identity": {"tenant": [{"header": "x-tenant"}], "user": [{"header": "x-user"}], "run": [{"header": "x-run"}]},
        "limits": limits,
        "admission": {"hold_headers": hold_headers},
    });
    Rig::with(Setup { weir: Some(weir), hold_headers, ..Setup::default() })
}

fn call(rig: &Rig, case: &str, headers: &[(&str, &str)], body: &[u8], steps: Vec<Step>) -> Answer {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    let headers: Vec<_> = [("x-case", case)].into_iter().chain(headers.iter().copied()).collect();
    client.send(&post(CHAT, &headers, body));
    client.answer("POST")
}

const ASK: &[u8] = br#"{"model":"m","stream":true,"max_tokens":34,"messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn a_rate_of_tokens_lets_pass_what_there_is_and_refuses_the_rest() {
    for hold_headers in [false, true] {
        let limits = json!([{"name": "tpm", "scope": ["tenant"], "rate": {"limit": 100, "per": "hour"}}]);
        let rig = rig(limits, hold_headers);
        let seen: Vec<_> = (0..4)
            .map(|n| {
                let case = format!("tokens {n}");
                let answer = call(&rig, &case, &[("x-tenant", "a")], ASK, chunked(SSE, &EVENTS));
                (answer.status, rig.record(&case)["limits"].clone(), answer)
            })
            .collect();
        let statuses: Vec<_> = seen.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [200, 200, 429, 429]);
        assert_eq!(seen[0].1[0]["verdict"], "pass");
        assert_eq!(seen[0].1[0]["charged"], TOKENS);
        assert_eq!(seen[2].1[0]["verdict"], "refuse", "{:?}", seen[2].1);
        eprintln!("{}", String::from_utf8_lossy(&seen[0].2.head));
        eprintln!("{} {}", String::from_utf8_lossy(&seen[2].2.head), String::from_utf8_lossy(&seen[2].2.body));
        let other = call(&rig, "another", &[("x-tenant", "b")], ASK, chunked(SSE, &EVENTS));
        assert_eq!(other.status, 200);
        rig.has_no_failed_vm("limits");
    }
}
