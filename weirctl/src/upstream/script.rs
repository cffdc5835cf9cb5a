//! What the model says and when: made from the request and a seed, the same for all formats.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::ask::Ask;
use super::steer::{End, Steer};

/// One token, or the beginning of a tool call.
#[derive(Clone, Debug)]
pub struct Piece {
    /// How long after the piece before it, or after the prefill.
    pub gap: Duration,
    /// What it is.
    pub what: What,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A token of reasoning.
    Reasoning(String),
    /// A token of visible text.
    Text(String),
    /// A tool call begins; no token by itself.
    Call {
        /// Its id, without a provider's prefix.
        id: String,
        /// The tool.
        name: String,
    },
    /// A token of the call's arguments.
    Arguments(String),
}

/// Why generation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    Stop,
    /// There were no tokens left.
    Length,
    /// A tool is to be called.
    Tools,
}

/// The true token counts of an answer: `input` with what was cached, `output` with reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Of the prompt.
    pub input: u64,
    /// Those of them read from a cache.
    pub cached: u64,
    /// Generated.
    pub output: u64,
    /// Those of them that are reasoning.
    pub reasoning: u64,
}

/// An answer, before it has a format.
#[derive(Clone, Debug)]
pub struct Script {
    /// Seconds since the epoch.
    pub created: u64,
    /// Time from the request's end to the moment where the first token is begun.
    pub prefill: Duration,
    /// The tokens, up to where it breaks off.
    pub pieces: Vec<Piece>,
    /// Token counts.
    pub count: Count,
    /// Whether the counts are to be sent.
    pub usage: bool,
    /// Why it stopped.
    pub finish: Finish,
    /// How it ends.
    pub end: End,
    seed: u64,
}

/// A model's speed.
struct Pace {
    /// Before any prompt is read, in ms.
    start: f64,
    /// Per thousand tokens of prompt, in ms.
    prompt: f64,
    /// Between tokens, in ms.
    gap: f64,
}

/// Speeds by what stands in a model's name; the first that fits.
const PACES: &[(&[&str], Pace)] = &[
    (
        &["mini", "nano", "haiku", "flash", "small", "8b", "lite", "micro", "instant"],
        Pace { start: 55.0, prompt: 45.0, gap: 8.0 },
    ),
    (&["opus", "gpt-4.", "gpt-5", "pro", "large", "405b", "plus"], Pace { start: 190.0, prompt: 140.0, gap: 21.0 }),
    (&[""], Pace { start: 110.0, prompt: 85.0, gap: 13.0 }),
];

/// What stands in the names of models that think first.
const THINKERS: &[&str] = &["o1", "o3", "o4", "gpt-5", "r1", "reason", "think", "qwen3", "magistral", "2.5-pro"];

/// Characters per token, roughly, and what a chat's frame costs.
const CHARS_PER_TOKEN: u64 = 4;
const FRAME_TOKENS: u64 = 7;

/// Prompts from this length on find half of themselves in a cache, in steps of [`CACHE_STEP`].
const CACHE_FROM: u64 = 1024;
const CACHE_STEP: u64 = 128;

/// What a tool call's frame costs, in tokens.
const CALL_TOKENS: u64 = 6;

/// Characters of a call's arguments per token.
const ARGUMENT_CHARS: usize = 5;

