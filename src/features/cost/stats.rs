//! How many series of costs there are: Envoy never frees a stat.

use std::collections::BTreeSet;

use crate::metrics::Numbers;

/// Most series of one worker, beyond which model and tenant are `other`. There are at most 16 kinds and 6 words for waste, so
/// what is left for models and tenants is some hundred pairs, each in a few kinds.
const MAX_SERIES: usize = 2048;

/// The series seen so far: by kind, model, tenant, and the number of the waste.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeSet<(Numbers, u8)>);

impl Sets {
    /// The labels themselves while there is room for one more series, then with `other` for model and tenant.
    pub(super) fn bounded(&mut self, at: Numbers, waste: u8) -> Numbers {
        if !self.0.contains(&(at, waste)) {
            if self.0.len() >= MAX_SERIES {
                let [kind, ..] = at;
                return [kind, 0, 0, 0];
            }
            self.0.insert((at, waste));
        }
        at
    }
}
