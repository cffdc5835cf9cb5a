//! `envoy/retries` in a real Envoy: the record of a call tells each of the router's own attempts.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::deploy;
use crate::support::http::{chat, eventually};
use serde_json::{Value, json};
use weirctl::envoy::{Envoy, Launch, binary, wasm};

/// What an upstream does with an attempt.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers with this status.
    Answer(u16),
    /// Closes the connection.
    Close,
    /// Says nothing.
    Hang,
    /// Begins an answer, and says nothing more.
    HangInAnswer,
}

use Does::{Answer, Close, Hang, HangInAnswer};

/// Hosts that share what they are to do, and what they were asked.
#[derive(Clone, Default)]
struct Hosts {
    plan: Arc<Mutex<VecDeque<Does>>>,
    /// Which host got each attempt.
    asked: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Hosts {
    fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, hosts) = (listener.local_addr().unwrap(), self.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), hosts) = (stream, hosts.clone()) else { return };
                std::thread::spawn(move || hosts.serve(stream, address));
            }
        });
        address
    }

    /// Answers on one connection until it is over.
    fn serve(&self, stream: TcpStream, address: SocketAddr) -> Option<()> {
        let (mut reader, mut writer) = (BufReader::new(stream.try_clone().ok()?), stream);
        loop {
            let length = request_head(&mut reader)?;
            reader.read_exact(&mut vec![0; length]).ok()?;
            self.asked.lock().unwrap().push(address);
            let does = self.plan.lock().unwrap().pop_front().expect("an attempt that is in the plan");
            let answer = match does {
                Answer(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}"),
                Close => return None,
                Hang => String::new(),
                HangInAnswer => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned(),
            };
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }
}

/// Reads a request up to its body; how long that is.
fn request_head(reader: &mut impl BufRead) -> Option<usize> {
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    Some(length)
}

fn start(hosts: &[SocketAddr]) -> Envoy {
    let stage = deploy::stage(&wasm::build().unwrap());
    let mut bootstrap = deploy::bootstrap("envoy/retries/envoy.yaml", stage.path(), |_| hosts[0]);
    let endpoints: Vec<Value> = (hosts.iter())
        .map(|at| {
            let address = json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
            json!({"endpoint": {"address": address}})
        })
        .collect();
    bootstrap["static_resources"]["clusters"][0]["load_assignment"]["endpoints"] = json!([{"lb_endpoints": endpoints}]);
    Launch::new(&binary::bring().unwrap()).workers(2).start_json(&bootstrap, 1).unwrap()
}

/// Sends a call; all have the same `x-request-id`, as those of who passes on one of his own.
fn send(at: SocketAddr) -> TcpStream {
    let (body, mut client) = (chat("m").to_string(), TcpStream::connect(at).unwrap());
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nx-request-id: one\r\ncontent-length: {length}\r\n\r\n"
    );
    client.write_all((head + &body).as_bytes()).unwrap();
    client
}