impl Script {
    /// The answer to a request. The same request, header and seed give the same answer.
    pub fn write(ask: &Ask, steer: &Steer, created: u64, instance_seed: u64) -> Self {
        let seed = steer.seed.unwrap_or_else(|| hash(ask, instance_seed));
        let mut rng = fastrand::Rng::with_seed(seed);
        let input = steer.prompt.unwrap_or(ask.prompt_chars / CHARS_PER_TOKEN + FRAME_TOKENS);
        let half = if input >= CACHE_FROM { input / 2 / CACHE_STEP * CACHE_STEP } else { 0 };
        let cached = steer.cached.unwrap_or(half).min(input);
        let (mut said, finish) = say(ask, steer, &mut rng);
        let pace = PACES.iter().find(|(names, _)| names.iter().any(|name| ask.model.contains(name)));
        let pace = pace.map_or(&PACES[PACES.len() - 1].1, |(_, pace)| pace);
        let speed = steer.speed.unwrap_or(1.0);
        let scale = if speed > 0.0 { 1.0 / speed } else { 0.0 };
        let ms = |ms: f64| Duration::from_micros((ms * scale * 1000.0) as u64);
        let prefill = steer.prefill.unwrap_or_else(|| {
            let work = pace.start + pace.prompt * (input - cached) as f64 / 1000.0;
            ms(work * (0.85 + 0.5 * rng.f64()))
        });
        if let Some(stop) = (steer.end != End::Complete).then(|| steer.at.unwrap_or(said.len() as u64 / 2)) {
            said.truncate(stop as usize);
        }
        let middle = said.len() / 2;
        let pieces: Vec<Piece> = said
            .into_iter()
            .enumerate()
            .map(|(i, what)| {
                // Now and then a scheduler has other things to do.
                let late = if rng.f64() < 0.03 { 4.0 } else { 1.0 };
                let jittered = ms(pace.gap * late * (0.6 + 0.8 * rng.f64()));
                let own = match what {
                    What::Call { .. } => Duration::ZERO,
                    _ => steer.gap.unwrap_or(jittered),
                };
                let stall = steer.stall.filter(|_| i == middle && i > 0).unwrap_or_default();
                Piece { gap: own + stall.mul_f64(if speed > 0.0 { 1.0 } else { 0.0 }), what }
            })
            .collect();
        let tokens = |of: fn(&What) -> bool| pieces.iter().filter(|piece| of(&piece.what)).count() as u64;
        let calls = tokens(|what| matches!(what, What::Call { .. }));
        let reasoning = tokens(|what| matches!(what, What::Reasoning(_)));
        let output = pieces.len() as u64 - calls + calls * CALL_TOKENS;
        let count = Count { input, cached, output, reasoning };
        Self { created, prefill, pieces, count, usage: !steer.no_usage, finish, end: steer.end, seed }
    }

    /// An id: the prefix and so many letters and digits. The same prefix always gives the same id.
    pub fn id(&self, prefix: &str, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        self.digits(prefix, length, LETTERS)
    }

    /// The same in lower-case hexadecimal.
    pub fn hex(&self, prefix: &str, length: usize) -> String {
        self.digits(prefix, length, b"0123456789abcdef")
    }

    /// The same as a UUID.
    pub fn uuid(&self, salt: &str) -> String {
        let hex = self.hex(salt, 32).split_off(salt.len());
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }

    fn digits(&self, prefix: &str, length: usize, digits: &[u8]) -> String {
        let mut hasher = DefaultHasher::new();
        (self.seed, prefix).hash(&mut hasher);
        let mut rng = fastrand::Rng::with_seed(hasher.finish());
        let tail = (0..length).map(|_| digits[rng.usize(..digits.len())] as char);
        prefix.chars().chain(tail).collect()
    }

    /// The time from the prefill's end to the last piece.
    pub fn decode(&self) -> Duration {
        self.pieces.iter().map(|piece| piece.gap).sum()
    }

    /// All the visible text.
    pub fn text(&self) -> String {
        self.join(|what| match what {
            What::Text(text) => Some(text),
            _ => None,
        })
    }

    /// All the reasoning.
    pub fn reasoning(&self) -> String {
        self.join(|what| match what {
            What::Reasoning(text) => Some(text),
            _ => None,
        })
    }

    fn join(&self, of: fn(&What) -> Option<&String>) -> String {
        self.pieces.iter().filter_map(|piece| of(&piece.what)).map(String::as_str).collect()
    }

