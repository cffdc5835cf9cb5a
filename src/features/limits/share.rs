//! A token bucket whose callers share it fairly: one value of fixed size, so that one compare-and-swap decides everything.
//!
//! # What is fair
//! *Max-min fair* (Bertsekas and Gallager, Data Networks, 2nd edition, 6.5.2): capacity is given out so that nobody can
//! get more without somebody who has no more than he getting less. It is found by *water-filling*: everybody's part
//! rises alike until his demand is met or the capacity is gone. Who wants little gets it, and those who want more than
//! that are cut at one level.
//!
//! Here the capacity is the burst `B`, which comes in at the rate `R` in the time `B / R`. The *use* of a sharer is what
//! it took, fading with the time constant `T`, somewhat longer than `B / R`. Its *demand* is its use and what it was
//! last refused. The *fair level* of a caller is what water-filling gives it of `B` against the demands of all others,
//! if it wanted without end. A caller is *inside* its share while its use and half the call it asks for lie within its
//! fair level: half, so that calls that cannot be cut miss the level as often by more as by less. Of a call that is
//! larger than the level only the level counts, or large calls would never be served.
//!
//! # The rule
//! Taking `c` from the level `M` needs `M >= c + reserve`: what the caller has to leave to the others.
//! - *Above* its fair level it is what the others are due in a window, and an eighth of the burst for who has not come
//!   yet, but no more than five eighths of it. And `M` has to be above that by more the larger the use is, up to seven
//!   eighths, whatever the call costs. So of several who are above, the one with less use is served first, whatever their
//!   number of attempts and the size of their calls.
//! - *Inside* it is half of that at the level, and falls with the use down to nothing. It is never more than what all with
//!   less use would have to take to draw level with the caller, and with the call's cost never more than those above leave.
//! - Never more than a full bucket is needed: what would run over is lent to anybody.
//!
//! # What it guarantees
//! 1. **Exact**: in any time `t` no more than `B + R t` is granted, `take_ahead` counted when its wait is over.
//! 2. **Nothing is lost**: a bucket runs over only while nobody asks. A reserve is a level that is kept, not a rate that
//!    is lost: whoever wants more gets all of `R` that the others leave, alone all of it, and before that all of `B` at once.
//! 3. **No one inside is refused on account of those above**, who leave `L = B / 8` at least, and `5 B / 8` where
//!    others are due half the capacity. A call inside that costs no more than `L` finds what it needs, unless others inside
//!    took from it. And sharers who stay below a fifth of their level and together within a bucket of `B / 16` and the whole
//!    rate `R` always find what they need, seen before or not, whatever those above do. (Let `m` be the level of that
//!    smaller bucket, which only they take from. `M >= B / 16 + m` once the reserve is there; their calls and time leave it
//!    so, and after a call from above `M` is `B / 8` at least. The reserve of such a sharer is at most a fifth of
//!    `5 B / 16`, so `c <= m` is enough.)
//! 4. **Those inside leave each other's parts**: their reserve too, or enough for all who have used less to draw level.
//! 5. **The reserve comes back**: those inside take at most `B / T < R` for longer than a window.
//!
//! Conditions: 3 is about what is reserved, not about what calls turn out to cost; and about calls from above that do not
//! need the full bucket (a call of more than seven eighths of the burst leaves what it leaves). Who comes for the first time
//! right after a lone caller took the whole burst, which was its share until then, has to wait; what it was refused is
//! kept for it from then on. And bursts have to be large enough to be shared: a call that costs more than the reserve that
//! others leave is served only when they pause, or with [`Bucket::take_ahead`].
//!
//! # Bounds
//! [`SHARERS`] are known at a time. A further one takes the place of the one with the least use, whose use is counted on
//! in a common sum, so what is left for the others stays right. A sharer with more than one part in [`SHARERS`] of all
//! use is never the least.

use crate::features::limits::gcra;
use crate::units::{Nanos, Span};

/// Sharers that are known at a time: as many as fit in 4 KB with what is known of each. Who matters is who takes much,
/// and of those with more than one part in 256 there are no more.
pub const SHARERS: usize = 256;

