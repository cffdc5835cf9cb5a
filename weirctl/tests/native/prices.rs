//! `weirctl prices`: what a price file of LiteLLM's shape becomes, and what is said of what it does not become.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{root, skipped};
use serde_json::{Value, json};
use weir::record::Record;
use weir::settings::Config;
use weirctl::prices::{File, Wanted};

/// A price file as LiteLLM's is, of models that are nobody's.
const FILE: &str = r#"{
  "sample_spec": {"litellm_provider": "one of many", "input_cost_per_token": 0.0, "mode": "one of many"},
  "plain-1": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1000,
    "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1E-05, "cache_read_input_token_cost": 1.25e-06},
  "plain-1-dated": {"litellm_provider": "openai", "mode": "chat",
    "input_cost_per_token": "0.0000025", "output_cost_per_token": 0.00001, "cache_read_input_token_cost": 0.00000125},
  "acme/plain-1": {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 9e-06},
  "groq/fast-1": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 5.0000000000000004E-8,
    "output_cost_per_token": 3.337860107421875e-08},
  "zeta/fast-1": {"litellm_provider": "zeta", "mode": "chat", "input_cost_per_token": 1e-07},
  "zeta/same": {"litellm_provider": "zeta", "mode": "chat", "input_cost_per_token": 1e-12},
  "acme/same": {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-12},
  "org.model-v1:0": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 3e-06,
    "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05, "input_cost_per_token_above_200k_tokens": 6e-06,
    "search_context_cost_per_query": {"search_context_size_high": 0.01}, "provider_specific_entry": {"us": 1.1},
    "regional_endpoint_uplift_multiplier": 1.1, "cache_creation_input_token_cost_above_12hr": 1e-05},
  "gemini/sound": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1e-06, "input_cost_per_audio_token": 3e-06,
    "input_cost_per_image_token": 1e-06, "output_cost_per_image_token": 3e-05, "output_cost_per_token": 4e-06,
    "output_cost_per_audio_token": 8e-06, "output_cost_per_reasoning_token": 4e-06, "google_maps_grounding_cost_per_query": 0.0,
    "input_cost_per_token_flex": 5e-07, "output_cost_per_token_above_200k_tokens_priority": 9e-06,
    "input_cost_per_token_batches": 4e-07, "input_cost_per_token_unheard": 4e-07},
  "qwen/thinks": {"litellm_provider": "qwen", "mode": "chat", "tiered_pricing": [
    {"range": [0, 32000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "output_cost_per_reasoning_token": 8e-06,
     "cache_read_input_token_cost": 1e-07},
    {"range": [32000.0, 1e6], "input_cost_per_token": 4e-06, "output_cost_per_token": 6e-06}]},
  "xai/from": {"litellm_provider": "xai", "mode": "chat", "input_cost_per_token": 1e-06, "input_cost_per_token_above_128_tokens": 2e-06},
  "thinks-1": {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-06, "output_cost_per_reasoning_token": 3e-06,
    "output_cost_per_token_priority": 2e-06},
  "rank-1": {"litellm_provider": "cohere", "mode": "rerank", "input_cost_per_query": 0.002, "input_cost_per_token": 0.0},
  "asks-1": {"litellm_provider": "perplexity", "mode": "chat", "input_cost_per_request": 0.005, "input_cost_per_token": 0},
  "rented-1": {"litellm_provider": "bedrock", "mode": "chat", "cost_per_second": 0.01475, "input_cost_per_second": 0.01475},
  "hears-1": {"litellm_provider": "deepgram", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
  "draws-1": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04, "input_cost_per_pixel": -1},
  "too-dear": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2, "output_cost_per_token": 1},
  "free-1": {"litellm_provider": "ollama", "mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
}"#;

fn weirctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weirctl")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn in_file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The prices of models of the file above, and what is not charged of them.
fn prices(models: &[&str]) -> (Vec<Value>, BTreeMap<String, Vec<String>>) {
    let file = File::parse(FILE).unwrap();
    let mut wanted = Wanted::new(&file, &[]);
    models.iter().for_each(|model| wanted.named(model));
    let made = wanted.made();
    Config::parse(made.config().to_string().as_bytes()).unwrap();
    (made.prices, made.unpaid)
}

