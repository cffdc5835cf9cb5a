//! A circuit: past a share of failures nobody passes but a trickle of probes, until so many of them in a row went well.
//!
//! ```text
//! closed ──failures / calls >= share, of enough calls──► open ──probes went well──► closed, all forgotten
//! ```

use super::ring::{self, Ring};
use crate::units::{Nanos, Span};

/// Bytes of a [`Circuit`].
pub const SIZE: usize = ring::SIZE + 16;

/// How long an open circuit that nobody asks is kept at least.
const KEPT: Span = Span(60 * 1_000_000_000);

/// When it opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The window over which calls are counted.
    pub window: Span,
    /// The share of failures at which it opens, in thousandths.
    pub failures: u64,
    /// The least number of calls in the window for that.
    pub min_calls: u64,
    /// While it is open, one call passes in this time.
    pub probe_every: Span,
    /// So many probes in a row have to go well.
    pub close_after: u16,
}

/// One scope's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Calls and failures.
    ring: Ring,
    /// When the next probe may pass; zero: it is closed.
    probe: u64,
    /// Probes in a row that went well.
    good: u64,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It passes.
    Closed,
    /// It passes, and what becomes of it decides.
    Probe,
    /// It does not; the next probe may after this time.
    Open(Span),
}

const CALLS: bool = false;
const FAILURES: bool = true;

impl Circuit {
    /// Reads a circuit as of now; bytes of another size are a new one.
    pub fn read(bytes: &[u8], terms: &Terms, now: Nanos) -> Self {
        let (ring, rest) = bytes.split_at_checked(ring::SIZE).unwrap_or_default();
        let mut words = rest.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        let ring = Ring::read(ring, terms.window, now);
        let (probe, good) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        let mut circuit = Self { ring, probe, good };
        let far = now.0.saturating_add(terms.probe_every.0.saturating_mul(2));
        let old = probe.saturating_add(terms.window.0.max(KEPT.0)) < now.0;
        if probe > far || old {
            (circuit.probe, circuit.good) = (0, 0);
        }
        circuit
    }

    /// Writes it where it was read.
    pub fn write(&self, bytes: &mut [u8]) {
        let Some((ring, rest)) = bytes.split_at_mut_checked(ring::SIZE) else { return };
        self.ring.write(ring);
        for (word, value) in rest.chunks_exact_mut(8).zip([self.probe, self.good]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Whether a circuit's bytes equal those of one that nobody ever used, whatever its window is up to this one.
    pub fn is_old(bytes: &[u8], longest: Span, now: Nanos) -> bool {
        ring::is_old(bytes, Span(longest.0.max(KEPT.0)), now)
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.probe > 0
    }

    /// A call wants to pass.
    pub fn ask(&mut self, terms: &Terms, now: Nanos) -> Passage {
        if !self.is_open() {
            return Passage::Closed;
        }
        if now.0 < self.probe {
            return Passage::Open(Nanos(self.probe) - now);
        }
        self.probe = now.0.saturating_add(terms.probe_every.0).max(1);
        Passage::Probe
    }

    /// What became of a call that passed. While it is open, only probes count: the others passed before.
    #[inline(never)]
    pub fn told(&mut self, failed: bool, probe: bool, terms: &Terms, now: Nanos) {
        if self.is_open() {
            if probe {
                self.good = if failed { 0 } else { self.good.saturating_add(1) };
            }
            if self.good >= terms.close_after.into() {
                (self.probe, self.good) = (0, 0);
                self.ring.take_back(CALLS, u64::MAX);
                self.ring.take_back(FAILURES, u64::MAX);
            }
            return;
        }
        self.ring.add(CALLS, 1);
        self.ring.add(FAILURES, failed.into());
        let (calls, failures) = (self.ring.recent(CALLS), self.ring.recent(FAILURES));
        if failed && calls >= terms.min_calls && failures.saturating_mul(1000) >= calls.saturating_mul(terms.failures) {
            self.probe = now.0.saturating_add(terms.probe_every.0).max(1);
            self.good = 0;
        }
    }
}
