//! What a call's client is told of it: at the answer's start in headers, at its end in trailers, and where the config says so in
//! a comment behind a stream's last event.

use super::Tells;
use crate::api::Api;
use crate::call::finished::Finished;
use crate::call::head::AtHead;
use crate::call::reply::Header;
use crate::call::subject::{Known, property_text};
use crate::port::{Flow, Headers};
use crate::record::UsageSource;
use crate::units::Span;
use crate::wire::body::Body;
use crate::wire::seams::Framing;

/// The longest value, in bytes: an ARN of a model has 120.
const MAX_VALUE: usize = 160;
/// The longest end of an event.
const SEAM: usize = 4;

/// What one call's client is told.
#[derive(Debug, Default)]
pub struct InCall {
    /// It takes trailers.
    trailers: bool,
    /// A comment can stand behind what the answer's headers announce.
    comment: bool,
    /// The last bytes that went on to it.
    tail: [u8; SEAM],
}

/// What is told at the end.
#[derive(Debug, Default)]
pub struct AtEnd {
    /// For behind the body.
    pub trailers: Vec<Header>,
    /// For the end of the body.
    pub comment: Option<String>,
}

impl InCall {
    /// The request's headers, as far as they say how the client can be told.
    pub fn head(&mut self, at: &AtHead<'_>, tells: Tells) {
        if !tells.trailers {
            return;
        }
        let te = at.head.text("te").unwrap_or_default();
        let wants = te.split(',').any(|coding| coding.trim().split(';').next() == Some("trailers"));
        // Over HTTP/1 a client that has not asked for them need not know what they are.
        let http1 = || {
            let protocol = property_text(at.properties, &["request", "protocol"]);
            protocol.is_none_or(|protocol| protocol.starts_with("HTTP/1"))
        };
        self.trailers = wants || !http1();
    }

    /// The answer's headers, as far as they say whether a comment can be put behind it.
    pub fn response_head(&mut self, api: Api, head: Headers<'_>, status: u16, tells: Tells) {
        let takes = matches!(
            api,
            Api::OpenAiChat
                | Api::OpenAiCompletions
                | Api::OpenAiResponses
                | Api::AnthropicMessages
                | Api::CohereChatV1
                | Api::CohereChatV2
        );
        let open = status < 400 && head.get("content-length").is_none();
        self.comment = tells.comment && takes && open;
    }

    /// What of an answer's piece goes on to the client.
    pub fn passes(&mut self, flow: &Flow, bytes: &[u8]) {
        if self.comment {
            let passing = if let Flow::Replace(other) = flow { other } else { bytes };
            for byte in passing.iter().skip(passing.len().saturating_sub(SEAM)) {
                self.tail.rotate_left(1);
                self.tail.iter_mut().last().into_iter().for_each(|last| *last = *byte);
            }
        }
    }

    /// What the answer's headers are to say: `limit` is the tightest limit and its verdict, `retry` which try it was.
    pub fn response_headers(
        known: Known<'_>,
        head: Headers<'_>,
        limit: Option<(&str, &'static str)>,
        retry: Option<String>,
    ) -> Vec<Header> {
        let subject = known.subject;
        let mut told = Vec::with_capacity(5);
        for (name, value) in [
            ("x-weir-call", Some(&*subject.call)),
            ("x-weir-run", subject.run.as_deref()),
            ("x-weir-model", known.model()),
        ] {
            told.extend(value.filter(|value| !value.is_empty()).map(|value| (name, clean(value))));
        }
        // Whoever is refused by a limit is told of it already.
        if let Some((name, verdict)) = limit.filter(|_| head.get("x-weir-limit").is_none()) {
            told.push(("x-weir-limit", [name, ";verdict=", verdict].concat()));
        }
        told.extend(retry.map(|retry| ("x-weir-retry", retry)));
        told
    }

    /// Whether anything is told at the end.
    pub fn tells_end(&self) -> bool {
        self.trailers || self.comment
    }

    /// What is told at the end of the answer's body; nothing is settled by it. `cost` is in nano-dollars.
    pub fn at_end(
        &self,
        call: &Finished<'_>,
        body: Option<&Body>,
        cost: Option<u64>,
        first_token: Option<Span>,
    ) -> AtEnd {
        let usage = call.usage;
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
        let mut told = AtEnd::default();
        if self.comment && self.is_between_events(body) {
            let id = Some(&*call.known.subject.call).filter(|id| !id.is_empty());
            let id = id.map(|id| ["call=", &clean(id)].concat());
            let ended = ["ended=", call.ended.word()].concat();
            let words: Vec<String> = id.into_iter().chain([ended]).chain(usage.iter().cloned()).collect();
            told.comment = Some([": weir ", &words.join(" "), "\n\n"].concat());
        }
        if self.trailers {
            told.trailers.push(("x-weir-ended", call.ended.word().to_owned()));
            if !usage.is_empty() {
                told.trailers.push(("x-weir-usage", usage.join(",")));
            }
            told.trailers.extend(cost.map(|cost| ("x-weir-cost", cost.to_string())));
            told.trailers.extend(first_token.map(|span| ("x-weir-ttft-ms", span.round_ms().to_string())));
        }
        told
    }

    /// Whether the client has just got the end of an event.
    fn is_between_events(&self, body: Option<&Body>) -> bool {
        let sse = body.and_then(|body| body.events_apart()) == Some(Framing::Sse);
        sse && [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].iter().any(|end| self.tail.ends_with(end))
    }
}

/// A value as a header may have it: cut, and what is not printable ASCII replaced.
fn clean(value: &str) -> String {
    let fine = |b: u8| if b.is_ascii_graphic() { char::from(b) } else { '_' };
    value.bytes().take(MAX_VALUE).map(fine).collect()
}
