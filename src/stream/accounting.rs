//! A call and what it is to those who pay: its kind, and its run's account.

use super::Stream;
use super::admission::property_text;
use crate::config::runs::Runs;
use crate::policies::account::Call;
use crate::port::{Headers, Properties};
use crate::record::{Ended, Record};
use crate::report::RunClosed;
use crate::shared::{Events, Store};
use crate::signals::kind::{Kind, Kinds};
use crate::units::Nanos;
use crate::worker::Worker;

/// What one call has to do with its run's account.
#[derive(Debug)]
pub(super) struct Accounting {
    kind: u8,
    /// The number of the outcome that its header names.
    outcome: Option<u8>,
}

impl Stream {
    /// The request's head, as far as its kind wants to know it.
    pub fn kind_head(&mut self, head: Headers<'_>, kinds: &Kinds, properties: &dyn Properties) {
        if !kinds.is_on() {
            return;
        }
        let route = kinds.wants_route().then(|| property_text(properties, &["xds", "route_name"])).flatten();
        self.kind = kinds.of(head, self.asked.api, route.as_deref());
    }

    /// The request's head, as far as its run's account wants to know it. Gives the name of a header to take off it: how a run
    /// ended is no affair of the upstream's.
    pub fn outcome_head(&mut self, head: Headers<'_>) -> Option<&str> {
        let Runs { header, .. } = self.config.runs.as_ref()?;
        let value = head.get(header.as_str())?;
        self.outcome = self.config.runs.as_ref()?.outcome(value);
        Some(header.as_str())
    }

    /// What is known of the call before its record is made.
    pub(super) fn accounting(&self) -> Option<Accounting> {
        self.config.runs.as_ref()?;
        Some(Accounting { kind: self.kind.as_ref().map(|kind: &Kind| kind.slot)?, outcome: self.outcome })
    }
}

impl Accounting {
    /// The call is over, and its cost known: it is added to its run's account. Gives what became of the account, if the call
    /// closes it.
    ///
    /// It does not if its answer is an error, or there was none: those who make such calls make them again, with all their
    /// headers, and would close the run twice.
    pub(super) fn settle(
        self,
        record: &Record,
        worker: &mut Worker,
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<RunClosed> {
        let Self { kind, outcome } = self;
        let (run, accounts) = record.run.as_deref().zip(worker.accounts.as_mut())?;
        let call = Call {
            kind,
            refused: record.ended == Ended::Refused,
            failed: matches!(record.ended, Ended::Error | Ended::UpstreamReset | Ended::Truncated),
            cost: record.cost.map(|cost| (cost.total, cost.waste)),
            input: record.usage.input.unwrap_or(0),
            output: record.usage.output.unwrap_or(0),
        };
        let outcome = outcome.filter(|_| record.status.is_some_and(|status| status < 400));
        let key = (record.tenant.as_deref(), run);
        let account = accounts.add(key, &call, outcome.is_some(), events, store, now)?;
        Some(RunClosed { outcome: outcome?, account })
    }
}
