//! Plays recorded answers through the core and prints the records: a body file, or every exchange of a HAR.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde_json::{Value, json};
use weir::record::Record;
use weir::report::Report;
use weir::settings::Config;
use weir::worker::Worker;

use crate::base64;
use crate::play::{Exchange, START, play_in};
use crate::store::Memory;

/// What to play.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// HAR files, or bodies of answers as they came over the wire.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// For bodies: the path of the request, which tells the API. Without it, it is told from the body.
    #[arg(long)]
    pub path: Option<String>,
    /// For bodies: the content type. Without it, it is told from the body.
    #[arg(long)]
    pub content_type: Option<String>,
    /// For bodies: the content encoding.
    #[arg(long)]
    pub content_encoding: Option<String>,
    /// For bodies: the status.
    #[arg(long, default_value_t = 200)]
    pub status: u16,
    /// The filter's configuration.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Print the records as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// Plays and prints.
///
/// # Errors
/// Files that cannot be read, or are no HAR where they should be one.
pub fn run(args: &Args) -> Result<()> {
    let config = match &args.config {
        Some(path) => Config::parse(&read(path)?).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?,
        None => Config::default(),
    };
    let mut worker = Worker::new(config);
    // Exchanges come one after another, as calls to one proxy.
    let (store, mut now) = (Memory::default(), START);
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["file", "api", "model", "ended", "input", "output", "finish", "tools", "events", "unread"]);
    let mut unread = 0;
    for file in &args.files {
        // A body alone is the answer that is asked about, be it empty.
        let alone = file.extension().is_none_or(|extension| extension != "har");
        for exchange in exchanges(file, args)? {
            let (Report { record, .. }, end) = play_in(&exchange, &mut worker, &store, now);
            now = end;
            let has_body = exchange.response_body.iter().any(|piece| !piece.is_empty());
            if record.events == 0 && record.api != "other" && (has_body || alone) {
                eprintln!("{}: nothing of the answer could be read: no JSON, no events, no frames", file.display());
                unread += u64::from(alone);
            }
            if args.json {
                println!("{}", record.to_json());
            } else {
                table.add_row(row(file, &record));
            }
        }
    }
    if !args.json {
        println!("{table}");
    }
    anyhow::ensure!(unread == 0, "{unread} answers could not be read");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn row(file: &Path, record: &Record) -> Vec<String> {
    let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
    let model = record.response_model.as_ref().or(record.request_model.as_ref());
    let ended = json!(record.ended).as_str().unwrap_or_default().to_owned();
    vec![
        file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        record.api.to_owned(),
        model.cloned().unwrap_or_else(|| "-".to_owned()),
        ended,
        number(record.usage.input),
        number(record.usage.output),
        record.finish_reasons.join(" "),
        record.tools.join(" "),
        record.events.to_string(),
        record.unread.to_string(),
    ]
}

fn exchanges(file: &Path, args: &Args) -> Result<Vec<Exchange>> {
    let bytes = read(file)?;
    let har = serde_json::from_slice::<Value>(&bytes).ok().filter(|v| v["log"]["entries"].is_array());
    match har {
        Some(har) => from_har(&har).with_context(|| format!("{} is no HAR", file.display())),
        None if file.extension().is_some_and(|e| e == "har") => bail!("{} is no HAR", file.display()),
        None => Ok(vec![from_body(bytes, args)]),
    }
}

/// A body alone: what is not said on the command line is told from its first bytes.
fn from_body(body: Vec<u8>, args: &Args) -> Exchange {
    let path = args.path.clone().unwrap_or_else(|| guess(&body).to_owned());
    let headers = [("content-type", &args.content_type), ("content-encoding", &args.content_encoding)];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    Exchange {
        method: "POST".to_owned(),
        path,
        status: args.status,
        response_headers: headers.collect(),
        response_body: vec![body],
        ..Exchange::default()
    }
}

/// The path of the API whose own words stand in the body. The first that fits counts.
fn guess(body: &[u8]) -> &'static str {
    let has = |word: &str| memmem(body, word.as_bytes());
    let words = [
        ("message_start", "/v1/messages"),
        ("\"type\":\"message\",\"role\"", "/v1/messages"),
        ("stop_sequence", "/v1/messages"),
        ("response.created", "/v1/responses"),
        ("\"object\":\"response\"", "/v1/responses"),
        ("\"object\": \"response\"", "/v1/responses"),
        ("usageMetadata", "/v1beta/models/unknown:streamGenerateContent"),
        ("\"candidates\"", "/v1beta/models/unknown:streamGenerateContent"),
        ("contentBlockDelta", "/model/unknown/converse-stream"),
        ("stopReason", "/model/unknown/converse"),
        ("\"bytes\":\"", "/model/unknown/invoke-with-response-stream"),
        ("message-start", "/v2/chat"),
        ("billed_units", "/v2/chat"),
        ("eval_count", "/api/chat"),
        ("\"done\":", "/api/chat"),
        ("\"embedding\"", "/v1/embeddings"),
        ("text_completion", "/v1/completions"),
    ];
    words.iter().find(|(word, _)| has(word)).map_or("/v1/chat/completions", |(_, path)| path)
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Every exchange of a HAR, with the timing that it has: when the answer began, and how long it took.
fn from_har(har: &Value) -> Result<Vec<Exchange>> {
    let entries = har["log"]["entries"].as_array().context("it has no entries")?;
    entries.iter().map(entry).collect()
}

fn entry(entry: &Value) -> Result<Exchange> {
    let (request, response) = (&entry["request"], &entry["response"]);
    let url = request["url"].as_str().context("an entry has no request.url")?;
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let headers = |of: &Value, without: &[&str]| -> Vec<(String, String)> {
        let list = of["headers"].as_array().cloned().unwrap_or_default();
        let pairs =
            list.iter().filter_map(|h| Some((h["name"].as_str()?.to_lowercase(), h["value"].as_str()?.to_owned())));
        pairs.filter(|(name, _)| !without.contains(&name.as_str()) && !name.starts_with(':')).collect()
    };
    let content = &response["content"];
    let text = content["text"].as_str().unwrap_or_default();
    let body = if content["encoding"] == "base64" { base64::decode(text) } else { text.as_bytes().to_vec() };
    // A HAR keeps bodies decoded, whatever their header says.
    let mut response_headers = headers(response, &["content-encoding"]);
    if !response_headers.iter().any(|(name, _)| name == "content-type")
        && let Some(kind) = content["mimeType"].as_str()
    {
        response_headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    let ms = |key: &str| (entry["timings"][key].as_f64().unwrap_or(0.0).max(0.0) * 1e6) as u64;
    let began = ms("send") + ms("wait");
    Ok(Exchange {
        method: request["method"].as_str().unwrap_or("POST").to_owned(),
        path: path.to_owned(),
        host: host.to_owned(),
        request_headers: headers(request, &[]),
        request_body: request["postData"]["text"].as_str().unwrap_or_default().as_bytes().to_vec(),
        status: response["status"].as_u64().unwrap_or(0) as u16,
        response_headers,
        response_body: vec![body],
        times: vec![began + ms("receive")],
    })
}
