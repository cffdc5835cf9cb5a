//! A call and its retries: told from a first try at its head or once its body is known, held to budget, circuit and deadline,
//! and remembered when it failed.

use super::Stream;
use super::admission::{OwnAnswer, property_text};
use crate::api::Api;
use crate::config::Source as Identity;
use crate::config::retry::{RefuseWith, RetryScope, RetrySource};
use crate::policies::limits::headers::{self, Header};
use crate::policies::retry::attempt::{self, Layer, Source};
use crate::policies::retry::fingerprint::{Fingerprint, keyed};
use crate::policies::retry::rule::Caller;
use crate::policies::retry::seen::Seen;
use crate::policies::retry::{Ask, Held, Outcome, Refused, Retrier, Verdict, deadline};
use crate::port::{Headers, Properties};
use crate::record::{Ended, Retry, Usage};
use crate::report::{Retried, RetryCount};
use crate::shared::{Change, Store};
use crate::signals::cost::Waste;
use crate::signals::identity;
use crate::signals::kind::asks_for_tool;
use crate::units::{Nanos, Span};
use crate::wire::refusal::{self, Kind, Refusal};
use crate::worker::Worker;

/// More attempts of Envoy's than this are not believed.
const MAX_ENVOY: u64 = 100;

/// What one call has to do with retries.
#[derive(Debug, Default)]
pub(super) struct Retrying {
    /// Somebody looks, and the call is of a kind that counts.
    on: bool,
    came: Nanos,
    route: Option<String>,
    cluster: Option<String>,
    /// Which try it is, if not the first; and who says so.
    retry: Option<(u32, Source)>,
    first_of_sdk: bool,
    /// Until all of the body has come.
    fingerprint: Option<Box<Fingerprint>>,
    /// All of the body has come.
    whole: bool,
    /// The hash of the request.
    body: Option<u64>,
    /// The hash of what all its tries have in common.
    key: Option<(RetrySource, u64)>,
    /// What was remembered of it.
    seen: Option<Seen>,
    /// Where it is counted how many first tries of its caller were refused here; nothing if nobody refuses any.
    refusals: Option<u64>,
    /// It is one of those, come again: the upstream never heard of it, so that it is a first try whatever its client counts.
    returns: bool,
    allowed: Option<Span>,
    /// A number that differs from call to call.
    chance: u64,
    held: Held,
    /// The last phase in which the rules were asked; whether all was known then.
    asked: Option<bool>,
    verdict: Option<&'static str>,
    refused: Option<Why>,
    /// How often Envoy may retry it, if its route is not to say.
    envoy_may: Option<u8>,
    /// Tokens of the prompt, as estimated.
    input: u64,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Budget,
    Circuit,
    Deadline,
}

impl Why {
    /// For the record: its verdict, and the error's type.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Why::Budget => ("refuse", "retry_budget_exceeded"),
            Why::Circuit => ("circuit", "circuit_open"),
            Why::Deadline => ("deadline", "deadline_exceeded"),
        }
    }
}

/// How a call ended, as far as retries want to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending<'a> {
    pub ended: Ended,
    pub status: Option<u16>,
    /// An upstream was asked.
    pub reached: bool,
    /// Envoy's own attempts.
    pub attempts: u64,
    /// It ran a tool that did not do what it was to, whatever the status says.
    pub tool_failed: bool,
    /// Why it bought nothing, if it did not.
    pub waste: Option<Waste>,
    pub usage: &'a Usage,
    pub model: Option<&'a str>,
}

impl Retrying {
    /// A first try that was refused here may come again, once, as what it was.
    fn may_come_again(&mut self, retrier: &Retrier, store: &dyn Store, now: Nanos) {
        let Some(hash) = self.refusals else { return };
        retrier.with_seen(hash, &mut self.held, store, now, &mut |seen| {
            let before = seen.map_or(0, |seen| seen.attempts);
            let entry = seen.insert(Seen::new("", now));
            entry.attempts = before.saturating_add(1);
            Change::Write
        });
    }

