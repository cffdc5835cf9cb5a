//! An OpenTelemetry collector that only keeps what it gets: gRPC over HTTP/2, messages unread.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// A running collector; it ends when this goes.
pub struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Vec<(String, Bytes)>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    /// Starts one at a free port.
    ///
    /// # Panics
    /// If it cannot.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let keep = got.clone();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let keep = keep.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(keep.clone(), request));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // A connection that breaks is Envoy's end.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, got, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The messages to a service's method, such as `LogsService/Export`, as protobuf bytes. Strings stand in them as they are.
    pub fn messages(&self, method: &str) -> Vec<Bytes> {
        let got = self.got.lock().unwrap();
        got.iter().filter(|(path, _)| path.ends_with(method)).map(|(_, body)| body.clone()).collect()
    }
}

async fn answer(
    keep: Arc<Mutex<Vec<(String, Bytes)>>>,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    if let Ok(body) = request.into_body().collect().await {
        keep.lock().unwrap().push((path, body.to_bytes()));
    }
    // An empty message, uncompressed, and the status that all is well.
    let empty = Bytes::from_static(&[0; 5]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body = Full::new(empty).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}
