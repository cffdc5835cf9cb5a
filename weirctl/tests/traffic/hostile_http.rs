//! HTTP as no client and no server should speak it, HTTP/1.1 on both sides. After each case the next call is served as if
//! nothing had been, and the record says how it ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, post};
use super::limits::eventually;
use super::raw::{Gate, Step, chunk, chunked, head, last_chunk, send};
use super::rig::{ASK, CHAT, EVENTS, Rig, SSE, Setup};

const JSON: &[u8] =
    br#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":34}}"#;

/// Every source of identity at work, so that every header they read is read.
fn rig() -> Rig {
    let all = json!([
        {"header": "x-tenant"}, {"baggage": "tenant"}, {"jwt_claim": {"payload": "p", "claim": "sub"}}, "mtls_peer",
        {"api_key_hash": {"salt": "12345678"}}, "trace_id"
    ]);
    let config = json!({"identity": {"tenant": all, "user": all, "run": all}});
    Rig::with(Setup { weir: Some(config), ..Setup::default() })
}

/// Sends bytes as they are and reads the answer to a request with this method.
fn raw(rig: &Rig, case: &str, steps: Vec<Step>, request: &[u8], method: &str) -> Answer {
    rig.upstream.on(case, steps);
    let mut client = rig.connect();
    client.send(request);
    client.answer(method)
}

fn expect(rig: &Rig, case: &str, answer: &Answer, status: u16, ended: &str) -> Value {
    let shown = String::from_utf8_lossy(&answer.head).into_owned();
    assert_eq!(answer.status, status, "{case}: {shown}\n{}", rig.envoy.log());
    let record = rig.record(case);
    assert_eq!(record["ended"], ended, "{case}: {record}");
    rig.is_healthy_after(case);
    record
}

fn stream() -> Vec<Step> {
    chunked(SSE, &EVENTS)
}

fn document() -> Vec<Step> {
    vec![
        head("200 OK", &[("content-type", "application/json"), ("content-length", &JSON.len().to_string())]),
        send(JSON),
    ]
}

#[test]
fn headers_that_are_no_text_pass_both_ways() {
    let rig = rig();
    let names = [
        "x-request-id",
        "traceparent",
        "tracestate",
        "baggage",
        "authorization",
        "x-api-key",
        "x-tenant",
        "content-type",
        "content-encoding",
        "accept",
        "user-agent",
        "x-forwarded-for",
        "cookie",
    ];
    for name in names {
        let case = format!("request {name}");
        let mut request =
            format!("POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\ncontent-length: {}\r\n{name}: ", ASK.len())
                .into_bytes();
        request.extend_from_slice(b"a\xff\xfe\x80\xc3(\r\n\r\n");
        request.extend_from_slice(ASK);
        let answer = raw(&rig, &case, stream(), &request, "POST");
        assert_eq!(answer.body, EVENTS.concat(), "{case}");
        expect(&rig, &case, &answer, 200, "complete");
    }
    let names = [
        "content-type",
        "content-encoding",
        "openai-processing-ms",
        "openai-version",
        "x-amzn-errortype",
        "x-amzn-bedrock-input-token-count",
        "x-envoy-upstream-service-time",
        "server",
        "x-any",
    ];
    for name in names {
        let case = format!("response {name}");
        let mut front = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{name}: ").into_bytes();
        front.extend_from_slice(b"\xff\xfe\x80\xc3(\r\n\r\n");
        let mut steps = vec![send(front)];
        steps.extend(EVENTS.map(chunk));
        steps.push(last_chunk());
        let answer = raw(&rig, &case, steps, &post(CHAT, &[("x-case", &case)], ASK), "POST");
        assert_eq!(answer.body, EVENTS.concat(), "{case}");
        expect(&rig, &case, &answer, 200, "complete");
    }
}

