//! What limits said, as Envoy's own stats.

use super::stats::{self, MetricType};
use crate::labels;
use crate::metrics::{Id, Series};
use crate::policies::limits::rule::Rule;
use crate::report::LimitCount;
use crate::shared::Events;

/// Most keys of one limit that have a gauge of what is left.
const MAX_KEYS: usize = 16;

/// The stats of one config's limits that a worker has defined so far.
#[derive(Debug, Default)]
pub struct LimitMeter {
    rules: Vec<Ids>,
    store: [Option<u32>; 4],
}

/// The host's ids of the stats of one rule.
#[derive(Debug, Default)]
struct Ids {
    name: Box<str>,
    verdicts: [Option<u32>; 7],
    wait: Option<u32>,
    left: Vec<(String, u32)>,
}

impl LimitMeter {
    /// Stats for these rules. The counters of what passes and what is refused are there from the start, at zero: a rate over
    /// a counter that is not there yet misses its first count.
    pub fn new(rules: &[Rule]) -> Self {
        let of = |rule: &Rule| {
            let mut ids = Ids { name: rule.name.clone(), ..Ids::default() };
            for (verdict, id) in ids.verdicts.iter_mut().take(2).enumerate() {
                *id = counter(Id::Limit, verdict, &rule.name);
            }
            ids
        };
        Self { rules: rules.iter().map(of).collect(), store: [None; 4] }
    }

    /// Counts what limits said to a call.
    pub fn count(&mut self, counts: &[LimitCount]) {
        for LimitCount { rule, verdict, waited, left } in counts {
            let Some(ids) = self.rules.get_mut(*rule) else { continue };
            let at = usize::from(*verdict);
            if let Some(id) = ids.verdicts.get_mut(at) {
                add(id, 1, || counter(Id::Limit, at, &ids.name));
            }
            if let Some(waited) = waited {
                let define = || stats::define(MetricType::Histogram, &name(Id::LimitWait, 0, &[("limit", &ids.name)]));
                if let Some(id) = ids.wait.or_else(define) {
                    ids.wait = Some(id);
                    stats::record(id, waited.round_ms());
                }
            }
            if let Some((key, left)) = left {
                ids.set_left(key, *left);
            }
        }
    }

    /// Counts what was seen of the store.
    pub fn count_store(&mut self, events: Events) {
        let Events { contended, full, taken_over, failed } = events;
        for (at, (count, id)) in [contended, full, taken_over, failed].into_iter().zip(&mut self.store).enumerate() {
            if count > 0 {
                add(id, count.into(), || stats::define(MetricType::Counter, &name(Id::Store, at, &[])));
            }
        }
    }
}

impl Ids {
    fn set_left(&mut self, key: &str, left: u64) {
        let known = self.left.iter().find(|(known, _)| known == key).map(|(_, id)| *id);
        let id = match known {
            None if self.left.len() < MAX_KEYS => {
                let labels = [("limit", &*self.name), ("key", &*labels::clean(key))];
                // A scope of nothing has one key, which needs no label.
                let labels = labels.get(..if key.is_empty() { 1 } else { 2 }).unwrap_or_default();
                let id = stats::define(MetricType::Gauge, &name(Id::LimitRemaining, 0, labels));
                self.left.extend(id.map(|id| (key.to_owned(), id)));
                id
            }
            known => known,
        };
        if let Some(id) = id {
            stats::record(id, left);
        }
    }
}

fn add(id: &mut Option<u32>, by: i64, define: impl FnOnce() -> Option<u32>) {
    if id.is_none() {
        *id = define();
    }
    if let Some(id) = id {
        stats::add(*id, by);
    }
}

fn counter(id: Id, value: usize, limit: &str) -> Option<u32> {
    stats::define(MetricType::Counter, &name(id, value, &[("limit", limit)]))
}

/// A stat's name: the metric, its labels from the config, then its own.
fn name(id: Id, value: usize, labels: &[(&str, &str)]) -> String {
    let series = Series { id, value: value as u8 };
    let mut name = String::from(id.metric().name);
    for (label, value) in labels.iter().copied().chain(series.own()) {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    name
}
