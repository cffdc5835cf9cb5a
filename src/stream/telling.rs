//! What a caller is told of its call: at the answer's start in headers, at its end in trailers, and where the config says so in
//! a comment behind a stream's last event.

use super::Stream;
use super::admission::property_text;
use crate::api::Api;
use crate::end::{End, how_it_ended};
use crate::policies::limits::Limiter;
use crate::policies::limits::headers::Header;
use crate::port::{Flow, Headers, Properties};
use crate::record::{Ended, Usage, UsageSource};
use crate::signals::estimate::Estimator;
use crate::units::{Nanos, Span};
use crate::wire::seams::Framing;

/// The longest value, in bytes: an ARN of a model has 120.
const MAX_VALUE: usize = 160;
/// The longest end of an event.
const SEAM: usize = 4;

/// What one call's caller is told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Its client takes trailers.
    trailers: bool,
    /// A comment can stand behind what the answer's head announces.
    comment: bool,
    /// The last bytes that went on to the client.
    tail: [u8; SEAM],
}

/// What is told at the end.
#[derive(Debug, Default)]
pub struct Told {
    /// For behind the body.
    pub trailers: Vec<Header>,
    /// For the end of the body.
    pub comment: Option<String>,
}

/// What is known when the answer's body has ended: what the record will say.
struct Known {
    ended: Ended,
    usage: Usage,
    first_token: Option<Span>,
    /// In nano-dollars.
    cost: Option<u64>,
}

impl Stream {
    /// The request's head, as far as it says how its client can be told.
    pub fn audit_head(&mut self, head: Headers<'_>, properties: &dyn Properties) {
        if !self.config.audit.trailers {
            return;
        }
        let te = head.text("te").unwrap_or_default();
        let wants = te.split(',').any(|coding| coding.trim().split(';').next() == Some("trailers"));
        // Over HTTP/1 a client that has not asked for them need not know what they are.
        let http1 = || property_text(properties, &["request", "protocol"]).is_none_or(|p| p.starts_with("HTTP/1"));
        self.telling.trailers = wants || !http1();
    }

    /// The answer's head, as far as it says whether a comment can be put behind it.
    pub(super) fn comment_head(&mut self, head: Headers<'_>, status: u16) {
        let takes = matches!(
            self.asked.api,
            Api::OpenAiChat
                | Api::OpenAiCompletions
                | Api::OpenAiResponses
                | Api::AnthropicMessages
                | Api::CohereChatV1
                | Api::CohereChatV2
        );
        let open = status < 400 && head.get("content-length").is_none();
        self.telling.comment = self.config.audit.sse_comment && takes && open;
    }

    /// What of an answer's piece goes on to the client.
    pub(super) fn passes(&mut self, flow: Flow, bytes: &[u8]) -> Flow {
        if self.telling.comment {
            let passing = if let Flow::Replace(other) = &flow { other } else { bytes };
            let tail = &mut self.telling.tail;
            for byte in passing.iter().skip(passing.len().saturating_sub(SEAM)) {
                tail.rotate_left(1);
                tail.iter_mut().last().into_iter().for_each(|last| *last = *byte);
            }
        }
        flow
    }

    /// What the answer's head is to say.
    pub fn told_at_start(&self, limiter: &Limiter, head: Headers<'_>) -> Vec<Header> {
        if !self.config.audit.headers {
            return Vec::new();
        }
        let model = self.request.asked().model.as_deref().or(self.asked.model.as_deref());
        let mut told = Vec::with_capacity(5);
        for (name, value) in
            [("x-weir-call", Some(&*self.call)), ("x-weir-run", self.run.as_deref()), ("x-weir-model", model)]
        {
            told.extend(value.filter(|value| !value.is_empty()).map(|value| (name, clean(value))));
        }
        // Whoever is refused by a limit is told of it already.
        if let Some((name, verdict)) = self.tightest(limiter).filter(|_| head.get("x-weir-limit").is_none()) {
            told.push(("x-weir-limit", [name, ";verdict=", verdict].concat()));
        }
        told.extend(self.retry_told().map(|retry| ("x-weir-retry", retry)));
        told
    }

