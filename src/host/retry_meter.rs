//! Attempts, as Envoy's own stats.

use super::stats::{self, MetricType};
use crate::labels::Label;
use crate::metrics::{Id, Series};
use crate::policies::retry::attempt::Layer;
use crate::report::RetryCount;

/// Kinds of attempts: layers times outcomes.
const OUTCOMES: usize = 3;
const KINDS: usize = Layer::WORDS.len() * OUTCOMES;

/// The stats that a worker has defined so far.
#[derive(Debug, Default)]
pub struct RetryMeter {
    /// By the number of the route's label, which is bounded, and by layer and outcome.
    routes: Vec<[Option<u32>; KINDS]>,
}

impl RetryMeter {
    /// Counts a call's attempts.
    pub fn count(&mut self, routes: &Label, route: u16, counts: &[RetryCount]) {
        if counts.is_empty() {
            return;
        }
        let at = usize::from(route);
        if self.routes.len() <= at {
            self.routes.resize(at + 1, [None; KINDS]);
        }
        for RetryCount { layer, outcome, count } in counts {
            let kind = usize::from(*layer) * OUTCOMES + usize::from(*outcome);
            let Some(id) = self.routes.get_mut(at).and_then(|ids| ids.get_mut(kind)) else { continue };
            if id.is_none() {
                *id = define(routes.value(route), *layer, *outcome);
            }
            if let Some(id) = id {
                stats::add(*id, i64::try_from(*count).unwrap_or(i64::MAX));
            }
        }
    }
}

fn define(route: &str, layer: u8, outcome: u8) -> Option<u32> {
    let series = Series { id: Id::Attempts, value: outcome };
    let mut name = String::from(series.id.metric().name);
    let layer = Layer::WORDS.get(usize::from(layer)).copied().unwrap_or_default();
    for (label, value) in [("layer", layer)].into_iter().chain(series.own()).chain([("route", route)]) {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    stats::define(MetricType::Counter, &name)
}