#[test]
fn a_models_entry_becomes_a_price_of_the_config() {
    for (model, wanted) in [
        ("plain-1", json!({"per_million": {"input": "2.5", "cache_read": "1.25", "output": "10"}})),
        ("plain-1-dated", json!({"per_million": {"input": "2.5", "cache_read": "1.25", "output": "10"}})),
        (
            "org.model-v1:0",
            json!({"per_million": {"input": "3", "cache_write": "3.75", "cache_write_1h": "6"},
                "cases": [{"above": 200_000, "per_million": {"input": "6", "cache_write_1h": "12"}}]}),
        ),
        (
            "sound",
            // Reasoning at the price of output is output. A tier has Gemini's own name too.
            json!({"per_million": {"input": "1", "output": "4", "audio_input": "3", "audio_output": "8"}, "cases": [
                {"tier": "ON_DEMAND_FLEX", "per_million": {"input": "0.5"}},
                {"tier": "ON_DEMAND_PRIORITY", "above": 200_000, "per_million": {"output": "9"}},
                {"tier": "batch", "per_million": {"input": "0.4"}},
                {"tier": "flex", "per_million": {"input": "0.5"}},
                {"tier": "priority", "above": 200_000, "per_million": {"output": "9"}}]}),
        ),
        (
            "thinks",
            json!({"per_million": {"input": "1", "cache_read": "0.1", "output": "2", "reasoning": "8"}, "cases": [
                {"above": 32_000, "per_million": {"input": "4", "cache_read": "4", "output": "6", "reasoning": "6"}}]}),
        ),
        // More than 127 are 128 and more.
        ("from", json!({"per_million": {"input": "1"}, "cases": [{"above": 127, "per_million": {"input": "2"}}]})),
        (
            "thinks-1",
            json!({"per_million": {"output": "1", "reasoning": "3"},
                "cases": [{"tier": "priority", "per_million": {"output": "2", "reasoning": "2"}}]}),
        ),
        ("rank-1", json!({"per_million": {"input": "0"}, "per_call": "0.002"})),
        ("asks-1", json!({"per_million": {"input": "0"}, "per_call": "0.005"})),
        ("rented-1", json!({"per_second": "0.01475"})),
        ("free-1", json!({"per_million": {"input": "0", "output": "0"}})),
        ("same", json!({"per_million": {"input": "0.000001"}})),
        ("too-dear", json!({"per_million": {"output": "1000000"}})),
    ] {
        let mut wanted = wanted;
        wanted["models"] = json!([model]);
        assert_eq!(prices(&[model]).0, [wanted], "{model}");
    }
}

#[test]
fn what_weir_cannot_charge_is_named() {
    for (model, wanted) in [
        ("plain-1", vec![]),
        (
            "org.model-v1:0",
            vec![
                "cache_creation_input_token_cost_above_12hr",
                "provider_specific_entry",
                "regional_endpoint_uplift_multiplier",
                "search_context_cost_per_query",
            ],
        ),
        // An image's tokens in the prompt cost what others do.
        ("sound", vec!["input_cost_per_token_unheard", "output_cost_per_image_token"]),
        ("hears-1", vec!["input_cost_per_second"]),
        ("draws-1", vec!["input_cost_per_pixel", "output_cost_per_image"]),
        ("too-dear", vec!["input_cost_per_token"]),
    ] {
        let unpaid = prices(&[model]).1.into_values().flatten().collect::<Vec<_>>();
        assert_eq!(unpaid, wanted, "{model}");
    }
}

