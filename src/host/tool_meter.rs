//! Tools, as Envoy's own stats.

use super::abi::{self, MetricKind};
use crate::labels::Label;
use crate::metrics::{Id, Series};
use crate::report::ToolCounts;

/// The stats that a worker has defined so far, by the number of the tool's label, which is bounded.
#[derive(Debug, Default)]
pub struct ToolMeter {
    tools: Vec<Ids>,
}

#[derive(Clone, Debug, Default)]
struct Ids {
    asked: Option<u32>,
}

impl ToolMeter {
    /// Counts what was seen of tools.
    pub fn count(&mut self, labels: &Label, counts: &ToolCounts) {
        let ToolCounts { asked } = counts;
        for tool in asked {
            let Some(ids) = self.of(*tool) else { continue };
            let define = || define(MetricKind::Counter, Id::ToolAsked.into(), labels.value(*tool));
            if let Some(id) = ids.asked.or_else(define) {
                ids.asked = Some(id);
                abi::increment_metric(id, 1);
            }
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

fn define(kind: MetricKind, series: Series, tool: &str) -> Option<u32> {
    let mut name = String::from(series.id.metric().name);
    for (label, value) in series.own().into_iter().chain([("tool", tool)]) {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    abi::define_metric(kind, &name)
}
