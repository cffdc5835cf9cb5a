//! The filter's own time in one call.
//!
//! Timing a callback costs one clock read at its end (the one at its start is there anyway), 0.1 µs. Heads and the end
//! of a call are few and timed all; body callbacks may be thousands and are sampled.

use crate::units::Span;

/// So many body callbacks are timed each: a whole answer in a few pieces is measured, not estimated.
const TIMED_EACH: u32 = 4;
/// Of the ones after, one of so many is timed and stands for all of them.
const SAMPLE: u32 = 16;

/// A sum of time, and which body callback comes next.
#[derive(Debug, Default)]
pub struct OwnTime {
    nanos: u64,
    bodies: u32,
}

impl OwnTime {
    /// Adds the time of one callback that stands for `weight` of them.
    pub fn add(&mut self, span: Span, weight: u64) {
        self.nanos = self.nanos.saturating_add(span.0.saturating_mul(weight));
    }

    /// For how many body callbacks the next one stands; zero if it is not to be timed. The sample is the middle one of its
    /// group, so that groups cut short by the end of the body are as often counted as not.
    pub fn weight_of_next_body(&mut self) -> u64 {
        let at = self.bodies;
        self.bodies = self.bodies.wrapping_add(1);
        match at.checked_sub(TIMED_EACH) {
            None => 1,
            Some(at) if at % SAMPLE == SAMPLE / 2 => u64::from(SAMPLE),
            Some(_) => 0,
        }
    }

    /// The whole of it, in microseconds, rounded to the nearest.
    pub fn round_us(&self) -> u64 {
        self.nanos.saturating_add(500) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_many_body_callbacks_add_up_to_their_number() {
        for count in (0..200u64).chain([1_000, 10_001]) {
            let mut own = OwnTime::default();
            let sum: u64 = (0..count).map(|_| own.weight_of_next_body()).sum();
            assert!(sum.abs_diff(count) <= u64::from(SAMPLE / 2), "{count} callbacks count as {sum}");
            assert!(count > u64::from(TIMED_EACH) || sum == count, "{count} callbacks are timed each");
        }
    }

    #[test]
    fn a_sum_rounds_to_microseconds_and_never_overflows() {
        let mut own = OwnTime::default();
        assert_eq!(own.round_us(), 0);
        own.add(Span(100), 16);
        assert_eq!(own.round_us(), 2);
        own.add(Span(u64::MAX), 16);
        own.add(Span(u64::MAX), 16);
        assert_eq!(own.round_us(), u64::MAX / 1000);
    }
}
