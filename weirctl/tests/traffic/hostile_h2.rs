//! HTTP/2 as no client and no server should speak it. After each case the next call is served as if nothing had been, and
//! the record says how it ended.

use h2::Reason;
use serde_json::json;

use super::client::PATIENCE;
use super::h2::{Ask, HeaderList, Script, Send, Upstream, when};
use super::raw::{Gate, Step, chunked};
use super::rig::{ASK, CHAT, EVENTS, Rig, SSE, Setup};

fn chat(sends: Vec<Send>) -> Ask {
    Ask { method: "POST", path: CHAT, sends, ..Ask::default() }
}

fn asked() -> Ask {
    chat(vec![Send::Data(ASK.to_vec()), Send::End])
}

fn events(count: usize, last: Send) -> Vec<Send> {
    let mut sends: Vec<Send> = EVENTS[..count].iter().map(|event| Send::Data(event.to_vec())).collect();
    sends.push(last);
    sends
}

fn head(status: u16) -> Option<(u16, HeaderList)> {
    Some((status, vec![("content-type", SSE.into())]))
}

fn all(last: Send) -> Script {
    Script { reads: true, head: head(200), sends: events(4, last) }
}

/// Envoy with HTTP/2 on both sides, and the upstream behind it.
fn rig() -> (Rig, Upstream) {
    let upstream = Upstream::start();
    let config = json!({"identity": {"tenant": [{"header": "x-tenant"}]}});
    let setup = Setup { weir: Some(config), h2: true, upstream: Some(upstream.address), ..Setup::default() };
    (Rig::with(setup), upstream)
}

fn is_healthy_after(case: &str, rig: &Rig, upstream: &Upstream) {
    let healthy = format!("healthy after {case}");
    upstream.on(&healthy, all(Send::End));
    let got = upstream.call(rig.envoy.address(), &healthy, asked());
    assert_eq!((got.status, got.reset), (200, None), "{healthy}: {}", rig.envoy.log());
    assert_eq!(got.body, EVENTS.concat(), "{healthy}");
    rig.has_no_failed_vm(case);
}

#[test]
fn wherever_an_upstream_resets_its_stream_the_record_says_so() {
    let (rig, upstream) = rig();
    let with = |reads, head, sends| Script { reads, head, sends };
    // A reset overtakes what was sent just before it: it has to wait until that has come.
    let gate = Gate::default();
    let has = |bytes: usize| {
        let gate = gate.clone();
        when(move || gate.has(bytes))
    };
    let late = |last: Send| vec![Send::Data(EVENTS[0].to_vec()), has(EVENTS[0].len()), last];
    let mut cases = vec![
        ("whole", all(Send::End), 200, "complete"),
        ("trailers", all(Send::Trailers), 200, "complete"),
        ("trailers and no body", with(true, head(200), vec![Send::Trailers]), 200, "truncated"),
        ("nothing", with(true, head(200), vec![Send::End]), 200, "complete"),
        ("no content", with(true, head(204), vec![Send::End]), 204, "complete"),
        ("not modified", with(true, head(304), vec![Send::End]), 304, "complete"),
        (
            "error",
            with(true, head(500), vec![Send::Data(b"{\"error\":{\"type\":\"t\"}}".to_vec()), Send::End]),
            500,
            "error",
        ),
        ("early", with(false, head(200), events(4, Send::End)), 200, "complete"),
        ("cut", with(true, head(200), events(1, Send::End)), 200, "truncated"),
        ("gone before the head", with(true, None, vec![Send::Drop]), 503, "upstream_reset"),
        ("gone in the body", with(true, head(200), late(Send::Drop)), 200, "upstream_reset"),
    ];
    let reasons =
        [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM];
    for reason in reasons {
        cases.push(("reset before the head", with(true, None, vec![Send::Reset(reason)]), 503, "upstream_reset"));
        cases.push((
            "reset before the request is read",
            with(false, None, vec![Send::Reset(reason)]),
            503,
            "upstream_reset",
        ));
        cases.push(("reset in the body", with(true, head(200), late(Send::Reset(reason))), 200, "upstream_reset"));
        cases.push((
            "reset after the head",
            with(true, head(200), vec![has(0), Send::Reset(reason)]),
            200,
            "upstream_reset",
        ));
    }
    for (i, (what, script, status, ended)) in cases.into_iter().enumerate() {
        let case = format!("{what} {i}");
        upstream.on(&case, script);
        gate.close();
        let got = upstream.call(rig.envoy.address(), &case, Ask { gate: gate.clone(), ..asked() });
        assert_eq!(got.status, status, "{case}: {got:?}");
        assert_eq!(got.reset.is_some(), status == 200 && ended == "upstream_reset", "{case}: {got:?}");
        assert_eq!(rig.ended(&case), ended, "{case}: {}", rig.record(&case));
        is_healthy_after(&case, &rig, &upstream);
    }
}

