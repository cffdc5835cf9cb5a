//! Envoy's stats, as all meters use them: what the host does not take is lost, and a call goes on without.

use weir_abi::hostcalls;
pub use weir_abi::types::MetricType;

/// Defines a metric, or finds the one of this name; its id.
pub fn define(kind: MetricType, name: &str) -> Option<u32> {
    match hostcalls::define_metric(kind, name) {
        Ok(id) => Some(id),
        Err(status) => {
            // Without its labels: what clients said of themselves is in them.
            let metric = name.split(';').next().unwrap_or_default();
            log::warn!("weir: the host does not define {metric}: {status:?}");
            None
        }
    }
}

/// Adds to a counter or a gauge.
pub fn add(id: u32, by: i64) {
    let _ = hostcalls::increment_metric(id, by);
}

/// Records a value in a histogram, or sets a gauge to it.
pub fn record(id: u32, value: u64) {
    let _ = hostcalls::record_metric(id, value);
}
