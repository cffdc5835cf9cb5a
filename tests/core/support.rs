//! A call played through the core with a made-up clock.

use std::rc::Rc;

use serde_json::Value;
use weir::metrics::{Id, Numbers};
use weir::port::{Flow, Headers, Properties};
use weir::record::Record;
use weir::report::Report;
use weir::settings::Config;
use weir::shared::{NullStore, Store};
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

/// Properties as a table.
pub struct Known(pub Vec<(&'static [&'static str], Vec<u8>)>);

impl Properties for Known {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.0.iter().find(|(known, _)| *known == path).map(|(_, value)| value.clone())
    }
}

/// What Envoy says of an answer that came from an upstream.
pub fn via_upstream() -> Known {
    Known(vec![
        (&["response", "code_details"], b"via_upstream".to_vec()),
        (&["upstream", "address"], b"10.0.0.1:443".to_vec()),
        (&["upstream", "request_attempt_count"], 1u64.to_le_bytes().to_vec()),
        (&["xds", "route_name"], b"llm".to_vec()),
        (&["xds", "cluster_name"], b"openai".to_vec()),
    ])
}

/// A call: who is asked what, and what comes back.
#[derive(Clone, Debug)]
pub struct Call {
    pub host: &'static str,
    pub path: &'static str,
    pub request: String,
    pub request_headers: Vec<(&'static str, &'static str)>,
    pub status: &'static str,
    pub response_headers: Vec<(&'static str, &'static str)>,
    /// Each piece of the answer and when it came, in ms after the request.
    pub pieces: Vec<(u64, Vec<u8>)>,
    /// Whether the answer's end came.
    pub ends: bool,
    pub config: &'static str,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            host: "api.example.com",
            path: "/v1/chat/completions",
            request: r#"{"model":"m","stream":true}"#.to_owned(),
            request_headers: Vec::new(),
            status: "200",
            response_headers: vec![("content-type", "text/event-stream")],
            pieces: Vec::new(),
            ends: true,
            config: "{}",
        }
    }
}

/// A moment, so many ms after the request.
pub fn ms(ms: u64) -> Nanos {
    Nanos(5_000_000_000 + ms * 1_000_000)
}

pub fn pairs<'a>(headers: &'a [(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect()
}

/// What a call added to a metric: the value of its own label, the numbers of its others, how much.
pub fn counted(report: &Report, id: Id) -> Vec<(u8, Numbers, u64)> {
    let of_id = report.counts.samples.iter().filter(|(sample, _)| sample.series.id == id);
    of_id.map(|(sample, amount)| (sample.series.value, sample.at, *amount)).collect()
}

impl Call {
    /// The same call with this answer, in pieces a millisecond apart.
    pub fn answered<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let pieces = pieces.into_iter().enumerate().map(|(i, piece)| (i as u64 + 1, piece.to_vec())).collect();
        Self { pieces, ..self.clone() }
    }

    pub fn play(&self) -> Report {
        self.play_on(&mut Worker::new(Config::parse(self.config.as_bytes()).unwrap()), &via_upstream()).0
    }

    pub fn record(&self) -> Record {
        self.play().record
    }

    /// The record as JSON, without its times.
    pub fn facts(&self) -> Value {
        let mut record = serde_json::to_value(self.record()).unwrap();
        record.as_object_mut().unwrap().remove("time");
        record
    }

    /// Plays on a worker that has seen other calls; gives what the client got, too.
    pub fn play_on(&self, worker: &mut Worker, properties: &Known) -> (Report, Vec<u8>) {
        self.play_in(worker, properties, &NullStore)
    }

    /// The same over a store.
    pub fn play_in(&self, worker: &mut Worker, properties: &Known, store: &dyn Store) -> (Report, Vec<u8>) {
        let mut stream = Stream::new(Rc::clone(&worker.config));
        let mut head = vec![(":method", "POST"), (":path", self.path), (":authority", self.host)];
        head.extend(&self.request_headers);
        let pairs_of_head = pairs(&head);
        stream.request_head(Headers(&pairs_of_head), false, worker, properties, store, ms(0));
        stream.request_body(self.request.as_bytes(), true, ms(0));
        let mut head = vec![(":status", self.status)];
        head.extend(&self.response_headers);
        let first = self.pieces.first().map_or(1, |(at, _)| *at);
        stream.response_head(Headers(&pairs(&head)), false, worker, ms(first));
        let mut client = Vec::new();
        let mut last = first;
        for (at, piece) in &self.pieces {
            last = *at;
            match stream.response_body(piece, false, ms(*at)) {
                Flow::Forward => client.extend_from_slice(piece),
                Flow::Replace(other) => client.extend(other),
                Flow::Hold => panic!("an answer is never held"),
            }
        }
        if self.ends
            && let Flow::Replace(rest) = stream.response_body(&[], true, ms(last))
        {
            client.extend(rest);
        }
        (stream.done(worker, properties, store, ms(last)), client)
    }
}

/// Every way to cut bytes in two, and byte by byte.
pub fn every_split(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let halves = (0..=bytes.len()).map(move |at| {
        let (a, b) = bytes.split_at(at);
        vec![a, b]
    });
    halves.chain(std::iter::once(bytes.chunks(1).collect()))
}
