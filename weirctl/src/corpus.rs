//! Checks the core against recorded interactions with ground truth: every call whole and at random splits, small
//! streams at every split.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use weir::record::Record;
use weir::settings::Config;
use weir::worker::Worker;

use crate::base64;
use crate::play::{Exchange, play};

/// A stream of at most so many bytes is cut at every place.
const SMALL: usize = 3_000;

/// Calls that differ from the truth for a reason, by id.
const KNOWN: &[(&str, &str)] = &[
    ("51f39f4350770aea", GET_STORED),
    ("2d9a7ad13e3ec973", GET_STORED),
    ("631600211e0abe2b", GET_STORED),
    ("11c0852ce8fa72f6", GET_STORED),
    ("5ac9a4d2af2190c3", GET_STORED),
    ("de2079bf9f8197d9", GET_STORED),
    ("b36c2ad412efdc89", GET_STORED),
    ("486150409fefe3d5", GET_STORED),
    ("29d1a3ddde778e47", MASKED_ARN),
    ("1afc4df31d9d686a", MASKED_ARN),
    ("997ee967f7d13e55", PREDICT),
    ("a7cc39e7635f88b4", DEPLOYMENT),
    ("5f77e5adf486df38", DEPLOYMENT),
    ("cc3ac7f7aab51e2c", NOVA_TOOLS),
    ("82d845ea89ffb83a", NOVA_TOOLS),
    (
        "0f3a95b30e8e582f",
        "an error in the stream and then a usage chunk: weir keeps what was reported, the truth asks for none",
    ),
    (
        "5afc965f4efbdedc",
        "Groq's compound models give every event another id: weir keeps the first, the truth the last",
    ),
];
/// What was no inference to the truth, and is read since: its API's name is not compared, nor that it has usage.
const NEWER: &[&str] = &["images", "rerank", "sagemaker.invoke"];
const DEPLOYMENT: &str = "Azure serves the deployment that the path names, whatever model the body names";
const PREDICT: &str = "the truth does not read the counts of Vertex's `:predict`";
const GET_STORED: &str = "a GET of a stored response is no inference: its tokens were counted when it was made";
const MASKED_ARN: &str = "the recorder masked the account in the path and not in the truth";
const NOVA_TOOLS: &str =
    "Nova's tool calls inside InvokeModel streams are there, and the truth's parser does not read them";

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder with interactions.jsonl.gz and truth.jsonl.gz.
    #[arg(long, default_value = "../shared/corpus")]
    pub corpus: PathBuf,
    /// How many random splits of each call.
    #[arg(long, default_value_t = 4)]
    pub splits: u64,
    /// The seed of the splits.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many differing calls of each field to print.
    #[arg(long, default_value_t = 10)]
    pub show: usize,
    /// Print the table as JSON.
    #[arg(long)]
    pub json: bool,
}

/// One row of the table: how many calls, how many of them exact, how many plays.
#[derive(Debug, Default)]
pub struct Row {
    /// Calls.
    pub calls: u64,
    /// Calls of which every field was right in every play.
    pub exact: u64,
    /// Calls that differ for a known reason.
    pub known: u64,
    /// Plays: whole and split.
    pub plays: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By API and whether it was streamed.
    pub rows: BTreeMap<(String, bool), Row>,
    /// What differed, by field: `(id, wanted, got)`.
    pub differing: BTreeMap<String, Vec<(String, String, String)>>,
    /// Calls that differ for a reason, and the reason.
    pub known: Vec<(String, &'static str)>,
    /// Calls that are no inference and were counted as tokens all the same.
    pub billed: u64,
}

impl Outcome {
    /// Calls and those of them that are exact.
    pub fn total(&self) -> (u64, u64) {
        self.rows.values().fold((0, 0), |(calls, exact), row| (calls + row.calls, exact + row.exact))
    }
}

/// Every recorded call, whole, with its truth. Those made or edited by hand are left out.
///
/// # Errors
/// Files that are not there or not what they should be.
pub fn each(corpus: &Path, mut play: impl FnMut(&Value, Exchange)) -> Result<()> {
    let mut truths = BTreeMap::new();
    for line in lines(&corpus.join("truth.jsonl.gz"))? {
        let value: Value = serde_json::from_str(&line?)?;
        truths.insert(text(&value, "id"), value);
    }
    for line in lines(&corpus.join("interactions.jsonl.gz"))? {
        let recorded: Value = serde_json::from_str(&line?)?;
        let truth = truths.get(&text(&recorded, "id")).filter(|truth| truth["suspect_handmade"] != true);
        if let Some(truth) = truth {
            let (mut exchange, body) = exchange(&recorded)?;
            exchange.response_body = vec![body];
            play(truth, exchange);
        }
    }
    Ok(())
}

/// Why a call differs from the truth, where that is known.
pub fn known(id: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, reason)| *reason)
}

