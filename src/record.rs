//! The record: one JSON object per call, the contract with everyone downstream (docs/record.md).
//!
//! An absent fact is an absent key; zero is zero.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

/// The version of the record's shape, in its `v`.
pub const VERSION: u8 = 1;

/// One call, from the request's first header to the response's last byte, or to whatever ended it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// The version of the record's shape, [`VERSION`].
    pub v: u8,
    /// The call's id: Envoy's `x-request-id`.
    pub call: String,
    /// Envoy's route name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Envoy's cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Who pays, as the config's `identity` finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The agent's request tree that the call is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The kind of API, see [`crate::api::Api`].
    pub api: &'static str,
    /// OpenTelemetry's `gen_ai.provider.name`, where host or API tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'static str>,
    /// The model asked for, in the body or the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    /// Whether the answer came as a stream of events.
    pub stream: bool,
    /// The most tokens the request wants generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The HTTP status, if an answer began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How the call ended.
    pub ended: Ended,
    /// The provider's own error type or code; else the status, or how the call broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Why each choice ended, in the provider's words and the choices' order; for Responses the status.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub time: Times,
    /// Where the call went.
    #[serde(skip_serializing_if = "Upstream::is_empty")]
    pub upstream: Upstream,
    /// Names of the tools the model asked the client to call, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Names of the tools the request offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools_offered: Vec<String>,
    /// OpenAI's `system_fingerprint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// The tier in which the provider says that it served the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// The answer's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Envoy's own attempts at the call, where the filter is in the upstream's chain too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The limits that count the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limited>,
    /// Which try it was, where retries are told and it was not the first; and for what was refused with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What kind of call it is to those who pay: `model`, `embedding`, `tool`, …; nothing where the config does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it cost, where the config has prices for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The tool calls that the model asked for, where the config wants them told apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The tools that ran: one, or several in an MCP batch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_runs: Vec<ToolRun>,
    /// Where it stands in its run's plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStep>,
    /// Events of the stream, or JSON documents of the body, that were read.
    pub events: u64,
    /// Events or bodies that could not be read (see `weir_unread_total`).
    pub unread: u64,
}

/// One of Envoy's own attempts at a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attempt {
    /// The upstream host's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The HTTP status, if an answer began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The first byte of its answer, its headers', since the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Its end, since it began; nothing if it still ran when the call was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
}

/// What one limit had to do with a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limited {
    /// The limit's name.
    pub name: String,
    /// `pass`, `refuse`, `shadow` (it would have been refused or cut), `warn`, `cut`, `open` and `closed` (it could not be
    /// decided, and passed or was refused).
    pub verdict: &'static str,
    /// Reserved when it was let go, in what the limit counts.
    pub reserved: u64,
    /// Charged when it was over.
    pub charged: u64,
    /// How long it waited for this limit.
    pub waited_ms: f64,
}

/// Which try a call was.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Retry {
    /// Counted from 1, the first try.
    pub attempt: u32,
    /// Who says so: `stainless`, `envoy`, `amz_sdk`, `header`, `idempotency_key` or `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// The id of the first try, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// `pass`, `refuse` (no budget), `deadline` (too late), `circuit` (it is open), `shadow` (it would have been refused),
    /// `open` (it could not be decided, and passed).
    pub verdict: &'static str,
}

/// What a call cost, in nano-dollars (10⁻⁹ US dollars). The parts are those of `total` that each kind of token makes;
/// what is no token (a price per call or second) is in `total` alone. Rounded so that they add up (docs/cost.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// All of it.
    pub total: u64,
    /// Input tokens that are in no cache, sound too.
    #[serde(skip_serializing_if = "is_zero")]
    pub input: u64,
    /// Output tokens without reasoning, sound too.
    #[serde(skip_serializing_if = "is_zero")]
    pub output: u64,
    /// Input tokens read from a cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Input tokens written to a cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// Output tokens of reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// As much of `total` as bought nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub waste: u64,
    /// Why: `failed`, `retried`, `cancelled`, `refused` or `duplicated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waste_reason: Option<&'static str>,
}