/// Bytes of a value.
pub const SIZE: usize = HEAD + SHARERS * 16;

const HEAD: usize = 32;

/// Uses are in parts of the burst.
const WHOLE: u32 = 1 << 24;

/// What is wanted is kept in parts of 2^16.
const WANT_SHIFT: u32 = 8;

/// Uses fade by one part in so many with each tick.
const FADE: u64 = 32;

/// Ticks in which a sharer that does not ask is forgotten: two windows.
const FORGET: u64 = 2 * FADE;

/// A window is so many eighths of the time in which the bucket fills. With more than eight those who are inside their
/// shares take less than the rate, and the level comes back; with many more a use of nine tenths would count as pressure.
const WINDOW_EIGHTHS: u64 = 9;

/// What is kept for those who have not come yet.
const NEWCOMERS: u32 = WHOLE / 8;

/// The most that a caller at its fair level has to leave.
const MOST_AT_LEVEL: u32 = WHOLE / 8 * 5;

/// What a caller inside its share has to leave, at its level, is one part in so many of that. Without the gap one who
/// stands just below the level would find nothing where those just above it have stopped.
const INSIDE: u32 = 2;

/// What a caller with endless use has to leave beyond [`MOST_AT_LEVEL`].
const ABOVE_LEVEL: u32 = WHOLE / 4;

/// How far the bucket may be overdrawn beyond the burst. More than a day cannot come from calls, only from a clock that
/// jumped or from junk.
const MOST_AHEAD: u64 = 24 * 3600 * 1_000_000_000;

/// So much in a period, and so much at once, ready to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    plain: gcra::Rate,
    fill: u64,
    tick: u64,
}

impl Rate {
    /// `amount` in each `period`, up to `burst` at once, in milli-units. Nothing in a period, or a period of no length, is
    /// taken for the least there can be.
    pub fn new(amount: u64, period: Span, burst: u64) -> Self {
        let plain = gcra::Rate { amount: amount.max(1), period: Span(period.0.max(1)), burst };
        let fill = plain.span(burst).0;
        Self { plain, fill, tick: (fill / (8 * FADE)).saturating_mul(WINDOW_EIGHTHS).max(1) }
    }

    /// The same, shared by nobody.
    pub fn plain(&self) -> gcra::Rate {
        self.plain
    }

    /// As [`gcra::Rate::span`].
    pub fn span(&self, amount: u64) -> Span {
        self.plain.span(amount)
    }

    /// As [`gcra::Rate::amount`].
    pub fn amount(&self, span: Span) -> u64 {
        self.plain.amount(span)
    }

    /// The time in which the bucket fills.
    pub fn fill(&self) -> Span {
        Span(self.fill)
    }

    /// The time after which a sharer that does not ask is forgotten.
    pub fn memory(&self) -> Span {
        Span(self.tick.saturating_mul(FORGET))
    }

    /// An amount in parts of the burst, rounded up.
    fn parts(&self, amount: u64) -> u32 {
        let parts = match amount.checked_mul(WHOLE.into()) {
            Some(scaled) => scaled.div_ceil(self.plain.burst.max(1)),
            None => (u128::from(amount) * u128::from(WHOLE) / u128::from(self.plain.burst.max(1))).min(u64::MAX.into())
                as u64,
        };
        parts.min(u32::MAX.into()) as u32
    }

    /// Parts of the burst as the time in which they come in.
    fn time_of(&self, parts: u32) -> i128 {
        (i128::from(self.fill) * i128::from(parts)) >> WHOLE.trailing_zeros()
    }
}

/// What became of a call that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has what it asked for, from the end of this wait on; only `take_ahead` gives one that is not zero.
    Granted {
        /// How long the call has to be held.
        wait: Span,
    },
    /// It has used its fair share, and others need what is there.
    OverShare {
        /// It makes no sense to ask earlier. Later it does, if nobody else took anything until then.
        wait: Span,
    },
    /// There is not enough, though it is inside its share.
    Empty {
        /// There is enough then, if nobody else takes anything until then.
        wait: Span,
    },
    /// It costs more than the burst, so it can never be granted.
    TooLarge,
}