#[test]
fn each_attempt_of_the_router_is_told_with_its_host_its_status_and_its_times() {
    let hosts = Hosts::default();
    let addresses = [hosts.start(), hosts.start(), hosts.start()];
    let envoy = start(&addresses);
    let mut seen = 0;
    for (plan, status, ended) in [
        (&[Answer(200)][..], Some(200), "complete"),
        (&[Answer(503), Answer(503), Answer(200)], Some(200), "complete"),
        (&[Answer(400)], Some(400), "error"),
        (&[Answer(500), Answer(502), Answer(503), Answer(504)], Some(504), "error"),
        (&[Close, Answer(429), Answer(200)], Some(200), "complete"),
        (&[Answer(503), Answer(503), Hang], None, "client_abort"),
        (&[Answer(503), HangInAnswer], Some(200), "client_abort"),
    ] {
        hosts.plan.lock().unwrap().extend(plan);
        hosts.asked.lock().unwrap().clear();
        let mut client = send(envoy.address());
        let asked = eventually("all attempts", || {
            let asked = hosts.asked.lock().unwrap().clone();
            (asked.len() == plan.len()).then_some(asked)
        });
        // Where there will be an answer, its beginning is waited for; then the client goes.
        if status.is_some() {
            client.read_exact(&mut [0; 40]).unwrap();
        }
        if ended != "client_abort" {
            // Its answer may still be on its way; the next call is a connection of its own.
            eventually("the record", || (records(&envoy).len() > seen).then_some(()));
        }
        drop(client);
        let all = eventually("the record", || Some(records(&envoy)).filter(|all| all.len() > seen));
        assert_eq!(all.len(), seen + 1);
        seen += 1;
        let record = &all[seen - 1];
        assert_eq!((record["status"].as_u64(), record["ended"].as_str()), (status, Some(ended)), "{plan:?}");
        assert_eq!(record["upstream"]["attempts"], plan.len(), "{record}");
        let attempts = record["attempts"].as_array().unwrap_or_else(|| panic!("{plan:?}: {record}"));
        let told: Vec<_> = attempts.iter().map(|a| a["address"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, asked.iter().map(SocketAddr::to_string).collect::<Vec<_>>(), "{plan:?}");
        for (does, attempt) in plan.iter().zip(attempts) {
            let there = ["first_byte_ms", "total_ms"].map(|time| attempt[time].as_f64().is_some_and(|ms| ms >= 0.0));
            let (status, times) = match does {
                Answer(status) => (Some(u64::from(*status)), [true, true]),
                Close => (None, [false, true]),
                Hang => (None, [false, false]),
                HangInAnswer => (Some(200), [true, false]),
            };
            assert_eq!((attempt["status"].as_u64(), there), (status, times), "{does:?} of {plan:?}: {attempt}");
        }
    }
    // The plugin in the upstream's chain counts no calls.
    let stats = envoy.admin().get("/stats/prometheus").unwrap();
    let calls = stats.lines().filter(|line| line.starts_with("weir_calls_total{"));
    let calls: usize = calls.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(calls, seen);
}

fn records(envoy: &Envoy) -> Vec<Value> {
    let log = envoy.log();
    let objects = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.map(|line| line["record"].clone()).filter(Value::is_object).collect()
}

#[test]
fn calls_at_once_have_each_their_own_attempts() {
    const CALLS: usize = 40;
    let hosts = Hosts::default();
    let envoy = start(&[hosts.start()]);
    hosts.plan.lock().unwrap().extend([Hang; CALLS]);
    let clients: Vec<_> = (0..CALLS).map(|_| send(envoy.address())).collect();
    eventually("all attempts", || (hosts.asked.lock().unwrap().len() == CALLS).then_some(()));
    drop(clients);
    each_has_one_attempt(&envoy, CALLS);
}

#[test]
fn calls_at_once_on_one_connection_have_each_their_own_attempts() {
    const CALLS: usize = 40;
    let hosts = Hosts::default();
    let envoy = start(&[hosts.start()]);
    hosts.plan.lock().unwrap().extend([Hang; CALLS]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let streams: Vec<_> = runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(envoy.address()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let mut streams = Vec::new();
        for _ in 0..CALLS {
            let request = hyper::Request::post("http://llm/v1/chat/completions").header("x-request-id", "one");
            client = client.ready().await.unwrap();
            streams.push(client.send_request(request.body(()).unwrap(), true).unwrap());
        }
        streams
    });
    eventually("all attempts", || (hosts.asked.lock().unwrap().len() == CALLS).then_some(()));
    drop((streams, runtime));
    each_has_one_attempt(&envoy, CALLS);
}

fn each_has_one_attempt(envoy: &Envoy, calls: usize) {
    let records = eventually("all records", || Some(records(envoy)).filter(|all| all.len() == calls));
    for record in records {
        assert_eq!(record["call"], "one");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    }
}

#[test]
fn a_host_that_refuses_the_connection_is_told_too() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let envoy = start(&[closed]);
    let _client = send(envoy.address());
    let record = eventually("the record", || records(&envoy).pop());
    assert_eq!((record["status"].as_u64(), record["ended"].as_str()), (Some(503), Some("upstream_reset")));
    let attempts = record["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 4, "the first and three retries: {record}");
    for attempt in attempts {
        assert_eq!((&attempt["address"], &attempt["status"]), (&json!(closed.to_string()), &Value::Null));
        assert!(attempt["total_ms"].is_number() && attempt["first_byte_ms"].is_null(), "{attempt}");
    }
}
