//! Retries: told from first tries, whichever layer makes them, and held to a budget; refused where they come too late; circuits
//! where calls fail fast (docs/retries.md).
//!
//! A call is asked once its try is known, and remembered by keyed hashes when it failed, so that the same request is known again.

pub mod attempt;
pub mod budget;
pub mod call;
pub mod circuit;
pub mod config;
pub mod deadline;
pub mod fingerprint;
pub mod retrier;
mod ring;
pub mod rule;
pub mod seen;

use crate::call::subject::Wants;
use config::{Circuit, Retries, RetryBudget, RetryScope};
use retrier::Retrier;

/// What one worker keeps of retries.
#[derive(Debug)]
pub struct Shared {
    /// The rules, and where they count.
    pub retrier: Retrier,
    /// First tries may be refused here, by circuits or by limits.
    refuses: bool,
    /// A run is known by its trace alone, which says nothing of who calls.
    by_trace: bool,
}

impl Shared {
    /// Of these sections. `limited` says that limits refuse calls too, `by_trace` that runs are known by their traces alone.
    pub fn new(
        retries: Option<&Retries>,
        budgets: &[RetryBudget],
        circuits: &[Circuit],
        limited: bool,
        by_trace: bool,
    ) -> Self {
        let retrier = Retrier::new(retries, budgets, circuits);
        Self { retrier, refuses: limited || !circuits.is_empty(), by_trace }
    }

    /// Whether retries are told from first tries.
    pub fn enabled(&self) -> bool {
        self.retrier.enabled()
    }

    /// What retries want to know when a call comes.
    pub fn wants(&self) -> Wants {
        let Some(retries) = self.retrier.retries.as_ref() else { return Wants::default() };
        let deadline = &retries.deadline;
        let learns = deadline.header.is_some() || deadline.stainless_timeout || deadline.grpc_timeout;
        Wants {
            route: learns || self.retrier.wants(RetryScope::Route),
            cluster: self.retrier.wants(RetryScope::Cluster),
            tool: true,
        }
    }
}
