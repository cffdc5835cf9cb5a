//! A running stream that uses more than there is.

use serde_json::{Value, json};

use super::super::client::{Answer, post};
use super::super::formats::{Format, formats};
use super::super::raw::{Gate, Step, chunk, head, last_chunk, send};
use super::super::rig::Rig;
use super::{eventually, limit, rig};

fn on_exceeded(what: &str) -> Value {
    json!([{"name": "run", "scope": ["run"], "budget": {"limit": 60}, "on_exceeded": what}])
}

/// A long answer in a format, as parts.
fn long(format: &Format) -> (String, Vec<Vec<u8>>) {
    let answer = format.answer(true, "tokens=300,reasoning=0,tools=0");
    let kind = answer.headers.iter().find(|(name, _)| *name == "content-type").unwrap().1.clone();
    (kind, answer.parts.iter().map(|part| part.bytes.to_vec()).collect())
}

fn call(rig: &Rig, case: &str, format: &Format, gate: &Gate, steps: Vec<Step>) -> Answer {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    client.gate = Some(gate.clone());
    let headers = [("x-case", case), ("x-run", case), ("host", format.host), ("accept-encoding", "gzip, br")];
    client.send(&post(format.path(true), &headers, &format.request(true)));
    let answer = client.answer("POST");
    gate.open();
    answer
}

/// How the upstream writes.
#[derive(Clone, Copy, Debug)]
enum Writes {
    /// Each part for itself, then it waits to be cancelled.
    Apart,
    /// All of it at once, with its end.
    Together,
    /// In pieces that end anywhere.
    Torn,
}

/// So many parts are on their way at once where they are written one by one: the next is written when the client has got what was before
/// these. Else a busy machine would hand over many of them together.
const ON_THEIR_WAY: usize = 2;

fn steps(kind: &str, parts: &[Vec<u8>], writes: Writes, gate: &Gate) -> Vec<Step> {
    let start = head("200 OK", &[("content-type", kind), ("transfer-encoding", "chunked")]);
    let mut steps = vec![start];
    // How much of the body is there behind each part.
    let ends: Vec<usize> = parts
        .iter()
        .scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        })
        .collect();
    let written = |steps: &mut Vec<Step>, bytes: usize| {
        let whole = ends.partition_point(|end| *end <= bytes);
        if let Some(before) = whole.checked_sub(ON_THEIR_WAY + 1) {
            steps.push(Step::Until(gate.clone(), ends[before]));
        }
    };
    match writes {
        Writes::Apart => {
            for (part, end) in parts.iter().zip(&ends) {
                steps.push(chunk(part));
                written(&mut steps, *end);
            }
            steps.push(Step::Gone);
        }
        Writes::Together => steps.extend([chunk(&parts.concat()[..]), last_chunk()]),
        Writes::Torn => {
            let mut bytes = 0;
            for piece in parts.concat().chunks(37) {
                steps.push(chunk(piece));
                bytes += piece.len();
                written(&mut steps, bytes);
            }
            steps.push(Step::Gone);
        }
    }
    if let Writes::Together = writes {
        // One write.
        let all: Vec<u8> = steps
            .drain(..)
            .flat_map(|step| match step {
                Step::Send(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            })
            .collect();
        steps.push(send(all));
    }
    steps
}

