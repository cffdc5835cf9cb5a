//! How large a call will probably be: the means of what such calls were before.
//!
//! Exponentially weighted, per tenant, model and route; until such a call was seen, of the model alone, of tenant and route
//! alone, of all. A mean, not a quantile: over many calls the sum of what is reserved then is the sum of what is used.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Tokens of an answer before anything is known.
pub const PRIOR: u64 = 256;
/// The weight of the newest call is one part in so many, once there were so many.
const SETTLED: f32 = 16.0;
/// Slots of a worker's table; a key has [`PROBES`] to choose from, and takes the one that taught least.
const SLOTS: usize = 1024;
const PROBES: usize = 4;

/// The hashes under which a call is known: of all three, of its model, of tenant and route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys([u64; 3]);

impl Keys {
    /// The keys of a call. Without a model, those of its tenant and route alone.
    pub fn of(tenant: Option<&str>, model: Option<&str>, route: Option<&str>) -> Self {
        let hash = |part: Option<&str>| {
            let mut hash = DefaultHasher::new();
            part.hash(&mut hash);
            hash.finish()
        };
        let (tenant, model, route) = (hash(tenant), hash(model), hash(route));
        // Each part in a place of its own, so that none passes for another. Zero marks a slot that was never used.
        let of = |tenant: u64, model: u64, route: u64| (tenant ^ model.rotate_left(21) ^ route.rotate_left(42)).max(1);
        let none = hash(None);
        Self([of(tenant, model, route), of(none, model, none), of(tenant, none, route)])
    }
}

/// What a call was like in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Tokens of its answer.
    pub output: u64,
    /// Tokens of its prompt, and the bytes that its head announced.
    pub input: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    key: u64,
    output: f32,
    calls: f32,
    /// Prompt tokens per byte announced.
    density: f32,
    announced: f32,
}

impl Mean {
    fn follow(&mut self, sample: Sample) {
        let step = |mean: &mut f32, calls: &mut f32, value: f32| {
            *calls = (*calls + 1.0).min(SETTLED);
            *mean += (value - *mean) / *calls;
        };
        step(&mut self.output, &mut self.calls, sample.output.min(u32::MAX.into()) as f32);
        if let Some((tokens, bytes)) = sample.input.filter(|(_, bytes)| *bytes > 0) {
            step(&mut self.density, &mut self.announced, tokens as f32 / bytes as f32);
        }
    }
}

/// The means of what one worker saw.
#[derive(Debug, Default)]
pub struct SizeEstimator {
    /// None until the first call was seen.
    slots: Vec<Mean>,
    all: Mean,
}

impl SizeEstimator {
    /// Tokens that a call will probably write.
    pub fn output(&self, keys: Keys) -> u64 {
        self.known_output(keys).unwrap_or(PRIOR)
    }

    /// The same; nothing if no call was seen yet.
    pub fn known_output(&self, keys: Keys) -> Option<u64> {
        self.known(keys, |mean| mean.calls > 0.0).map(|mean| mean.output.round() as u64)
    }

    /// Tokens of the prompt in a body of so many bytes, of which nothing else is known yet.
    pub fn input(&self, keys: Keys, bytes: u64) -> Option<u64> {
        let known = self.known(keys, |mean| mean.announced > 0.0)?;
        Some((bytes as f64 * f64::from(known.density)).ceil() as u64)
    }

    fn known(&self, keys: Keys, has: impl Fn(&Mean) -> bool) -> Option<&Mean> {
        let of_keys = keys.0.iter().filter_map(|key| self.find(*key)).find(|mean| has(mean));
        of_keys.or(Some(&self.all).filter(|mean| has(mean)))
    }

    /// A call is over.
    pub fn observe(&mut self, keys: Keys, sample: Sample) {
        if self.slots.is_empty() {
            self.slots = vec![Mean::default(); SLOTS];
        }
        for key in keys.0 {
            self.place(key).follow(sample);
        }
        self.all.follow(sample);
    }

    fn find(&self, key: u64) -> Option<&Mean> {
        self.slots.iter().skip(first(key)).take(PROBES).find(|slot| slot.key == key)
    }

    fn place(&mut self, key: u64) -> &mut Mean {
        let own = self.find(key).is_some();
        let probes = self.slots.iter_mut().skip(first(key)).take(PROBES);
        let least = |slot: &&mut Mean| if own { u32::from(slot.key != key) } else { slot.calls as u32 };
        match probes.min_by_key(least) {
            Some(slot) => {
                if slot.key != key {
                    *slot = Mean { key, ..Mean::default() };
                }
                slot
            }
            None => &mut self.all,
        }
    }
}

fn first(key: u64) -> usize {
    (key % (SLOTS - PROBES) as u64) as usize
}
