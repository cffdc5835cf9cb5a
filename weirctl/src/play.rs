//! Plays an exchange through the core natively, with a clock of its own making: what Envoy would have seen, without Envoy.

use std::rc::Rc;

use weir::settings::Config;
use weir::port::{Headers, Properties};
use weir::report::Report;
use weir::shared::Nowhere;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

/// A recorded exchange.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// `POST`, `GET` …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The host asked.
    pub host: String,
    /// Names in lower case.
    pub request_headers: Vec<(String, String)>,
    /// The request's body as it went.
    pub request_body: Vec<u8>,
    /// The answer's status.
    pub status: u16,
    /// Names in lower case.
    pub response_headers: Vec<(String, String)>,
    /// The answer's body, in the pieces to play it in.
    pub response_body: Vec<Vec<u8>>,
    /// When each piece came, in nanoseconds after the request; without, a millisecond each.
    pub times: Vec<u64>,
}

/// What Envoy would say of an answer that came whole from an upstream.
struct Upstream;

impl Properties for Upstream {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["response", "code_details"] => Some(b"via_upstream".to_vec()),
            // It decides whether an upstream was reached; a replay has none, and its record does not show it.
            ["upstream", "address"] => Some(b"replay".to_vec()),
            _ => None,
        }
    }
}

/// Plays one exchange from its first header to its end.
pub fn play(exchange: &Exchange, worker: &mut Worker) -> Report {
    let config: Rc<Config> = Rc::clone(&worker.config);
    let mut stream = Stream::new(config);
    let at = |step: u64| Nanos(1_000_000_000 + step);
    let status = exchange.status.to_string();
    let mut head = vec![
        (":method", exchange.method.as_str()),
        (":path", exchange.path.as_str()),
        (":authority", exchange.host.as_str()),
    ];
    head.extend(exchange.request_headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let bodiless = exchange.request_body.is_empty();
    let head = bytes(&head);
    stream.request_head(Headers(&head), bodiless, &Upstream, at(0));
    stream.kind_head(Headers(&head), &worker.kinds, &Upstream);
    stream.price_head(Headers(&head), &Upstream);
    stream.tool_head(Headers(&head), bodiless, &mut worker.tools, &Nowhere, at(0));
    if !bodiless {
        stream.request_body(&exchange.request_body, true, at(0));
    }
    let mut head = vec![(":status", status.as_str())];
    head.extend(exchange.response_headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let when = |i: usize| exchange.times.get(i).copied().unwrap_or((i as u64 + 1) * 1_000_000);
    stream.response_head(Headers(&bytes(&head)), false, at(when(0)));
    for (i, piece) in exchange.response_body.iter().enumerate() {
        stream.response_body(piece, false, at(when(i)));
    }
    let end = at(when(exchange.response_body.len().saturating_sub(1)));
    stream.response_body(&[], true, end);
    let mut report = stream.done(worker, &Upstream, &Nowhere, end);
    report.record.upstream = Default::default();
    report
}

fn bytes<'a>(headers: &'a [(&str, &str)]) -> Vec<(&'a [u8], &'a [u8])> {
    headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect()
}