/// Checks all of a corpus.
///
/// # Errors
/// Files that are not there or not what they should be.
pub fn check(args: &Args) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut rng = Rng(args.seed | 1);
    each(&args.corpus, |truth, mut exchange| {
        let id = text(truth, "id");
        let body = exchange.response_body.concat();
        let api = text(truth, "api_format");
        let streaming = truth["streaming"] == true;
        let row = outcome.rows.entry((api, streaming)).or_default();
        row.calls += 1;
        let mut right = true;
        for pieces in splits(&body, args.splits, streaming, &mut rng) {
            exchange.response_body = pieces;
            let mut worker = Worker::new(Config::default());
            let record = play(&exchange, &mut worker).record;
            row.plays += 1;
            let differing = differences(truth, &record);
            if !differing.is_empty() && right {
                right = false;
                for (field, wanted, got) in differing {
                    outcome.billed += u64::from(field == "billed");
                    outcome.differing.entry(field.to_owned()).or_default().push((id.clone(), wanted, got));
                }
            }
        }
        if right {
            row.exact += 1;
        } else if let Some(reason) = known(&id) {
            row.known += 1;
            outcome.known.push((id, reason));
        }
    })?;
    Ok(outcome)
}

fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(BufReader::new(GzDecoder::new(file)).lines())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A recorded interaction as an exchange, and its body as it came over the wire.
fn exchange(recorded: &Value) -> Result<(Exchange, Vec<u8>)> {
    let headers = |key: &str, without: &[&str]| -> Vec<(String, String)> {
        let list = recorded[key].as_array().cloned().unwrap_or_default();
        let pairs = list.iter().filter_map(|h| Some((h[0].as_str()?.to_lowercase(), h[1].as_str()?.to_owned())));
        pairs.filter(|(name, _)| !without.contains(&name.as_str())).collect()
    };
    let mut response_headers = headers("response_headers", &["content-encoding", "content-length"]);
    if let Some(coding) = recorded["body_compressed"].as_str() {
        response_headers.push(("content-encoding".to_owned(), coding.to_owned()));
    }
    let raw = recorded["response_body"].as_str().unwrap_or_default();
    let body = match recorded["response_body_encoding"].as_str() {
        Some("base64") => base64::decode(raw),
        _ => raw.as_bytes().to_vec(),
    };
    let path = text(recorded, "url_path");
    let exchange = Exchange {
        method: text(recorded, "method"),
        path: if path.starts_with('/') { path } else { format!("/{path}") },
        host: text(recorded, "host"),
        request_headers: headers("request_headers", &["content-encoding", "content-length", "host"]),
        request_body: text(recorded, "request_body").into_bytes(),
        status: recorded["status"].as_u64().unwrap_or(0) as u16,
        response_headers,
        ..Exchange::default()
    };
    Ok((exchange, body))
}

/// Whole, at random places, and a small stream at every place.
fn splits(body: &[u8], random: u64, streaming: bool, rng: &mut Rng) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![vec![body.to_vec()]];
    if body.len() < 2 {
        return all;
    }
    for _ in 0..random {
        let n = [1, 3, 10, 40, 200][rng.below(5)].min(body.len() - 1);
        let mut at: Vec<usize> = (0..n).map(|_| 1 + rng.below(body.len() - 1)).collect();
        at.sort_unstable();
        at.dedup();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in at {
            pieces.push(body[from..cut].to_vec());
            from = cut;
        }
        pieces.push(body[from..].to_vec());
        all.push(pieces);
    }
    if streaming && body.len() <= SMALL {
        all.extend((1..body.len()).map(|at| vec![body[..at].to_vec(), body[at..].to_vec()]));
        all.push(body.chunks(1).map(<[u8]>::to_vec).collect());
    }
    all
}

