//! How far what a run did is what it planned: the cost of an optimal alignment, kept up step by step.
//!
//! An alignment (Adriansyah, van der Aalst, van Dongen: "Replaying history on process models for conformance checking and
//! performance analysis", 2012) pairs what was done with what was planned: a step that was done and not planned costs one,
//! one that was planned and not done costs one, one that may be left out costs nothing, and the right step on the wrong
//! target costs one. [`Row`] has the least cost with which each state of the plan can be reached by what was done so far, so
//! one step is one pass over the plan.

use super::syntax::{MAX_STATES, Move, Plan, Skip, Step};

/// What a call was: as each of its names has it, with its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done<'a> {
    /// The tool that ran.
    pub tool: Option<&'a str>,
    /// The route that it took.
    pub route: Option<&'a str>,
    /// Its kind.
    pub kind: Option<&'a str>,
    /// What it was about, where a header says so.
    pub target: Option<&'a str>,
}

/// How a call fits a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is the step.
    Is,
    /// It is the step on another target, or on none that is known.
    OtherTarget,
}

impl<'a> Done<'a> {
    /// Its names, each with the targets that it has under it: a kind's is the tool or the route.
    fn readings(&self) -> [(Option<&'a str>, [Option<&'a str>; 3]); 3] {
        let Self { tool, route, kind, target } = *self;
        [(tool, [target, None, None]), (route, [target, tool, None]), (kind, [target, tool, route])]
    }

    /// How it fits a step, if it has its name.
    pub fn fits(&self, step: &Step<'_>) -> Option<Fit> {
        let mut found = None;
        for (name, targets) in self.readings() {
            if name != Some(step.name) {
                continue;
            }
            if step.target.is_none_or(|wanted| targets.contains(&Some(wanted))) {
                return Some(Fit::Is);
            }
            found = Some(Fit::OtherTarget);
        }
        found
    }

    /// What people call it.
    pub fn name(&self) -> &'a str {
        self.tool.or(self.route).or(self.kind).unwrap_or_default()
    }

    /// What it is about, under this name.
    pub fn target_as(&self, name: &str) -> Option<&'a str> {
        let reading = self.readings().into_iter().find(|(known, _)| *known == Some(name));
        reading.and_then(|(_, targets)| targets.into_iter().flatten().next())
    }
}

/// The least cost with which each state of a plan can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(pub [u16; MAX_STATES]);

impl Row {
    /// Nothing was done yet.
    pub fn start(plan: &Plan<'_>) -> Self {
        let mut row = Self([u16::MAX; MAX_STATES]);
        row.lower(0, 0);
        row.skip(plan);
        row
    }

    fn at(&self, state: u8) -> u16 {
        self.0.get(usize::from(state)).copied().unwrap_or(u16::MAX)
    }

    fn lower(&mut self, state: u8, cost: u16) {
        if let Some(known) = self.0.get_mut(usize::from(state)) {
            *known = (*known).min(cost);
        }
    }

    fn skip(&mut self, plan: &Plan<'_>) {
        // All lead to greater numbers, and stand in the order of where they begin: once is enough.
        for Skip { from, to, cost } in &plan.skips {
            self.lower(*to, self.at(*from).saturating_add(u16::from(*cost)));
        }
    }

    /// One more step was done.
    pub fn step(&mut self, plan: &Plan<'_>, done: &Done<'_>) {
        let before = *self;
        for cost in &mut self.0 {
            *cost = cost.saturating_add(1);
        }
        for Move { from, to, step } in &plan.moves {
            let Some(fit) = plan.steps.get(usize::from(*step)).and_then(|step| done.fits(step)) else { continue };
            self.lower(*to, before.at(*from).saturating_add(u16::from(fit == Fit::OtherTarget)));
        }
        self.skip(plan);
    }

    /// The least cost of what was done, whatever is still to come.
    pub fn so_far(&self, plan: &Plan<'_>) -> u16 {
        self.0.iter().take(usize::from(plan.last) + 1).min().copied().unwrap_or(u16::MAX)
    }

    /// The least cost if nothing more is to come.
    pub fn whole(&self, plan: &Plan<'_>) -> u16 {
        self.at(plan.last)
    }
}

/// `1 - cost / worst`, in percent, rounded down so that only what has no cost has 100.
pub fn percent(cost: u16, worst: u32) -> u8 {
    if worst == 0 {
        return 100;
    }
    let kept = worst.saturating_sub(u32::from(cost));
    (u64::from(kept) * 100 / u64::from(worst)) as u8
}
