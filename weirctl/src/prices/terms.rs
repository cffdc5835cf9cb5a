//! What a model costs, in the terms of the config's `prices`, from what LiteLLM's price file says of it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use weir::features::cost::config::Dollars;

use super::decimal::Decimal;

/// What the file says of one model.
pub type Entry = BTreeMap<String, Box<RawValue>>;

/// Rates by their names in the config, in billionths of a dollar for a million tokens.
type Rates = BTreeMap<&'static str, u64>;

/// The rates of the file, the longer name of two that begin alike first.
const RATES: [(&str, &str); 8] = [
    ("input_cost_per_token", "input"),
    ("output_cost_per_token", "output"),
    ("cache_read_input_token_cost", "cache_read"),
    ("cache_creation_input_token_cost_above_1hr", "cache_write_1h"),
    ("cache_creation_input_token_cost", "cache_write"),
    ("output_cost_per_reasoning_token", "reasoning"),
    ("input_cost_per_audio_token", "audio_input"),
    ("output_cost_per_audio_token", "audio_output"),
];

/// In which order people look for them.
const ORDER: [&str; 5] = ["input", "cache_read", "cache_write", "cache_write_1h", "output"];

/// Tiers: as the file has them, and what providers call them in their answers.
const TIERS: [(&str, &str); 5] = [
    ("priority", "priority"),
    ("flex", "flex"),
    ("batches", "batch"),
    ("balanced", "balanced"),
    ("ultrafast", "ultrafast"),
];
/// Gemini has other words for them in `trafficType`.
const TRAFFIC: [(&str, &str); 2] = [("priority", "ON_DEMAND_PRIORITY"), ("flex", "ON_DEMAND_FLEX")];

/// Rates of what weir counts as plain tokens: no loss where they are those of plain tokens.
const AS_PLAIN: [(&str, &str); 5] = [
    ("input_cost_per_image_token", "input"),
    ("input_cost_per_video_token", "input"),
    ("output_cost_per_image_token", "output"),
    ("cache_read_input_audio_token_cost", "cache_read"),
    ("cache_read_input_image_token_cost", "cache_read"),
];

/// Modes in which what is paid by the second is the call, and not the sound or the picture.
const TIMED: [&str; 3] = ["chat", "completion", "embedding"];
/// Modes in which a call is a query.
const QUERIES: [&str; 2] = ["rerank", "search"];
/// Providers whose larger size begins with the number, not above it.
const INCLUSIVE: [&str; 1] = ["xai"];
/// Most cases of a price.
const MAX_CASES: usize = 16;

/// Digits behind the point of a dollar, and of a dollar for a million tokens: powers of ten.
const DOLLAR: i32 = 9;
const MILLION: i32 = 15;

/// When other rates hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct When {
    tier: Option<&'static str>,
    above: Option<u64>,
}

/// What a model costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    per_million: Rates,
    cases: BTreeMap<When, Rates>,
    per_call: Option<u64>,
    per_second: Option<u64>,
}

/// What became of an entry.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What it costs.
    pub terms: Terms,
    /// Values that have more places than the config has: key, text, and what it became.
    pub rounded: Vec<(String, String, String)>,
    /// Keys of prices that weir cannot charge.
    pub unpaid: Vec<String>,
}

impl Terms {
    /// Whether nothing has a price.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A price of the config for models of these names.
    pub fn price(&self, models: &[String]) -> Value {
        let mut price = Map::new();
        price.insert("models".into(), json!(models));
        if !self.per_million.is_empty() {
            price.insert("per_million".into(), rates(&self.per_million));
        }
        if !self.cases.is_empty() {
            let cases = self.cases.iter().map(|(when, held)| {
                let mut case = Map::new();
                case.extend(when.tier.map(|tier| ("tier".to_owned(), json!(tier))));
                case.extend(when.above.map(|above| ("above".to_owned(), json!(above))));
                case.insert("per_million".into(), rates(held));
                Value::Object(case)
            });
            price.insert("cases".into(), cases.collect());
        }
        price.extend(self.per_call.map(|nanos| ("per_call".to_owned(), json!(dollars(nanos)))));
        price.extend(self.per_second.map(|nanos| ("per_second".to_owned(), json!(dollars(nanos)))));
        Value::Object(price)
    }

    /// Rates that hold in a case, or in none.
    fn held(&mut self, when: When) -> &mut Rates {
        if when == When::default() { &mut self.per_million } else { self.cases.entry(when).or_default() }
    }
}

