//! Throws damaged requests and answers of every wire format at the core, and says how many.
//!
//! ```text
//! cargo run --release --package weirctl --example fuzz_calls -- 1000000 [seed [round]]
//! ```
//! Checked for each call: no panic; the same record and the same counts whole and in pieces; and what client and upstream
//! get is what was sent, or under `usage.inject` the same whole and in pieces. A failure prints seed and round, which
//! make the same call again.

#[allow(dead_code)]
#[path = "../tests/traffic/bodies.rs"]
mod bodies;
#[allow(dead_code)]
#[path = "../tests/traffic/formats.rs"]
mod formats;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use serde_json::Value;
use weir::metrics::{Id, Kind};
use weir::port::{Flow, Headers, Properties};
use weir::settings::Config;
use weir::shared::NullStore;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::wire::encoding::Decoder;
use weir::worker::Worker;

/// The call at hand, for whoever looks at a panic.
static ROUND: AtomicU64 = AtomicU64::new(0);

/// Small enough that damaged events are often larger.
const CONFIGS: [&str; 3] =
    ["{}", r#"{"read":{"max_event_bytes":1024}}"#, r#"{"usage":{"inject":true},"read":{"max_event_bytes":1024}}"#];

/// `weir_unread_total{reason="encoding"}`.
const BROKEN_CODING: (&str, u8) = ("weir_unread_total", 4);

/// What parsers stumble over.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"]",
    b",",
    b":",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"data:",
    b"event: error\n",
    b"\xEF\xBB\xBF",
    b"\xff",
    b"\0",
    b"1e999",
    b"-18446744073709551616",
    b"18446744073709551615",
    b"\"usage\":{\"completion_tokens\":9e18}",
    b"null",
];

/// A call that could be real.
struct Seed {
    path: &'static str,
    host: &'static str,
    request: Vec<u8>,
    content_type: String,
    coding: &'static str,
    body: Vec<u8>,
}

/// One that could not.
struct Call<'a> {
    seed: &'a Seed,
    request: Vec<u8>,
    content_type: &'a str,
    coding: &'a str,
    status: &'a str,
    body: Vec<u8>,
    ends: bool,
}

struct Known;

impl Properties for Known {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["upstream", "address"] => Some(b"10.0.0.1:443".to_vec()),
            ["response", "code_details"] => Some(b"via_upstream".to_vec()),
            _ => None,
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>().expect("a number"));
    let (count, seed) = (arguments.next().unwrap_or(1_000_000), arguments.next().unwrap_or(1));
    let only = arguments.next();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("in seed {seed}, round {}:", ROUND.load(Ordering::Relaxed));
        hook(panic);
    }));
    let seeds = seeds();
    let (mut bytes, mut unread, mut complete) = (0, 0, 0);
    let rounds = only.map_or(0..count, |round| round..round + 1);
    for round in rounds {
        ROUND.store(round, Ordering::Relaxed);
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ round);
        let call = damaged(&seeds, &mut random);
        let config = CONFIGS[random.usize(..CONFIGS.len())];
        let whole = play(&call, config, None);
        let pieces = play(&call, config, Some(&mut random));
        let what = format!("{} {} under {config}", call.seed.path, call.coding);
        // How far a broken coding is read depends on what came with the byte that broke it.
        let broken = |outcome: &Outcome| outcome.counts.iter().any(|(name, why, _)| (*name, *why) == BROKEN_CODING);
        // The same holds for brotli that never ends: its decoder, not our own, may keep back what came last.
        let cut = call.coding == "br" && !ends(&call.body);
        if !cut && !broken(&whole) && !broken(&pieces) {
            assert_eq!(whole.counts, pieces.counts, "{what}, answered with {} {}", call.status, call.content_type);
            assert_eq!(whole.record, pieces.record, "{what}\n{}", String::from_utf8_lossy(&call.body));
        }
        // A request that breaks after the place that is changed may have gone on by then.
        if serde_json::from_slice::<Value>(&call.request).is_ok() {
            assert_eq!(text(&whole.client), text(&pieces.client), "what the client gets, {what}");
            assert_eq!(text(&whole.upstream), text(&pieces.upstream), "what the upstream gets, {what}");
        }
        if !config.contains("inject") {
            assert!(whole.client == call.body, "the client gets what was sent");
            assert!(whole.upstream == call.request, "the upstream gets what was sent");
        }
        bytes += call.body.len();
        unread += u64::from(whole.record["unread"] != 0);
        complete += u64::from(whole.record["ended"] == "complete");
        if round % (count / 20).max(1) == 0 {
            eprintln!("{round} of {count}");
        }
    }
    println!(
        "{count} calls from seed {seed}, {} MB: all the same whole and in pieces, none broke anything; {complete} complete, \
         {unread} with something unread",
        bytes >> 20
    );
}

/// Whether brotli comes to its end.
fn ends(body: &[u8]) -> bool {
    let Ok(Some(mut decoder)) = Decoder::for_encoding(b"br") else { return false };
    decoder.push(body, &mut |_| {}).is_ok() && decoder.finished()
}

