//! Two counts over a window that moves with time, in buckets.
//!
//! ```text
//! newest                                            oldest
//! [now] [ 1 ] [ 2 ] [ 3 ] [ 4 ] [ 5 ] [ 6 ] [ 7 ] [ 8 ] [ 9 ] [ 10 ]
//!  └────────────── recent: at most the window ──────────────┘
//!  └────────────── whole: at least the window ────────────────────┘
//! ```
//! The bucket of now is not full yet. So ten of them never hold more than the window and eleven never less: who counts what
//! allows in ten, and what uses it up in eleven, is right over every stretch of time as long as the window.

use crate::units::{Nanos, Span};

/// Buckets of a window.
const BUCKETS: u64 = 10;
const KEPT: usize = BUCKETS as usize + 1;

/// Bytes of a [`Ring`].
pub const SIZE: usize = 8 + KEPT * 16;

/// The two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// When the newest bucket began: in nanoseconds, so that whoever has another window can tell how old it is.
    at: u64,
    /// The newest first.
    buckets: [[u64; 2]; KEPT],
}

/// How long a bucket is.
fn width(window: Span) -> u64 {
    (window.0 / BUCKETS).max(1)
}

/// Whether a ring is so old, or lies so far ahead, that with a window of at most `longest` nothing in it counts any more.
pub fn is_old(bytes: &[u8], longest: Span, now: Nanos) -> bool {
    let at = Nanos(bytes.first_chunk().map_or(0, |at| u64::from_le_bytes(*at)));
    let kept = longest.0.saturating_add(width(longest));
    (now - at).0 > kept || (at - now).0 > kept
}

impl Ring {
    /// Reads a ring and moves it to now; bytes of another size are an empty one.
    #[inline(never)]
    pub fn read(bytes: &[u8], window: Span, now: Nanos) -> Self {
        let mut words =
            bytes.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        let mut ring = Self { at: words.next().unwrap_or(0), buckets: [[0; 2]; KEPT] };
        for count in ring.buckets.iter_mut().flatten() {
            *count = words.next().unwrap_or(0);
        }
        ring.roll(now, window);
        ring
    }

    /// Writes it where it was read.
    #[inline(never)]
    pub fn write(&self, bytes: &mut [u8]) {
        let counts = self.buckets.iter().flatten();
        for (word, value) in bytes.chunks_exact_mut(8).zip([&self.at].into_iter().chain(counts)) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Moves it to this moment. Another worker's clock may have been read a moment later: then it stays.
    #[inline(never)]
    fn roll(&mut self, now: Nanos, window: Span) {
        let width = width(window);
        let (number, at) = (now.0 / width, self.at / width);
        let ahead = number.saturating_sub(at).min(KEPT as u64) as usize;
        self.buckets.rotate_right(ahead % KEPT);
        self.buckets.iter_mut().take(ahead).for_each(|bucket| *bucket = [0; 2]);
        if at > number.saturating_add(1) {
            // Nobody's clock is a whole bucket ahead: this is no ring.
            (self.at, self.buckets) = (0, [[0; 2]; KEPT]);
        }
        self.at = self.at.max(number.saturating_mul(width));
    }

    /// The same as of so many buckets later, if nothing comes until then; and when that is.
    #[inline(never)]
    pub fn later(&self, buckets: u64, window: Span) -> (Self, Nanos) {
        let mut later = *self;
        let at = Nanos(self.at.saturating_add(buckets.saturating_mul(width(window))));
        later.roll(at, window);
        (later, at)
    }

    /// How many buckets later all is forgotten.
    pub const FORGOTTEN: u64 = KEPT as u64;

    /// The first or second count of now.
    fn now(&mut self, second: bool) -> Option<&mut u64> {
        self.buckets.first_mut()?.get_mut(usize::from(second))
    }

    /// Counts so much more.
    pub fn add(&mut self, second: bool, amount: u64) {
        if let Some(count) = self.now(second) {
            *count = count.saturating_add(amount);
        }
    }

    /// Takes back what was counted, the newest first.
    #[inline(never)]
    pub fn take_back(&mut self, second: bool, amount: u64) {
        let mut left = amount;
        for count in self.buckets.iter_mut().filter_map(|bucket| bucket.get_mut(usize::from(second))) {
            let taken = left.min(*count);
            *count -= taken;
            left -= taken;
        }
    }

    /// Takes back what was counted then, if that still counts. Not what others counted since: it has to count for longer.
    #[inline(never)]
    pub fn take_back_of(&mut self, then: Nanos, second: bool, amount: u64, window: Span) {
        let width = width(window);
        let age = (self.at / width).saturating_sub(then.0 / width);
        let bucket = usize::try_from(age).ok().and_then(|age| self.buckets.get_mut(age));
        if let Some(count) = bucket.and_then(|bucket| bucket.get_mut(usize::from(second))) {
            *count = count.saturating_sub(amount);
        }
    }

    #[inline(never)]
    fn sum(&self, second: bool, buckets: usize) -> u64 {
        let counts = self.buckets.iter().take(buckets).filter_map(|bucket| bucket.get(usize::from(second)));
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was counted within the window at most.
    pub fn recent(&self, second: bool) -> u64 {
        self.sum(second, BUCKETS as usize)
    }

    /// What was counted within the window at least.
    pub fn whole(&self, second: bool) -> u64 {
        self.sum(second, KEPT)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().flatten().all(|count| *count == 0)
    }
}