#[test]
fn requests_without_headers_or_with_thousands_or_in_odd_pieces_are_served() {
    let rig = rig();
    let answer = raw(&rig, "", stream(), b"POST /v1/chat/completions HTTP/1.1\r\nhost:\r\n\r\n", "POST");
    assert!(matches!(answer.status, 200 | 400), "no optional headers: {}", answer.status);
    rig.is_healthy_after("no optional headers");
    let answer = raw(&rig, "", stream(), b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", "POST");
    assert_eq!(answer.status, 400, "no host");
    rig.is_healthy_after("no host");

    let many: String = (0..1500).map(|i| format!("x-{i}: {i}\r\n")).collect();
    let long = format!("x-long: {}\r\n", "v".repeat(200_000));
    for (case, extra) in [("1500 headers", many), ("a header of 200 KB", long)] {
        let lines = format!("x-case: {case}\r\n{extra}content-length: {}\r\n\r\n", ASK.len());
        let mut request = format!("POST {CHAT} HTTP/1.1\r\nhost: a\r\n{lines}").into_bytes();
        request.extend_from_slice(ASK);
        let mut steps =
            vec![send(format!("HTTP/1.1 200 OK\r\n{extra}content-type: {SSE}\r\ntransfer-encoding: chunked\r\n\r\n"))];
        steps.extend(EVENTS.map(chunk));
        steps.push(last_chunk());
        let answer = raw(&rig, case, steps, &request, "POST");
        assert_eq!(answer.body, EVENTS.concat(), "{case}");
        let record = expect(&rig, case, &answer, 200, "complete");
        assert_eq!(record["request_model"], "m", "{case}: {record}");
    }

    let case = "chunked request in odd pieces";
    let pieces = ["00001;x=\"y\"\r\n{\r\n", "19\r\n\"model\":\"m\",\"stream\":true\r\n", "1\r\n}\r\n", "000\r\n\r\n"];
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        pieces.concat()
    );
    rig.upstream.on(case, stream());
    let mut client = rig.connect();
    for byte in request.as_bytes() {
        client.send(&[*byte]);
    }
    let answer = client.answer("POST");
    let record = expect(&rig, case, &answer, 200, "complete");
    assert_eq!(record["request_model"], "m", "{record}");
    assert_eq!(rig.upstream.seen(case).unwrap().body, ASK);
}

#[test]
fn answers_without_a_body_and_answers_before_the_answer_are_fine() {
    let rig = rig();
    let get = |method: &str, case: &str| {
        format!("{method} {CHAT} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\n\r\n").into_bytes()
    };
    let length = [("content-length", "1000"), ("content-type", SSE)];
    let cases: [(&str, &str, Vec<Step>, u16, &str); 7] = [
        ("head", "HEAD", vec![head("200 OK", &length)], 200, "complete"),
        ("get", "GET", document(), 200, "complete"),
        ("options", "OPTIONS", vec![head("204 No Content", &[])], 204, "complete"),
        ("no content", "POST", vec![head("204 No Content", &[])], 204, "complete"),
        ("not modified", "POST", vec![head("304 Not Modified", &length)], 304, "complete"),
        (
            "nothing in it",
            "POST",
            vec![head("200 OK", &[("content-length", "0"), ("content-type", SSE)])],
            200,
            "complete",
        ),
        ("no body asked, error", "POST", vec![head("400 Bad Request", &[("content-length", "0")])], 400, "error"),
    ];
    for (case, method, steps, status, ended) in cases {
        let answer = raw(&rig, case, steps, &get(method, case), method);
        assert!(answer.whole, "{case}");
        expect(&rig, case, &answer, status, ended);
    }

    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        let case = format!("interim {interim}");
        let mut steps = vec![head(interim, &[("link", "</a>")])];
        steps.extend(stream());
        let answer = raw(&rig, &case, steps, &post(CHAT, &[("x-case", &case)], ASK), "POST");
        assert_eq!(answer.body, EVENTS.concat(), "{case}");
        let record = expect(&rig, &case, &answer, 200, "complete");
        assert_eq!(record["usage"]["output"], 34, "{case}: {record}");
    }

    let case = "expect 100";
    let mut steps = vec![Step::Early, head("100 Continue", &[]), Step::Body];
    steps.extend(stream());
    let answer = raw(&rig, case, steps, &post(CHAT, &[("x-case", case), ("expect", "100-continue")], ASK), "POST");
    assert_eq!(answer.interim, [100]);
    expect(&rig, case, &answer, 200, "complete");
    assert_eq!(rig.upstream.seen(case).unwrap().body, ASK);
}

#[test]
fn trailers_pass_both_ways_and_end_a_body() {
    let rig = rig();
    let case = "trailers";
    let mut steps =
        vec![head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked"), ("trailer", "x-late")])];
    steps.extend(EVENTS.map(chunk));
    steps.push(send(b"0\r\nx-late: \xff\xfe\r\nx-later: 2\r\n\r\n".to_vec()));
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nx-case: {case}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\nx-up: 1\r\n\r\n",
        ASK.len(),
        String::from_utf8_lossy(ASK)
    );
    let answer = raw(&rig, case, steps, request.as_bytes(), "POST");
    assert!(answer.trailers.contains("x-later: 2"), "{}", answer.trailers);
    assert_eq!(answer.body, EVENTS.concat());
    let record = expect(&rig, case, &answer, 200, "complete");
    assert_eq!((&record["request_model"], &record["usage"]["output"]), (&json!("m"), &json!(34)), "{record}");
}

