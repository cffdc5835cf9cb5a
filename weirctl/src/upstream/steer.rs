//! How a caller steers the upstream: the request header `x-demo`, a list such as `tokens=40, stall=700, end=error`.
//!
//! | word | means |
//! |---|---|
//! | `seed=N` | what is random comes from this; without it from the request's own bytes |
//! | `tokens=N` | so many tokens of visible text, or of one tool call's arguments |
//! | `reasoning=N` | so many tokens of reasoning in front; 0 for none |
//! | `prompt=N`, `cached=N` | what the usage says of the prompt |
//! | `tools=N` | so many tool calls; 0 for none |
//! | `speed=X` | X times as fast; 0 is without any delay |
//! | `prefill=MS`, `gap=MS` | exactly this time to the first token and between tokens, without jitter |
//! | `stall=MS` | a gap in the middle of the tokens |
//! | `end=error`, `cut`, `reset`, `hang` | breaks off: with the provider's own error event; as if all were said; with a broken connection; never |
//! | `at=N` | breaks off after so many tokens instead of after half of them |
//! | `status=N` | refuses with this status |
//! | `usage=none` | sends no usage |
//! | `encoding=gzip`, `deflate` | compresses the body, event by event |
//! | `chunk=N` | cuts the body in pieces of N bytes, each written for itself |

use std::time::Duration;

/// The header's name.
pub const HEADER: &str = "x-demo";

/// How an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// As it should.
    #[default]
    Complete,
    /// With the provider's own error event, then the body's end.
    Error,
    /// The body ends, but not the format.
    Cut,
    /// The connection breaks.
    Reset,
    /// Nothing more comes, and nothing ends.
    Hang,
}

/// How the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// gzip.
    Gzip,
    /// zlib, which HTTP calls deflate.
    Deflate,
}

/// What a caller wants of an answer; what is not said is left to the seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steer {
    /// Where randomness comes from.
    pub seed: Option<u64>,
    /// Tokens of text.
    pub tokens: Option<u64>,
    /// Tokens of reasoning.
    pub reasoning: Option<u64>,
    /// Tokens of the prompt.
    pub prompt: Option<u64>,
    /// Those of them that came from a cache.
    pub cached: Option<u64>,
    /// Tool calls.
    pub tools: Option<u64>,
    /// Speed, relative to life.
    pub speed: Option<f64>,
    /// Time to the first token.
    pub prefill: Option<Duration>,
    /// Time between tokens.
    pub gap: Option<Duration>,
    /// A gap in the middle.
    pub stall: Option<Duration>,
    /// How it ends.
    pub end: End,
    /// After how many tokens it breaks off.
    pub at: Option<u64>,
    /// A status to refuse with.
    pub status: Option<u16>,
    /// Leaves out usage.
    pub no_usage: bool,
    /// Compression.
    pub encoding: Option<Encoding>,
    /// Bytes per write.
    pub chunk: Option<usize>,
}

impl Steer {
    /// Reads the header's value.
    ///
    /// # Errors
    /// A word that is not in the table, or a value that does not fit it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut steer = Self::default();
        for word in text.split([',', ';']).map(str::trim).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            steer.set(key, value).ok_or_else(|| format!("{HEADER}: `{word}` is not understood"))?;
        }
        Ok(steer)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let number = || value.parse::<u64>().ok();
        let millis = || {
            let ms = value.parse::<f64>().ok().filter(|ms| (0.0..3.6e6).contains(ms))?;
            Some(Duration::from_micros((ms * 1000.0) as u64))
        };
        match key {
            "seed" => self.seed = Some(number()?),
            "tokens" => self.tokens = Some(number()?),
            "reasoning" => self.reasoning = Some(number()?),
            "prompt" => self.prompt = Some(number()?),
            "cached" => self.cached = Some(number()?),
            "tools" => self.tools = Some(number()?),
            "speed" => self.speed = Some(value.parse().ok().filter(|speed: &f64| *speed >= 0.0 && speed.is_finite())?),
            "prefill" => self.prefill = Some(millis()?),
            "gap" => self.gap = Some(millis()?),
            "stall" => self.stall = Some(millis()?),
            "at" => self.at = Some(number()?),
            "chunk" => self.chunk = Some(value.parse().ok().filter(|n| *n > 0)?),
            "status" => self.status = Some(value.parse().ok().filter(|status| (400..600).contains(status))?),
            "usage" if value == "none" => self.no_usage = true,
            "encoding" => {
                self.encoding = Some(match value {
                    "gzip" => Encoding::Gzip,
                    "deflate" => Encoding::Deflate,
                    _ => return None,
                });
            }
            "end" => {
                self.end = match value {
                    "complete" => End::Complete,
                    "error" => End::Error,
                    "cut" => End::Cut,
                    "reset" => End::Reset,
                    "hang" => End::Hang,
                    _ => return None,
                };
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_word_by_word_and_an_unknown_one_is_refused() {
        let steer = Steer::read("tokens=40, stall=700; end=error,at=3, usage=none,gap=1.5").unwrap();
        let wanted = Steer {
            tokens: Some(40),
            stall: Some(Duration::from_millis(700)),
            end: End::Error,
            at: Some(3),
            no_usage: true,
            gap: Some(Duration::from_micros(1500)),
            ..Steer::default()
        };
        assert_eq!(steer, wanted);
        for wrong in ["tokens", "tokens=x", "end=well", "status=200", "speed=-1", "chunk=0", "nonsense=1"] {
            assert!(Steer::read(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