#[test]
fn a_stream_is_cut_between_events_with_its_apis_own_error() {
    for hold_headers in [false, true] {
        let rig = rig(on_exceeded("cut"), hold_headers);
        for format in formats().into_iter().filter(|format| format.api != "embeddings") {
            for writes in [Writes::Apart, Writes::Torn, Writes::Together] {
                let case = format!("{} {writes:?}", format.name);
                let (kind, parts) = long(&format);
                let gate = Gate::default();
                let answer = call(&rig, &case, &format, &gate, steps(&kind, &parts, writes, &gate));
                assert_eq!((answer.status, answer.whole), (200, false), "{case}: the body has no end");
                let said = is_cut(&parts, &answer.body)
                    .unwrap_or_else(|| panic!("{case}: {}", String::from_utf8_lossy(&answer.body)));
                assert!(said.contains("run") && said.contains("unfinished"), "{case}: {said}");
                let record = rig.record(&case);
                let facts = [&record["ended"], &record["error_type"], &record["limits"][0]["verdict"]];
                assert_eq!(facts, ["truncated", "rate_limit_exceeded", "cut"], "{case}: {record}");
                // The embedded upstream's tokens are words. Perplexity's events say from the first on what all will be.
                let charged = record["limits"][0]["charged"].as_u64().unwrap();
                let told = matches!(writes, Writes::Together) || format.name == "perplexity";
                assert!(told || (30..=130).contains(&charged), "{case}: {record}");
                if !matches!(writes, Writes::Together) {
                    eventually("the upstream's cancel", || rig.upstream.was_left(&case).then_some(()));
                }
                let seen = rig.upstream.seen(&case).unwrap();
                assert!(!seen.head.contains("accept-encoding"), "what is compressed cannot take an event");
            }
        }
        rig.has_no_failed_vm("cuts");
    }
}

/// The last event of an answer that is else a front of these parts.
fn is_cut(parts: &[Vec<u8>], body: &[u8]) -> Option<String> {
    let mut front = Vec::new();
    let mut best = body.strip_prefix(&front[..])?.to_vec();
    for part in parts {
        front.extend_from_slice(part);
        match body.strip_prefix(&front[..]) {
            Some(rest) => best = rest.to_vec(),
            None => break,
        }
    }
    let text = String::from_utf8_lossy(&best).into_owned();
    text.contains("Rate limit").then_some(text)
}

#[test]
fn warn_marks_a_stream_and_finish_lets_it_end() {
    for (what, verdict) in [("warn", "warn"), ("finish", "pass")] {
        let rig = rig(on_exceeded(what), false);
        for format in formats().into_iter().filter(|format| format.api != "embeddings") {
            let (kind, parts) = long(&format);
            let gate = Gate::default();
            let answer = call(&rig, format.name, &format, &gate, steps(&kind, &parts, Writes::Together, &gate));
            assert!(answer.whole && answer.body == parts.concat(), "{}", format.name);
            let limit = limit(&rig, format.name);
            assert_eq!(limit["verdict"], verdict, "{}: {limit}", format.name);
            assert!(limit["charged"].as_u64() > Some(250), "it is paid for: {limit}");
            assert_eq!(rig.record(format.name)["ended"], "complete");
        }
        rig.has_no_failed_vm(what);
    }
}

#[test]
fn a_shadow_cuts_nothing() {
    let mut limits = on_exceeded("cut");
    limits[0]["mode"] = json!("shadow");
    let rig = rig(limits, false);
    let format = &formats()[0];
    let (kind, parts) = long(format);
    let gate = Gate::default();
    let answer = call(&rig, "shadow", format, &gate, steps(&kind, &parts, Writes::Together, &gate));
    assert!(answer.whole && answer.body == parts.concat());
    assert_eq!(limit(&rig, "shadow")["verdict"], "shadow");
}

#[test]
fn an_answer_that_comes_whole_is_not_cut_but_marked() {
    let rig = rig(on_exceeded("cut"), false);
    let format = &formats()[0];
    let whole = format.answer(false, "tokens=300,reasoning=0,tools=0").parts[0].bytes.clone();
    let length = whole.len().to_string();
    let steps =
        vec![head("200 OK", &[("content-type", "application/json"), ("content-length", &length)]), send(whole.clone())];
    rig.upstream.on("whole", steps);
    let mut client = rig.connect();
    client.send(&post(format.path(false), &[("x-case", "whole"), ("x-run", "whole")], &format.request(false)));
    let answer = client.answer("POST");
    assert!(answer.whole && answer.body == whole);
    let record = rig.record("whole");
    let facts = [&record["ended"], &record["error_type"], &record["limits"][0]["verdict"]];
    assert_eq!(facts, [&json!("complete"), &Value::Null, &json!("warn")], "{record}");
}
