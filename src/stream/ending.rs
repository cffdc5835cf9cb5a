//! How a call ended, and what it took: worked out once, for the record and for the answer's trailers alike.

use super::Asked;
use super::Stream;
use super::answer::{Answered, Seen};
use crate::api::Api;
use crate::call::end::{End, classify_end};
use crate::call::finished::Finished;
use crate::call::subject::{property_number, property_text};
use crate::features::{Features, Parts};
use crate::port::Properties;
use crate::record::{Ended, Record, Upstream, Usage, UsageSource, VERSION};
use crate::shared::Store;
use crate::signals::estimate::Estimator;
use crate::units::{Nanos, Span};
use crate::wire::dialects;
use crate::wire::facts::Facts;
use crate::wire::usage::{self, RawUsage};
use crate::worker::Worker;

/// In Envoy's `response.code_details`: no connection came about, so that no upstream had the request.
const UNHEARD: &[&str] = &["connection_failure", "connection_timeout", "overflow"];

/// How a call ended, and what it took.
#[derive(Debug)]
pub(super) struct Ending {
    pub ended: Ended,
    /// Envoy's `response.code_details`, where something was amiss.
    pub details: Option<String>,
    /// Where the upstream answered, if one was asked.
    pub address: Option<String>,
    /// Envoy's own attempts.
    pub attempts: Option<u64>,
    pub usage: Usage,
    /// The model asked for; where none was, the one that answered.
    pub model: Option<String>,
    /// Tokens of the content that came, by its bytes.
    pub written: u64,
}

impl Stream {
    pub(super) fn ending(&self, seen: &Seen<'_>, worker: &Worker, properties: &dyn Properties) -> Ending {
        let address = property_text(properties, &["upstream", "address"]);
        let reached = address.is_some();
        let success = seen.status.is_some_and(|status| status < 400);
        // Asked only where something is amiss: a property costs a microsecond.
        let fine = seen.ended && success && reached;
        let details = if fine { None } else { property_text(properties, &["response", "code_details"]) };
        let end = End {
            ended: seen.ended,
            status: seen.status,
            reached,
            details: details.as_deref(),
            failed: seen.facts.failed,
            whole: seen.whole,
        };
        let ended = if self.is_cut() { Ended::Truncated } else { classify_end(&end) };
        let model = self.known().model().or(seen.facts.model.as_deref()).map(str::to_owned);
        let reported = self.reported(seen.facts, seen.counts, seen.ended).filter(|_| success);
        let bytes = (self.request.asked().prompt_bytes, seen.content_bytes);
        // An error has no estimate, in a stream of status 200 neither: nothing says that it was billed.
        let unanswered = self.is_unanswered(ended, seen.status, details.as_deref()) && reached;
        let good = ((success && !seen.facts.failed) || unanswered, ended == Ended::Complete);
        let named = model.as_deref().unwrap_or_default();
        Ending {
            ended,
            details,
            address,
            attempts: property_number(properties, &["upstream", "request_attempt_count"]).filter(|n| *n > 0),
            usage: self.usage(&worker.estimator, reported, bytes, good, named),
            written: worker.estimator.output(named, seen.content_bytes),
            model,
        }
    }

    /// Whether the upstream had the request, and its client went or Envoy gave up before any answer: the prompt is read, and paid,
    /// all the same. An error that the upstream answered with is none of these.
    fn is_unanswered(&self, ended: Ended, status: Option<u16>, details: Option<&str>) -> bool {
        let unheard = |details: &str| UNHEARD.iter().any(|part| details.contains(part));
        let gone = match ended {
            Ended::ClientAbort => status.is_none(),
            Ended::UpstreamReset => status.is_none_or(|status| status >= 500),
            _ => false,
        };
        gone && self.gate != Asked::Refused && !details.is_some_and(unheard)
    }

    /// The call's tokens as the provider says them.
    fn reported(&self, facts: &Facts, counts: RawUsage, ended: bool) -> Option<Usage> {
        // What is no inference has no tokens, whatever its headers are called.
        let sum = dialects::of(self.subject.asked.api)?.sum;
        // These count reasoning beside their output; Perplexity's totals leave it out.
        let beside = match self.subject.asked.provider {
            Some("perplexity") => true,
            Some("x_ai") => facts.usage.total.is_none(),
            _ => false,
        };
        usage::settle(sum, beside, facts.usage, facts.meter, counts).or_else(|| {
            // A report without a count, of an answer without content: nothing to count, and nothing to estimate.
            let nothing = facts.usage_opened && ended && !facts.any;
            nothing.then(|| Usage { source: UsageSource::Reported, ..Usage::default() })
        })
    }

