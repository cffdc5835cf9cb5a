//! LiteLLM's price file, and where in it a model stands.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::value::RawValue;

use super::terms::{self, Entry, Read};

/// Entries that are no models.
const NO_MODELS: [&str; 2] = ["sample_spec", "fallback_generalizations"];

/// Of several providers that have a model of the same name the first of these is taken: who made it, or serves nothing else.
const FIRST: [&str; 20] = [
    "openai",
    "anthropic",
    "gemini",
    "vertex_ai",
    "azure",
    "bedrock",
    "mistral",
    "groq",
    "xai",
    "deepseek",
    "cohere",
    "perplexity",
    "together_ai",
    "fireworks_ai",
    "cerebras",
    "openrouter",
    "sambanova",
    "deepinfra",
    "azure_ai",
    "watsonx",
];

/// The file's models.
#[derive(Debug)]
pub struct File {
    models: BTreeMap<String, Entry>,
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The key in the file.
    pub key: String,
    /// It stands there by just this name.
    pub literal: bool,
    /// Other keys that it could be, which have other prices.
    pub others: Vec<String>,
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or not of that shape.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not LiteLLM's price file", path.display()))
    }

    /// Reads its text.
    ///
    /// # Errors
    /// It is not of that shape.
    pub fn parse(text: &str) -> Result<Self> {
        let all: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).context("no JSON object of models")?;
        let mut models = BTreeMap::new();
        for (name, value) in all.into_iter().filter(|(name, _)| !NO_MODELS.contains(&name.as_str())) {
            let entry: Entry = serde_json::from_str(value.get()).with_context(|| format!("`{name}` is no object"))?;
            models.insert(name, entry);
        }
        let known =
            |entry: &Entry| entry.contains_key("litellm_provider") || entry.contains_key("input_cost_per_token");
        ensure!(models.values().any(known), "no model has a `litellm_provider` or an `input_cost_per_token`");
        Ok(Self { models })
    }

    /// The keys of all models.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// What a key's model costs.
    pub fn read(&self, key: &str) -> Option<Read> {
        self.models.get(key).map(terms::read)
    }

    /// A key's name as clients call the model: without the provider in front.
    pub fn wire_name<'k>(&self, key: &'k str) -> &'k str {
        let provider = self.models.get(key).and_then(|entry| entry.get("litellm_provider"));
        let provider = provider.map_or("", |value| value.get().trim_matches('"'));
        match key.split_once('/') {
            Some((front, name)) if provider.starts_with(front) => name,
            _ => key,
        }
    }

    /// Where the model of a name stands: under it; under its provider's name in front of it, these providers first; else under it
    /// without what only says where it runs.
    pub fn find(&self, name: &str, providers: &[String]) -> Option<Place> {
        let bare = bare(name);
        let asked = (!providers.is_empty()).then(|| self.behind_provider(bare, providers, true));
        if let Some(place) = asked.flatten() {
            return Some(place);
        }
        for name in [name, bare] {
            if self.models.contains_key(name) {
                return Some(Place { key: name.to_owned(), literal: true, others: Vec::new() });
            }
        }
        self.behind_provider(bare, providers, false).or_else(|| {
            // `eu.` of `eu.anthropic.claude-…`.
            let (region, rest) = bare.split_once('.')?;
            let is_region =
                (2..=6).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            let there = is_region && self.models.contains_key(rest);
            there.then(|| Place { key: rest.to_owned(), literal: false, others: Vec::new() })
        })
    }

    /// Keys that end in the name behind a provider's: the best of them. `only` these providers count, or all.
    fn behind_provider(&self, name: &str, providers: &[String], only: bool) -> Option<Place> {
        let front = |key: &'_ str| key.split_once('/').map(|(front, _)| front.to_owned()).unwrap_or_default();
        let rank = |key: &str| {
            let front = front(key);
            let asked = providers.iter().position(|provider| *provider == front);
            let known = FIRST.iter().position(|provider| **provider == front);
            (asked.unwrap_or(usize::MAX), key.matches('/').count(), known.unwrap_or(usize::MAX))
        };
        let is = |key: &&String| key.strip_suffix(name).is_some_and(|front| front.ends_with('/') && front.len() > 1);
        let mut keys: Vec<&String> =
            self.models.keys().filter(is).filter(|key| !only || rank(key).0 < usize::MAX).collect();
        let unpriced = |key: &String| self.read(key).is_none_or(|read| read.terms.is_empty());
        keys.sort_by_key(|key| (unpriced(key), rank(key)));
        let key = *keys.first()?;
        let terms = self.read(key)?.terms;
        let differs = |key: &&&String| !unpriced(key) && self.read(key).is_some_and(|read| read.terms != terms);
        let asked = rank(key).0 < usize::MAX;
        let others = keys.iter().skip(1).filter(differs).filter(|_| !asked).map(|key| (*key).clone()).collect();
        Some(Place { key: key.clone(), literal: false, others })
    }
}

/// A name without `models/`, and the id in an ARN.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix("models/").unwrap_or(name);
    if name.starts_with("arn:") { name.rsplit('/').next().unwrap_or(name) } else { name }
}
