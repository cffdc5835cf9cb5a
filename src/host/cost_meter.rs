//! What calls cost, as Envoy's own stats.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::stats::{self, MetricType};
use crate::labels::{LabelSet, Labels};
use crate::metrics::{Id, Series};
use crate::record::Record;

/// Most series of one worker, beyond which model and tenant are `other`: Envoy never frees a stat. There are at most 16 kinds
/// and 6 words for waste, so what is left for models and tenants is some hundred pairs, each in a few kinds.
const MAX_SERIES: usize = 2048;

/// A series: the numbers of its kind, model, tenant and waste.
type Labelled = (u8, u16, u16, u8);

/// The stats that a worker has defined so far.
#[derive(Debug, Default)]
pub struct CostMeter {
    ids: BTreeMap<Labelled, u32>,
}

impl CostMeter {
    /// Counts what a call cost, if it has a price. `kinds` are the kinds' names, by their numbers.
    pub fn count(&mut self, record: &Record, labels: &Labels, set: LabelSet, kinds: &[Rc<str>]) {
        let Some(cost) = record.cost.filter(|cost| cost.total > 0) else { return };
        let named = |kind: &str| kinds.iter().position(|word| &**word == kind);
        let Some(kind) = record.kind.as_deref().and_then(named) else { return };
        let waste = waste_number(cost.waste_reason);
        let exact = (kind as u8, set.model, set.tenant, waste);
        let full = self.ids.len() >= MAX_SERIES && !self.ids.contains_key(&exact);
        let series = if full { (kind as u8, 0, 0, waste) } else { exact };
        let id = match self.ids.get(&series) {
            Some(id) => *id,
            None => {
                let (_, model, tenant, _) = series;
                let values = [labels.model.value(model), labels.tenant.value(tenant)];
                let Some(id) = define(kinds.get(kind).map_or("", |word| word), values, waste) else { return };
                self.ids.insert(series, id);
                id
            }
        };
        stats::add(id, i64::try_from(cost.total).unwrap_or(i64::MAX));
    }
}

/// As in the table of metrics.
fn waste_number(reason: Option<&str>) -> u8 {
    let words = Id::Cost.metric().own.map_or(&[][..], |(_, words)| words);
    words.iter().position(|word| Some(*word) == reason).unwrap_or(0) as u8
}

fn define(kind: &str, [model, tenant]: [&str; 2], waste: u8) -> Option<u32> {
    let series = Series { id: Id::Cost, value: waste };
    let mut name = String::from(series.id.metric().name);
    for (label, value) in [("kind", kind), ("model", model), ("tenant", tenant)].into_iter().chain(series.own()) {
        for part in [";", label, "=", value] {
            name.push_str(part);
        }
    }
    stats::define(MetricType::Counter, &name)
}