    /// Whether a retry is such a one: of its caller so many are let through as were refused. So there are never more first tries
    /// than wishes, whichever of the retries they are.
    fn comes_again(&mut self, retrier: &Retrier, store: &dyn Store, now: Nanos) -> bool {
        let Some(hash) = self.refusals else { return false };
        let mut comes = false;
        retrier.with_seen(hash, &mut self.held, store, now, &mut |seen| {
            let left = seen.and_then(|seen| seen.attempts.checked_sub(1));
            comes = left.is_some();
            let (Some(entry), Some(left)) = (seen.as_mut(), left) else { return Change::Keep };
            entry.attempts = left;
            Change::Write
        });
        comes
    }
}

impl Stream {
    /// The request's head, as far as retries want to know it.
    pub fn retry_head(
        &mut self,
        head: Headers<'_>,
        end: bool,
        worker: &mut Worker,
        properties: &dyn Properties,
        store: &dyn Store,
        now: Nanos,
    ) {
        let retrier = &mut worker.retrier;
        if !retrier.is_on() {
            return;
        }
        self.reads_tool |= self.asked.api == Api::Other && asks_for_tool(head);
        if self.asked.api == Api::Other && !self.reads_tool {
            return;
        }
        let salt = retrier.salt(store, now);
        let Some(retries) = &retrier.retries else { return };
        let told = attempt::told(head, retries);
        let deadline = &retries.deadline;
        let wall = || Some(u64::from_le_bytes(*properties.property(&["request", "time"])?.first_chunk()?));
        let allowed = deadline::allowed(head, deadline, wall);
        let learns = deadline.header.is_some() || deadline.stainless_timeout || deadline.grpc_timeout;
        let by_body = retries.sources.contains(&RetrySource::Body);
        let property = |path: &[&str]| property_text(properties, path);
        let route = if learns || retrier.wants(RetryScope::Route) { property(&["xds", "route_name"]) } else { None };
        let cluster = if retrier.wants(RetryScope::Cluster) { property(&["xds", "cluster_name"]) } else { None };
        let caller = self.who(head, properties);
        let retrying = &mut self.retrying;
        *retrying = Retrying {
            on: true,
            came: now,
            route,
            cluster,
            retry: told.retry,
            first_of_sdk: told.first_of_sdk,
            whole: end,
            allowed,
            ..Retrying::default()
        };
        let Some(salt) = salt else { return };
        retrying.chance = keyed(salt, &[self.call.as_bytes(), &now.0.to_le_bytes()]);
        if !self.config.limits.is_empty() || !self.config.circuits.is_empty() {
            retrying.refusals = Some(keyed(salt, &[b"refused", &caller]));
        }
        if by_body {
            let of = |name| head.get(name).unwrap_or_default();
            let parts = [&caller[..], of(":method"), of(":path")];
            retrying.fingerprint = Some(Box::new(Fingerprint::new(salt, &parts, self.asked.api == Api::Other)));
        }
        let Some((source, key)) = told.key else { return };
        let hash = keyed(salt, &[b"key", &caller, key]);
        retrying.key = Some((source, hash));
        let mut seen = None;
        let call = &self.call;
        retrier.with_seen(hash, &mut retrying.held, store, now, &mut |entry| {
            seen = *entry;
            if source != RetrySource::IdempotencyKey {
                return Change::Keep;
            }
            let attempts = entry.map_or(0, |entry| entry.attempts);
            let entry = entry.get_or_insert(Seen::new(call, now));
            entry.attempts = attempts.saturating_add(1);
            Change::Write
        });
        if source == RetrySource::IdempotencyKey
            && let Some(seen) = seen
            && retrying.retry.is_none()
        {
            retrying.retry = Some((u32::from(seen.attempts).saturating_add(1), Source::Of(source)));
        }
        retrying.seen = seen;
    }

    /// Who calls, so that the same request of another is another: as the config's identity says, else by the API's key, else
    /// by address. A trace is no caller: some clients begin one for each try.
    fn who(&self, head: Headers<'_>, properties: &dyn Properties) -> Vec<u8> {
        let by_trace = self.config.identity.run.iter().all(|source| *source == Identity::TraceId);
        let run = self.run.as_ref().filter(|_| !by_trace);
        let known = [self.tenant.as_ref(), self.user.as_ref(), run];
        if known.iter().any(Option::is_some) {
            return known.map(|part| part.map_or("", String::as_str)).join("\0").into_bytes();
        }
        if let Some(key) = identity::api_key(head) {
            return key.to_vec();
        }
        let address = properties.property(&["source", "address"]).unwrap_or_default();
        let port = memchr::memrchr(b':', &address).unwrap_or(address.len());
        address.get(..port).unwrap_or_default().to_vec()
    }

