//! What runs took, as Envoy's own stats.

use std::rc::Rc;

use super::stats::{self, MetricType};
use crate::config::Config;
use crate::config::kinds::SLOTS;
use crate::config::runs::Runs;
use crate::metrics::{Id, Kind};
use crate::policies::account::Account;
use crate::report::RunClosed;

/// The stats of one config's runs, by the number of the outcome.
#[derive(Debug, Default)]
pub struct RunMeter {
    outcomes: Vec<Ids>,
}

/// The host's ids of one outcome's stats.
#[derive(Debug)]
struct Ids {
    cost: Option<u32>,
    calls: Option<u32>,
    waste: Option<u32>,
    by_kind: [Option<u32>; SLOTS],
}

impl RunMeter {
    /// Stats for the runs of a config, if it accounts for them. They are there from the start, at zero: a rate over a
    /// counter that is not there yet misses its first count, and here each count is a whole run.
    pub fn new(config: &Config, kinds: &[Rc<str>]) -> Self {
        let of = |outcome: &str| {
            let define = |id| define(id, &[("outcome", outcome)]);
            let mut by_kind = [None; SLOTS];
            for (id, kind) in by_kind.iter_mut().zip(kinds) {
                *id = self::define(Id::RunCostByKind, &[("outcome", outcome), ("kind", kind)]);
            }
            Ids { cost: define(Id::RunCost), calls: define(Id::RunCalls), waste: define(Id::RunWaste), by_kind }
        };
        let outcomes = config.runs.as_ref().map(Runs::words).unwrap_or_default();
        Self { outcomes: outcomes.into_iter().map(of).collect() }
    }

    /// Counts a run whose account was closed. What nobody has a price for is no cost of zero.
    pub fn count(&self, closed: &RunClosed) {
        let RunClosed { outcome, account } = closed;
        let Some(ids) = self.outcomes.get(usize::from(*outcome)) else { return };
        let Account { calls, waste, cost: by_kind, .. } = account;
        if let Some(id) = ids.calls {
            stats::record(id, *calls);
        }
        let Some(total) = account.total() else { return };
        if let Some(id) = ids.cost {
            stats::record(id, total);
        }
        for (id, cost) in ids.by_kind.iter().chain([&ids.waste]).zip(by_kind.iter().chain([waste])) {
            if let Some(id) = id.filter(|_| *cost > 0) {
                stats::add(id, i64::try_from(*cost).unwrap_or(i64::MAX));
            }
        }
    }
}

fn define(id: Id, labels: &[(&str, &str)]) -> Option<u32> {
    let metric = id.metric();
    let mut name = String::from(metric.name);
    for (label, value) in labels {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    let kind = if metric.kind == Kind::Histogram { MetricType::Histogram } else { MetricType::Counter };
    stats::define(kind, &name)
}
