//! Totals: what a scope may use in its life (a budget), and what it may have in flight (concurrency).
//!
//! What a call reserves is leased to it until it settles. A worker may die with calls in flight, so a lease is only good for
//! its generation and the next one, one [`GENERATION`] each: a live worker renews the leases of its longer calls in time,
//! those of a dead one are forgotten.

use crate::units::{Nanos, Span};

/// How long a generation of leases lasts. A dead worker's leases bind for one to two of them.
pub const GENERATION: Span = Span(60 * 1_000_000_000);

/// Bytes of an [`Entry`].
pub const SIZE: usize = 36;

/// The generation of a moment.
pub fn generation(now: Nanos) -> u32 {
    (now.0 / GENERATION.0) as u32
}

/// One scope's total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Used for good.
    pub settled: u64,
    /// Leased in this generation, and in the one before.
    leased: [u64; 2],
    /// The generation.
    generation: u32,
    /// When it is forgotten, with all it used. It stands here and not only in the config, as any limit may look whether
    /// the entry is free to take.
    kept_until: u64,
}

/// What a total allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The most that may be used and leased together.
    pub amount: u64,
    /// An entry that nobody touches for so long is forgotten, with all it used.
    pub idle: Span,
}

impl Entry {
    /// Reads an entry; bytes of another size are an empty one.
    pub fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let mut word = || {
            let (word, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_le_bytes(*word))
        };
        let (settled, now, before, kept_until) = (word(), word(), word(), word());
        let generation = rest.first_chunk::<4>().map(|g| u32::from_le_bytes(*g));
        let all = || {
            let leased = [now?, before?];
            Some(Self { settled: settled?, leased, generation: generation?, kept_until: kept_until? })
        };
        all().unwrap_or_default()
    }

    /// Writes it where it was read.
    pub fn write(&self, bytes: &mut [u8]) {
        let Self { settled, leased: [now, before], generation, kept_until } = self;
        let words = [settled, now, before, kept_until].into_iter().flat_map(|w| w.to_le_bytes());
        for (byte, new) in bytes.iter_mut().zip(words.chain(generation.to_le_bytes())) {
            *byte = new;
        }
    }

    /// The generation of what is leased now. It may be one ahead of who asks: his reading of the clock is a little old.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What is used and leased.
    pub fn used(&self) -> u64 {
        self.leased.iter().fold(self.settled, |sum, leased| sum.saturating_add(*leased))
    }

    /// Whether it equals one that nobody ever used.
    pub fn is_idle(&self, now: Nanos) -> bool {
        let mut entry = *self;
        entry.roll(now);
        entry.leased == [0, 0] && (entry.settled == 0 || now.0 > entry.kept_until)
    }

    /// Brings the generations up to now, and forgets what was idle for too long.
    pub fn catch_up(&mut self, now: Nanos) {
        self.roll(now);
        if self.is_idle(now) {
            *self = Self::default();
            self.generation = generation(now);
        }
    }

    fn roll(&mut self, now: Nanos) {
        let generation = generation(now);
        match generation.wrapping_sub(self.generation) {
            0 => {}
            1 => self.leased = [0, self.leased[0]],
            // Another worker read the clock a moment later and was here first: its generation has begun.
            u32::MAX => return,
            _ => self.leased = [0, 0],
        }
        self.generation = generation;
    }

    /// Leases so much, if the total allows it.
    pub fn lease(&mut self, total: Total, cost: u64, now: Nanos) -> bool {
        self.catch_up(now);
        if self.used().saturating_add(cost) > total.amount {
            return false;
        }
        self.leased[0] = self.leased[0].saturating_add(cost);
        self.kept_until = now.0.saturating_add(total.idle.0);
        true
    }

    /// Ends a lease of this generation: `actual` is used for good.
    pub fn settle(&mut self, total: Total, (leased, of): (u64, u32), actual: u64, now: Nanos) {
        self.catch_up(now);
        self.end(leased, of);
        self.settled = self.settled.saturating_add(actual);
        self.kept_until = now.0.saturating_add(total.idle.0);
    }

    /// Makes a lease of this size and generation one of another size, good from now on.
    pub fn resize(&mut self, total: Total, (leased, of): (u64, u32), to: u64, now: Nanos) {
        self.catch_up(now);
        self.end(leased, of);
        self.leased[0] = self.leased[0].saturating_add(to);
        self.kept_until = now.0.saturating_add(total.idle.0);
    }

    /// Takes back a lease that still binds.
    fn end(&mut self, leased: u64, of: u32) {
        let [now, before] = &mut self.leased;
        let slot = match self.generation.wrapping_sub(of) {
            0 => now,
            1 => before,
            _ => return,
        };
        *slot = slot.saturating_sub(leased);
    }
}