fn rates(rates: &Rates) -> Value {
    let mut names: Vec<_> = rates.iter().collect();
    names.sort_by_key(|(name, _)| ORDER.iter().position(|other| other == *name).unwrap_or(ORDER.len()));
    Value::Object(names.into_iter().map(|(name, nanos)| ((*name).to_owned(), json!(dollars(*nanos)))).collect())
}

/// Text, for it is what it is: nobody takes it for a float.
fn dollars(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads an entry.
pub fn read(entry: &Entry) -> Read {
    let mut read = Read::default();
    for (key, value) in entry.iter().filter(|(key, _)| is_price(key)) {
        if !read.take(entry, key, value) && !is_nothing(value) {
            read.unpaid.push(key.clone());
        }
    }
    if let Some(tiers) = entry.get("tiered_pricing")
        && read.by_size(tiers)
    {
        read.unpaid.retain(|key| key != "tiered_pricing");
    }
    read.settle(text(entry, "litellm_provider"));
    let paid = |key: &str| {
        let plain = AS_PLAIN.iter().find(|(name, _)| *name == key);
        let rate = plain.and_then(|(_, rate)| read.terms.per_million.get(rate));
        rate.is_some() && rate.copied() == entry.get(key).and_then(|value| per_million(value.get()))
    };
    read.unpaid = std::mem::take(&mut read.unpaid).into_iter().filter(|key| !paid(key)).collect();
    read
}

impl Read {
    /// Takes a price, if it is one that the config can have.
    fn take(&mut self, entry: &Entry, key: &str, value: &RawValue) -> bool {
        let mode = text(entry, "mode");
        let alone = |other: &str| !entry.contains_key(other);
        match key {
            "input_cost_per_token_cache_hit" => {
                let there = entry.get("cache_read_input_token_cost");
                match there {
                    Some(there) => there.get() == value.get(),
                    None => self.rate(When::default(), "cache_read", key, value),
                }
            }
            "input_cost_per_request" => self.once(key, value, |terms| &mut terms.per_call),
            "input_cost_per_query" if QUERIES.contains(&mode) && alone("input_cost_per_request") => {
                self.once(key, value, |terms| &mut terms.per_call)
            }
            "cost_per_second" if TIMED.contains(&mode) => self.once(key, value, |terms| &mut terms.per_second),
            "input_cost_per_second" if TIMED.contains(&mode) => match entry.get("cost_per_second") {
                Some(there) => there.get() == value.get(),
                None => self.once(key, value, |terms| &mut terms.per_second),
            },
            _ => match place(key) {
                Some((rate, when)) => self.rate(when, rate, key, value),
                None => false,
            },
        }
    }

    fn rate(&mut self, when: When, rate: &'static str, key: &str, value: &RawValue) -> bool {
        let Some(nanos) = self.amount(key, value, MILLION) else { return false };
        self.terms.held(when).insert(rate, nanos);
        true
    }

    fn once(&mut self, key: &str, value: &RawValue, slot: fn(&mut Terms) -> &mut Option<u64>) -> bool {
        let Some(nanos) = self.amount(key, value, DOLLAR) else { return false };
        *slot(&mut self.terms) = Some(nanos).filter(|nanos| *nanos > 0);
        true
    }

    fn amount(&mut self, key: &str, value: &RawValue, places: i32) -> Option<u64> {
        let (nanos, all) = Decimal::read(value.get())?.times_ten_to(places)?;
        let text = dollars(nanos);
        // What the config has room for.
        Dollars::try_from(text.as_str()).ok()?;
        if !all {
            self.rounded.push((key.to_owned(), value.get().to_owned(), text));
        }
        Some(nanos)
    }

    /// `tiered_pricing`: the rates of all of a call by the size of its input. What a size leaves out is paid as its input or output.
    fn by_size(&mut self, tiers: &RawValue) -> bool {
        let Ok(tiers) = serde_json::from_str::<Vec<Entry>>(tiers.get()) else { return false };
        let from = |tier: &Entry| {
            let range: Vec<Box<RawValue>> = serde_json::from_str(tier.get("range")?.get()).ok()?;
            Some(Decimal::read(range.first()?.get())?.times_ten_to(0)?.0)
        };
        if !tiers.iter().all(|tier| from(tier).is_some() && tier.contains_key("input_cost_per_token")) {
            return false;
        }
        for tier in &tiers {
            let when = When { tier: None, above: from(tier).filter(|from| *from > 0) };
            for (key, value) in tier.iter().filter(|(key, _)| *key != "range") {
                let known = place(key).filter(|(_, inner)| *inner == When::default());
                if !known.is_some_and(|(rate, _)| self.rate(when.clone(), rate, key, value)) && !is_nothing(value) {
                    self.unpaid.push(format!("tiered_pricing.{key}"));
                }
            }
        }
        let base = self.terms.per_million.clone();
        for held in self.terms.cases.iter_mut().filter(|(when, _)| when.tier.is_none()).map(|(_, held)| held) {
            for rate in base.keys() {
                let of = if matches!(*rate, "output" | "reasoning" | "audio_output") { "output" } else { "input" };
                if let Some(other) = held.get(of).copied() {
                    held.entry(rate).or_insert(other);
                }
            }
        }
        true
    }

    /// What only shows when all rates are there.
    fn settle(&mut self, provider: &str) {
        let terms = &mut self.terms;
        if INCLUSIVE.contains(&provider) {
            let begins = |when: When| When { above: when.above.map(|above| above.saturating_sub(1)), ..when };
            terms.cases =
                std::mem::take(&mut terms.cases).into_iter().map(|(when, held)| (begins(when), held)).collect();
        }
        let reasoning = terms.per_million.get("reasoning").copied();
        if reasoning.is_some() && reasoning == terms.per_million.get("output").copied() {
            // The same in every case, then: not that of plain output in none.
            terms.per_million.remove("reasoning");
        } else if reasoning.is_some() {
            for (_, held) in terms.cases.iter_mut().filter(|(when, _)| when.tier.is_some()) {
                if let Some(output) = held.get("output").copied() {
                    held.entry("reasoning").or_insert(output);
                }
            }
        }
        if provider.starts_with("gemini") || provider.starts_with("vertex_ai") {
            let traffic = terms.cases.iter().filter_map(|(when, held)| {
                let (_, word) = TRAFFIC.iter().find(|(tier, _)| Some(*tier) == when.tier)?;
                Some((When { tier: Some(word), above: when.above }, held.clone()))
            });
            let traffic: Vec<_> = traffic.collect();
            terms.cases.extend(traffic);
        }
        // What comes as a batch does not come through a proxy, most of the time.
        if terms.cases.len() > MAX_CASES {
            self.unpaid.push("rates of batches".into());
            terms.cases.retain(|when, _| when.tier != Some("batch"));
        }
    }
}

/// The rate that a key of the file is, and when it holds.
fn place(key: &str) -> Option<(&'static str, When)> {
    let (rest, rate) = RATES.iter().find_map(|(front, rate)| Some((key.strip_prefix(front)?, *rate)))?;
    let (rest, above) = match rest.strip_prefix("_above_").and_then(|rest| rest.split_once("_tokens")) {
        Some((size, rest)) => (rest, Some(tokens(size)?)),
        None => (rest, None),
    };
    let tier = match rest {
        "" => None,
        rest => Some(TIERS.iter().find(|(name, _)| rest.strip_prefix('_') == Some(name))?.1),
    };
    Some((rate, When { tier, above }))
}

/// `200k`, or a number.
fn tokens(size: &str) -> Option<u64> {
    match size.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => size.parse().ok(),
    }
}

/// Whether a key is of something that is paid.
fn is_price(key: &str) -> bool {
    ["cost", "pricing", "multiplier"].iter().any(|word| key.contains(word)) || key == "provider_specific_entry"
}

/// Whether a price is zero, or a number that changes none, or no number at all.
fn is_nothing(value: &RawValue) -> bool {
    match serde_json::from_str(value.get()) {
        Ok(Value::Object(inner)) => {
            inner.values().all(|value| value.is_null() || value.is_string() || value.as_f64().is_some_and(|n| n == 0.0))
        }
        Ok(Value::Array(inner)) => inner.is_empty(),
        Ok(Value::Number(_)) => Decimal::read(value.get()).is_some_and(Decimal::is_zero),
        Ok(Value::String(_)) => Decimal::read(value.get()).is_none_or(Decimal::is_zero),
        _ => true,
    }
}

fn per_million(text: &str) -> Option<u64> {
    Some(Decimal::read(text)?.times_ten_to(MILLION)?.0)
}

fn text<'a>(entry: &'a Entry, key: &str) -> &'a str {
    entry.get(key).map_or("", |value| value.get().trim_matches('"'))
}
