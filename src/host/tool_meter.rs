//! Tools, as Envoy's own stats.

use super::stats::{self, MetricType};
use crate::labels::Label;
use crate::metrics::{Id, OUTCOMES, Series};
use crate::report::{Matched, ToolCount, ToolCounts};

/// The stats that a worker has defined so far, by the number of the tool's label, which is bounded.
#[derive(Debug, Default)]
pub struct ToolMeter {
    tools: Vec<Ids>,
    matched: [Option<u32>; 3],
}

#[derive(Clone, Debug, Default)]
struct Ids {
    asked: Option<u32>,
    outcomes: [Option<u32>; OUTCOMES.len()],
    time: Option<u32>,
}

impl ToolMeter {
    /// Counts what was seen of tools.
    pub fn count(&mut self, labels: &Label, counts: &ToolCounts) {
        let ToolCounts { asked, ran, matched: Matched { matched, unasked, never_run } } = counts;
        for tool in asked {
            let name = labels.value(*tool);
            if let Some(ids) = self.of(*tool) {
                add(&mut ids.asked, 1, Id::ToolAsked.into(), Some(name));
            }
        }
        for ToolCount { tool, outcome, ms } in ran {
            let name = labels.value(*tool);
            let Some(ids) = self.of(*tool) else { continue };
            if let Some(id) = ids.outcomes.get_mut(usize::from(*outcome)) {
                add(id, 1, Series { id: Id::ToolCalls, value: *outcome }, Some(name));
            }
            if let Some(ms) = ms
                && let Some(id) = ids.time.or_else(|| define(MetricType::Histogram, Id::ToolTime.into(), Some(name)))
            {
                ids.time = Some(id);
                stats::record(id, *ms);
            }
        }
        for ((value, id), count) in (0..).zip(&mut self.matched).zip([matched, unasked, never_run]) {
            add(id, *count, Series { id: Id::ToolMatched, value }, None);
        }
    }

    fn of(&mut self, tool: u16) -> Option<&mut Ids> {
        let at = usize::from(tool);
        if self.tools.len() <= at {
            self.tools.resize(at + 1, Ids::default());
        }
        self.tools.get_mut(at)
    }
}

fn add(known: &mut Option<u32>, count: u64, series: Series, tool: Option<&str>) {
    if count == 0 {
        return;
    }
    if let Some(id) = known.or_else(|| define(MetricType::Counter, series, tool)) {
        *known = Some(id);
        stats::add(id, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn define(kind: MetricType, series: Series, tool: Option<&str>) -> Option<u32> {
    let mut name = String::from(series.id.metric().name);
    for (label, value) in series.own().into_iter().chain(tool.map(|tool| ("tool", tool))) {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    stats::define(kind, &name)
}