    /// A piece of the request's body came by.
    pub(super) fn retry_body(&mut self, bytes: &[u8], end: bool) {
        let retrying = &mut self.retrying;
        if let Some(fingerprint) = &mut retrying.fingerprint {
            fingerprint.push(bytes);
        }
        retrying.whole |= end;
    }

    /// Whether all of the request's body has to be read.
    pub(super) fn hashes_body(&self) -> bool {
        self.retrying.fingerprint.is_some()
    }

    /// Whether the request's headers are better held until its body is known.
    pub(super) fn retry_holds(&self) -> bool {
        self.retrying.on
    }

    /// Asks circuits and budgets. Gives the answer of a call that is refused.
    pub(super) fn retry_gate(
        &mut self,
        worker: &mut Worker,
        tokens: (u64, u64),
        store: &dyn Store,
        last: bool,
        now: Nanos,
    ) -> Option<Box<OwnAnswer>> {
        let mut retrying = std::mem::take(&mut self.retrying);
        let refused = match retrying.asked {
            Some(all) if all || !last => None,
            _ if retrying.refused.is_some() => None,
            _ => self.retry_decide(&mut retrying, worker, tokens, store, last, now),
        };
        let answer = refused.map(|(why, refused)| {
            retrying.refused = Some(why);
            retrying.verdict = Some(why.words().0);
            Box::new(self.retry_refusal(&retrying, worker, why, refused))
        });
        self.retrying = retrying;
        answer
    }

    fn retry_decide(
        &self,
        retrying: &mut Retrying,
        worker: &mut Worker,
        (input, output): (u64, u64),
        store: &dyn Store,
        last: bool,
        now: Nanos,
    ) -> Option<(Why, Option<Refused>)> {
        if !retrying.on {
            return None;
        }
        let first_time = retrying.asked.is_none();
        retrying.asked = Some(last);
        retrying.input = input;
        let tokens = input.saturating_add(output);
        let retrier = &mut worker.retrier;
        let mut failed_before = false;
        if last && let Some(fingerprint) = retrying.fingerprint.take()
            // Of a body that is too large to be held not all is known.
            && (retrying.whole || self.is_asked())
        {
            let hash = fingerprint.value();
            retrying.body = Some(hash);
            if let Some(seen) = retrier.seen(hash, &mut retrying.held, store, now) {
                let by_body = (u32::from(seen.attempts).saturating_add(1), Source::Of(RetrySource::Body));
                retrying.retry = retrying.retry.or(Some(by_body));
                retrying.seen = retrying.seen.or(Some(seen));
                failed_before = true;
            }
        }
        if first_time && retrying.retry.is_some() && !failed_before {
            retrying.returns = retrying.comes_again(retrier, store, now);
        }
        let asked = self.request.asked();
        let route = retrying.route.as_deref();
        let model = asked.model.as_deref().or(self.asked.model.as_deref());
        let caller = Caller {
            tenant: self.tenant.as_deref(),
            user: self.user.as_deref(),
            run: self.run.as_deref(),
            model,
            route,
            cluster: retrying.cluster.as_deref(),
            tool: asked.tool().filter(|_| self.reads_tool),
        };
        let ask = Ask { caller, tokens, last, chance: retrying.chance };
        let held = &mut retrying.held;
        let mut said = |verdict: Verdict| {
            let word = match verdict {
                Verdict::Pass => "pass",
                Verdict::Shadow => "shadow",
                Verdict::Open => "open",
                Verdict::Refuse(refused) => return Some(refused),
            };
            // What is no plain pass stays said.
            retrying.verdict = retrying.verdict.filter(|before| *before != "pass" && word == "pass").or(Some(word));
            None
        };
        if let Some(refused) = said(retrier.pass(held, &ask, store, now)) {
            return Some((Why::Circuit, Some(refused)));
        }
        if retrying.retry.is_some() && !retrying.returns {
            let late = |allowed| retrier.medians.too_late(model, route, retrying.came, allowed, now);
            if retrying.allowed.is_some_and(late) {
                return Some((Why::Deadline, None));
            }
            let verdict = retrier.withdraw(held, &ask, store, now);
            if let Some(refused) = said(verdict) {
                return Some((Why::Budget, Some(refused)));
            }
        } else if last {
            retrier.deposit(held, &ask, store, now);
        }
        // Later the headers may have gone.
        retrying.envoy_may = if first_time { retrier.envoy_may(held, &ask, store, now) } else { None };
        None
    }