#[test]
fn wherever_a_client_resets_its_stream_it_is_an_abort() {
    let (rig, upstream) = rig();
    let data = || Send::Data(ASK[..9].to_vec());
    let slow = Script { reads: true, head: head(200), sends: events(3, Send::Wait(PATIENCE)) };
    let slower = Script { sends: events(1, Send::Wait(PATIENCE)), ..slow.clone() };
    let silent = Script { reads: true, head: head(200), sends: vec![Send::Wait(PATIENCE)] };
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::PROTOCOL_ERROR] {
        let leaves = |after| Ask { leaves_after: Some((after, reason)), ..self::asked() };
        // What is sent just before a reset may never come.
        let asked = |what: &str| upstream.when_asked(&format!("{what} {reason:?}"));
        let (headers, body, connection) = ("after the headers", "in the request's body", "with its connection");
        let cases = [
            (headers, chat(vec![asked(headers), Send::Reset(reason)]), &silent),
            (body, chat(vec![data(), asked(body), Send::Reset(reason)]), &silent),
            ("after the answer's head", leaves(0), &silent),
            ("after an event", leaves(1), &slower),
            ("after the usage", leaves(EVENTS[..3].concat().len()), &slow),
            (connection, chat(vec![data(), asked(connection), Send::Drop]), &silent),
        ];
        for (what, ask, script) in cases {
            let case = format!("{what} {reason:?}");
            upstream.on(&case, script.clone());
            upstream.call(rig.envoy.address(), &case, ask);
            let record = rig.record(&case);
            assert_eq!(record["ended"], "client_abort", "{case}: {record}");
            assert_eq!(record["usage"]["source"] == "reported", what == "after the usage", "{case}: {record}");
            is_healthy_after(&case, &rig, &upstream);
        }
    }
}

#[test]
fn headers_that_are_no_text_and_trailers_pass_both_ways() {
    let (rig, upstream) = rig();
    let bytes = || b"a\xff\xfe\x80".to_vec();
    for name in ["x-tenant", "traceparent", "baggage", "authorization", "content-type", "x-request-id", "accept"] {
        let case = format!("request {name}");
        upstream.on(&case, all(Send::Trailers));
        let mut ask = chat(vec![Send::Data(ASK.to_vec()), Send::Trailers]);
        ask.headers = vec![(name, bytes()), ("te", b"trailers".to_vec())];
        let got = upstream.call(rig.envoy.address(), &case, ask);
        assert_eq!((got.status, got.body), (200, EVENTS.concat()), "{case}");
        assert_eq!(got.trailers.unwrap()["x-late"].as_bytes(), b"a\xff", "{case}");
        assert_eq!(rig.ended(&case), "complete", "{case}");
    }
    for name in ["content-type", "content-encoding", "openai-version", "openai-processing-ms", "x-amzn-errortype"] {
        let case = format!("response {name}");
        let head = Some((200, vec![(name, bytes())]));
        upstream.on(&case, Script { reads: true, head, sends: events(4, Send::End) });
        let got = upstream.call(rig.envoy.address(), &case, asked());
        assert_eq!((got.status, got.body), (200, EVENTS.concat()), "{case}");
        assert_eq!(got.headers[name].as_bytes(), bytes(), "{case}");
        assert_eq!(rig.ended(&case), "complete", "{case}");
    }
    is_healthy_after("headers that are no text", &rig, &upstream);
}

#[test]
fn clients_of_either_protocol_may_meet_upstreams_of_the_other() {
    let rig = Rig::start();
    let client = Upstream::start();
    for (case, ask, ended) in [
        ("post", asked(), "complete"),
        ("head", Ask { method: "HEAD", path: CHAT, sends: vec![Send::End], ..Ask::default() }, "complete"),
        ("without a body", chat(vec![Send::End]), "complete"),
        ("with trailers", chat(vec![Send::Data(ASK.to_vec()), Send::Trailers]), "complete"),
        ("leaves", Ask { leaves_after: Some((1, Reason::CANCEL)), ..asked() }, "client_abort"),
    ] {
        let mut steps = match ask.method {
            "HEAD" => vec![chunked(SSE, &EVENTS).remove(0)],
            _ => chunked(SSE, &EVENTS),
        };
        if ended == "client_abort" {
            *steps.last_mut().unwrap() = Step::Gone;
        }
        rig.upstream.on(case, steps);
        let got = client.call(rig.envoy.address(), case, ask);
        assert_eq!((got.status, got.reset), (200, None), "{case}: {got:?}");
        assert_eq!(rig.ended(case), ended, "{case}");
        rig.is_healthy_after(case);
    }

    let (rig, upstream) = self::rig();
    upstream.on("h1", all(Send::Trailers));
    let mut client = rig.connect();
    client.send(&super::client::post(CHAT, &[("x-case", "h1")], ASK));
    let answer = client.answer("POST");
    assert_eq!((answer.whole, answer.body), (true, EVENTS.concat()));
    assert_eq!(rig.ended("h1"), "complete");
}