    /// The tool calls: id, name, arguments.
    pub fn calls(&self) -> Vec<(&str, &str, String)> {
        let mut calls: Vec<(&str, &str, String)> = Vec::new();
        for piece in &self.pieces {
            match &piece.what {
                What::Call { id, name } => calls.push((id, name, String::new())),
                What::Arguments(part) => {
                    if let Some((_, _, arguments)) = calls.last_mut() {
                        arguments.push_str(part);
                    }
                }
                _ => {}
            }
        }
        calls
    }
}

fn hash(ask: &Ask, instance_seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (instance_seed, &ask.path, &ask.model, ask.body.to_string()).hash(&mut hasher);
    hasher.finish()
}

/// What is said, without times.
fn say(ask: &Ask, steer: &Steer, rng: &mut fastrand::Rng) -> (Vec<What>, Finish) {
    let thinks = ask.thinking || THINKERS.iter().any(|name| ask.model.contains(name));
    let reasoning = steer.reasoning.unwrap_or_else(|| if thinks { rng.u64(30..90) } else { 0 });
    let mut said: Vec<What> = words(rng, reasoning).into_iter().map(What::Reasoning).collect();
    let calls = steer.tools.unwrap_or(ask.tools.len().min(1) as u64);
    let mut finish = Finish::Stop;
    if calls > 0 {
        finish = Finish::Tools;
        for i in 0..calls as usize {
            let (name, arguments) = match ask.tools.get(i % ask.tools.len().max(1)) {
                Some(tool) => (tool.name.clone(), tool.arguments.to_string()),
                None => ("get_weather".into(), r#"{"city":"Reykjavík","unit":"celsius"}"#.into()),
            };
            let id = (0..24).map(|_| rng.alphanumeric()).collect();
            said.push(What::Call { id, name });
            let letters: Vec<char> = arguments.chars().collect();
            said.extend(letters.chunks(ARGUMENT_CHARS).map(|part| What::Arguments(part.iter().collect())));
        }
    } else {
        let tokens = steer.tokens.unwrap_or_else(|| rng.u64(24..90));
        said.extend(words(rng, tokens).into_iter().map(What::Text));
    }
    // A limit counts reasoning too. Calls are never cut short: half a call's arguments would be no JSON.
    if let Some(most) = ask.max_tokens.filter(|most| finish == Finish::Stop && *most < said.len() as u64) {
        said.truncate(most as usize);
        finish = Finish::Length;
    }
    (said, finish)
}

/// So many tokens of text: words with a space in front, a full stop now and then, some with characters of several bytes.
fn words(rng: &mut fastrand::Rng, tokens: u64) -> Vec<String> {
    const WORDS: &[&str] = &[
        "water",
        "over",
        "the",
        "weir",
        "runs",
        "as",
        "a",
        "thin",
        "sheet",
        "and",
        "its",
        "height",
        "tells",
        "how",
        "much",
        "flows",
        "an",
        "engineer",
        "reads",
        "gauge",
        "once",
        "never",
        "touches",
        "stream",
        "salmon",
        "climb",
        "ladder",
        "beside",
        "it",
        "while",
        "mill",
        "wheel",
        "turns",
        "naïve",
        "größer",
        "água",
        "水",
        "😀",
        "\"quoted\"",
        "back\\slash",
    ];
    let mut begins = true;
    (0..tokens)
        .map(|i| {
            if !begins && i + 1 < tokens && rng.u8(..) < 20 {
                begins = true;
                return ".".to_owned();
            }
            if i > 0 && i + 1 == tokens {
                return ".".to_owned();
            }
            let word = WORDS[rng.usize(..WORDS.len())];
            let space = if i == 0 { "" } else { " " };
            let mut letters = word.chars();
            let first = letters.next().map(|c| if begins { c.to_uppercase().to_string() } else { c.to_string() });
            begins = false;
            format!("{space}{}{}", first.unwrap_or_default(), letters.as_str())
        })
        .collect()
}