    fn retry_refusal(&self, retrying: &Retrying, worker: &Worker, why: Why, refused: Option<Refused>) -> OwnAnswer {
        let retrier = &worker.retrier;
        let rule = refused.map_or(usize::MAX, |refused| refused.rule);
        let (name, with) = match why {
            Why::Budget => retrier.budgets.get(rule).map_or(("", None), |rule| (&*rule.name, Some(rule.refuse_with))),
            Why::Circuit => {
                retrier.circuits.get(rule).map_or(("", None), |rule| (&*rule.name, Some(RefuseWith::Unavailable)))
            }
            Why::Deadline => ("", None),
        };
        let seen = retrying.seen.map(|seen| seen.status).filter(|status| *status >= 400);
        let status = match with.unwrap_or_default() {
            RefuseWith::LastError => seen.or(refused.and_then(|refused| refused.last)).unwrap_or(503),
            RefuseWith::TooManyRequests => 429,
            RefuseWith::Unavailable => 503,
        };
        let sentence = match why {
            Why::Budget => "The retry budget is used up; this retry was not sent.",
            Why::Circuit => "Too many calls fail; this one was not sent.",
            Why::Deadline => "The answer would come too late; this retry was not sent.",
        };
        let after = refused.map(|refused| refused.after);
        let kind = if status == 429 { Kind::RateLimited } else { Kind::Unavailable };
        let refusal = Refusal { kind, limit: name, why: sentence, retry_after: after };
        let mut shaped = refusal::body(self.asked.api, &refusal);
        shaped.status = status;
        let mut told: Vec<Header> = vec![("x-should-retry", "false".to_owned())];
        if !name.is_empty() {
            told.push(("x-weir-limit", name.to_owned()));
        }
        told.extend(after.iter().flat_map(|after| headers::retry(*after)));
        OwnAnswer { shaped, headers: told, details: why.words().1 }
    }

    /// How often Envoy may retry the call by itself, if its route is not to say.
    pub fn envoy_may_retry(&self) -> Option<u8> {
        self.retrying.envoy_may
    }

    /// Which try it is, who says so, and what it was told; nothing of a first try that nothing held.
    pub(super) fn retry_told(&self) -> Option<String> {
        let Retrying { retry, verdict, .. } = &self.retrying;
        if retry.is_none() && verdict.is_none_or(|verdict| verdict == "pass") {
            return None;
        }
        let mut told = ["attempt=", &retry.map_or(1, |(attempt, _)| attempt).to_string()].concat();
        if let Some((_, source)) = retry {
            told.push_str(";source=");
            told.push_str(source.word());
        }
        told.push_str(";verdict=");
        told.push_str(verdict.unwrap_or("pass"));
        Some(told)
    }

