//! From a provider's counts to the one meaning that the record gives them.

use crate::record::{Billed, Usage, UsageSource};
use crate::wire::dialects::Sum;

/// Token counts as the provider says them, before they get one meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawUsage {
    /// As [`Field::Input`].
    pub input: Option<u64>,
    /// As [`Field::Output`].
    pub output: Option<u64>,
    /// As [`Field::Total`].
    pub total: Option<u64>,
    /// As [`Field::CacheRead`].
    pub cache_read: Option<u64>,
    /// As [`Field::CacheWrite`].
    pub cache_write: Option<u64>,
    /// As [`Field::CacheWriteHour`].
    pub cache_write_1h: Option<u64>,
    /// As [`Field::AudioInput`].
    pub input_audio: Option<u64>,
    /// As [`Field::AudioCached`].
    pub cached_audio: Option<u64>,
    /// As [`Field::AudioOutput`].
    pub output_audio: Option<u64>,
    /// As [`Field::ReasoningTokens`].
    pub reasoning: Option<u64>,
    /// As [`Field::ToolPrompt`].
    pub tool_prompt: Option<u64>,
}

impl RawUsage {
    /// Adds the counts of text that are not parts of others.
    pub fn add(&mut self, more: RawUsage) {
        let RawUsage { input, output, cache_read, cache_write, cache_write_1h, .. } = more;
        self.input = plus(self.input, input);
        self.output = plus(self.output, output);
        self.cache_read = plus(self.cache_read, cache_read);
        self.cache_write = plus(self.cache_write, cache_write);
        self.cache_write_1h = plus(self.cache_write_1h, cache_write_1h);
    }
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    }
}

/// Counts as reported, in OpenTelemetry's meaning: input with what was read from and written to the cache, output with
/// reasoning. `meter` and `headers` stand in, in this order, for what the answer itself leaves out. `beside` says that the
/// provider is known to count reasoning beside its output.
pub fn settle(sum: Sum, beside: bool, raw: RawUsage, meter: RawUsage, headers: RawUsage) -> Option<Usage> {
    let RawUsage { input, output, total, cache_read, cache_write, reasoning, tool_prompt, .. } = raw;
    let RawUsage { cache_write_1h, input_audio, cached_audio, output_audio, .. } = raw;
    let (input, output) = match sum {
        Sum::Inclusive | Sum::Billed => (input, with_reasoning(beside, raw)),
        Sum::InputOnly => (input.or(total.filter(|_| output.is_none())), output),
        Sum::CacheApart => (input.map(|i| plus(Some(i), plus(cache_read, cache_write)).unwrap_or(i)), output),
        Sum::ThoughtsApart => (plus(input, tool_prompt), with_thoughts(raw)),
    };
    let billed = Billed { input: meter.input, output: meter.output };
    let billed = Some(billed).filter(|b| sum == Sum::Billed && *b != Billed::default());
    let input = input.or(meter.input).or(headers.input);
    let output = output.or(meter.output).or(headers.output);
    if [input, output, total, cache_read, cache_write, reasoning].iter().all(Option::is_none) {
        return None;
    }
    let both = || Some(input?.saturating_add(output?));
    Some(Usage {
        source: UsageSource::Reported,
        input,
        output,
        cache_read,
        cache_write,
        cache_write_1h,
        reasoning,
        // Cached sound is cached input, and paid as such.
        input_audio: input_audio.map(|all| all.saturating_sub(cached_audio.unwrap_or(0))),
        output_audio,
        total: total.or_else(both),
        billed,
    })
}

/// Output with reasoning: most providers count it in. Where it is more than all output, or the total is larger by it, or the
/// provider is known for it, it is not.
fn with_reasoning(beside: bool, raw: RawUsage) -> Option<u64> {
    let RawUsage { input, output, total, reasoning: Some(reasoning), .. } = raw else { return raw.output };
    let counted = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
    let left = total.map(|total| total.saturating_sub(counted));
    let apart = reasoning > output.unwrap_or(0) || left.is_some_and(|left| left >= reasoning) || beside;
    if reasoning > 0 && apart { plus(output, Some(reasoning)) } else { output }
}

/// The same of Gemini, which counts it apart; some who are like it do not, as their total tells.
fn with_thoughts(raw: RawUsage) -> Option<u64> {
    let RawUsage { input, output, total, reasoning, tool_prompt, .. } = raw;
    let counted = plus(plus(input, tool_prompt), output);
    let within = reasoning > Some(0) && reasoning <= output && counted.is_some() && counted == total;
    if within { output } else { plus(output, reasoning) }
}