    /// The call's tokens: as reported, or estimated.
    fn usage(
        &self,
        estimator: &Estimator,
        reported: Option<Usage>,
        (prompt, content): (u64, u64),
        (success, complete): (bool, bool),
        model: &str,
    ) -> Usage {
        if let Some(usage) = reported {
            // What a stream that broke off had reported by then may say how it began (Anthropic's does), not what came.
            let seen = estimator.output(model, content);
            if success && !complete && self.config.usage.estimate && usage.output.unwrap_or(0) < seen {
                let total = usage.input.map(|input| input.saturating_add(seen));
                return Usage { source: UsageSource::Estimated, output: Some(seen), total, ..usage };
            }
            return usage;
        }
        let (text, estimates) = (self.subject.asked.api.is_text(), self.config.usage.estimate);
        let counts = success && text && estimates && (prompt > 0 || content > 0);
        if !counts {
            return Usage::default();
        }
        let input = estimator.input(model, prompt);
        let output = Some(estimator.output(model, content)).filter(|_| self.subject.asked.api.generates());
        let total = Some(input.saturating_add(output.unwrap_or(0)));
        Usage { source: UsageSource::Estimated, input: Some(input), output, total, ..Usage::default() }
    }

    /// A call whose tokens its provider counted teaches what a token is worth in bytes.
    pub(super) fn observe_tokens(&self, worker: &mut Worker, ending: &Ending, answered: &Answered) {
        let usage = &ending.usage;
        if usage.source != UsageSource::Reported {
            return;
        }
        let plain = usage.reasoning.unwrap_or(0) == 0;
        let output = usage.output.filter(|_| answered.ended && plain);
        let prompt = (self.request.asked().prompt_bytes, usage.input);
        let model = ending.model.as_deref().unwrap_or_default();
        worker.estimator.learn(model, prompt, (answered.content_bytes, output));
    }

    /// All of it, for features.
    pub(super) fn finished<'a>(
        &'a self,
        seen: &Seen<'a>,
        ending: &'a Ending,
        properties: &'a dyn Properties,
        (store, now): (&'a dyn Store, Nanos),
    ) -> Finished<'a> {
        Finished {
            known: self.known(),
            ended: ending.ended,
            status: seen.status,
            reached: ending.address.is_some(),
            attempts: ending.attempts.unwrap_or(0),
            sent: self.gate == Asked::Sent,
            refused: self.gate == Asked::Refused,
            cut: false,
            facts: seen.facts,
            usage: &ending.usage,
            model: ending.model.as_deref(),
            written: ending.written,
            waste: None,
            total: self.timing.total(now),
            properties,
            store,
            now,
        }
    }

    /// Whether it was refused or cut here.
    pub(super) fn is_held(&self, features: &Features) -> bool {
        self.gate == Asked::Refused || features.is_cut()
    }

    pub(super) fn record(
        self,
        answered: &Answered,
        ending: &Ending,
        parts: Parts,
        (properties, unread, tokens, now): (&dyn Properties, u64, u64, Nanos),
    ) -> Record {
        let Answered { status, stream, events, ref facts, ref head, .. } = *answered;
        let mut time = self.timing.times(tokens, stream, now);
        time.server = head.server.clone();
        time.server.merge(&facts.server);
        let request_model = self.known().model().map(str::to_owned);
        let asked = self.request.asked();
        let subject = self.subject;
        Record {
            v: VERSION,
            call: subject.call,
            route: subject.route,
            cluster: subject.cluster,
            tenant: subject.tenant,
            user: subject.user,
            run: subject.run,
            api: subject.asked.api.name(),
            provider: subject.asked.provider.or(head.provider.filter(|_| subject.asked.api != Api::Other)),
            request_model,
            response_model: facts.model.clone(),
            stream,
            max_tokens: asked.max_tokens,
            status,
            ended: ending.ended,
            error_type: parts
                .error
                .map(str::to_owned)
                .or_else(|| error_type(ending, facts, head.error.as_ref(), status)),
            finish_reasons: facts.finish_reasons(),
            usage: ending.usage.clone(),
            time,
            upstream: Upstream {
                address: ending.address.clone(),
                attempts: ending.attempts,
                pool_ms: property_number(properties, &["upstream", "cx_pool_ready_duration"])
                    .map(|ns| Span(ns).as_ms()),
            },
            tools: facts.tools.clone(),
            tools_offered: asked.tools.clone(),
            system_fingerprint: facts.fingerprint.clone(),
            service_tier: facts.service_tier.clone(),
            response_id: facts.id.clone(),
            attempts: Vec::new(),
            limits: parts.limits,
            retry: parts.retry,
            kind: subject.kind.map(|kind| kind.word.to_string()),
            cost: parts.cost,
            tool_calls: parts.tool_calls,
            tool_runs: parts.tool_runs,
            plan: parts.plan,
            events,
            unread,
        }
    }
}

/// The provider's own word for what went wrong; else OpenTelemetry's: the status, or how the call broke.
fn error_type(ending: &Ending, facts: &Facts, head: Option<&String>, status: Option<u16>) -> Option<String> {
    let by_end = || match ending.ended {
        Ended::Complete | Ended::Truncated | Ended::ClientAbort => None,
        Ended::UpstreamReset | Ended::Refused => ending.details.as_deref()?.split(['{', '|']).next().map(str::to_owned),
        Ended::Error => status.filter(|s| *s >= 400).map(|s| s.to_string()),
    };
    facts.error.clone().filter(|_| facts.failed).or_else(|| head.cloned()).or_else(by_end)
}