/// A tool call that a model asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The provider's id for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Bytes of its arguments, as JSON.
    pub bytes: u64,
    /// A keyed hash of its arguments, in 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The arguments themselves, only where the config says so: capped and redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}

/// A tool that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolRun {
    /// The tool's name.
    pub name: String,
    /// `ok`, `error` (the tool says so), `failed` (it never came to an answer), `refused` (it was never asked), `unread` (its answer
    /// was too large to be read).
    pub outcome: &'static str,
    /// The call that asked for it: its id in the model's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The id of the exchange in which a model asked for it; nothing if nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Bytes of its arguments.
    pub bytes: u64,
    /// A keyed hash of its arguments, in 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Bytes of its result.
    pub result_bytes: u64,
    /// Until its result came, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

/// Where a call stands in its run's plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlanStep {
    /// The step of the plan that the call was, counted from 1; if it was none, the one that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// How many steps the plan has.
    pub of: u32,
    /// `matched`, `skipped`, `unplanned`, `out_of_order` or `wrong_target`.
    pub verdict: &'static str,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// The run's adherence so far, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adherence: Option<u8>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a call ended. The numbers are those of [`Ended::WORDS`], and stored: none may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// The answer came whole.
    #[default]
    Complete,
    /// The client went away first.
    ClientAbort,
    /// The upstream broke off, timed out, or could not be reached.
    UpstreamReset,
    /// The proxy answered by itself; no upstream heard of the call.
    Refused,
    /// The provider said so: a status of 400 or more, or an error event in a stream of status 200.
    Error,
    /// The body ended without the format's own end.
    Truncated,
}

impl Ended {
    /// The words for them, by number: in the record, in metrics, in what is stored.
    pub const WORDS: [&str; 6] = ["complete", "client_abort", "upstream_reset", "refused", "error", "truncated"];

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS.get(usize::from(self.number())).copied().unwrap_or_default()
    }
}

impl Serialize for Ended {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// Tokens, with one meaning for all providers (OpenTelemetry GenAI): `input` includes what was read from and
/// written to the cache, `output` includes reasoning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Where the counts come from.
    pub source: UsageSource,
    /// Input tokens, with cached and cache-written ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Output tokens, with reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Input tokens read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// As many of those as were written to stay for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<u64>,
    /// Output tokens of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
    /// Input tokens that are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<u64>,
    /// Output tokens that are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<u64>,
    /// As reported; else input and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// As many of them as are billed, where the provider tells that apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billed: Option<Billed>,
}

/// Tokens that are billed, where a provider counts them apart from those that its model read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// Of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

/// Where the token counts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider sent them.
    Reported,
    /// The provider sent none; counted from bytes and events (docs/record.md, "Estimates").
    Estimated,
    /// Nothing to count.
    #[default]
    None,
}

/// Milliseconds since the request was complete at the filter, with microseconds after the point.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// The answer's headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_ms: Option<f64>,
    /// The first byte of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// The first generated content: text, reasoning, a tool call's argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// The first text a user can see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_text_ms: Option<f64>,
    /// The last generated content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token_ms: Option<f64>,
    /// The end of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
    /// Median gap between tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_p50_ms: Option<f64>,
    /// 99th percentile of the gaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_p99_ms: Option<f64>,
    /// The longest gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_max_ms: Option<f64>,
    /// Gaps between tokens longer than `stall_ms` of the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalls: Option<u64>,
    /// OpenTelemetry's time per output token: (end - first token) / (output tokens - 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_ms: Option<f64>,
    /// What the server says of its own time.
    #[serde(skip_serializing_if = "ServerTimes::is_empty")]
    pub server: ServerTimes,
}