    /// The error's type of a call that was refused here.
    pub(super) fn retry_error(&self) -> Option<&'static str> {
        self.retrying.refused.map(|why| why.words().1)
    }

    /// Why what the call took bought nothing, if that is so.
    pub(super) fn waste(&self, ended: Ended) -> Option<Waste> {
        let retrying = &self.retrying;
        let here = self.is_refused() || self.is_cut();
        // A repetition of what had not failed.
        let repeats = retrying.retry.is_some_and(|(_, source)| source == Source::Of(RetrySource::IdempotencyKey))
            && retrying.seen.is_some_and(|seen| seen.status == 0);
        Waste::of(ended, here, retrying.retry.is_some() && !retrying.returns, repeats)
    }

    /// The call is over: what it was is told to budgets and circuits, and remembered if it failed. For record and metrics.
    pub(super) fn retry_settle(
        &mut self,
        worker: &mut Worker,
        ending: &Ending<'_>,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<(Option<Retry>, Retried)> {
        let mut retrying = std::mem::take(&mut self.retrying);
        if !retrying.on {
            return None;
        }
        let Ending { ended, status, reached, attempts, waste, tool_failed, usage, model } = *ending;
        let here = self.is_refused();
        let sent = reached && !here;
        let fine = ended == Ended::Complete && !tool_failed;
        // Where a limit cuts, nothing is wrong with the upstream.
        let failed = !fine && !here && !self.is_cut();
        let error = status.filter(|status| *status >= 400);
        let envoy = attempts.saturating_sub(1).min(MAX_ENVOY);
        let retrier = &mut worker.retrier;
        let outcome = Outcome {
            sent,
            failed: error.filter(|status| failed && (*status >= 500 || *status == 429)),
            upstream_failed: match ended {
                Ended::Complete => Some(false),
                // It says nothing of the upstream.
                Ended::ClientAbort => None,
                _ if !failed => None,
                Ended::Error => Some(status.is_none_or(|status| !(400..500).contains(&status))),
                Ended::UpstreamReset | Ended::Truncated | Ended::Refused => Some(true),
            },
            envoy_retries: envoy,
            tokens: retrying.input,
        };
        retrier.settle(&mut retrying.held, &outcome, store, now);
        if fine {
            retrier.medians.learn(model, retrying.route.as_deref(), self.timing.total(now));
        }

        let is_first = retrying.retry.is_none() || retrying.returns;
        if here && is_first {
            retrying.may_come_again(retrier, store, now);
        }
        let attempt = retrying.retry.map_or(1, |(attempt, _)| attempt);
        let call = &self.call;
        let mut remember = |seen: &mut Option<Seen>| {
            let entry = seen.get_or_insert(Seen::new(call, now));
            entry.at = now;
            entry.attempts = entry.attempts.max(attempt.min(u16::MAX.into()) as u16);
            entry.status = error.unwrap_or(entry.status);
            Change::Write
        };
        if failed {
            for hash in retrying.body.into_iter().chain(retrying.key.map(|(_, hash)| hash)) {
                retrier.with_seen(hash, &mut retrying.held, store, now, &mut remember);
            }
        } else if let Some(body) = retrying.body.filter(|_| retrying.seen.is_some()) {
            retrier.with_seen(body, &mut retrying.held, store, now, &mut |seen| {
                let Some(entry) = seen else { return Change::Keep };
                entry.attempts = entry.attempts.saturating_add(1);
                if fine {
                    // The next one like it is a first try again.
                    *seen = None;
                }
                Change::Write
            });
        }

        let tells = retrying.retry.filter(|_| !is_first);
        let layer = tells.map_or(Layer::First, |(_, source)| attempt::layer(source, retrying.first_of_sdk));
        let mut retried =
            Retried { counts: Vec::new(), failed_tokens: 0, repeated_tokens: 0, store: retrying.held.events };
        let mut count = |layer: Layer, outcome: u8, count: u64| {
            if count > 0 {
                retried.counts.push(RetryCount { layer: layer as u8, outcome, count });
            }
        };
        let last = u8::from(!fine);
        match (sent, envoy) {
            (false, _) => count(layer, 2, 1),
            (true, 0) => count(layer, last, 1),
            (true, more) => {
                count(layer, 1, 1);
                count(Layer::Envoy, 1, more - 1);
                count(Layer::Envoy, last, 1);
            }
        }
        if sent {
            let input = usage.input.unwrap_or(retrying.input);
            let written = || worker.estimator.output(model.unwrap_or_default(), self.content_bytes);
            let all = input.saturating_add(usage.output.unwrap_or_else(written));
            let (failed, repeated) = match waste {
                None => (0, 0),
                Some(Waste::Duplicated) => (0, all),
                Some(_) => (all, 0),
            };
            retried.failed_tokens = input.saturating_mul(envoy).saturating_add(failed);
            retried.repeated_tokens = repeated;
        }
        let verdict = retrying.verdict.unwrap_or("pass");
        let told = retrying.retry.is_some() || verdict != "pass";
        let record = told.then(|| Retry {
            attempt,
            source: retrying.retry.map(|(_, source)| source.word()),
            of: retrying.seen.map(|seen| seen.call()).filter(|call| !call.is_empty()),
            verdict,
        });
        Some((record, retried))
    }
}
