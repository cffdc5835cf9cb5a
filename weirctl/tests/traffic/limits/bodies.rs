//! Whatever way a body comes, the call is decided by what stands in it, and the upstream of a refused one never has all of it.

use std::time::Duration;

use serde_json::json;

use super::super::client::{Answer, Client, post};
use super::super::h2::{self, Send};
use super::super::rig::{CHAT, EVENTS, Rig, SSE, Setup};
use super::{ASK, answer, both, call, chunked, eventually, rig, verdicts, with};

/// Refuses all but the first call for a model.
fn once_a_day() -> serde_json::Value {
    json!([{"name": "once", "scope": ["model"], "match": {"model": "no*"}, "unit": "calls",
        "rate": {"limit": 1, "per": "day"}}])
}

/// A call that is passed or refused by its model: what becomes of it, by the upstream's word too.
fn judge(rig: &Rig, case: &str, send: impl Fn(&mut Client, &str, &[u8]), body: impl Fn(&str) -> Vec<u8>) {
    // The first passes, as do all for other models.
    for (model, refused) in [("yes", false), ("no", true)] {
        let case = format!("{case}: {model}");
        rig.upstream.on(&case, answer());
        let body = body(model);
        let mut client = rig.connect();
        send(&mut client, &case, &body);
        let answer = client.answer("POST");
        let seen = || rig.upstream.seen(&case);
        if !refused {
            assert_eq!((answer.status, answer.whole), (200, true), "{case}: {}", rig.envoy.log());
            let seen = seen().unwrap();
            assert!(seen.whole && seen.body == body, "{case}");
            continue;
        }
        refused_is(rig, &case, &answer);
        // It may hear of the call, and then that it breaks off.
        std::thread::sleep(Duration::from_millis(2));
        assert!(!seen().is_some_and(|seen| seen.whole || seen.body == body), "{case}: {:?}", seen());
    }
}

fn refused_is(rig: &Rig, case: &str, answer: &Answer) {
    assert_eq!(
        (answer.status, answer.header("x-weir-limit")),
        (429, Some("once".into())),
        "{case}: {}",
        rig.envoy.log()
    );
}

/// Uses up what there is for the refused model.
fn used_up(rigs: [Rig; 2]) -> [Rig; 2] {
    for rig in &rigs {
        assert_eq!(call(rig, "the first", &[], &ask("no"), answer()).status, 200);
        rig.record("the first");
    }
    rigs
}

fn ask(model: &str) -> Vec<u8> {
    format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#).into_bytes()
}

