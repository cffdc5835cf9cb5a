//! A call and its retries: told from a first try at its head or once its body is known, held to budget, circuit and deadline,
//! and remembered when it failed.

use std::ops::ControlFlow;

use super::Shared;
use super::attempt::{self, Layer, Source};
use super::config::{RefuseWith, RetrySource};
use super::deadline;
use super::fingerprint::Fingerprint;
use super::retrier::{Ask, Held, Outcome, Refused, Retrier, Verdict};
use super::rule::Caller;
use super::seen::Seen;
use crate::call::finished::Finished;
use crate::call::gate::{AtGate, Hold};
use crate::call::head::AtHead;
use crate::call::reply::{Header, LocalReply, retry_after};
use crate::call::subject::{Known, Subject, property_number};
use crate::call::waste::Waste;
use crate::metrics::{Counts, Id, Series};
use crate::port::{Headers, Properties};
use crate::record::{Ended, Retry};
use crate::shared::key::keyed;
use crate::shared::{Change, Events, Store};
use crate::signals::identity;
use crate::units::{Nanos, Span};
use crate::wire::refusal::{self, Kind, Refusal};

/// More attempts of Envoy's than this are not believed.
const MAX_ENVOY: u64 = 100;

/// What one call has to do with retries.
#[derive(Debug, Default)]
pub struct InCall {
    /// Somebody looks, and the call is of a kind that counts.
    on: bool,
    came: Nanos,
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

impl InCall {
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

impl InCall {
    /// The request's headers.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &mut Shared) {
        let AtHead { head, end, subject, properties, store, now } = *at;
        let Shared { retrier, refuses, by_trace } = shared;
        if !(retrier.enabled() && (subject.is_inference() || (subject.reads_tool && subject.mcp))) {
            return;
        }
        let salt = retrier.salt(store, now);
        let Some(retries) = &retrier.retries else { return };
        let told = attempt::told(head, retries);
        let wall = || property_number(properties, &["request", "time"]);
        let allowed = deadline::allowed(head, &retries.deadline, wall);
        let by_body = retries.sources.contains(&RetrySource::Body);
        *self = InCall {
            on: true,
            came: now,
            retry: told.retry,
            first_of_sdk: told.first_of_sdk,
            whole: end,
            allowed,
            ..InCall::default()
        };
        let Some(salt) = salt else { return };
        let caller = who(subject, *by_trace, head, properties);
        self.chance = keyed(salt, &[subject.call.as_bytes(), &now.0.to_le_bytes()]);
        if *refuses {
            self.refusals = Some(keyed(salt, &[b"refused", &caller]));
        }
        if by_body {
            let of = |name| head.get(name).unwrap_or_default();
            let parts = [&caller[..], of(":method"), of(":path")];
            self.fingerprint = Some(Box::new(Fingerprint::new(salt, &parts, !subject.is_inference())));
        }
        let Some((source, key)) = told.key else { return };
        let hash = keyed(salt, &[b"key", &caller, key]);
        self.key = Some((source, hash));
        let mut seen = None;
        retrier.with_seen(hash, &mut self.held, store, now, &mut |entry| {
            seen = *entry;
            if source != RetrySource::IdempotencyKey {
                return Change::Keep;
            }
            let attempts = entry.map_or(0, |entry| entry.attempts);
            let entry = entry.get_or_insert(Seen::new(&subject.call, now));
            entry.attempts = attempts.saturating_add(1);
            Change::Write
        });
        if source == RetrySource::IdempotencyKey
            && let Some(seen) = seen
            && self.retry.is_none()
        {
            self.retry = Some((u32::from(seen.attempts).saturating_add(1), Source::Of(source)));
        }
        self.seen = seen;
    }

    /// A piece of the request's body came by.
    pub fn request_body(&mut self, bytes: &[u8], end: bool) {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.push(bytes);
        }
        self.whole |= end;
    }

