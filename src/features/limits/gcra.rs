//! The rate of a limit: a token bucket that is one number.
//!
//! GCRA, the generic cell rate algorithm (ITU-T I.371, annex A, in the form of virtual scheduling): the bucket is its theoretical
//! arrival time (TAT), the moment at which it will be full again. A bucket that is full has a TAT that has passed, and equals
//! one that nobody ever used.
//!
//! ```text
//! level = burst - (TAT - now) × rate      take(n): TAT = max(TAT, now) + n / rate,  allowed up to now + burst / rate
//! ```

use crate::units::{Nanos, Span};

/// How far a bucket may be in debt, beyond empty: a call that used far more than it reserved is paid for in a day at the
/// latest. It also bounds what a clock that jumped can do.
const MAX_DEBT: Span = Span(24 * 3600 * 1_000_000_000);

/// How much may pass in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So much, in thousandths of what is counted; at least 1.
    pub amount: u64,
    /// in this time; at least 1 ns.
    pub period: Span,
    /// The most that may pass at once, in thousandths.
    pub burst: u64,
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken; its turn comes after this wait (mostly none).
    After(Span),
    /// It was not: it would have to wait this long, more than it may.
    Never(Span),
}

impl Rate {
    /// The time in which so much flows back in, rounded up.
    pub fn span(&self, amount: u64) -> Span {
        // 128 bits are slow to divide where there are 64, and 32 in pointers. Mostly they are not needed.
        if amount == self.amount {
            return self.period;
        }
        if let Some(product) = amount.checked_mul(self.period.0) {
            return Span(product.div_ceil(self.amount.max(1)));
        }
        let span = (u128::from(amount) * u128::from(self.period.0)).div_ceil(u128::from(self.amount.max(1)));
        Span(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// What flows back in in this time, rounded down.
    pub fn amount(&self, span: Span) -> u64 {
        if let Some(product) = span.0.checked_mul(self.amount) {
            return product.checked_div(self.period.0.max(1)).unwrap_or(0);
        }
        let amount = u128::from(span.0) * u128::from(self.amount) / u128::from(self.period.0.max(1));
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    /// Takes `cost` out of the bucket with this TAT if its turn comes within `max_wait`. The order of waiting is that of
    /// asking: whoever waits has taken already.
    pub fn take(&self, tat: &mut u64, cost: u64, max_wait: Span, now: Nanos) -> Taken {
        let after = self.sane(*tat, now).max(now.0).saturating_add(self.span(cost).0);
        let wait = Span(after.saturating_sub(now.0.saturating_add(self.span(self.burst).0)));
        if wait > max_wait {
            return Taken::Never(wait);
        }
        *tat = after;
        Taken::After(wait)
    }

    /// Puts right what was taken: `reserved` becomes `actual`.
    pub fn settle(&self, tat: &mut u64, reserved: u64, actual: u64, now: Nanos) {
        let (reserved, actual) = (self.span(reserved).0, self.span(actual).0);
        let sane = self.sane(*tat, now);
        *tat = match actual.checked_sub(reserved) {
            Some(more) => sane.max(now.0).saturating_add(more),
            None => sane.saturating_sub(reserved - actual),
        };
        *tat = self.sane(*tat, now);
    }

    /// What is in the bucket; zero too while it is in debt.
    pub fn level(&self, tat: u64, now: Nanos) -> u64 {
        self.burst.saturating_sub(self.used(tat, now))
    }

    /// What was taken and has not flowed back yet, rounded up.
    pub fn used(&self, tat: u64, now: Nanos) -> u64 {
        let used = u128::from(self.until_full(tat, now).0) * u128::from(self.amount);
        u64::try_from(used.div_ceil(u128::from(self.period.0.max(1)))).unwrap_or(u64::MAX)
    }

    /// When the bucket is full again, from now.
    pub fn until_full(&self, tat: u64, now: Nanos) -> Span {
        Span(self.sane(tat, now).saturating_sub(now.0))
    }

    /// A TAT no farther ahead than burst and debt allow.
    fn sane(&self, tat: u64, now: Nanos) -> u64 {
        // Within the debt alone it is, whatever the burst.
        if tat <= now.0.saturating_add(MAX_DEBT.0) {
            return tat;
        }
        tat.min(now.0.saturating_add(self.span(self.burst).0).saturating_add(MAX_DEBT.0))
    }
}
