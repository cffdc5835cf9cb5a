//! What recorded calls cost, with prices made from LiteLLM's file, against exact fractions and against litellm itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{clients, root, skipped};
use serde_json::{Value, json};
use weir::settings::Config;
use weir::worker::Worker;
use weirctl::corpus;
use weirctl::play::{Exchange, play};
use weirctl::prices::{File, Wanted};

/// Where the corpus and the price file stand, if they do.
fn shared() -> Option<(PathBuf, PathBuf)> {
    let (corpus, prices) = (root().join("../shared/corpus"), root().join("../shared/prices/litellm_model_prices.json"));
    if corpus.join("truth.jsonl.gz").is_file() && prices.is_file() {
        return Some((corpus, prices));
    }
    skipped("what recorded calls cost", "there is no ../shared with a corpus and prices");
    None
}

/// What weir says that every call with usage cost whose model has a price: `{"id", "key", "total"}` a line, and how many of them.
fn costs(corpus: &Path, prices: &Path, to: &Path) -> usize {
    let file = File::open(prices).unwrap();
    let mut calls: Vec<(String, Exchange)> = Vec::new();
    corpus::each(corpus, |truth, exchange| {
        let id = truth["id"].as_str().unwrap();
        let inference = truth["api_format"] != "other";
        if inference && truth["usage_present"] == true && truth["is_error"] != true && corpus::known(id).is_none() {
            calls.push((id.to_owned(), exchange));
        }
    })
    .unwrap();
    // As somebody does it: first without prices, then with those of the models that the log names.
    let mut wanted = Wanted::new(&file, &[]);
    let mut worker = Worker::new(Config::default());
    for (_, exchange) in &calls {
        let record = play(exchange, &mut worker).record;
        [record.request_model, record.response_model].iter().flatten().for_each(|name| wanted.seen(name));
    }
    let made = wanted.made();
    let config = Config::parse(made.config().to_string().as_bytes()).unwrap();
    let mut worker = Worker::new(config);
    let mut out = std::fs::File::create(to).unwrap();
    let (mut priced, mut apis) = (0, BTreeMap::<_, u64>::new());
    for (id, exchange) in &calls {
        let record = play(exchange, &mut worker).record;
        let key =
            [&record.response_model, &record.request_model].into_iter().flatten().find_map(|name| made.from.get(name));
        assert_eq!(key.is_some(), record.cost.is_some(), "{id}: {record:?}");
        let (Some(key), Some(cost)) = (key, &record.cost) else { continue };
        assert_eq!(cost.total, cost.input + cost.output + cost.cache_read + cost.cache_write + cost.reasoning, "{id}");
        priced += 1;
        *apis.entry(record.api).or_default() += 1;
        writeln!(out, "{}", json!({"id": id, "key": key, "total": cost.total})).unwrap();
    }
    eprintln!("{priced} of {} calls with usage have a price, of {} prices: {apis:?}", calls.len(), made.prices.len());
    priced
}

/// What a script says in its last line.
fn answer(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}");
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

#[test]
fn every_recorded_call_costs_what_an_exact_calculation_of_its_own_says() {
    let Some((corpus, prices)) = shared() else { return };
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("the exact costs", "there is no `python3`");
    }
    let dir = tempfile::tempdir().unwrap();
    let calls = dir.path().join("calls.jsonl");
    let priced = costs(&corpus, &prices, &calls);
    let script = root().join("tests/clients/cost/exact.py");
    let told = answer(
        Command::new("python3").env("PYTHONDONTWRITEBYTECODE", "1").arg(script).args([&corpus, &prices, &calls]),
    );
    eprintln!("{} calls checked, {} nano-dollars", told["checked"], told["nanodollars"]);
    assert_eq!((&told["checked"], &told["differing"]), (&json!(priced), &json!([])));
}

/// Why litellm says something else, and of which APIs; docs/cost.md has them in words.
const REASONS: [(&str, &[&str]); 8] = [
    ("billed units", &["cohere.chat_v1", "cohere.chat_v2"]),
    ("cached sound", &["gemini.generate_content"]),
    ("iterations", &["anthropic.messages"]),
    ("modalities", &["gemini.generate_content"]),
    ("num_cached_tokens", &["openai.chat_completions"]),
    ("output in a header", &["bedrock.invoke"]),
    ("parts beyond the whole", &["openai.chat_completions"]),
    ("stated cost", &["openai.responses"]),
];

#[test]
fn litellm_agrees_but_for_reasons_that_are_known() {
    let Some((corpus, prices)) = shared() else { return };
    let Some(mut script) = clients::litellm("compare.py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let calls = dir.path().join("calls.jsonl");
    let priced = costs(&corpus, &prices, &calls) as u64;
    let told = answer(script.args([&corpus, &prices, &calls]));
    let mut apis: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in told["rows"].as_array().unwrap() {
        let api = row["api"].as_str().unwrap();
        let [all, agree] = apis.entry(api).or_default();
        *all += row["calls"].as_u64().unwrap();
        *agree += row["agree"].as_u64().unwrap();
        for (reason, _) in row["reasons"].as_object().unwrap() {
            reasons.entry(reason).or_default().insert(api);
        }
    }
    let [all, agree] = apis.values().fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
    eprintln!("litellm {} agrees in {agree} of {all} calls: {apis:?}; else: {reasons:?}", told["litellm"]);
    let unknown: Vec<_> = told["differing"].as_array().unwrap().iter().filter(|call| call["reason"] == "").collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let known = REASONS.map(|(reason, apis)| (reason, apis.iter().copied().collect()));
    assert_eq!(reasons, BTreeMap::from(known));
    // Cohere bills other counts than litellm reads: 37 calls.
    assert!(all == priced && agree * 1000 >= all * 969, "{agree} of {all}");
}
