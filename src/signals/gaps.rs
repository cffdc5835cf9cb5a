//! The gaps between tokens of one stream: quantiles for the record, buckets for the metric, in fixed memory.

use crate::metrics::INTER_TOKEN_MS;
use crate::units::Span;

/// Sub-buckets per power of two: a quantile is off by at most one part in 64.
const SUB: usize = 32;
/// Powers of two above the exact range: up to 2^37 µs, a day and a half.
const OCTAVES: usize = 32;
/// All buckets: gaps below [`SUB`] µs exactly, then [`SUB`] for each power of two.
const BUCKETS: usize = SUB * (OCTAVES + 1);

/// The gaps so far.
#[derive(Clone, Debug)]
pub struct Gaps {
    count: u64,
    sum_us: u64,
    max_us: u64,
    /// Many gaps are zero, where several tokens come at once.
    fine: Box<[u32; BUCKETS]>,
    /// By the bounds of the metric; the last has no bound.
    coarse: [u32; INTER_TOKEN_MS.len() + 1],
}

impl Default for Gaps {
    fn default() -> Self {
        Self { count: 0, sum_us: 0, max_us: 0, fine: Box::new([0; BUCKETS]), coarse: [0; INTER_TOKEN_MS.len() + 1] }
    }
}

impl Gaps {
    /// Adds `times` gaps of the same length.
    pub fn add(&mut self, gap: Span, times: u64) {
        if times == 0 {
            return;
        }
        let us = gap.as_us();
        self.count = self.count.saturating_add(times);
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(times));
        self.max_us = self.max_us.max(us);
        let times = times.min(u32::MAX.into()) as u32;
        if let Some(bucket) = self.fine.get_mut(bucket_of(us)) {
            *bucket = bucket.saturating_add(times);
        }
        let bound = INTER_TOKEN_MS.iter().position(|ms| us <= ms * 1000).unwrap_or(INTER_TOKEN_MS.len());
        if let Some(bucket) = self.coarse.get_mut(bound) {
            *bucket = bucket.saturating_add(times);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> Span {
        Span(self.sum_us.saturating_mul(1000))
    }

    /// The longest.
    pub fn max(&self) -> Span {
        Span(self.max_us.saturating_mul(1000))
    }

    /// The gap that `share` of all gaps do not exceed (nearest rank).
    pub fn quantile(&self, share: f64) -> Span {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0u64;
        for (i, count) in self.fine.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Span(middle_of(i).min(self.max_us) * 1000);
            }
        }
        self.max()
    }

    /// Counts by the bounds of the metric, each with those below it, as Prometheus has them; the last is all.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.coarse.iter().scan(0u64, |sum, count| {
            *sum += u64::from(*count);
            Some(*sum)
        })
    }
}

fn bucket_of(us: u64) -> usize {
    let sub = SUB as u64;
    if us < sub {
        return us as usize;
    }
    let octave = us.ilog2() - sub.ilog2();
    let within = (us >> octave) - sub;
    (SUB * (octave as usize + 1) + within as usize).min(BUCKETS - 1)
}

fn middle_of(bucket: usize) -> u64 {
    let (octave, within) = (bucket / SUB, (bucket % SUB) as u64);
    match octave.checked_sub(1) {
        None => within,
        Some(octave) => {
            let width = 1u64 << octave;
            (SUB as u64 + within) * width + width / 2
        }
    }
}