/// What the server says of its own time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerTimes {
    /// Waiting for a slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<f64>,
    /// Reading the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_ms: Option<f64>,
    /// Writing the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_ms: Option<f64>,
    /// Loading the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<f64>,
    /// Time to first token as the server saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// The whole of it, as the server saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
    /// `openai-processing-ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_ms: Option<f64>,
    /// `x-envoy-upstream-service-time`: until the answer's headers, as this Envoy's router measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_ms: Option<f64>,
}

impl ServerTimes {
    /// Fills in what the answer's body says beside what its headers say.
    pub fn merge(&mut self, body: &ServerTimes) {
        let Self { queue_ms, prompt_ms, decode_ms, load_ms, first_token_ms, total_ms, processing_ms, envoy_ms } = self;
        *queue_ms = body.queue_ms.or(*queue_ms);
        *prompt_ms = body.prompt_ms.or(*prompt_ms);
        *decode_ms = body.decode_ms.or(*decode_ms);
        *load_ms = body.load_ms.or(*load_ms);
        *first_token_ms = body.first_token_ms.or(*first_token_ms);
        *total_ms = body.total_ms.or(*total_ms);
        *processing_ms = body.processing_ms.or(*processing_ms);
        *envoy_ms = body.envoy_ms.or(*envoy_ms);
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the call went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// The upstream host's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Envoy's own attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Time until Envoy had a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_ms: Option<f64>,
}

impl Upstream {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    /// The record as JSON. Every part of it serialises, so this cannot fail; were it to, an empty object says so.
    pub fn to_json(&self) -> String {
        // Most records fit without growing.
        let mut json = Vec::with_capacity(1024);
        let written = self.serialize(&mut Serializer::with_formatter(&mut json, Compact));
        written.ok().and_then(|()| String::from_utf8(json).ok()).unwrap_or_else(|| "{}".to_owned())
    }
}

/// serde_json's own format, with a short way to write what most numbers of a record are: whole microseconds, in
/// milliseconds. The shortest digits of any number are a search in tables of 15 KB.
struct Compact;

impl Formatter for Compact {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let Some(us) = whole_us(value) else { return CompactFormatter.write_f64(writer, value) };
        self.write_u64(writer, us / 1000)?;
        let digits = [us / 100 % 10, us / 10 % 10, us % 10].map(|digit| b'0' + digit as u8);
        match digits {
            [a, b'0', b'0'] => writer.write_all(&[b'.', a]),
            [a, b, b'0'] => writer.write_all(&[b'.', a, b]),
            [a, b, c] => writer.write_all(&[b'.', a, b, c]),
        }
    }
}

/// The number of microseconds that this is in milliseconds, if it is a whole one of at most 15 digits: so many a number
/// always keeps, and no shorter ones are it.
fn whole_us(ms: f64) -> Option<u64> {
    if !(0.0..1e12).contains(&ms) || ms.is_sign_negative() {
        return None;
    }
    let us = (ms * 1000.0).round() as u64;
    (us as f64 / 1000.0 == ms).then_some(us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn written(value: f64) -> String {
        let record = Record { time: Times { total_ms: Some(value), ..Times::default() }, ..Record::default() };
        assert_eq!(record.to_json(), serde_json::to_string(&record).unwrap());
        let json: serde_json::Value = serde_json::from_str(&record.to_json()).unwrap();
        json["time"]["total_ms"].to_string()
    }

    #[test]
    fn times_are_written_as_serde_json_writes_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (0.01, "0.01"),
            (0.1, "0.1"),
            (7.0, "7.0"),
            (12.34, "12.34"),
            (12.3456, "12.3456"),
            (1e-7, "1e-7"),
            (999_999_999_999.999, "999999999999.999"),
            (1e12, "1000000000000.0"),
            (-1.5, "-1.5"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    proptest! {
        #[test]
        fn any_number_of_microseconds_is_written_as_serde_json_writes_it(us in 0u64..=1 << 60, shift in 0u32..60) {
            written((us >> shift) as f64 / 1000.0);
        }

        #[test]
        fn any_number_at_all_is_written_as_serde_json_writes_it(value in any::<f64>()) {
            written(value);
        }
    }
}