fn chunked_request(case: &str, pieces: &[&[u8]], end: &str) -> Vec<Vec<u8>> {
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nhost: llm.test\r\nx-case: {case}\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = |piece: &&[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let mut writes = vec![head.into_bytes()];
    writes.extend(pieces.iter().map(chunk));
    writes.push(end.as_bytes().to_vec());
    writes
}

fn at_once(client: &mut Client, case: &str, body: &[u8]) {
    client.send(&post(CHAT, &[("x-case", case)], body));
}

#[test]
fn a_body_may_be_cut_at_any_byte() {
    for rig in used_up(both(&once_a_day())) {
        for at in 1..ask("yes").len() {
            let halves = |client: &mut Client, case: &str, body: &[u8]| {
                let request = post(CHAT, &[("x-case", case)], body);
                let (front, behind) = request.split_at(request.len() - body.len() + at.min(body.len() - 1));
                client.send(front);
                std::thread::sleep(Duration::from_micros(500));
                client.send(behind);
            };
            judge(&rig, &format!("cut at {at}"), halves, ask);
        }
        rig.has_no_failed_vm("cut bodies");
    }
}

#[test]
fn a_body_may_come_in_chunks_with_white_space_and_with_trailers() {
    for rig in used_up(both(&once_a_day())) {
        judge(&rig, "at once", at_once, ask);
        let spaced = |model: &str| [&ask(model)[..], b"\r\n\t   \n"].concat();
        judge(&rig, "white space behind", at_once, spaced);
        let apart = |client: &mut Client, case: &str, body: &[u8]| {
            let request = post(CHAT, &[("x-case", case)], body);
            let (front, behind) = request.split_at(request.len() - 7);
            client.send(front);
            std::thread::sleep(Duration::from_millis(2));
            client.send(behind);
        };
        judge(&rig, "white space late", apart, spaced);
        for size in [1, 13, 1000] {
            for (name, end) in [("", "0\r\n\r\n"), (" and a trailer", "0\r\nx-late: 1\r\n\r\n")] {
                let pieces = |client: &mut Client, case: &str, body: &[u8]| {
                    let pieces: Vec<&[u8]> = body.chunks(size).collect();
                    for write in chunked_request(case, &pieces, end) {
                        client.send(&write);
                    }
                };
                judge(&rig, &format!("chunks of {size}{name}"), pieces, ask);
                let late = |client: &mut Client, case: &str, body: &[u8]| {
                    let pieces: Vec<&[u8]> = body.chunks(size.max(20)).collect();
                    let mut writes = chunked_request(case, &pieces, end);
                    let end = writes.pop().unwrap();
                    client.send(&writes.concat());
                    std::thread::sleep(Duration::from_millis(2));
                    client.send(&end);
                };
                judge(&rig, &format!("chunks of {size}{name} and a late end"), late, spaced);
            }
        }
        rig.has_no_failed_vm("chunks");
    }
}

#[test]
fn a_client_that_waits_for_100_gets_on() {
    for rig in used_up(both(&once_a_day())) {
        for (model, refused) in [("yes", false), ("no", true)] {
            let case = format!("100 {model}");
            let body = ask(model);
            rig.upstream.on(
                &case,
                [
                    vec![
                        super::super::raw::Step::Early,
                        super::super::raw::send("HTTP/1.1 100 Continue\r\n\r\n"),
                        super::super::raw::Step::Body,
                    ],
                    answer(),
                ]
                .concat(),
            );
            let request = post(CHAT, &[("x-case", &case), ("expect", "100-continue")], &body);
            let (head, body) = request.split_at(request.len() - body.len());
            let mut client = rig.connect();
            client.send(head);
            assert_eq!(client.bytes(12), b"HTTP/1.1 100", "{case}");
            client.send(body);
            client.bytes(b" Continue\r\n\r\n".len());
            let answer = client.answer("POST");
            if refused { refused_is(&rig, &case, &answer) } else { assert_eq!(answer.status, 200, "{case}") }
        }
    }
}

#[test]
fn bodies_too_large_to_be_held_pass_or_are_refused_at_their_end() {
    let prompt = "x".repeat(10 << 20);
    let front = |model: &str| format!(r#"{{"model":"{model}","messages":[{{"content":"{prompt}"}}]}}"#).into_bytes();
    let behind = |model: &str| format!(r#"{{"messages":[{{"content":"{prompt}"}}],"model":"{model}"}}"#).into_bytes();
    let rigs = [false, true].map(|hold_headers| {
        let setup = Setup { hold_headers, ..Setup::default() };
        with(once_a_day(), json!({"hold_headers": hold_headers}), setup)
    });
    for rig in used_up(rigs) {
        judge(&rig, "front", at_once, front);
        judge(&rig, "behind", at_once, behind);
        let chunks = |client: &mut Client, case: &str, body: &[u8]| {
            let pieces: Vec<&[u8]> = body.chunks(100_000).collect();
            chunked_request(case, &pieces, "0\r\n\r\n").iter().for_each(|write| client.send(write));
        };
        judge(&rig, "chunks behind", chunks, behind);
        rig.has_no_failed_vm("large bodies");
    }
}

#[test]
fn a_body_that_envoy_has_no_room_to_hold_gets_on_all_the_same() {
    let setup = Setup { hold_headers: true, buffer: Some(64 << 10), ..Setup::default() };
    let rig = with(once_a_day(), json!({"hold_headers": true}), setup);
    assert_eq!(call(&rig, "the first", &[], &ask("no"), answer()).status, 200);
    let prompt = "x".repeat(300 << 10);
    let body = |model: &str| format!(r#"{{"messages":[{{"content":"{prompt}"}}],"model":"{model}"}}"#).into_bytes();
    judge(&rig, "no room", at_once, body);
    rig.has_no_failed_vm("no room");
}

#[test]
fn calls_without_a_body_and_bodies_that_are_no_json_are_counted_by_what_is_known() {
    let limits = json!([{"name": "two", "scope": ["tenant"], "unit": "calls", "rate": {"limit": 2, "per": "day"}}]);
    for rig in both(&limits) {
        for (tenant, body) in [
            ("nothing", &b""[..]),
            ("no json", b"{\"model\": nonsense"),
            ("a text", b"hello"),
            ("no utf-8", b"{\"model\":\"\xff\xfe\"}"),
        ] {
            let statuses: Vec<_> = (0..3)
                .map(|n| call(&rig, &format!("{tenant} {n}"), &[("x-tenant", tenant)], body, answer()).status)
                .collect();
            assert_eq!(statuses, [200, 200, 429], "{tenant}");
        }
        // What is no inference is not counted.
        for n in 0..3 {
            let case = format!("models {n}");
            rig.upstream.on(&case, answer());
            let mut client = rig.connect();
            client.send(
                format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\nx-tenant: nothing\r\n\r\n").as_bytes(),
            );
            assert_eq!(client.answer("GET").status, 200);
        }
        rig.has_no_failed_vm("odd bodies");
    }
}

#[test]
fn http2_clients_are_refused_in_the_same_way() {
    for rig in used_up(both(&once_a_day())) {
        let client = h2::Upstream::start();
        let trailers = |body: Vec<u8>| vec![Send::Data(body), Send::Trailers];
        let late = |body: Vec<u8>| vec![Send::Data(body), Send::Wait(Duration::from_millis(2)), Send::End];
        let halves = |body: Vec<u8>| {
            let (front, behind) = body.split_at(30);
            vec![Send::Data(front.into()), Send::Wait(Duration::from_millis(2)), Send::Data(behind.into()), Send::End]
        };
        let ways: [(&str, &dyn Fn(Vec<u8>) -> Vec<Send>); 3] =
            [("trailers", &trailers), ("late", &late), ("halves", &halves)];
        for (way, sends) in ways {
            for (model, status) in [("yes", 200), ("no", 429)] {
                let case = format!("{way} {model}");
                rig.upstream.on(&case, answer());
                let ask = h2::Ask { method: "POST", path: CHAT, sends: sends(ask(model)), ..h2::Ask::default() };
                let got = client.call(rig.envoy.address(), &case, ask);
                assert_eq!(got.status, status, "{case}");
                if status == 429 {
                    assert_eq!(got.headers["x-weir-limit"], "once", "{case}");
                    assert!(!rig.upstream.seen(&case).is_some_and(|seen| seen.whole), "{case}");
                } else {
                    assert_eq!(got.body, EVENTS.concat(), "{case}");
                }
            }
        }
        rig.has_no_failed_vm("HTTP/2");
    }
}

#[test]
fn a_model_may_stand_in_the_path_and_a_tool_in_an_mcp_call() {
    let limits = json!([
        {"name": "model", "scope": ["model"], "match": {"model": "*"}, "unit": "calls", "rate": {"limit": 1, "per": "day"}},
        {"name": "tool", "scope": ["tool"], "unit": "calls", "rate": {"limit": 1, "per": "day"}},
    ]);
    for rig in both(&limits) {
        let call = |case: &str, path: &str, headers: &[(&str, &str)], body: &str| {
            rig.upstream.on(case, chunked(SSE, &EVENTS));
            let headers: Vec<_> = [("x-case", case)].into_iter().chain(headers.iter().copied()).collect();
            let mut client = rig.connect();
            client.send(&post(path, &headers, body.as_bytes()));
            let answer = client.answer("POST");
            (answer.status, answer.header("x-weir-limit").unwrap_or_default())
        };
        let gemini = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
        for (path, body) in [
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", gemini),
            (
                "/model/anthropic.claude-v3%3A0/converse-stream",
                r#"{"messages":[{"role":"user","content":[{"text":"a"}]}]}"#,
            ),
            (CHAT, r#"{"model":"m","messages":[]}"#),
        ] {
            assert_eq!(call(&format!("{path} 1"), path, &[], body).0, 200, "{path}");
            let again = format!("{path} 2");
            assert_eq!(call(&again, path, &[], body), (429, "model".into()), "{path}");
            if path != CHAT {
                assert!(rig.upstream.seen(&again).is_none(), "{path}: its head tells all");
            }
        }
        let mcp = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
        let tool = |name: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#)
        };
        for (case, headers, body, wanted) in [
            ("search", &mcp[..], tool("search"), (200, "")),
            ("search again", &mcp, tool("search"), (429, "tool")),
            ("fetch", &mcp, tool("fetch"), (200, "")),
            ("list", &mcp, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(), (200, "")),
            ("list again", &mcp, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(), (200, "")),
            ("no header says so, but the body does", &[], tool("search"), (429, "tool")),
        ] {
            let (status, limit) = call(case, "/mcp", headers, &body);
            assert_eq!((status, limit.as_str()), wanted, "{case}: {:?}", verdicts(&rig, case));
        }
    }
}

#[test]
fn a_held_call_too_large_for_envoys_buffer_waits_without_a_413() {
    let prompt = "x".repeat(4 << 20);
    let limits = json!([{"name": "wait", "unit": "calls", "rate": {"limit": 4, "per": "second", "burst": 1}, "max_wait_ms": 5000}]);
    let _ = ASK;
    for hold_headers in [false, true] {
        let rig = rig(limits.clone(), hold_headers);
        let body = format!(r#"{{"model":"m","messages":[{{"content":"{prompt}"}}]}}"#).into_bytes();
        let clients: Vec<_> = (0..3)
            .map(|n| {
                let case = format!("large {n}");
                rig.upstream.on(&case, answer());
                let (mut client, body) = (rig.connect(), body.clone());
                std::thread::spawn(move || {
                    at_once(&mut client, &case, &body);
                    client.answer("POST").status
                })
            })
            .collect();
        let statuses: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert_eq!(statuses, [200; 3], "{}", rig.envoy.log());
        eventually("their bodies", || {
            (0..3).all(|n| rig.upstream.seen(&format!("large {n}")).is_some_and(|s| s.body == body)).then_some(())
        });
    }
}