/// A bucket as it lies in shared data. Zeros are a full one that nobody has used.
#[derive(Debug)]
pub struct Bucket<'a> {
    head: &'a mut [u8; HEAD],
    hashes: &'a mut [[u8; 8]],
    used: &'a mut [[u8; 4]],
    wants: &'a mut [[u8; 2]],
    seen: &'a mut [[u8; 2]],
    /// When all that was taken will have come in again: the theoretical arrival time of GCRA.
    full_at: u64,
    /// Up to when uses have faded.
    faded_at: u64,
    /// The use of those that were displaced.
    others: u32,
    /// Sharers in the table; they stand first.
    count: usize,
    /// Counts ticks, around and around.
    tick: u16,
}

/// Whether another key may take a value over: its bucket is full, and nobody asked for two windows.
pub fn is_idle(bytes: &[u8], rate: &Rate, now: Nanos) -> bool {
    let Some((full_at, rest)) = bytes.split_first_chunk::<8>() else { return true };
    let Some((faded_at, rest)) = rest.split_first_chunk::<8>() else { return true };
    // Behind them stand the use of those that were displaced, and how many are known.
    let nobody = rest.first_chunk::<6>().is_none_or(|uses| *uses == [0; 6]);
    let quiet = now - Nanos(u64::from_le_bytes(*faded_at)) > rate.memory();
    u64::from_le_bytes(*full_at) <= now.0 && (quiet || nobody)
}

/// What a caller has to leave.
struct Due {
    inside: bool,
    reserve: u32,
}

impl<'a> Bucket<'a> {
    /// A bucket over a value of [`SIZE`] bytes, whatever they are.
    pub fn over(bytes: &'a mut [u8]) -> Option<Self> {
        let bytes: &'a mut [u8; SIZE] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk_mut::<HEAD>()?;
        let (hashes, rest) = rest.split_at_mut_checked(SHARERS * 8)?;
        let (used, rest) = rest.split_at_mut_checked(SHARERS * 4)?;
        let (wants, seen) = rest.split_at_mut_checked(SHARERS * 2)?;
        let (full_at, tail) = head.split_first_chunk::<8>()?;
        let (faded_at, tail) = tail.split_first_chunk::<8>()?;
        let (others, tail) = tail.split_first_chunk::<4>()?;
        let (count, tail) = tail.split_first_chunk::<2>()?;
        let (tick, _) = tail.split_first_chunk::<2>()?;
        Some(Self {
            full_at: u64::from_le_bytes(*full_at),
            faded_at: u64::from_le_bytes(*faded_at),
            others: u32::from_le_bytes(*others),
            count: usize::from(u16::from_le_bytes(*count)).min(SHARERS),
            tick: u16::from_le_bytes(*tick),
            head,
            hashes: hashes.as_chunks_mut().0,
            used: used.as_chunks_mut().0,
            wants: wants.as_chunks_mut().0,
            seen: seen.as_chunks_mut().0,
        })
    }

    /// Asks for `cost` at once. A refusal changes the value too: what was refused is kept for the caller. It is not
    /// wrong to lose that, so a refusal needs no second attempt at the swap.
    pub fn take(&mut self, rate: &Rate, sharer: u64, cost: u64, now: Nanos) -> Verdict {
        self.take_ahead(rate, sharer, cost, now, Span(0))
    }