    /// Whether anything is told at the end.
    pub fn tells_end(&self) -> bool {
        self.telling.trailers || self.telling.comment
    }

    /// What is told at the end of the answer's body; nothing is settled by it.
    pub fn told_at_end(&self, estimator: &Estimator, properties: &dyn Properties, now: Nanos) -> Told {
        let Some(Known { ended, usage, first_token, cost }) = self.known(estimator, properties, now) else {
            return Told::default();
        };
        let counts = [
            ("input=", usage.input),
            ("output=", usage.output),
            ("cache_read=", usage.cache_read),
            ("cache_write=", usage.cache_write),
            ("reasoning=", usage.reasoning),
        ];
        let counts = counts.iter().filter_map(|(name, count)| Some([name, &*(*count)?.to_string()].concat()));
        let estimated = (usage.source == UsageSource::Estimated).then(|| "source=estimated".to_owned());
        let usage: Vec<String> = counts.chain(estimated).collect();
        let mut told = Told::default();
        if self.telling.comment && self.is_between_events() {
            let call = Some(&*self.call).filter(|call| !call.is_empty()).map(|call| ["call=", &clean(call)].concat());
            let ended = ["ended=", ended.word()].concat();
            let words: Vec<String> = call.into_iter().chain([ended]).chain(usage.iter().cloned()).collect();
            told.comment = Some([": weir ", &words.join(" "), "\n\n"].concat());
        }
        if self.telling.trailers {
            told.trailers.push(("x-weir-ended", ended.word().to_owned()));
            if !usage.is_empty() {
                told.trailers.push(("x-weir-usage", usage.join(",")));
            }
            told.trailers.extend(cost.map(|cost| ("x-weir-cost", cost.to_string())));
            told.trailers.extend(first_token.map(|span| ("x-weir-ttft-ms", span.round_ms().to_string())));
        }
        told
    }

    /// What is known at the answer's end, as the record will say it.
    fn known(&self, estimator: &Estimator, properties: &dyn Properties, now: Nanos) -> Option<Known> {
        let answer = self.answer.as_ref()?;
        let status = Some(answer.status).filter(|status| *status > 0);
        let success = answer.status < 400;
        let reached = properties.property(&["upstream", "address"]).is_some();
        let details = if success && reached { None } else { property_text(properties, &["response", "code_details"]) };
        let body = answer.body.as_ref();
        let end = End {
            ended: true,
            status,
            reached,
            details: details.as_deref(),
            failed: body.is_some_and(|body| body.facts().failed),
            whole: body.is_none_or(|body| body.is_whole()),
        };
        let ended = how_it_ended(&end);
        let facts = body.map(|body| body.facts());
        let reported = facts.and_then(|facts| self.reported(facts, answer.counts)).filter(|_| success);
        let asked = self.request.asked();
        let model = asked.model.as_deref().or(self.asked.model.as_deref());
        let model = model.or(facts.and_then(|facts| facts.model.as_deref())).unwrap_or_default();
        let bytes = (asked.prompt_bytes, self.content_bytes);
        let good = (success && facts.is_none_or(|facts| !facts.failed), ended == Ended::Complete);
        let usage = self.counted(estimator, reported, bytes, good, model);
        let stream = body.is_some_and(|body| body.is_stream());
        let cost = self.cost(facts, &usage, (success, reached), None, now).map(|cost| cost.total);
        Some(Known { ended, usage, first_token: self.timing.first_token().filter(|_| stream), cost })
    }

    /// Whether the client has just got the end of an event.
    fn is_between_events(&self) -> bool {
        let body = self.answer.as_ref().and_then(|answer| answer.body.as_ref());
        let sse = body.and_then(|body| body.events_apart()) == Some(Framing::Sse);
        sse && [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].iter().any(|end| self.telling.tail.ends_with(end))
    }
}

/// A value as a header may have it: cut, and what is not printable ASCII replaced.
fn clean(value: &str) -> String {
    let fine = |b: u8| if b.is_ascii_graphic() { char::from(b) } else { '_' };
    value.bytes().take(MAX_VALUE).map(fine).collect()
}
