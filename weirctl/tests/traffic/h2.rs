//! HTTP/2 on either side of Envoy, frame by frame: a client and an upstream that reset streams where a test says so.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use hyper::http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::client::PATIENCE;
use super::raw::Gate;

/// Names and values, which need not be text.
pub type HeaderList = Vec<(&'static str, Vec<u8>)>;

/// What one side sends of its half, after its headers.
#[derive(Clone, Debug)]
pub enum Send {
    Data(Vec<u8>),
    Wait(Duration),
    /// Waits until this is so.
    When(When),
    /// The end of the body, with a trailer.
    Trailers,
    /// The end of the body.
    End,
    /// RST_STREAM.
    Reset(Reason),
    /// The connection ends.
    Drop,
}

/// Something that becomes true.
#[derive(Clone)]
pub struct When(Arc<dyn Fn() -> bool + std::marker::Send + Sync>);

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("When")
    }
}

/// Waits until this is so.
pub fn when(is_so: impl Fn() -> bool + std::marker::Send + Sync + 'static) -> Send {
    Send::When(When(Arc::new(is_so)))
}

/// What an upstream does with one request.
#[derive(Clone, Debug)]
pub struct Script {
    /// Reads the request's body first.
    pub reads: bool,
    /// None resets or drops instead, as the first of `sends` says.
    pub head: Option<(u16, HeaderList)>,
    pub sends: Vec<Send>,
}

/// What a client got.
#[derive(Debug, Default)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The reason of a reset.
    pub reset: Option<Reason>,
}

/// What a client does.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: &'static str,
    pub path: &'static str,
    pub headers: HeaderList,
    pub sends: Vec<Send>,
    /// Told of what comes of the answer.
    pub gate: Gate,
    /// Resets the stream after so many bytes of the answer; at 0 as soon as the head is there.
    pub leaves_after: Option<(usize, Reason)>,
}

pub struct Upstream {
    pub address: SocketAddr,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
    asked: Arc<Mutex<HashSet<String>>>,
    runtime: tokio::runtime::Runtime,
}

impl Upstream {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let upstream =
            Self { address: listener.local_addr().unwrap(), scripts: Arc::default(), asked: Arc::default(), runtime };
        let (scripts, asked) = (Arc::clone(&upstream.scripts), Arc::clone(&upstream.asked));
        upstream.runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(connection(socket, Arc::clone(&scripts), Arc::clone(&asked)));
            }
        });
        upstream
    }

    pub fn on(&self, case: &str, script: Script) {
        self.scripts.lock().unwrap().insert(case.to_owned(), script);
    }

    /// Waits until this upstream has been asked for a case.
    pub fn when_asked(&self, case: &str) -> Send {
        let (asked, case) = (Arc::clone(&self.asked), case.to_owned());
        when(move || asked.lock().unwrap().contains(&case))
    }

    /// One call to an Envoy by a client on a connection of its own.
    pub fn call(&self, at: SocketAddr, case: &str, ask: Ask) -> Got {
        self.runtime.block_on(async {
            let call = tokio::time::timeout(PATIENCE, call(at, case, ask));
            call.await.unwrap_or_else(|_| panic!("{case} hangs"))
        })
    }
}

async fn connection(
    socket: TcpStream,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
    asked: Arc<Mutex<HashSet<String>>>,
) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut connection = h2::server::handshake(socket).await.ok()?;
    let (drop_it, mut dropped) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let (request, respond) = tokio::select! {
            next = connection.accept() => next?.ok()?,
            _ = dropped.recv() => return None,
        };
        let case = request.headers().get("x-case").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let script = scripts.lock().unwrap().get(&case).cloned();
        let script = script.unwrap_or_else(|| panic!("no script for `{case}`"));
        asked.lock().unwrap().insert(case);
        tokio::spawn(answer(request, respond, script, drop_it.clone()));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    script: Script,
    drop_it: tokio::sync::mpsc::Sender<()>,
) -> Option<()> {
    let mut body = request.into_body();
    if script.reads {
        while let Some(piece) = body.data().await {
            let _ = body.flow_control().release_capacity(piece.ok()?.len());
        }
        let _ = body.trailers().await;
    }
    let Some((status, headers)) = script.head else {
        match script.sends.first() {
            Some(Send::Reset(reason)) => respond.send_reset(*reason),
            _ => drop(drop_it.send(()).await),
        }
        return None;
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let ends = matches!(script.sends.first(), Some(Send::End));
    let mut stream = respond.send_response(response.body(()).unwrap(), ends).ok()?;
    if !ends && send(&mut stream, script.sends).await {
        let _ = drop_it.send(()).await;
    }
    None
}

/// True if the connection is to end.
async fn send(stream: &mut h2::SendStream<Bytes>, sends: Vec<Send>) -> bool {
    for step in sends {
        match step {
            Send::Data(bytes) => {
                if stream.send_data(bytes.into(), false).is_err() {
                    return false;
                }
            }
            Send::Wait(time) => tokio::time::sleep(time).await,
            Send::When(When(is_so)) => {
                let begun = Instant::now();
                // What never comes fails the test that waits for it; this task only has to end.
                while !is_so() && begun.elapsed() < PATIENCE {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Send::End => drop(stream.send_data(Bytes::new(), true)),
            Send::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-late", hyper::http::HeaderValue::from_bytes(b"a\xff").unwrap());
                let _ = stream.send_trailers(trailers);
            }
            Send::Reset(reason) => {
                stream.send_reset(reason);
                return false;
            }
            Send::Drop => return true,
        }
    }
    false
}

async fn call(at: SocketAddr, case: &str, ask: Ask) -> Got {
    let mut got = Got::default();
    let socket = TcpStream::connect(at).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let driven = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut request = Request::builder().method(ask.method).uri(format!("http://llm.test{}", ask.path));
    request = request.header("x-case", case);
    for (name, value) in ask.headers {
        request = request.header(name, value);
    }
    let ends = matches!(ask.sends.first(), Some(Send::End));
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), ends).unwrap();
    if !ends {
        let drops = matches!(ask.sends.last(), Some(Send::Drop));
        // What Envoy no longer takes is its own business.
        send(&mut stream, ask.sends).await;
        if drops {
            driven.abort();
            return got;
        }
    }
    let response = match response.await {
        Ok(response) => response,
        Err(error) => {
            got.reset = error.reason();
            return got;
        }
    };
    ask.gate.head();
    got.status = response.status().as_u16();
    got.headers = response.headers().clone();
    let mut body = response.into_body();
    loop {
        if let Some((_, reason)) = ask.leaves_after.filter(|(bytes, _)| got.body.len() >= *bytes) {
            stream.send_reset(reason);
            tokio::time::sleep(Duration::from_millis(50)).await;
            driven.abort();
            return got;
        }
        match body.data().await {
            Some(Ok(piece)) => {
                let _ = body.flow_control().release_capacity(piece.len());
                got.body.extend_from_slice(&piece);
                ask.gate.add(piece.len());
            }
            Some(Err(error)) => {
                got.reset = error.reason();
                return got;
            }
            None => break,
        }
    }
    match body.trailers().await {
        Ok(trailers) => got.trailers = trailers,
        Err(error) => got.reset = error.reason(),
    }
    got
}
