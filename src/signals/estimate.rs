//! Token counts where the provider reports none.
//!
//! A text's tokens are its bytes (as they stand in the JSON) divided by the model's bytes per token. That ratio begins at
//! [`PRIOR`] and follows the calls of the same model that did report: an exponentially weighted mean, of prompts
//! and of answers apart. Reasoning that a provider hides would spoil it, so calls with reasoning tokens teach nothing of answers.

use std::collections::BTreeMap;

/// Bytes per token before anything is known: English prose in today's tokenizers.
pub const PRIOR: f64 = 4.0;
/// The weight of the newest call.
const WEIGHT: f64 = 0.2;
/// Ratios outside this range come from something else than text (images, a cached prompt).
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 1.0..=12.0;
/// Most models remembered; those beyond share one ratio.
const MAX_MODELS: usize = 128;

/// Bytes per token of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes {
    input: f64,
    output: f64,
}

/// The ratios that one worker has learned.
#[derive(Debug)]
pub struct Estimator {
    models: BTreeMap<Box<str>, Bytes>,
    others: Bytes,
}

impl Default for Estimator {
    fn default() -> Self {
        Self { models: BTreeMap::new(), others: Bytes { input: PRIOR, output: PRIOR } }
    }
}

impl Estimator {
    fn ratio(&mut self, model: &str) -> &mut Bytes {
        if !self.models.contains_key(model) {
            if self.models.len() >= MAX_MODELS {
                return &mut self.others;
            }
            self.models.insert(model.into(), Bytes { input: PRIOR, output: PRIOR });
        }
        self.models.get_mut(model).unwrap_or(&mut self.others)
    }

    /// Learns from a call whose prompt and answer were counted by the provider.
    pub fn learn(&mut self, model: &str, prompt: (u64, Option<u64>), answer: (u64, Option<u64>)) {
        let ratio = self.ratio(model);
        follow(&mut ratio.input, prompt);
        follow(&mut ratio.output, answer);
    }

    /// What is known of a model. To ask teaches nothing: a made-up name takes no place.
    fn known(&self, model: &str) -> &Bytes {
        self.models.get(model).unwrap_or(&self.others)
    }

    /// The tokens of a prompt of so many bytes.
    pub fn input(&self, model: &str, bytes: u64) -> u64 {
        tokens(bytes, self.known(model).input)
    }

    /// The tokens of an answer of so many bytes.
    pub fn output(&self, model: &str, bytes: u64) -> u64 {
        tokens(bytes, self.known(model).output)
    }

    /// The bytes of an answer of so many tokens.
    pub fn output_bytes(&self, model: &str, tokens: u64) -> u64 {
        (tokens as f64 * self.known(model).output) as u64
    }
}

fn follow(ratio: &mut f64, (bytes, tokens): (u64, Option<u64>)) {
    let Some(tokens) = tokens.filter(|t| *t > 0 && bytes > 0) else { return };
    let seen = bytes as f64 / tokens as f64;
    if PLAUSIBLE.contains(&seen) {
        *ratio += (seen - *ratio) * WEIGHT;
    }
}

fn tokens(bytes: u64, ratio: f64) -> u64 {
    if bytes == 0 { 0 } else { ((bytes as f64 / ratio).round() as u64).max(1) }
}

/// What a token of one model's answers is worth in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ratio<'a> {
    estimator: &'a Estimator,
    model: &'a str,
}

impl Estimator {
    /// Of a model.
    pub fn of<'a>(&'a self, model: Option<&'a str>) -> Ratio<'a> {
        Ratio { estimator: self, model: model.unwrap_or_default() }
    }
}

impl Ratio<'_> {
    /// The tokens of an answer of so many bytes.
    pub fn tokens(self, bytes: u64) -> u64 {
        self.estimator.output(self.model, bytes)
    }

    /// The bytes of an answer of so many tokens.
    pub fn bytes(self, tokens: u64) -> u64 {
        self.estimator.output_bytes(self.model, tokens)
    }
}
