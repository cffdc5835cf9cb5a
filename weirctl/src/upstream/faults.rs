//! Faults of a whole upstream, whoever calls: which part of its calls it fails, changed while it runs, and how many it was
//! asked. `x-demo` steers one call; this is the weather.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::json;

use super::answer::Answer;

/// Which part of the calls fails, and what came.
#[derive(Debug, Default)]
pub struct Faults {
    /// In thousandths.
    failing: AtomicU32,
    asked: AtomicU64,
    failed: AtomicU64,
    retry_after_ms: u32,
}

impl Faults {
    /// None yet. Who fails later is told to come again after so long.
    pub fn new(retry_after_ms: u32) -> Self {
        Self { retry_after_ms, ..Self::default() }
    }

    /// From now on so many of a thousand calls fail.
    pub fn fail(&self, thousandths: u32) {
        self.failing.store(thousandths, Ordering::Relaxed);
    }

    /// Calls that came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Those of them that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// A call came: the answer, if it is to fail. Which ones do is random, but the same for the same seed and order.
    pub fn befall(&self, seed: u64) -> Option<Answer> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let failing = self.failing.load(Ordering::Relaxed);
        let fails = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u32(0..1000) < failing;
        if !fails {
            return None;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        let error = json!({"error": {"message": "The upstream is down.", "type": "server_error", "code": null}});
        Some(Answer::document(503, &error).header("retry-after-ms", self.retry_after_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_calls_fail_as_are_to_and_all_are_counted() {
        let faults = Faults::new(20);
        for (thousandths, least, most) in [(0, 0, 0), (20, 120, 280), (500, 4800, 5200), (1000, 10_000, 10_000)] {
            faults.fail(thousandths);
            let (asked, failed) = (faults.asked(), faults.failed());
            let answers: Vec<_> = (0..10_000).filter_map(|_| faults.befall(1)).collect();
            assert!((least..=most).contains(&answers.len()), "{thousandths}: {}", answers.len());
            assert!(answers.iter().all(|answer| answer.status == 503));
            assert_eq!((faults.asked() - asked, faults.failed() - failed), (10_000, answers.len() as u64));
        }
    }
}
