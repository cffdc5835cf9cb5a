//! What callers are told of their calls by a real Envoy, and that its access log is found out when it is touched.

use serde_json::{Value, json};
use weirctl::audit::chains::{Findings, Logs};
use weirctl::audit::keys::Keys;
use weirctl::audit::sealed::Line;

use super::client::{Answer, post};
use super::h2::{Ask, Got, Send, Upstream};
use super::raw::{Step, chunk, chunked, head, send};
use super::rig::{ASK, CHAT, EVENTS, Rig, SSE, Setup};

const KEY: &str = "0123456789abcdef";
const TRAILER: &[u8] = b"0\r\nx-late: a\r\n\r\n";
const ENDED: [(&str, &str); 2] = [("x-weir-ended", "complete"), ("x-weir-usage", "input=12,output=34")];

fn rig(audit: Value) -> Rig {
    let limits = json!([{"name": "calls", "unit": "calls", "scope": ["run"], "budget": {"limit": 1}}]);
    let identity = json!({"run": [{"header": "x-run"}]});
    let config = json!({"audit": audit, "limits": limits, "identity": identity});
    Rig::with(Setup { weir: Some(config), ..Setup::default() })
}

fn http1(rig: &Rig, case: &str, more: &[(&str, &str)]) -> Answer {
    let mut client = rig.connect();
    let headers = [&[("x-case", case), ("x-run", case)], more].concat();
    client.send(&post(CHAT, &headers, ASK));
    client.answer("POST")
}

fn http2(rig: &Rig, client: &Upstream, case: &str, run: &str) -> Got {
    let headers = vec![("x-run", run.as_bytes().to_vec())];
    let sends = vec![Send::Data(ASK.to_vec()), Send::End];
    client.call(rig.envoy.address(), case, Ask { method: "POST", path: CHAT, headers, sends, ..Ask::default() })
}

fn in_trailers(answer: &Answer, name: &str) -> Option<String> {
    let lines = answer.trailers.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned()).next()
}

/// A whole answer, and one with trailers of its own.
fn answers() -> [(&'static str, Vec<Step>); 2] {
    let mut trailed = chunked(SSE, &EVENTS);
    trailed.pop();
    trailed.push(send(TRAILER));
    [("whole", chunked(SSE, &EVENTS)), ("with trailers", trailed)]
}

#[test]
fn trailers_come_over_http2_and_to_those_who_ask_and_nobody_else_gets_another_byte() {
    let (rig, client) = (rig(json!({"trailers": true})), Upstream::start());
    for (case, steps) in answers() {
        for (name, headers) in [("asks", &[("te", "trailers")][..]), ("does not ask", &[])] {
            let case = format!("{case}, {name}");
            rig.upstream.on(&case, steps.clone());
            let answer = http1(&rig, &case, headers);
            assert!(answer.whole && answer.body == EVENTS.concat(), "{case}");
            for (name, value) in ENDED {
                let expected = (!headers.is_empty()).then(|| value.to_owned());
                assert_eq!(in_trailers(&answer, name), expected, "{case}: {}", answer.trailers);
            }
            assert_eq!(
                in_trailers(&answer, "x-late").is_some(),
                case.starts_with("with"),
                "{case}: {}",
                answer.trailers
            );
        }
        rig.upstream.on(case, steps);
        let got = http2(&rig, &client, case, case);
        assert_eq!(got.body, EVENTS.concat(), "{case}");
        let trailers = got.trailers.expect(case);
        for (name, value) in ENDED {
            assert_eq!(trailers[name], value, "{case}");
        }
        let ttft: u64 = trailers["x-weir-ttft-ms"].to_str().unwrap().parse().unwrap();
        let recorded = rig.record(case)["time"]["first_token_ms"].as_f64().unwrap();
        assert!((ttft as f64 - recorded).abs() <= 1.0, "{case}: {ttft}, recorded {recorded}");
    }
    // What broke off has no end to tell of.
    rig.upstream.on(
        "broken",
        vec![head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]), chunk(EVENTS[0]), Step::Reset],
    );
    assert!(!http1(&rig, "broken", &[("te", "trailers")]).whole);
    rig.is_healthy_after("trailers");
}

