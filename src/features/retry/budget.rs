//! A retry budget: first tries deposit, retries withdraw.
//!
//! ```text
//! withdrawn in a window <= ratio × deposited in it + min_per_second × window
//! ```
//! holds for every stretch of time as long as the window (see [`super::ring`]). What was done without asking (Envoy's own
//! retries) is charged: beyond what is left it becomes a debt, which is paid before anybody may withdraw again.

use super::ring::{self, Ring};
use crate::units::{Nanos, Span};

/// Bytes of a [`Budget`].
pub const SIZE: usize = ring::SIZE + 8 + 8;

/// What a budget allows. Amounts are thousandths of a call or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Withdrawn per deposited, in thousandths.
    pub ratio: u64,
    /// What may be withdrawn in a window without deposits.
    pub reserve: u64,
    /// The window.
    pub window: Span,
}

/// A budget with so many retries left, and more left than used, is not short.
const PLENTY: u64 = 20;

/// One scope's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Deposited and withdrawn.
    ring: Ring,
    debt: u64,
    /// The status of the last failure, in the number of its window, and whether no call went well since; zero: none.
    failed: u64,
}

/// In the last failure: no call went well since.
const FAILING: u64 = 0x8000;
/// In the last failure: the status.
const STATUS: u64 = 0x7fff;

const WITHDRAWN: bool = true;
const DEPOSITED: bool = false;

impl Budget {
    /// Reads a budget as of now; bytes of another size are a new one.
    pub fn read(bytes: &[u8], terms: &Terms, now: Nanos) -> Self {
        let (ring, rest) = bytes.split_at_checked(ring::SIZE).unwrap_or_default();
        let mut words = rest.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        let ring = Ring::read(ring, terms.window, now);
        let (debt, failed) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        // A debt that nobody touched for a window is forgotten with all the rest.
        Self { debt: if ring.is_empty() { 0 } else { debt }, ring, failed }
    }

    /// Writes it where it was read.
    pub fn write(&self, bytes: &mut [u8]) {
        let Some((ring, rest)) = bytes.split_at_mut_checked(ring::SIZE) else { return };
        self.ring.write(ring);
        for (word, value) in rest.chunks_exact_mut(8).zip([self.debt, self.failed]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Whether a budget's bytes equal those of one that nobody ever used, whatever its window is up to this one.
    pub fn is_old(bytes: &[u8], longest: Span, now: Nanos) -> bool {
        ring::is_old(bytes, longest, now)
    }

    /// A first try.
    pub fn deposit(&mut self, amount: u64) {
        self.ring.add(DEPOSITED, amount);
    }

    /// Takes back a deposit of then: the first try was not sent after all.
    pub fn cancel(&mut self, amount: u64, then: Nanos, terms: &Terms) {
        self.ring.take_back_of(then, DEPOSITED, amount, terms.window);
    }

    /// What is left.
    #[inline(never)]
    pub fn left(&self, terms: &Terms) -> u64 {
        let earned = u128::from(self.ring.recent(DEPOSITED)) * u128::from(terms.ratio) / 1000;
        let allowed = u64::try_from(earned).unwrap_or(u64::MAX).saturating_add(terms.reserve);
        allowed.saturating_sub(self.ring.whole(WITHDRAWN))
    }

    /// Whether there is so much left that nobody has to ask before he retries: what is in flight at once does not use it up.
    pub fn is_plenty(&self, amount: u64, terms: &Terms) -> bool {
        let used = self.ring.whole(WITHDRAWN);
        self.has(used.max(amount.saturating_mul(PLENTY)), terms)
    }

    /// Whether less is used than left, so that something may be withdrawn for a retry that perhaps nobody makes: calls take long,
    /// and what lies ready for those in flight is not to be missing where a call has failed.
    pub fn may_lie_ready(&self, amount: u64, terms: &Terms) -> bool {
        self.has(self.ring.whole(WITHDRAWN).saturating_add(1).max(amount), terms)
    }

    /// Whether so much could be withdrawn.
    pub fn has(&self, amount: u64, terms: &Terms) -> bool {
        self.left(terms).checked_sub(self.debt).is_some_and(|left| left >= amount)
    }

    fn pay(&mut self, terms: &Terms) {
        let paid = self.debt.min(self.left(terms));
        self.ring.add(WITHDRAWN, paid);
        self.debt -= paid;
    }

    /// A retry: whether there is enough for it.
    #[inline(never)]
    pub fn withdraw(&mut self, amount: u64, terms: &Terms) -> bool {
        self.pay(terms);
        let enough = self.debt == 0 && self.left(terms) >= amount;
        if enough {
            self.ring.add(WITHDRAWN, amount);
        }
        enough
    }

    /// Gives back what was withdrawn then: the retry was not sent after all.
    pub fn give_back(&mut self, amount: u64, then: Nanos, terms: &Terms) {
        self.ring.take_back_of(then, WITHDRAWN, amount, terms.window);
    }

    /// Retries that nobody asked for.
    #[inline(never)]
    pub fn charge(&mut self, amount: u64, terms: &Terms) {
        self.debt = self.debt.saturating_add(amount);
        self.pay(terms);
    }

    /// When there would be enough, if no first try came until then: a window at the latest.
    #[inline(never)]
    pub fn wait(&self, amount: u64, terms: &Terms, now: Nanos) -> Span {
        let later = (1..=Ring::FORGOTTEN).map(|buckets| {
            let (ring, at) = self.ring.later(buckets, terms.window);
            (Self { ring, ..*self }, at)
        });
        let first = later.into_iter().find(|(budget, _)| budget.has(amount, terms));
        first.map_or(terms.window, |(_, at)| at - now)
    }

    /// A call failed with this status.
    pub fn failed(&mut self, status: u16, terms: &Terms, now: Nanos) {
        self.failed = (now.0 / terms.window.0.max(1)) << 16 | FAILING | (u64::from(status) & STATUS);
    }

    /// A call went well.
    pub fn went_well(&mut self) {
        self.failed &= !FAILING;
    }

    /// Whether the last call that ended had failed. Then the next ones will probably do too, and whatever is left, nobody is to
    /// retry without asking: it would be known too late.
    pub fn is_failing(&self, terms: &Terms, now: Nanos) -> bool {
        self.failed & FAILING > 0 && self.last_status(terms, now).is_some()
    }

    /// The status with which a call failed in this window or the one before.
    pub fn last_status(&self, terms: &Terms, now: Nanos) -> Option<u16> {
        let window = now.0 / terms.window.0.max(1);
        let recent = window.saturating_sub(self.failed >> 16) <= 1 && self.failed > 0;
        recent.then_some((self.failed & STATUS) as u16).filter(|status| *status >= 400)
    }
}