#[test]
fn upgrades_and_tunnels_carry_any_bytes() {
    let rig = rig();
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i * 7 % 256) as u8).collect();
    let upgrade = |path: &str, case: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    };
    let post = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-case: post\r\nconnection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let connect = "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nx-case: connect\r\n\r\n".to_owned();
    let switch =
        || vec![Step::Early, head("101 Switching Protocols", &[("connection", "upgrade"), ("upgrade", "websocket")])];
    let cases = [
        ("realtime", upgrade("/v1/realtime", "realtime"), switch(), 101),
        ("chat", upgrade(CHAT, "chat"), switch(), 101),
        ("connect", connect, vec![Step::Early, head("200 OK", &[])], 200),
    ];
    for (case, request, mut steps, status) in cases {
        steps.push(Step::Echo);
        rig.upstream.on(case, steps);
        let mut client = rig.connect();
        client.send(request.as_bytes());
        let answer = client.head();
        assert_eq!(answer.status, status, "{case}");
        for piece in bytes.chunks(7001) {
            client.send(piece);
            assert!(client.bytes(piece.len()) == piece, "{case}");
        }
        client.reset();
        expect(&rig, case, &answer, status, "client_abort");
    }
    // One that Envoy may or may not take; the filter must live in any case.
    rig.upstream.on("post", [switch(), vec![Step::Close]].concat());
    let mut client = rig.connect();
    client.send(post.as_bytes());
    client.head();
    drop(client);
    rig.is_healthy_after("an upgrade by POST");

    let case = "upgrade that the upstream ends";
    let answer =
        raw(&rig, case, [switch(), vec![send("bye"), Step::Close]].concat(), upgrade(CHAT, case).as_bytes(), "GET");
    expect(&rig, case, &answer, 101, "upstream_reset");
    let case = "upgrade refused";
    let answer = raw(&rig, case, document(), upgrade(CHAT, case).as_bytes(), "GET");
    expect(&rig, case, &answer, 200, "complete");
}

#[test]
fn wherever_an_upstream_breaks_off_the_client_is_told_and_the_record_too() {
    let rig = rig();
    let bytes: Vec<u8> = stream()
        .iter()
        .flat_map(|step| match step {
            Step::Send(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        })
        .collect();
    let head_end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    for (kind, last) in [("reset", Step::Reset), ("close", Step::Close)] {
        for at in (0..bytes.len()).step_by(11) {
            let case = format!("{kind} at {at}");
            let gate = Gate::default();
            // A reset may overtake what was sent before: it has to wait until that has arrived. Of half a head, nothing ever does.
            let wait = match at {
                _ if at < head_end => Step::Wait(Duration::from_millis(2)),
                _ if at < head_end + 8 => Step::Head(gate.clone()),
                _ => Step::Until(gate.clone(), 1),
            };
            let mut steps = vec![send(bytes[..at].to_vec()), wait, last.clone()];
            if at == 0 {
                steps.remove(0);
            }
            rig.upstream.on(&case, steps);
            let mut client = rig.connect();
            client.gate = Some(gate);
            client.send(&post(CHAT, &[("x-case", &case)], ASK));
            let answer = client.answer("POST");
            let expected = if at < head_end { (true, 5) } else { (false, 2) };
            assert_eq!((answer.whole, answer.status / 100), expected, "{case}");
        }
    }
    rig.is_healthy_after("broken answers");
    let last = format!("close at {}", (bytes.len() - 1) / 11 * 11);
    rig.record(&last);
    for (case, record) in rig.records().iter().filter(|(case, _)| case.contains(" at ")) {
        assert_eq!(record["ended"], "upstream_reset", "{case}: {record}");
    }
}

#[test]
fn wherever_a_client_breaks_off_it_is_an_abort() {
    let rig = rig();
    // In the request.
    for at in (0..150).step_by(10) {
        let case = format!("request cut at {at}");
        rig.upstream.on(&case, vec![Step::Gone]);
        let request = post(CHAT, &[("x-case", &case)], &[b'x'; 100]);
        let mut client = rig.connect();
        client.send(&request[..at]);
        if at % 20 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        client.reset();
    }
    rig.is_healthy_after("requests that were cut");
    // While it waits for the answer, and in it.
    for events in 0..=EVENTS.len() {
        let case = format!("after {events} events");
        let mut steps = Vec::new();
        if events > 0 {
            steps.push(head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]));
            steps.extend(EVENTS[..events].iter().map(|event| chunk(event)));
        }
        steps.push(Step::Gone);
        rig.upstream.on(&case, steps);
        let mut client = rig.connect();
        client.send(&post(CHAT, &[("x-case", &case)], ASK));
        if events > 0 {
            client.head();
            client.chunks(EVENTS[..events].concat().len());
        } else {
            eventually("the call", || rig.upstream.seen(&case));
        }
        client.reset();
        let record = rig.record(&case);
        assert_eq!(record["ended"], "client_abort", "{case}: {record}");
        // Usage that came counts.
        assert_eq!(record["usage"]["source"] == "reported", events >= 3, "{case}: {record}");
    }
    rig.is_healthy_after("aborts");
    let cut = rig.records().into_iter().filter(|(case, _)| case.starts_with("request cut"));
    for (case, record) in cut {
        assert_eq!(record["ended"], "client_abort", "{case}: {record}");
    }
}

