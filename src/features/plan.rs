//! Plans: what a run says that it will do, and how far each of its calls keeps to it (docs/plan.md).
//!
//! A plan is declared in a header, in baggage, in a tool's arguments or in a planner's answer; a call is asked where it stands
//! before it is sent, and moves its run's plan along when it is over.

pub mod align;
pub mod call;
pub mod config;
pub mod declaring;
pub mod plans;
pub mod syntax;
pub mod written;

use crate::call::subject::Wants;
use config::Plan;
use plans::Plans;

/// What one worker keeps of plans.
#[derive(Debug)]
pub struct Shared {
    /// The section; nothing if plans are disabled.
    config: Option<Plan>,
    plans: Option<Plans>,
}

impl Shared {
    /// Of this section.
    pub fn new(plan: Option<&Plan>) -> Self {
        Self { config: plan.cloned(), plans: plan.map(Plans::new) }
    }

    /// What plans want to know when a call comes.
    pub fn wants(&self) -> Wants {
        let enabled = self.config.is_some();
        Wants { route: enabled, tool: enabled, ..Wants::default() }
    }

    /// The plans of runs, where there are any.
    pub fn plans(&mut self) -> Option<&mut Plans> {
        self.plans.as_mut()
    }
}