    /// Asks for `cost`, and is ready to wait for it. A caller inside its share gets its place then, and the wait is exact
    /// whatever others do; one that is above has to ask again.
    pub fn take_ahead(&mut self, rate: &Rate, sharer: u64, cost: u64, now: Nanos, longest: Span) -> Verdict {
        if cost > rate.plain.burst {
            return Verdict::TooLarge;
        }
        self.catch_up(rate, now);
        let (time, parts, found) = (rate.span(cost), rate.parts(cost), self.find(sharer));
        let (level, fill) = (self.time_left(rate, now), i128::from(rate.fill));
        let needed = |reserve: u32| (i128::from(time.0) + rate.time_of(reserve)).min(fill);
        // Most calls find more than anybody has to leave, and need no look at the others.
        let due = match level >= needed(MOST_AT_LEVEL + ABOVE_LEVEL) {
            true => Due { inside: true, reserve: 0 },
            false => self.due(found, parts),
        };
        let wait = (needed(due.reserve) - level).clamp(0, u64::MAX.into()) as u64;
        let granted = wait == 0 || (due.inside && wait <= longest.0);
        if granted {
            self.full_at = self.full_at.max(now.0).saturating_add(time.0);
            self.charge(found, sharer, parts);
        } else {
            self.want(found, sharer, parts);
        }
        self.save();
        let wait = Span(wait);
        match (granted, due.inside) {
            (true, _) => Verdict::Granted { wait },
            (false, true) => Verdict::Empty { wait },
            (false, false) => Verdict::OverShare { wait },
        }
    }

    /// Replaces what was reserved at `taken_at` by what it was in the end, more or less.
    pub fn settle(&mut self, rate: &Rate, sharer: u64, reserved: u64, taken_at: Nanos, actual: u64, now: Nanos) {
        self.catch_up(rate, now);
        let (before, after) = (rate.span(reserved).0, rate.span(actual).0);
        let found = self.find(sharer);
        if actual > reserved {
            self.full_at = self.full_at.max(now.0).saturating_add(after.saturating_sub(before));
            self.charge(found, sharer, rate.parts(actual - reserved));
        } else {
            self.full_at = self.full_at.saturating_sub(before.saturating_sub(after));
            let back = rate.parts(reserved).saturating_sub(rate.parts(actual));
            // What was taken has faded since; so has what comes back of it.
            let ticks = (now - taken_at).0.checked_div(rate.tick).unwrap_or(0);
            let back = fade(back, left_after(ticks));
            match found.and_then(|at| self.used.get_mut(at)) {
                Some(used) => *used = u32::from_le_bytes(*used).saturating_sub(back).to_le_bytes(),
                None => self.others = self.others.saturating_sub(back),
            }
        }
        self.save();
    }

    /// Gives back all that was reserved at `taken_at`.
    pub fn give_back(&mut self, rate: &Rate, sharer: u64, reserved: u64, taken_at: Nanos, now: Nanos) {
        self.settle(rate, sharer, reserved, taken_at, 0, now);
    }

    /// What is there, in milli-units; less than nothing while calls wait for it, or after calls that cost more than was
    /// reserved.
    pub fn level(&self, rate: &Rate, now: Nanos) -> i64 {
        let left = self.time_left(rate, now);
        let amount = rate.amount(Span(left.unsigned_abs().min(u64::MAX.into()) as u64)).min(i64::MAX as u64) as i64;
        if left < 0 { -amount } else { amount }
    }

    /// The fair level of a sharer, in milli-units in a window: its max-min share if it wanted without end.
    pub fn fair_level(&mut self, rate: &Rate, sharer: u64, now: Nanos) -> u64 {
        self.catch_up(rate, now);
        self.save();
        self.amount_of(rate, self.level_for(self.find(sharer)))
    }

    /// The faded use of a sharer, in milli-units.
    pub fn used(&mut self, rate: &Rate, sharer: u64, now: Nanos) -> u64 {
        self.catch_up(rate, now);
        self.save();
        self.amount_of(rate, self.find(sharer).map_or(0, |at| self.used_by(at)))
    }

    fn amount_of(&self, rate: &Rate, parts: u32) -> u64 {
        ((u128::from(parts) * u128::from(rate.plain.burst)) >> WHOLE.trailing_zeros()) as u64
    }

    /// The level, as the time in which it comes in.
    fn time_left(&self, rate: &Rate, now: Nanos) -> i128 {
        let most = rate.fill.saturating_add(MOST_AHEAD);
        i128::from(rate.fill) - i128::from(self.full_at.saturating_sub(now.0).min(most))
    }