#[test]
fn models_of_one_price_share_it_and_patterns_name_many() {
    let models = |wanted: &[&str]| prices(wanted).0.iter().map(|price| price["models"].clone()).collect::<Vec<_>>();
    assert_eq!(models(&["plain-1", "plain-1-dated", "mine=plain-1"]), [json!(["mine", "plain-1", "plain-1-dated"])]);
    assert_eq!(models(&["plain*"]), [json!(["plain-1", "plain-1-dated"])]);
    assert_eq!(models(&["*/*same"]), [json!(["same"])]);
    assert_eq!(models(&["groq/*", "qwen/thinks"]), [json!(["fast-1"]), json!(["thinks"])]);
    let many: Vec<String> = (0..70).map(|n| format!("m{n:02}=plain-1")).collect();
    let many = models(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(many.iter().map(|names| names.as_array().unwrap().len()).collect::<Vec<_>>(), [32, 32, 6]);
}

/// A line of an access log.
fn line(form: usize, asked: &str, answered: Option<&str>) -> String {
    let record = Record {
        api: "openai.chat_completions",
        request_model: Some(asked.to_owned()),
        response_model: answered.map(str::to_owned),
        ..Record::default()
    };
    let record = record.to_json();
    match form {
        0 => record,
        1 => format!("{{\"time\":\"now\",\"weir\":{record}}}"),
        2 => json!({"a": "{\"v\":1", "weir": record}).to_string(),
        _ => format!("[now] \"POST /\" 200 {record} tail"),
    }
}

#[test]
fn the_models_of_an_access_log_are_found_and_those_that_are_not_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_file(dir.path(), "model_prices.json", FILE);
    let calls = [
        ("plain-1", Some("plain-1-dated")),
        ("my-deployment", Some("plain-1-dated")),
        ("fast-1", None),
        ("models/sound", Some("sound")),
        ("eu.org.model-v1:0", None),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.org.model-v1:0", None),
        ("nobody's", None),
        ("nobody's", Some("no one's")),
        ("draws-1", None),
    ];
    let lines: Vec<_> = calls.iter().enumerate().map(|(n, (asked, answered))| line(n % 4, asked, *answered)).collect();
    let log = in_file(dir.path(), "access.log", &format!("not a record\n{}\n\n{{\"v\":", lines.join("\n")));
    let told = weirctl(&["prices", "--from", &file, "--seen", &log]);
    let said = text(&told.stderr);
    assert!(told.status.success(), "{said}");
    let config: Value = serde_json::from_slice(&told.stdout).unwrap();
    let names: Vec<_> =
        config["prices"].as_array().unwrap().iter().flat_map(|p| p["models"].as_array().unwrap()).collect();
    assert_eq!(
        names,
        [
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.org.model-v1:0",
            "eu.org.model-v1:0",
            "fast-1",
            "models/sound",
            "sound",
            "plain-1",
            "plain-1-dated"
        ]
    );
    for wanted in [
        "no model `my-deployment`, in calls: 1",
        "no model `nobody's`, in calls: 2",
        "no model `no one's`, in calls: 1",
        "`draws-1` has no price that weir can charge, in calls: 1",
        "`fast-1`: priced as `groq/fast-1`; other prices: zeta/fast-1",
        "`eu.org.model-v1:0`: priced as `org.model-v1:0`",
        "`groq/fast-1`: input_cost_per_token 5.0000000000000004E-8 is rounded to 0.05 dollars",
        "`groq/fast-1`: output_cost_per_token 3.337860107421875e-08 is rounded to 0.033378601 dollars",
        "`draws-1`: not charged: input_cost_per_pixel, output_cost_per_image",
        "3 of 9 calls have no price",
    ] {
        assert!(said.contains(wanted), "{wanted}:\n{said}");
    }
    // The whole of it as JSON, and the same prices.
    let told = weirctl(&["prices", "--from", &file, "--seen", &log, "--json"]);
    let all: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&all["prices"], &all["calls"], &all["calls_without_price"]), (&config["prices"], &json!(9), &json!(3)));
    assert_eq!(all["not_found"], json!(["my-deployment", "no one's", "nobody's"]));
    assert_eq!(all["from"]["sound"], "gemini/sound");
    // What it prints is a config.
    let config = in_file(dir.path(), "weir.json", &config.to_string());
    assert!(weirctl(&["check", &config]).status.success());
}

