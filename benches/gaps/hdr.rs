//! The same kept by hdrhistogram, in two digits and 16 bits for each bucket, up from `LOW_US`: what is shorter is no gap. hdrhistogram
//! tells apart steps of half of that and more, so with 1 ms a gap of 5 ms is known to one part in 20, with 64 µs to one in 160.

use hdrhistogram::Histogram;
use weir::metrics::INTER_TOKEN_MS;
use weir::units::Span;

/// What is longer counts as this, in µs: ten minutes.
const HIGH_US: u64 = 600_000_000;
/// Digits of a quantile.
const DIGITS: u8 = 2;
/// Quantiles are those of so many gaps, the first ones: more than any model writes, and no bucket overflows.
const MOST: u64 = u16::MAX as u64;

/// The gaps so far.
#[derive(Clone, Debug)]
pub struct Gaps<const LOW_US: u64> {
    count: u64,
    sum_us: u64,
    max_us: u64,
    /// These bounds always make one.
    fine: Option<Histogram<u16>>,
    /// By the bounds of the metric; the last has no bound.
    coarse: [u32; INTER_TOKEN_MS.len() + 1],
}

impl<const LOW_US: u64> Default for Gaps<LOW_US> {
    fn default() -> Self {
        let fine = Histogram::new_with_bounds(LOW_US, HIGH_US, DIGITS).ok();
        Self { count: 0, sum_us: 0, max_us: 0, fine, coarse: [0; INTER_TOKEN_MS.len() + 1] }
    }
}

impl<const LOW_US: u64> Gaps<LOW_US> {
    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.fine.as_ref().map_or(0, Histogram::distinct_values) * size_of::<u16>()
    }

    /// Adds `times` gaps of the same length.
    pub fn add(&mut self, gap: Span, times: u64) {
        if times == 0 {
            return;
        }
        let us = gap.as_us();
        if let Some(fine) = &mut self.fine {
            let room = MOST.saturating_sub(self.count).min(times);
            // It cannot fail: the value is one of its own.
            let _ = fine.record_n(us.min(HIGH_US), u16::try_from(room).unwrap_or(u16::MAX));
        }
        self.count = self.count.saturating_add(times);
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(times));
        self.max_us = self.max_us.max(us);
        let times = times.min(u32::MAX.into()) as u32;
        let bound = INTER_TOKEN_MS.iter().position(|ms| us <= ms * 1000).unwrap_or(INTER_TOKEN_MS.len());
        if let Some(bucket) = self.coarse.get_mut(bound) {
            *bucket = bucket.saturating_add(times);
        }
    }

    /// The gap that `share` of all gaps do not exceed (nearest rank).
    pub fn quantile(&self, share: f64) -> Span {
        let Some(fine) = &self.fine else { return Span::default() };
        let us = match fine.value_at_quantile(share) {
            // Most of them are none: several tokens came at once.
            us if us < LOW_US => 0,
            us => fine.median_equivalent(us),
        };
        Span(us.min(self.max_us) * 1000)
    }
}
