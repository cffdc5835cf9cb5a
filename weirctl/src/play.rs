//! Plays an exchange through the core natively, with a clock of its own making: what Envoy would have seen, without Envoy.

use std::rc::Rc;

use weir::call::gate::Gate;
use weir::call::head::Head;
use weir::call::reply::LocalReply;
use weir::port::{Headers, Properties};
use weir::report::Report;
use weir::shared::{NullStore, Store};
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

/// What Envoy would say of an answer that came whole from an upstream, or of one of the filter's own.
struct Said {
    details: &'static str,
}

impl Properties for Said {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["response", "code_details"] => Some(self.details.into()),
            // It decides whether an upstream was reached; a replay has none, and its record does not show it.
            ["upstream", "address"] if self.details == VIA_UPSTREAM => Some(b"replay".to_vec()),
            _ => None,
        }
    }
}

const VIA_UPSTREAM: &str = "via_upstream";
/// Where the clock of the first exchange begins: not at zero, which is no time of a running clock.
pub const START: Nanos = Nanos(1_000_000_000);
/// How often a call that waits asks again, where it does not know its turn.
const TICK: u64 = 10_000_000;

/// Plays one exchange from its first header to its end, for a filter that shares nothing.
pub fn play(exchange: &Exchange, worker: &mut Worker) -> Report {
    play_in(exchange, worker, &NullStore, START).0
}

/// Plays one exchange as Envoy would, from this time on; gives the time of its end too.
pub fn play_in(exchange: &Exchange, worker: &mut Worker, store: &dyn Store, from: Nanos) -> (Report, Nanos) {
    let mut stream = Stream::new(Rc::clone(&worker.config));
    let mut said = Said { details: VIA_UPSTREAM };
    let mut head = vec![
        (":method", exchange.method.as_str()),
        (":path", exchange.path.as_str()),
        (":authority", exchange.host.as_str()),
    ];
    head.extend(exchange.request_headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let (head, bodiless) = (bytes(&head), exchange.request_body.is_empty());
    let mut now = from;
    let Head { reply, .. } = stream.request_head(Headers(&head), bodiless, worker, &said, store, now);
    let mut refused = reply;
    if refused.is_none() {
        refused = admitted(&mut stream, worker, store, bodiless, &mut now);
    }
    if refused.is_none() && !bodiless {
        stream.request_body(&exchange.request_body, true, now);
        refused = admitted(&mut stream, worker, store, true, &mut now);
    }
    if let Some(reply) = refused {
        said.details = reply.details;
        let status = reply.shaped.status.to_string();
        let head = [(":status", status.as_str()), ("content-type", reply.shaped.content_type)];
        stream.response_head(Headers(&bytes(&head)), false, worker, now);
        stream.response_body(&reply.shaped.body, true, now);
        return (stream.done(worker, &said, store, now), now);
    }
    let status = exchange.status.to_string();
    let mut head = vec![(":status", status.as_str())];
    head.extend(exchange.response_headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let at = |i: usize| {
        let after = exchange.times.get(i).copied().unwrap_or((i as u64 + 1) * 1_000_000);
        Nanos(now.0.saturating_add(after))
    };
    stream.response_head(Headers(&bytes(&head)), false, worker, at(0));
    for (i, piece) in exchange.response_body.iter().enumerate() {
        stream.response_body(piece, false, at(i));
    }
    let end = at(exchange.response_body.len().saturating_sub(1));
    stream.response_body(&[], true, end);
    let mut report = stream.done(worker, &said, store, end);
    report.record.upstream = Default::default();
    (report, end)
}

/// Asks the gate until the call passes, or is refused: then with what.
fn admitted(
    stream: &mut Stream,
    worker: &mut Worker,
    store: &dyn Store,
    last: bool,
    now: &mut Nanos,
) -> Option<Box<LocalReply>> {
    loop {
        match stream.admit(worker, store, last, true, *now) {
            Gate::Open => return None,
            Gate::Refuse(reply) => return Some(reply),
            Gate::Wait { until, .. } => *now = until.unwrap_or(Nanos(now.0.saturating_add(TICK))),
        }
    }
}

fn bytes<'a>(headers: &'a [(&str, &str)]) -> Vec<(&'a [u8], &'a [u8])> {
    headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect()
}