    /// Lets time pass: uses fade, and who has not asked for long is forgotten.
    fn catch_up(&mut self, rate: &Rate, now: Nanos) {
        self.full_at = self.full_at.min(now.0.saturating_add(rate.fill).saturating_add(MOST_AHEAD));
        self.faded_at = self.faded_at.min(now.0);
        let ticks = (now.0 - self.faded_at).checked_div(rate.tick).unwrap_or(0);
        if ticks == 0 {
            return;
        }
        if ticks > FORGET {
            (self.count, self.others, self.faded_at) = (0, 0, now.0);
            return;
        }
        self.faded_at = self.faded_at.saturating_add(ticks.saturating_mul(rate.tick));
        self.tick = self.tick.wrapping_add(ticks as u16);
        let left = left_after(ticks);
        self.others = fade(self.others, left);
        for used in self.used.iter_mut().take(self.count) {
            *used = fade(u32::from_le_bytes(*used), left).to_le_bytes();
        }
        for want in self.wants.iter_mut().take(self.count) {
            *want = (fade(u16::from_le_bytes(*want).into(), left) as u16).to_le_bytes();
        }
        let mut at = 0;
        while at < self.count {
            match self.age(at) > FORGET {
                true => self.forget(at),
                false => at += 1,
            }
        }
    }

    /// Ticks since a sharer last asked.
    fn age(&self, at: usize) -> u64 {
        let seen = self.seen.get(at).map_or(0, |seen| u16::from_le_bytes(*seen));
        // What lies ahead, in junk only, counts as now.
        match self.tick.wrapping_sub(seen) {
            age if age > u16::MAX / 2 => 0,
            age => age.into(),
        }
    }

    /// The last one takes its place.
    fn forget(&mut self, at: usize) {
        let Some(last) = self.count.checked_sub(1) else { return };
        if at < last && last < SHARERS {
            self.hashes.swap(at, last);
            self.used.swap(at, last);
            self.wants.swap(at, last);
            self.seen.swap(at, last);
        }
        self.count = last;
    }

    fn find(&self, sharer: u64) -> Option<usize> {
        let sharer = sharer.to_le_bytes();
        self.hashes.iter().take(self.count).position(|hash| *hash == sharer)
    }

    fn used_by(&self, at: usize) -> u32 {
        self.used.get(at).map_or(0, |used| u32::from_le_bytes(*used))
    }

    /// The fair level, in parts of the burst; one at least.
    fn level_for(&self, caller: Option<usize>) -> u32 {
        let mut demands = [0u32; SHARERS];
        let known = self.used.iter().zip(self.wants.iter()).take(self.count);
        for (demand, (used, want)) in demands.iter_mut().zip(known) {
            let want = u32::from(u16::from_le_bytes(*want)) << WANT_SHIFT;
            *demand = u32::from_le_bytes(*used).saturating_add(want);
        }
        // The caller itself wants without end, which the water knows.
        if let Some(own) = caller.and_then(|at| demands.get_mut(at)) {
            *own = 0;
        }
        let demands = demands.get(..self.count).unwrap_or_default();
        water(WHOLE.saturating_sub(self.others), demands)
    }

    fn due(&self, caller: Option<usize>, parts: u32) -> Due {
        let level = self.level_for(caller);
        let used = caller.map_or(0, |at| self.used_by(at));
        let stands = used.saturating_add(parts.min(level) / 2);
        let at_level = NEWCOMERS.saturating_add(WHOLE.saturating_sub(level)).min(MOST_AT_LEVEL);
        let share = |whole: u32, part: u32, of: u32| {
            (u64::from(whole) * u64::from(part)).checked_div(of.into()).unwrap_or(0) as u32
        };
        if stands > level {
            let above = ABOVE_LEVEL.saturating_sub(share(ABOVE_LEVEL, level, stands));
            // The size of a call decides nothing between those above.
            return Due { inside: false, reserve: at_level.saturating_add(above.saturating_sub(parts)) };
        }
        // A caller inside never needs more than what those above have to leave.
        let reserve = share(at_level / INSIDE, stands, level).min(at_level.saturating_sub(parts));
        Due { inside: true, reserve: reserve.min(self.below(caller, used.saturating_add(parts))) }
    }