#[test]
fn a_provider_that_is_named_comes_before_what_stands_literally() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_file(dir.path(), "model_prices.json", FILE);
    for (provider, model, key) in
        [("acme", "plain-1", "acme/plain-1"), ("zeta,acme", "same", "zeta/same"), ("zeta", "plain-1", "plain-1")]
    {
        let told = weirctl(&["prices", "--from", &file, "--models", model, "--provider", provider, "--json"]);
        let all: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(all["from"][model], key, "{all}");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_files_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_file(dir.path(), "model_prices.json", FILE);
    let list = in_file(dir.path(), "list.json", "[1]");
    let other = in_file(dir.path(), "other.json", r#"{"a": {"b": 1}}"#);
    let flat = in_file(dir.path(), "flat.json", r#"{"a": 1}"#);
    let log = in_file(dir.path(), "access.log", "GET / 200\n");
    let gone = dir.path().join("gone.json").to_str().unwrap().to_owned();
    for (arguments, code, wanted) in [
        (vec!["--from", &gone, "--models", "a"], 1, "gone.json: No such file"),
        (vec!["--from", &list, "--models", "a"], 1, "list.json is not LiteLLM's price file: no JSON object of models"),
        (vec!["--from", &other, "--models", "a"], 1, "other.json is not LiteLLM's price file: no model has a"),
        (vec!["--from", &flat, "--models", "a"], 1, "flat.json is not LiteLLM's price file: `a` is no object"),
        (vec!["--from", &file, "--models", "nope"], 1, "model_prices.json: no model `nope`"),
        (vec!["--from", &file, "--models", "plain-1,nope"], 1, "model_prices.json: no model `nope`"),
        (vec!["--from", &file, "--models", "nope*"], 1, "model_prices.json: no model `nope*`"),
        (vec!["--from", &file, "--models", "a=nope"], 1, "model_prices.json: no model `nope`"),
        (vec!["--from", &file, "--models", "draws-1"], 1, "none of the models has a price there"),
        (vec!["--from", &file, "--seen", &log], 1, "access.log: no records of weir"),
        (vec!["--from", &file], 2, "--models"),
    ] {
        let told = weirctl(&[&["prices"], &arguments[..]].concat());
        let said = text(&told.stderr);
        assert!(told.status.code() == Some(code) && said.contains(wanted), "{arguments:?}: {said}");
        assert_eq!(told.stdout.is_empty(), !arguments.contains(&"plain-1,nope"), "{arguments:?}");
    }
}

#[test]
fn all_of_the_public_file_becomes_prices_that_a_config_can_have() {
    let path = root().join("../shared/prices/litellm_model_prices.json");
    if !path.is_file() {
        return skipped("LiteLLM's price file", "there is no ../shared/prices");
    }
    let file = File::open(&path).unwrap();
    let keys: Vec<&str> = file.keys().collect();
    let (mut priced, mut rounded, mut unpaid) = (0, 0, 0);
    let mut silent = Vec::new();
    for key in &keys {
        let mut wanted = Wanted::new(&file, &[]);
        wanted.named(&format!("m={key}"));
        let made = wanted.made();
        Config::parse(made.config().to_string().as_bytes()).unwrap_or_else(|error| panic!("{key}: {error}"));
        priced += made.prices.len();
        rounded += usize::from(!made.rounded.is_empty());
        unpaid += usize::from(!made.unpaid.is_empty());
        if made.prices.is_empty() && made.unpaid.is_empty() {
            silent.push(*key);
        }
    }
    eprintln!(
        "{} models: {priced} priced, {rounded} with rounded values, {unpaid} with what is not charged",
        keys.len()
    );
    // What has no price here has one that is named, or none in the file.
    let read = |key: &&&str| !file.read(key).unwrap().terms.is_empty();
    assert_eq!(silent.iter().filter(read).count(), 0);
    eprintln!("{} have no price in the file: {silent:?}", silent.len());
    assert!(priced * 10 > keys.len() * 8, "{priced} of {}", keys.len());
}