/// Bytes that people can read in an error.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Real answers of every format, streamed and whole, plain and coded, with text, tools, reasoning and errors.
fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for format in formats::formats() {
        for stream in [true, false] {
            for demo in
                ["tokens=3,prompt=34", "tokens=4,reasoning=2,cached=5", "tokens=2,tools=2", "tokens=5,end=error,at=2"]
            {
                let answer = format.answer(stream, demo);
                let content_type =
                    answer.headers.iter().find(|(name, _)| *name == "content-type").map(|(_, v)| v.clone());
                let parts: Vec<Vec<u8>> = answer.parts.iter().map(|part| part.bytes.to_vec()).collect();
                for coding in bodies::CODINGS {
                    seeds.push(Seed {
                        path: format.path(stream),
                        host: format.host,
                        request: format.request(stream),
                        content_type: content_type.clone().unwrap_or_default(),
                        coding,
                        body: bodies::encode(coding, &parts).concat(),
                    });
                }
            }
        }
    }
    seeds
}

fn damaged<'a>(seeds: &'a [Seed], random: &mut Rng) -> Call<'a> {
    let seed = &seeds[random.usize(..seeds.len())];
    let other = &seeds[random.usize(..seeds.len())];
    let (mut request, mut body) = (seed.request.clone(), seed.body.clone());
    if random.u8(..4) == 0 {
        damage(&mut request, &other.request, random);
    }
    if random.u8(..8) > 0 {
        damage(&mut body, &other.body, random);
    }
    let odd = random.u8(..10) == 0;
    Call {
        seed,
        request,
        content_type: if odd { &other.content_type } else { &seed.content_type },
        coding: if odd { other.coding } else { seed.coding },
        status: if random.u8(..10) == 0 { "500" } else { "200" },
        body,
        ends: random.u8(..10) > 0,
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        let end = (at + 1 + random.usize(..60)).min(bytes.len());
        match random.u8(..9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at.min(end)..end)),
            4 => {
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let from = random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            6 => {
                // Other line ends.
                let end: &[u8] = if random.bool() { b"\r\n" } else { b"\r" };
                *bytes = bytes.split(|b| *b == b'\n').collect::<Vec<_>>().join(end);
            }
            7 => {
                // Far more of the same than an event may have.
                let byte = random.choice(*b"x\n\r\\\"{[ ").expect("not empty");
                let many = vec![byte; random.usize(..3000)];
                bytes.splice(at..at, many);
            }
            _ => drop(bytes.splice(at..at, WORDS[random.usize(..WORDS.len())].iter().copied())),
        }
    }
}

/// What a call leaves behind.
struct Outcome {
    record: Value,
    counts: Vec<(&'static str, u8, u64)>,
    client: Vec<u8>,
    upstream: Vec<u8>,
}

fn play(call: &Call<'_>, config: &str, mut cuts: Option<&mut Rng>) -> Outcome {
    let mut worker = Worker::new(Config::parse(config.as_bytes()).expect("a good config"));
    let mut stream = Stream::new(Rc::clone(&worker.config));
    let head = [(":method", "POST"), (":path", call.seed.path), (":authority", call.seed.host)];
    let head = head.map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    stream.request_head(Headers(&head), false, &mut worker, &Known, &NullStore, Nanos(0));
    let (mut upstream, mut held) = (Vec::new(), Vec::new());
    let pieces = pieces(&call.request, cuts.as_deref_mut());
    for (i, piece) in pieces.iter().enumerate() {
        let last = i + 1 == pieces.len();
        held.extend_from_slice(piece);
        match stream.request_body(&held, last, Nanos(0)) {
            Flow::Hold if !last => {}
            Flow::Hold | Flow::Forward => upstream.append(&mut held),
            Flow::Replace(bytes) => {
                upstream.extend(bytes);
                held.clear();
            }
        }
    }
    let head = [(":status", call.status), ("content-type", call.content_type), ("content-encoding", call.coding)];
    stream.response_head(Headers(&head.map(|(n, v)| (n.as_bytes(), v.as_bytes()))), false, &worker, Nanos(0));
    let mut client = Vec::new();
    let mut take = |flow, piece: &[u8]| match flow {
        Flow::Forward => client.extend_from_slice(piece),
        Flow::Replace(bytes) => client.extend(bytes),
        Flow::Hold => panic!("an answer is never held"),
    };
    for piece in self::pieces(&call.body, cuts) {
        take(stream.response_body(piece, false, Nanos(0)), piece);
    }
    if call.ends {
        take(stream.response_body(&[], true, Nanos(0)), &[]);
    }
    let report = stream.done(&mut worker, &Known, &NullStore, Nanos(0));
    let mut record: Value = serde_json::from_str(&report.record.to_json()).expect("a record is JSON");
    // How many events come in one piece is not the same in pieces, and neither are the gaps between them.
    let server = record["time"]["server"].take();
    record["time"] = server;
    let timed = |id: Id| {
        id.metric().kind == Kind::Histogram
            || matches!(id, Id::InterTokenBucket | Id::InterTokenCount | Id::InterTokenSum | Id::Stalls)
    };
    let counts = report.counts.samples.iter().map(|(sample, value)| (sample.series, *value));
    let counts = counts.filter(|(series, _)| !timed(series.id));
    let counts = counts.map(|(series, value)| (series.id.metric().name, series.value, value)).collect();
    Outcome { record, counts, client, upstream }
}

/// The bytes in one piece, or cut at random: into a few, or into single bytes here and there.
fn pieces<'a>(bytes: &'a [u8], cuts: Option<&mut Rng>) -> Vec<&'a [u8]> {
    let Some(random) = cuts else { return vec![bytes] };
    let most = [1, 3, 20, 400][random.usize(..4)];
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.usize(1..=most).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    if pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}
