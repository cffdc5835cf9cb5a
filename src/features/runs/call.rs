//! A call and its run's account.

use super::Shared;
use super::account::{Account, Call};
use crate::call::finished::Finished;
use crate::call::head::{AtHead, HeadEdits};
use crate::metrics::{Counts, Id};
use crate::record::{Cost, Ended};
use crate::shared::Events;

/// What one call has to do with its run's account.
#[derive(Debug, Default)]
pub struct InCall {
    /// The number of the outcome that its header names.
    outcome: Option<u8>,
}

impl InCall {
    /// The request's headers. How a run ended is no affair of the upstream's: that header is taken off.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &Shared, edits: &mut HeadEdits) {
        let Some(runs) = &shared.config else { return };
        let Some(value) = at.head.get(runs.header.as_str()) else { return };
        self.outcome = runs.outcome(value);
        edits.remove.push(runs.header.as_str().to_owned().into());
    }

    /// Whether the call names its run's outcome.
    pub fn closes(&self) -> bool {
        self.outcome.is_some()
    }

    /// The call is over, and its cost known: it is added to its run's account, and counted if it closes that.
    ///
    /// It does not if its answer is an error, or there was none: those who make such calls make them again, with all their
    /// headers, and would close the run twice.
    pub fn settle(
        self,
        call: &Finished<'_>,
        cost: Option<Cost>,
        shared: &mut Shared,
        (counts, events): (&mut Counts, &mut Events),
    ) {
        let subject = call.known.subject;
        let Some((run, accounts)) = subject.run.as_deref().zip(shared.accounts.as_mut()) else { return };
        let Some(kind) = subject.kind.as_ref() else { return };
        let outcome = self.outcome.filter(|_| call.is_answered());
        let added = Call {
            kind: kind.slot,
            refused: call.ended == Ended::Refused,
            failed: matches!(call.ended, Ended::Error | Ended::UpstreamReset | Ended::Truncated),
            cost: cost.map(|cost| (cost.total, cost.waste)),
            input: call.usage.input.unwrap_or(0),
            output: call.usage.output.unwrap_or(0),
        };
        let key = (subject.tenant.as_deref(), run);
        let account = accounts.add(key, &added, outcome.is_some(), events, call.store, call.now);
        if let Some((account, outcome)) = account.zip(outcome) {
            count(&account, outcome, counts);
        }
    }
}

/// A run whose account was closed. What nothing has a price for is no cost of zero.
fn count(account: &Account, outcome: u8, counts: &mut Counts) {
    let Account { calls, waste, cost: by_kind, .. } = account;
    let at = [outcome.into(), 0, 0, 0];
    counts.sample(Id::RunCalls, at, *calls);
    let Some(total) = account.total() else { return };
    counts.sample(Id::RunCost, at, total);
    for (kind, cost) in (0..).zip(by_kind).filter(|(_, cost)| **cost > 0) {
        counts.sample(Id::RunCostByKind, [outcome.into(), kind, 0, 0], *cost);
    }
    if *waste > 0 {
        counts.sample(Id::RunWaste, at, *waste);
    }
}
