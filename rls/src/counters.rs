//! Counters of hits by descriptor: limitador's.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::time::Duration;

use anyhow::Result;

use crate::rules::Rate;

/// Where hits are counted.
pub trait Counters: Send + Sync {
    /// Counts hits, then compares: what was used is counted even where it is too much, as with envoyproxy/ratelimit. Zero
    /// hits only compare.
    ///
    /// # Errors
    /// The rate is none of those that these counters were made for, or they cannot be reached.
    fn hit(&self, rate: Rate, descriptor: &str, hits: u64) -> Result<Count>;
}

/// A counter after a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Whether more was counted than the limit allows.
    pub over: bool,
    /// What is left of the limit.
    pub left: u64,
    /// Until it is whole again.
    pub reset: Duration,
}

/// A rate, where limitador tells limits apart.
fn name(rate: Rate) -> String {
    format!("{} in {} s", rate.requests_per_unit, rate.unit.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Rules, Unit};

    #[test]
    fn hits_are_counted_even_beyond_the_limit_and_none_only_look() {
        let rules =
            Rules::parse("{domain: d, descriptors: [{key: t, rate_limit: {unit: hour, requests_per_unit: 60}}]}");
        let counters = memory::Memory::new(&rules.unwrap()).unwrap();
        let rate = Rate { unit: Unit::Hour, requests_per_unit: 60 };
        for (descriptor, hits, over, left) in [
            ("a", 0, false, 60),
            ("a", 34, false, 26),
            ("a", 26, false, 0),
            // What is used up exactly is not over.
            ("a", 0, false, 0),
            ("a", 34, true, 0),
            ("a", 0, true, 0),
            ("b", 0, false, 60),
        ] {
            let count = counters.hit(rate, descriptor, hits).unwrap();
            assert_eq!((count.over, count.left), (over, left), "{descriptor} {hits}");
            assert!(count.reset <= Duration::from_secs(3600));
        }
        assert!(counters.hit(Rate { requests_per_unit: 61, ..rate }, "a", 1).is_err());
    }
}
