//! The host's own stats. In Envoy 1.40 a metric that was defined is never freed.

use crate::types::{MetricType, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

/// Defines a metric, or finds the one of this name; its id.
pub fn define_metric(metric_type: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0u32;
    // SAFETY: the name is only read; the id is a local that outlives the call.
    Status::check(unsafe { proxy_define_metric(metric_type as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds to a counter or a gauge.
pub fn increment_metric(metric_id: u32, offset: i64) -> Result<(), Status> {
    // SAFETY: only numbers cross.
    Status::check(unsafe { proxy_increment_metric(metric_id, offset) })
}

/// Records a value in a histogram, or sets a gauge to it.
pub fn record_metric(metric_id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: only numbers cross.
    Status::check(unsafe { proxy_record_metric(metric_id, value) })
}