    /// Whether all of the request's body has to be read.
    pub fn hashes_body(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Whether retries have to do with the call.
    pub fn enabled(&self) -> bool {
        self.on
    }

    /// Asks circuits, deadline and budgets.
    pub fn gate(&mut self, at: &AtGate<'_>, shared: &mut Shared) -> ControlFlow<Hold> {
        let refused = match self.asked {
            Some(all) if all || !at.last => None,
            _ if self.refused.is_some() => None,
            _ => self.decide(at, &mut shared.retrier),
        };
        let Some((why, refused)) = refused else { return ControlFlow::Continue(()) };
        self.refused = Some(why);
        self.verdict = Some(why.words().0);
        ControlFlow::Break(Hold::Refuse(Box::new(self.reply(at.known.subject, &shared.retrier, why, refused))))
    }

    fn decide(&mut self, at: &AtGate<'_>, retrier: &mut Retrier) -> Option<(Why, Option<Refused>)> {
        let AtGate { known, size, last, store, now, .. } = *at;
        if !self.on {
            return None;
        }
        let first_time = self.asked.is_none();
        self.asked = Some(last);
        self.input = size.input;
        let tokens = size.input.saturating_add(size.output);
        let mut failed_before = false;
        if last && let Some(fingerprint) = self.fingerprint.take()
            // Of a body that is too large to be held not all is known.
            && (self.whole || at.whole)
        {
            let hash = fingerprint.value();
            self.body = Some(hash);
            if let Some(seen) = retrier.seen(hash, &mut self.held, store, now) {
                let by_body = (u32::from(seen.attempts).saturating_add(1), Source::Of(RetrySource::Body));
                self.retry = self.retry.or(Some(by_body));
                self.seen = self.seen.or(Some(seen));
                failed_before = true;
            }
        }
        if first_time && self.retry.is_some() && !failed_before {
            self.returns = self.comes_again(retrier, store, now);
        }
        let (model, route) = (known.model(), known.subject.route.as_deref());
        let caller = caller(known);
        let ask = Ask { caller, tokens, last, chance: self.chance };
        let held = &mut self.held;
        let mut said = |verdict: Verdict| {
            let word = match verdict {
                Verdict::Pass => "pass",
                Verdict::Shadow => "shadow",
                Verdict::Open => "open",
                Verdict::Refuse(refused) => return Some(refused),
            };
            // What is no plain pass stays said.
            self.verdict = self.verdict.filter(|before| *before != "pass" && word == "pass").or(Some(word));
            None
        };
        if let Some(refused) = said(retrier.pass(held, &ask, store, now)) {
            return Some((Why::Circuit, Some(refused)));
        }
        if self.retry.is_some() && !self.returns {
            let late = |allowed| retrier.medians.too_late(model, route, self.came, allowed, now);
            if self.allowed.is_some_and(late) {
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
        self.envoy_may = if first_time { retrier.envoy_may(held, &ask, store, now) } else { None };
        None
    }

    fn reply(&self, subject: &Subject, retrier: &Retrier, why: Why, refused: Option<Refused>) -> LocalReply {
        let rule = refused.map_or(usize::MAX, |refused| refused.rule);
        let (name, with) = match why {
            Why::Budget => retrier.budgets.get(rule).map_or(("", None), |rule| (&*rule.name, Some(rule.refuse_with))),
            Why::Circuit => {
                retrier.circuits.get(rule).map_or(("", None), |rule| (&*rule.name, Some(RefuseWith::Unavailable)))
            }
            Why::Deadline => ("", None),
        };
        let seen = self.seen.map(|seen| seen.status).filter(|status| *status >= 400);
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
        let mut shaped = refusal::body(subject.asked.api, &refusal);
        shaped.status = status;
        let mut told: Vec<Header> = vec![("x-should-retry", "false".to_owned())];
        if !name.is_empty() {
            told.push(("x-weir-limit", name.to_owned()));
        }
        told.extend(after.iter().flat_map(|after| retry_after(*after)));
        LocalReply { shaped, headers: told, details: why.words().1 }
    }

    /// How often Envoy may retry the call by itself, if its route is not to say.
    pub fn envoy_may_retry(&self) -> Option<u8> {
        self.envoy_may
    }

    /// Which try it is, who says so, and what it was told; nothing of a first try that nothing held.
    pub fn told(&self) -> Option<String> {
        let InCall { retry, verdict, .. } = self;
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
    pub fn error(&self) -> Option<&'static str> {
        self.refused.map(|why| why.words().1)
    }

    /// What the call bought, by how it ended; `here` it was refused or cut.
    pub fn waste(&self, ended: Ended, here: bool) -> Option<Waste> {
        // A repetition of what had not failed.
        let repeats = self.retry.is_some_and(|(_, source)| source == Source::Of(RetrySource::IdempotencyKey))
            && self.seen.is_some_and(|seen| seen.status == 0);
        Waste::of(ended, here, self.retry.is_some() && !self.returns, repeats)
    }

    /// The call is over: what it was is told to budgets and circuits, and remembered if it failed. `tool_failed` says that it ran
    /// a tool that did not do what it was to, whatever the status says. For the record, and the error's type.
    pub fn settle(
        &mut self,
        call: &Finished<'_>,
        tool_failed: bool,
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) -> Option<Retry> {
        if !self.on {
            return None;
        }
        let Finished { ended, status, reached, attempts, waste, usage, model, store, now, .. } = *call;
        let subject = call.known.subject;
        let retrier = &mut shared.retrier;
        let here = call.refused;
        let sent = reached && !here;
        let fine = ended == Ended::Complete && !tool_failed;
        // Where a limit cuts, nothing is wrong with the upstream.
        let failed = !fine && !here && !call.cut;
        let error = status.filter(|status| *status >= 400);
        let envoy = attempts.saturating_sub(1).min(MAX_ENVOY);
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
            tokens: self.input,
        };
        retrier.settle(&mut self.held, &outcome, store, now);
        if fine {
            retrier.medians.learn(model, subject.route.as_deref(), call.total);
        }

        let is_first = self.retry.is_none() || self.returns;
        if here && is_first {
            self.may_come_again(retrier, store, now);
        }
        let attempt = self.retry.map_or(1, |(attempt, _)| attempt);
        let id = &subject.call;
        let mut remember = |seen: &mut Option<Seen>| {
            let entry = seen.get_or_insert(Seen::new(id, now));
            entry.at = now;
            entry.attempts = entry.attempts.max(attempt.min(u16::MAX.into()) as u16);
            entry.status = error.unwrap_or(entry.status);
            Change::Write
        };
        if failed {
            for hash in self.body.into_iter().chain(self.key.map(|(_, hash)| hash)) {
                retrier.with_seen(hash, &mut self.held, store, now, &mut remember);
            }
        } else if let Some(body) = self.body.filter(|_| self.seen.is_some()) {
            retrier.with_seen(body, &mut self.held, store, now, &mut |seen| {
                let Some(entry) = seen else { return Change::Keep };
                entry.attempts = entry.attempts.saturating_add(1);
                if fine {
                    // The next one like it is a first try again.
                    *seen = None;
                }
                Change::Write
            });
        }

        let tells = self.retry.filter(|_| !is_first);
        let layer = tells.map_or(Layer::First, |(_, source)| attempt::layer(source, self.first_of_sdk));
        let route = counts.set.route;
        let mut count = |layer: Layer, outcome: u8, count: u64| {
            if count > 0 {
                counts.sample(Series { id: Id::Attempts, value: outcome }, [layer as u16, route, 0, 0], count);
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
            let input = usage.input.unwrap_or(self.input);
            let all = input.saturating_add(usage.output.unwrap_or(call.written));
            let (failed, repeated) = match waste {
                None => (0, 0),
                Some(Waste::Duplicated) => (0, all),
                Some(_) => (all, 0),
            };
            for (value, tokens) in (0..).zip([input.saturating_mul(envoy).saturating_add(failed), repeated]) {
                if tokens > 0 {
                    counts.add(Series { id: Id::WastedTokens, value }, tokens);
                }
            }
        }
        events.add(self.held.events);
        let verdict = self.verdict.unwrap_or("pass");
        let told = self.retry.is_some() || verdict != "pass";
        told.then(|| Retry {
            attempt,
            source: self.retry.map(|(_, source)| source.word()),
            of: self.seen.map(|seen| seen.call()).filter(|call| !call.is_empty()),
            verdict,
        })
    }
}

fn caller(known: Known<'_>) -> Caller<'_> {
    let subject = known.subject;
    Caller {
        tenant: subject.tenant.as_deref(),
        user: subject.user.as_deref(),
        run: subject.run.as_deref(),
        model: known.model(),
        route: subject.route.as_deref(),
        cluster: subject.cluster.as_deref(),
        tool: known.tool(),
    }
}

/// Who calls, so that the same request of another is another: as the config's identity says, else by the API's key, else
/// by address. A trace is no caller: some clients begin one for each try.
fn who(subject: &Subject, by_trace: bool, head: Headers<'_>, properties: &dyn Properties) -> Vec<u8> {
    let run = subject.run.as_ref().filter(|_| !by_trace);
    let known = [subject.tenant.as_ref(), subject.user.as_ref(), run];
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
