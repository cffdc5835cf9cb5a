//! A client gets the bytes that the upstream sent, in every wire format, content coding and cutting, and the record has
//! the same facts whatever the coding and cutting.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::bodies::{CODINGS, Cut, encode};
use super::client::{Answer, post};
use super::formats::{Format, formats};
use super::raw::{Gate, Step, chunk, head, last_chunk, send};
use super::rig::{Rig, Setup};

/// How bodies are cut; whether each piece waits until the client has the one before, so that each comes to the filter
/// alone.
const CUTS: [(Cut, bool); 5] = [
    (Cut::Events, true),
    (Cut::Every(1), false),
    (Cut::Every(5), false),
    (Cut::Random(7), true),
    (Cut::Every(16 << 10), false),
];

/// What the upstream is to say, so that the record can be checked.
const DEMO: &str = "tokens=9,prompt=34,reasoning=0,tools=0";

/// One call of the table.
struct Call<'a> {
    format: &'a Format,
    stream: bool,
    coding: &'static str,
    cut: Cut,
    lockstep: bool,
}

impl Call<'_> {
    fn case(&self) -> String {
        let kind = if self.stream { "stream" } else { "whole" };
        format!("{} {kind} {} {:?}", self.format.name, self.coding, self.cut)
    }

    /// Steps of the upstream, and the body that a client is to get.
    fn script(&self, gate: &Gate) -> (Vec<Step>, Vec<u8>) {
        let answer = self.format.answer(self.stream, DEMO);
        let parts: Vec<Vec<u8>> = answer.parts.iter().map(|part| part.bytes.to_vec()).collect();
        let parts = encode(self.coding, &parts);
        let mut headers: Vec<(&str, &str)> =
            answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let plain = self.coding == "identity";
        if !plain {
            headers.retain(|(name, _)| *name != "content-length");
            headers.push(("content-encoding", self.coding));
        }
        // Whole plain answers know their length; the rest comes in chunks.
        let by_length = headers.iter().any(|(name, _)| *name == "content-length");
        if !by_length {
            headers.push(("transfer-encoding", "chunked"));
        }
        let mut steps = vec![head("200 OK", &headers)];
        let mut sent = 0;
        for piece in self.cut.pieces(&parts) {
            steps.push(if by_length { send(piece.clone()) } else { chunk(&piece) });
            sent += piece.len();
            if self.lockstep {
                steps.push(Step::Until(gate.clone(), sent));
            }
        }
        if !by_length {
            steps.push(last_chunk());
        }
        (steps, parts.concat())
    }

    /// What client and upstream get of the call through this Envoy.
    fn through(&self, rig: &Rig) -> (Answer, Vec<u8>) {
        let (case, gate) = (self.case(), Gate::default());
        let (steps, body) = self.script(&gate);
        rig.upstream.on(&case, steps);
        let mut client = rig.connect();
        client.gate = Some(gate);
        let headers = [
            ("host", self.format.host),
            ("x-case", &case),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("content-type", "application/json"),
        ];
        client.send(&post(self.format.path(self.stream), &headers, &self.format.request(self.stream)));
        (client.answer("POST"), body)
    }
}

/// Header lines, without those in which every call differs.
fn lines(head: &str) -> Vec<&str> {
    let own = ["date:", "x-envoy-upstream-service-time:", "x-request-id:"];
    head.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).collect()
}

/// A record without what differs from call to call.
fn facts(mut record: Value) -> Value {
    for key in ["time", "call", "upstream"] {
        record.as_object_mut().unwrap().remove(key);
    }
    record
}

#[test]
fn whatever_the_format_the_coding_and_the_cuts_the_client_gets_the_upstreams_bytes() {
    let (weir, plain) = (Rig::start(), Rig::with(Setup { weir: None, ..Setup::default() }));
    let formats = formats();
    let mut calls = Vec::new();
    for format in &formats {
        for stream in [true, false] {
            if stream && format.api == "embeddings" {
                continue;
            }
            for coding in CODINGS {
                for (cut, lockstep) in CUTS {
                    calls.push(Call { format, stream, coding, cut, lockstep });
                }
            }
        }
    }
    let next = Mutex::new(calls.iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(call) = next.lock().unwrap().next() else { return };
                    let case = call.case();
                    let (answer, sent) = call.through(&weir);
                    assert!(answer.whole, "{case}: {}", weir.envoy.log());
                    assert!(answer.body == sent, "{case}: the client got other bytes than the upstream sent");
                    if !matches!(call.cut, Cut::Events) {
                        continue;
                    }
                    let (without, _) = call.through(&plain);
                    let [with, without] = [answer, without].map(|a| String::from_utf8(a.head).unwrap());
                    assert_eq!(lines(&with), lines(&without), "{case}: what the client gets");
                    let [with, without] = [&weir, &plain].map(|rig| rig.upstream.seen(&case).unwrap());
                    assert_eq!(lines(&with.head), lines(&without.head), "{case}: what the upstream gets");
                    assert_eq!(with.body, without.body, "{case}: what the upstream gets");
                }
            });
        }
    });

    weir.record(&calls.last().unwrap().case());
    weir.is_healthy_after("all of them");
    let mut records = weir.records();
    // The last lines may not be written yet.
    for call in &calls {
        let case = call.case();
        records.entry(case.clone()).or_insert_with(|| weir.record(&case));
    }
    for of_one_answer in calls.chunks(CODINGS.len() * CUTS.len()) {
        let first = &of_one_answer[0];
        let wanted = facts(records[&first.case()].clone());
        let told = ["api", "ended", "stream", "unread"].map(|key| &wanted[key]);
        let expected = [json!(first.format.api), json!("complete"), json!(first.stream), json!(0)];
        assert_eq!(told, expected.each_ref(), "{}: {wanted}", first.case());
        let usage = &wanted["usage"];
        assert_eq!((&usage["source"], &usage["input"]), (&json!("reported"), &json!(34)), "{}: {wanted}", first.case());
        for call in of_one_answer {
            assert_eq!(facts(records[&call.case()].clone()), wanted, "{}", call.case());
        }
    }
    println!("{} calls, each as without weir", calls.len());
}
