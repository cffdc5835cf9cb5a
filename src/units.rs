//! Numbers that cannot be mixed up.

use std::ops::Sub;

/// A point on a monotonic clock, in nanoseconds. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// A span of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Sub for Nanos {
    type Output = Span;
    /// A clock that went backwards gives a span of zero.
    fn sub(self, earlier: Nanos) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// Milliseconds, with microseconds after the point: the unit of every time in the record.
    pub fn as_ms(self) -> f64 {
        self.as_us() as f64 / 1000.0
    }

    /// Whole microseconds.
    pub fn as_us(self) -> u64 {
        self.0 / 1_000
    }

    /// Milliseconds, rounded to the nearest: the unit of the histograms.
    pub fn round_ms(self) -> u64 {
        self.0.saturating_add(500_000) / 1_000_000
    }
}