    /// What all others would have to take to draw level with a use.
    fn below(&self, caller: Option<usize>, use_: u32) -> u32 {
        let rooms = self.used.iter().take(self.count).map(|used| use_.saturating_sub(u32::from_le_bytes(*used)));
        let all: u64 = rooms.map(u64::from).sum();
        let own = caller.map_or(0, |at| use_.saturating_sub(self.used_by(at)));
        all.saturating_sub(own.into()).min(u32::MAX.into()) as u32
    }

    fn charge(&mut self, found: Option<usize>, sharer: u64, parts: u32) {
        let at = match found {
            Some(at) => at,
            None => self.place(sharer),
        };
        if let (Some(used), Some(want), Some(seen)) =
            (self.used.get_mut(at), self.wants.get_mut(at), self.seen.get_mut(at))
        {
            *used = u32::from_le_bytes(*used).saturating_add(parts).to_le_bytes();
            *want = [0; 2];
            *seen = self.tick.to_le_bytes();
        }
    }

    /// Keeps what a caller was refused.
    fn want(&mut self, found: Option<usize>, sharer: u64, parts: u32) {
        // A refusal displaces nobody: it may come from anybody, at no cost.
        let at = match found {
            None if self.count >= SHARERS => return,
            None => self.place(sharer),
            Some(at) => at,
        };
        if let (Some(want), Some(seen)) = (self.wants.get_mut(at), self.seen.get_mut(at)) {
            *want = (parts.div_ceil(1 << WANT_SHIFT).min(u16::MAX.into()) as u16).to_le_bytes();
            *seen = self.tick.to_le_bytes();
        }
    }

    /// A place for a new sharer, of no use yet.
    fn place(&mut self, sharer: u64) -> usize {
        let at = match self.count < SHARERS {
            true => {
                self.count += 1;
                self.count - 1
            }
            false => {
                // Of those with the least use the one that was away longest.
                let least = (0..SHARERS).min_by_key(|at| (self.used_by(*at), FORGET.saturating_sub(self.age(*at))));
                let least = least.unwrap_or(0);
                self.others = self.others.saturating_add(self.used_by(least));
                least
            }
        };
        if let (Some(hash), Some(used), Some(want)) =
            (self.hashes.get_mut(at), self.used.get_mut(at), self.wants.get_mut(at))
        {
            (*hash, *used, *want) = (sharer.to_le_bytes(), [0; 4], [0; 2]);
        }
        at
    }

    fn save(&mut self) {
        let fields = [
            &self.full_at.to_le_bytes()[..],
            &self.faded_at.to_le_bytes(),
            &self.others.to_le_bytes(),
            &(self.count as u16).to_le_bytes(),
            &self.tick.to_le_bytes(),
        ];
        for (byte, field) in self.head.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *field;
        }
    }
}

/// What is left of a whole after so many ticks, in parts of 2^16.
fn left_after(ticks: u64) -> u32 {
    let left = (0..ticks.min(FORGET)).fold(1u64 << 32, |left, _| left - left / FADE);
    (left >> 16) as u32
}

fn fade(amount: u32, left: u32) -> u32 {
    ((u64::from(amount) * u64::from(left)) >> 16) as u32
}

/// Rounds in which water-filling has come to rest. A round raises the level by at most `met / above` of the rise before
/// it, `met` sharers having been met by that rise and `above` being left. Either that is less than half, or the rise met a
/// third of all who were left. The latter is so in 14 of 256 sharers' rounds at most, which together raise it 257 times
/// at most; so the former, from 2^24 down to nothing, is so in 32 rounds at most.
const ROUNDS: u32 = 48;

/// The level of water-filling for one who wants without end beside these demands; one at least.
fn water(capacity: u32, demands: &[u32]) -> u32 {
    let mut level = 0;
    for _ in 0..ROUNDS {
        let (mut met, mut above) = (0u64, 1u64);
        for demand in demands {
            let meets = *demand <= level;
            met += if meets { u64::from(*demand) } else { 0 };
            above += u64::from(!meets);
        }
        let next = (u64::from(capacity).saturating_sub(met).checked_div(above).unwrap_or(0)) as u32;
        if next <= level {
            break;
        }
        level = next;
    }
    level.max(1)
}
