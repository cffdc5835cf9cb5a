//! An LLM upstream that speaks every wire format weir reads, with lifelike timing: for the demo, and for tests.
//!
//! A request becomes an [`ask::Ask`], that and a seed a [`script::Script`], that an [`answer::Answer`] in the request's
//! format; the server only plays it. The same request gives the same answer, and the header `x-demo` steers it
//! (see [`steer`]).

pub mod answer;
pub mod ask;
pub mod eventstream;
pub mod faults;
mod formats;
mod play;
pub mod script;
pub mod steer;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use answer::Answer;
use ask::{Api, Ask};
use faults::Faults;
use play::Player;
use script::Script;
use steer::Steer;

/// Most bytes of a request's body.
const MOST_REQUEST: usize = 256 << 20;

/// How an upstream behaves where a request does not say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Randomness that a request does not steer comes from this and the request.
    pub seed: u64,
    /// No delays at all, unless a request asks for them.
    pub at_once: bool,
    /// The time that answers bear, in seconds since the epoch; now if there is none.
    pub created: Option<u64>,
    /// What befalls all calls alike.
    pub faults: Option<Arc<Faults>>,
}

/// Answers one request: what the server does, without a server.
///
/// # Errors
/// The steering header is not understood.
pub fn respond(
    options: &Options,
    method: &str,
    host: &str,
    target: &str,
    demo: Option<&str>,
    body: &[u8],
) -> Result<Answer, String> {
    let mut steer = Steer::read(demo.unwrap_or_default())?;
    if options.at_once && steer.speed.is_none() {
        steer.speed = Some(0.0);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(api) = Api::of(method, path) else { return Ok(formats::unknown(path)) };
    let ask = Ask::read(api, host, path, query, body);
    let created = options
        .created
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    let script = Script::write(&ask, &steer, created, options.seed);
    Ok(formats::answer(&ask, &steer, &script))
}

/// Serves HTTP/1.1 and HTTP/2 on a listener until the future is dropped.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, options: Options) -> Result<()> {
    loop {
        let (socket, _) = listener.accept().await.context("accepting a connection")?;
        // A token is to leave when it is there.
        socket.set_nodelay(true)?;
        let options = options.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(options.clone(), request));
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new());
            // A connection that breaks is the peer's business, or was asked for.
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// A running upstream on a thread of its own; it ends when this goes.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    /// Starts one.
    ///
    /// # Errors
    /// Nothing can listen there.
    pub fn start(listen: SocketAddr, options: Options) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("listening at {listen}"))?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener, options));
        Ok(Self { address, _runtime: runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn answer(options: Options, request: Request<Incoming>) -> Result<Response<Player>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = header("host").or(head.uri.host()).unwrap_or_default();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer = match Limited::new(body, MOST_REQUEST).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let fault = options.faults.as_ref().and_then(|faults| faults.befall(options.seed));
            let answer = || respond(&options, head.method.as_str(), host, target, header(steer::HEADER), &body);
            fault.map_or_else(answer, Ok)
        }
        Err(error) => Err(format!("the request's body: {error}")),
    };
    let answer = answer.unwrap_or_else(|error| {
        Answer::document(400, &serde_json::json!({"error": {"message": error, "type": "invalid_request_error"}}))
    });
    wait(answer.head_after).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let response = response.body(Player::new(answer));
    Ok(response.expect("the formats make headers that are right"))
}

async fn wait(time: Duration) {
    if time > Duration::ZERO {
        tokio::time::sleep(time).await;
    }
}