/// Xorshift: the splits need no better.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What of a record is not as the truth has it. A fact that the truth lacks is not asked for.
fn differences(truth: &Value, record: &Record) -> Vec<(&'static str, String, String)> {
    let mut out = Vec::new();
    let record = serde_json::to_value(record).unwrap_or_default();
    let mut eq = |field, wanted: &Value, got: &Value| {
        if wanted != got {
            out.push((field, wanted.to_string(), got.to_string()));
        }
    };
    let usage = &record["usage"];
    if truth["api_format"] == "other" && NEWER.iter().any(|api| record["api"] == **api) {
        return Vec::new();
    }
    eq("api", &truth["api_format"], &record["api"]);
    if truth["api_format"] == "other" {
        if usage["source"] == "reported" {
            out.push(("billed", "none".to_owned(), usage.to_string()));
        }
        return out;
    }
    let whole = |value: &Value| value.as_f64().map_or(Value::Null, |n| json!(n as u64));
    if truth["usage_present"] == true && truth["is_error"] != true {
        eq("source", &json!("reported"), &usage["source"]);
        for (field, key) in [("input", "input_tokens_incl_cache"), ("output", "output_tokens_incl_reasoning")] {
            if !truth[key].is_null() {
                eq(field, &whole(&truth[key]), &usage[field]);
            }
        }
        let parts = [
            ("cache_read", "cached_input_tokens"),
            ("cache_write", "cache_write_tokens"),
            ("reasoning", "reasoning_tokens"),
        ];
        for (field, key) in parts {
            if truth[key].as_f64().is_some_and(|n| n > 0.0) {
                eq(field, &whole(&truth[key]), &usage[field]);
            }
        }
    } else if usage["source"] == "reported" {
        eq("source", &json!("none or estimated"), &usage["source"]);
    }
    for field in ["request_model", "response_model", "system_fingerprint", "response_id"] {
        if truth[field].as_str().is_some_and(|s| !s.is_empty()) {
            eq(field, &truth[field], &record[field]);
        }
    }
    let reasons = match &truth["finish_reasons"] {
        Value::Array(list) => list.clone(),
        Value::Object(by_choice) => by_choice.values().cloned().collect(),
        _ => Vec::new(),
    };
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|r| !r.is_null() && **r != "")
        .map(|r| r.as_str().map_or_else(|| r.to_string(), str::to_owned))
        .collect();
    if !reasons.is_empty() {
        eq("finish_reasons", &json!(reasons), &record["finish_reasons"]);
    }
    if truth["tool_calls"].as_array().is_some_and(|t| !t.is_empty()) {
        eq("tools", &truth["tool_calls"], &record["tools"]);
    } else if record["tools"].as_array().is_some_and(|t| !t.is_empty()) {
        eq("tools", &json!([]), &record["tools"]);
    }
    if truth["is_error"] == true {
        eq("ended", &json!("error"), &record["ended"]);
        if !truth["error_type"].is_null() {
            eq("error_type", &truth["error_type"], &record["error_type"]);
        }
        if truth["error_in_stream"] != true {
            eq("status", &truth["status"], &record["status"]);
        }
    } else {
        eq("ended", &json!("complete"), &record["ended"]);
    }
    if truth["streaming"] == true {
        eq("stream", &json!(true), &record["stream"]);
    }
    out
}

/// Checks and prints.
///
/// # Errors
/// As [`check`].
pub fn run(args: &Args) -> Result<bool> {
    let outcome = check(args)?;
    let (calls, exact) = outcome.total();
    if args.json {
        let rows: Vec<Value> = outcome
            .rows
            .iter()
            .map(|((api, stream), row)| json!({"api": api, "stream": stream, "calls": row.calls, "exact": row.exact, "plays": row.plays}))
            .collect();
        println!("{}", json!({"calls": calls, "exact": exact, "billed": outcome.billed, "rows": rows}));
    } else {
        for (field, list) in &outcome.differing {
            for (id, wanted, got) in list.iter().take(args.show) {
                println!("{field}: {id} wanted {wanted:.100} got {got:.100}");
            }
        }
        for (id, reason) in &outcome.known {
            println!("known: {id}: {reason}");
        }
        println!("| api | kind | calls | exact | known reason | plays |\n|---|---|--:|--:|--:|--:|");
        for ((api, stream), row) in &outcome.rows {
            let kind = if *stream { "stream" } else { "whole" };
            println!("| {api} | {kind} | {} | {} | {} | {} |", row.calls, row.exact, row.known, row.plays);
        }
        let fields: BTreeMap<_, _> = outcome.differing.iter().map(|(f, l)| (f, l.len())).collect();
        println!("fields that differ: {fields:?}");
        println!("{exact} of {calls} calls exact ({:.2} %)", 100.0 * exact as f64 / calls.max(1) as f64);
    }
    Ok(outcome.billed == 0)
}