#[test]
fn early_answers_pipelines_and_large_requests_are_fine() {
    let rig = rig();
    for (case, status, ended) in [("early refusal", "413 Too Large", "error"), ("early answer", "200 OK", "complete")] {
        let gate = Gate::default();
        let length = JSON.len().to_string();
        let steps = vec![
            Step::Early,
            head(status, &[("content-type", "application/json"), ("content-length", &length), ("connection", "close")]),
            send(JSON),
            Step::Until(gate.clone(), JSON.len()),
            Step::Reset,
        ];
        rig.upstream.on(case, steps);
        let mut client = rig.connect();
        client.gate = Some(gate);
        client.send(
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\ncontent-length: 10000000\r\n\r\n{{\"model\":"
            )
            .as_bytes(),
        );
        let answer = client.answer("POST");
        assert!(answer.whole && answer.body == JSON, "{case}");
        expect(&rig, case, &answer, status[..3].parse().unwrap(), ended);
    }

    let (mut requests, mut client) = (Vec::new(), rig.connect());
    for i in 0..20 {
        let case = format!("pipelined {i}");
        rig.upstream.on(&case, if i % 2 == 0 { stream() } else { document() });
        requests.extend(post(CHAT, &[("x-case", &case)], ASK));
    }
    client.send(&requests);
    for i in 0..20 {
        let answer = client.answer("POST");
        let wanted = if i % 2 == 0 { EVENTS.concat() } else { JSON.to_vec() };
        assert!(answer.whole && answer.body == wanted, "pipelined {i}");
        assert_eq!(rig.ended(&format!("pipelined {i}")), "complete");
    }
    rig.is_healthy_after("pipelined requests");

    // The model stands behind 30 MB of prompt.
    let case = "large";
    let large = format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}],"stream":true,"model":"far"}}"#,
        "word ".repeat(6 << 20)
    );
    let answer = raw(&rig, case, stream(), &post(CHAT, &[("x-case", case)], large.as_bytes()), "POST");
    let record = expect(&rig, case, &answer, 200, "complete");
    assert_eq!(record["request_model"], "far", "{record}");
    assert!(rig.upstream.seen(case).unwrap().body == large.as_bytes());
}

#[test]
fn lengths_that_lie_are_resets_or_truncations() {
    let rig = rig();
    let with = |length: usize, last: Step| {
        vec![
            head("200 OK", &[("content-type", "application/json"), ("content-length", &length.to_string())]),
            send(JSON),
            last,
        ]
    };
    let gone = Step::Gone;
    let cases = [
        ("more than comes", with(JSON.len() + 9, Step::Close), false, "upstream_reset"),
        ("less than comes", with(JSON.len() - 30, Step::Close), true, "truncated"),
        (
            "nothing promised",
            vec![
                head("200 OK", &[("content-type", "application/json"), ("connection", "close")]),
                send(JSON),
                Step::Close,
            ],
            true,
            "complete",
        ),
        (
            "a bad chunk",
            vec![
                head("200 OK", &[("content-type", SSE), ("transfer-encoding", "chunked")]),
                chunk(EVENTS[0]),
                send("zz\r\n"),
                gone,
            ],
            false,
            "upstream_reset",
        ),
    ];
    for (case, steps, whole, ended) in cases {
        let request = post(CHAT, &[("x-case", case)], br#"{"model":"m"}"#);
        let answer = raw(&rig, case, steps, &request, "POST");
        assert_eq!(answer.whole, whole, "{case}");
        expect(&rig, case, &answer, 200, ended);
    }
    for (case, bytes) in [
        ("no HTTP", "hello\r\n\r\n"),
        ("a bad status", "HTTP/1.1 xyz Bad\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nabc"),
    ] {
        let answer = rig.chat(case, vec![send(bytes), Step::Close]);
        assert!(matches!(answer.status, 502 | 503), "{case}: {}", answer.status);
        assert_eq!(rig.ended(case), "upstream_reset", "{case}");
        rig.is_healthy_after(case);
    }
    let broken = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\r\n\r\n\0\0\0",
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-case: bad chunk\r\ntransfer-encoding: chunked\r\n\r\nqq\r\n",
    ];
    rig.upstream.on("bad chunk", vec![Step::Gone]);
    for (i, request) in broken.into_iter().enumerate() {
        let mut client = rig.connect();
        client.send(request.as_bytes());
        let answer = client.answer("POST");
        assert!(answer.status >= 400 || !answer.whole, "{request:?}: {}", answer.status);
        rig.is_healthy_after(&format!("broken request {i}"));
    }
}
