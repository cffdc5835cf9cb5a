//! A call's counts as Envoy's own stats.
//!
//! Labels go into a stat's name, `weir_calls_total;ended=complete;model=gpt-4o;route=a;tenant=t;api=openai.chat_completions`,
//! and `stats_tags` of the bootstrap take them out again. A name is built once per sample; then each costs one hash look-up and
//! one host call.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::stats::{self, MetricType};
use crate::metrics::{Id, Kind, Names, Sample, Series, stat_name};

/// Hashes what is made of small numbers that the worker gave out, which nobody outside can choose.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .chunks(8)
            .for_each(|chunk| self.write_u64(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))));
    }

    fn write_u64(&mut self, word: u64) {
        /// 2^64 divided by the golden ratio.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(GOLDEN);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// A sample in two words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    series: u64,
    at: u64,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, to: &mut H) {
        to.write_u64(self.series);
        to.write_u64(self.at);
    }
}

impl Key {
    fn of(sample: Sample) -> Self {
        let Sample { series: Series { id, value }, at } = sample;
        let at = at.into_iter().fold(0, |word, number| word << 16 | u64::from(number));
        Self { series: u64::from(id as u8) << 8 | u64::from(value), at }
    }
}

/// The stats that a worker has defined so far, for one config: the numbers of labels are that config's. One that no call has had
/// yet is not defined.
#[derive(Debug, Default)]
pub struct Meter {
    ids: HashMap<Key, u32, BuildHasherDefault<Mix>>,
}

impl Meter {
    /// A meter with these counters, which are there from the start, at zero.
    pub fn new(counters: &[Sample], names: &dyn Names) -> Self {
        let mut meter = Self::default();
        for counter in counters {
            meter.id(*counter, names);
        }
        meter
    }

    /// The host's number of a sample's stat. One that the host did not define is asked for again.
    pub fn id(&mut self, sample: Sample, names: &dyn Names) -> Option<u32> {
        let key = Key::of(sample);
        let known = self.ids.get(&key).copied();
        known.or_else(|| {
            let id = define(sample, names)?;
            self.ids.insert(key, id);
            Some(id)
        })
    }

    /// Adds to counters, records in histograms, sets gauges.
    pub fn count(&mut self, samples: &[(Sample, u64)], names: &dyn Names) {
        for (sample, amount) in samples {
            let Some(id) = self.id(*sample, names) else { continue };
            match sample.series.id.metric().kind {
                Kind::Counter => stats::add(id, i64::try_from(*amount).unwrap_or(i64::MAX)),
                Kind::Gauge | Kind::Histogram => stats::record(id, *amount),
            }
        }
    }

    /// The host's number of the gauge of calls in flight for an API.
    pub fn active(&mut self, api: u16, names: &dyn Names) -> Option<u32> {
        self.id(Sample { series: Id::StreamsActive.into(), at: [api, 0, 0, 0] }, names)
    }
}

#[inline(never)]
fn define(sample: Sample, names: &dyn Names) -> Option<u32> {
    let kind = match sample.series.id.metric().kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    stats::define(kind, &stat_name(sample, names))
}
