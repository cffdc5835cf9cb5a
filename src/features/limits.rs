//! Limits: what may pass. Rates, budgets, places in flight and the shape of a run's tree, each for all that have the same tenant,
//! user, run, model, route or tool; divided fairly, waited for, and exact over all workers (docs/limits.md).
//!
//! A call reserves of each limit that counts it what it will probably take, of all or of none; a watched answer reserves more
//! as it goes; at the end what was estimated is put right.

pub mod call;
pub mod claim;
pub mod config;
pub mod gcra;
pub mod headers;
pub mod lease;
pub mod limiter;
pub mod lineage;
pub mod rule;
pub mod share;
mod stats;

use crate::call::subject::Wants;
use config::{Admission, Limit};
use limiter::Limiter;
pub use stats::Keys;

/// What one worker keeps of limits.
#[derive(Debug)]
pub struct Shared {
    /// The limits, and where they count.
    pub limiter: Limiter,
    /// Answers carry the tightest limit's headers.
    pub headers: bool,
    /// Keys that have a gauge of what is left.
    pub keys: Keys,
}

impl Shared {
    /// Of these sections.
    pub fn new(limits: &[Limit], admission: &Admission) -> Self {
        Self { limiter: Limiter::new(limits, admission), headers: admission.headers, keys: Keys::default() }
    }

    /// Whether there is any limit.
    pub fn enabled(&self) -> bool {
        !self.limiter.rules.is_empty()
    }

    /// What limits want to know when a call comes.
    pub fn wants(&self) -> Wants {
        let needs = &self.limiter.needs;
        Wants { route: needs.route, tool: needs.tool, ..Wants::default() }
    }
}