#[test]
fn every_answer_says_at_its_start_what_is_known_and_a_refusal_does_too() {
    let (rig, client) = (rig(json!({"headers": true, "trailers": true})), Upstream::start());
    rig.upstream.on("first", chunked(SSE, &EVENTS));
    let first = http1(&rig, "first", &[("x-request-id", "call-1")]);
    let call = rig.record("first")["call"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("x-weir-call", &*call),
        ("x-weir-run", "first"),
        ("x-weir-model", "m"),
        ("x-weir-limit", "calls;verdict=pass"),
    ] {
        assert_eq!(first.header(name).as_deref(), Some(value), "{name}");
    }
    let refused = http1(&rig, "first", &[("te", "trailers")]);
    assert_eq!((refused.status, refused.whole), (429, true));
    assert_eq!(refused.header("x-weir-limit").as_deref(), Some("calls"));
    assert_eq!(refused.header("x-weir-run").as_deref(), Some("first"));
    assert!(refused.header("x-weir-call").is_some());
    let got = http2(&rig, &client, "second", "first");
    assert_eq!((got.status, got.reset), (429, None));
    assert_eq!(got.headers["x-weir-run"], "first");
    assert_eq!(got.trailers.expect("trailers of a refusal")["x-weir-ended"], "refused");
    rig.is_healthy_after("headers");
}

#[test]
fn a_comment_stands_behind_the_last_event_and_nowhere_else() {
    let rig = rig(json!({"sse_comment": true}));
    let [(whole, steps), (trailed, late)] = answers();
    rig.upstream.on(whole, steps);
    let answer = http1(&rig, whole, &[]);
    let rest = answer.body.strip_prefix(&EVENTS.concat()[..]).expect("the events come first");
    let call = rig.record(whole)["call"].as_str().unwrap().to_owned();
    assert_eq!(String::from_utf8_lossy(rest), format!(": weir call={call} ended=complete input=12 output=34\n\n"));
    let torn: Vec<&[u8]> = vec![&EVENTS[0][..9], &EVENTS[0][9..]];
    let half = chunked(SSE, &[EVENTS[0], &EVENTS[1][..20]]);
    rig.upstream.on("torn", chunked(SSE, &torn));
    assert!(http1(&rig, "torn", &[]).body.ends_with(b"\n\n") && rig.ended("torn") == "truncated");
    let body = EVENTS.concat();
    let length = body.len().to_string();
    let counted = vec![head("200 OK", &[("content-type", SSE), ("content-length", &length)]), send(body)];
    for (case, steps) in [(trailed, late), ("in the middle", half.clone()), ("counted", counted)] {
        rig.upstream.on(case, steps);
        let answer = http1(&rig, case, &[]);
        let expected = if case == "in the middle" { [EVENTS[0], &EVENTS[1][..20]].concat() } else { EVENTS.concat() };
        assert!(answer.whole && answer.body == expected, "{case}: {}", String::from_utf8_lossy(&answer.body));
    }
    rig.has_no_failed_vm("comments");
}

fn verify(log: &[u8]) -> Findings {
    let mut keys = Keys::default();
    keys.add(KEY).unwrap();
    let mut logs = Logs::new(keys, false);
    logs.next_file();
    log.split_inclusive(|b| *b == b'\n').for_each(|line| logs.line(&Line::of(line)));
    logs.findings()
}

#[test]
fn one_flipped_byte_of_a_real_log_is_found_whatever_the_reloads_and_workers() {
    let config = |tenant: &str| json!({"audit": {"chain": {"key": KEY}}, "identity": {"tenant": [{"header": tenant}]}});
    let setup = Setup { weir: Some(config("x-a")), watched: true, workers: 2, ..Setup::default() };
    let rig = Rig::with(setup);
    let calls = |from: usize| {
        for n in from..from + 12 {
            let case = format!("call {n}");
            let answer = rig.chat(&case, chunked(SSE, &EVENTS));
            assert!(answer.whole);
        }
    };
    calls(0);
    rig.replace(1, &config("x-b"), false);
    calls(12);
    rig.replace(2, &config("x-c"), true);
    calls(24);
    for n in 0..36 {
        rig.record(&format!("call {n}"));
    }
    let log = rig.log_bytes();
    let findings = verify(&log);
    assert!(findings.is_fine() && findings.records() == 36, "{findings:?}");
    // Two workers, each with the VM that the reload of a file made anew; a reload of the config alone made none.
    assert!((2..=4).contains(&findings.chains.len()), "{findings:?}");
    // Within the records, every byte: here each seventh.
    let lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
    let mut at = 0;
    let mut flips = 0;
    for line in lines {
        let begin = memchr_of(line, b"\"{\\\"v\\\"").unwrap() + 1;
        let end = begin + memchr_of(&line[begin..], b"\\\"}}\"").unwrap();
        for byte in (at + begin..at + end).step_by(97) {
            let mut touched = log.clone();
            touched[byte] ^= 0x10;
            assert!(!verify(&touched).is_fine(), "byte {byte}");
            flips += 1;
        }
        at += line.len();
    }
    assert!(flips > 36, "{flips}");
}

fn memchr_of(line: &[u8], what: &[u8]) -> Option<usize> {
    line.windows(what.len()).position(|window| window == what)
}
