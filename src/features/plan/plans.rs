//! Whether runs do what they planned: each run's plan in the store, how far it has come, and what each call is to it.
//!
//! An entry has the plan as it was written, which is read again for each step: that takes microseconds, and what was read
//! would take more room.

use std::cell::Cell;

use super::align::{Done, Fit, Row, percent};
use super::config;
use super::syntax::{MAX_STATES, MAX_TEXT, Move, NoPlan, Plan, Step};
use crate::shared::key::{keyed, part};
use crate::shared::table::{Table, Use};
use crate::shared::{Change, Events, Salt, Store};
use crate::units::{Nanos, Span};

/// The table's name in the store; the number is the version of what lies there.
const PLANS: &str = "weir.1.plan";

/// Bytes in front of the text: last change, hash of the plan, steps done, state, length of the text.
const HEAD: usize = 8 + 8 + 4 + 2 + 2;
/// Bytes of an entry.
pub const SIZE: usize = HEAD + MAX_TEXT + 2 * MAX_STATES;

/// What a call is to its run's plan. The numbers are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// The next step.
    Matched,
    /// A later step: those between were skipped.
    Skipped,
    /// No step of the plan.
    Unplanned,
    /// A step of the plan that the run is past.
    OutOfOrder,
    /// The next step, on another target.
    WrongTarget,
}

impl Verdict {
    /// The words, by number.
    pub const WORDS: &'static [&'static str] = &["matched", "skipped", "unplanned", "out_of_order", "wrong_target"];

    /// How far from the plan it is, so that of several calls of one request the worst speaks for all.
    fn severity(self) -> u8 {
        match self {
            Verdict::Matched => 0,
            Verdict::Skipped => 1,
            Verdict::Unplanned | Verdict::OutOfOrder | Verdict::WrongTarget => 2,
        }
    }

    /// For the record.
    pub fn word(self) -> &'static str {
        Self::WORDS.get(self as usize).copied().unwrap_or_default()
    }
}

/// Where a call stands in its run's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// What it is to it.
    pub verdict: Verdict,
    /// The step that it is, counted from 1; if it is none, the one that was expected; nothing if all are done.
    pub step: Option<u8>,
    /// How many steps the plan has.
    pub of: u8,
    /// The step that was expected; nothing if all are done.
    pub expected: Option<String>,
    /// What came.
    pub got: String,
    /// The run's adherence with this call, in percent.
    pub adherence: u8,
}

/// How a run goes through its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Steps that were done.
    done: u32,
    /// How far it is.
    state: u8,
    row: Row,
}

impl Course {
    /// Nothing was done yet.
    pub fn start(plan: &Plan<'_>) -> Self {
        Self { done: 0, state: 0, row: Row::start(plan) }
    }

    /// The next call: what it is to the plan.
    pub fn step(&mut self, plan: &Plan<'_>, done: &Done<'_>) -> Stand {
        let next = expected(plan, self.state);
        let (verdict, made) = verdict(plan, self.state, done);
        if let Some(made) = made {
            self.state = made.to;
        }
        self.done = self.done.saturating_add(1);
        self.row.step(plan, done);
        let step = |at: u8| plan.steps.get(usize::from(at));
        let at = made.map(|made| made.step).or(next);
        let wanted = if verdict == Verdict::WrongTarget { at } else { next };
        let got = match wanted.and_then(step).filter(|_| verdict == Verdict::WrongTarget) {
            Some(step) => named(&Step { name: step.name, target: done.target_as(step.name) }),
            None => done.name().to_owned(),
        };
        Stand {
            verdict,
            step: at.map(|at| at.saturating_add(1)),
            of: plan.steps.len() as u8,
            expected: wanted.and_then(step).map(named),
            got,
            adherence: self.so_far(plan),
        }
    }

    /// The next request, of which each call that is a step in this plan is one. Gives the first of those that leave it
    /// furthest, with the adherence behind all of them, and what each is.
    pub fn steps(&mut self, plan: &Plan<'_>, calls: &[Made<'_>]) -> Option<(Stand, Vec<Verdict>)> {
        let mut verdicts = Vec::new();
        let mut speaks: Option<Stand> = None;
        for Made { done, always } in calls {
            if !always && !plan.steps.iter().any(|step| done.fits(step).is_some()) {
                continue;
            }
            let stand = self.step(plan, done);
            verdicts.push(stand.verdict);
            let worse = |before: &Stand| before.verdict.severity() >= stand.verdict.severity().max(1);
            speaks = speaks.filter(worse).or(Some(stand));
        }
        let adherence = self.so_far(plan);
        Some((Stand { adherence, ..speaks? }, verdicts))
    }

    /// Adherence of what was done, in percent, whatever is still to come.
    pub fn so_far(&self, plan: &Plan<'_>) -> u8 {
        percent(self.row.so_far(plan), self.done)
    }

    /// Adherence if nothing more is to come, in percent: trace fitness.
    pub fn whole(&self, plan: &Plan<'_>) -> u8 {
        let least = Row::start(plan).whole(plan);
        percent(self.row.whole(plan), self.done.saturating_add(u32::from(least)))
    }
}

fn named(step: &Step<'_>) -> String {
    match step.target {
        Some(target) => [step.name, ":", target].concat(),
        None => step.name.to_owned(),
    }
}

/// The states that a run in this one may be in without leaving out what it has to do; or with it.
fn ahead(plan: &Plan<'_>, state: u8, leaving_out: bool) -> [bool; MAX_STATES] {
    let mut ahead = [false; MAX_STATES];
    if let Some(here) = ahead.get_mut(usize::from(state)) {
        *here = true;
    }
    for skip in &plan.skips {
        let from = ahead.get(usize::from(skip.from)).copied().unwrap_or(false);
        if from
            && (leaving_out || skip.cost == 0)
            && let Some(there) = ahead.get_mut(usize::from(skip.to))
        {
            *there = true;
        }
    }
    ahead
}

/// The step that has to come next; if none has to, one that may.
fn expected(plan: &Plan<'_>, state: u8) -> Option<u8> {
    let near = ahead(plan, state, false);
    let may = || plan.moves.iter().filter(|made| near.get(usize::from(made.from)) == Some(&true));
    let has_to = |made: &&Move| {
        let skip = plan.skips.iter().find(|skip| (skip.from, skip.to) == (made.from, made.to));
        skip.is_some_and(|skip| skip.cost > 0)
    };
    may().find(has_to).or_else(|| may().next()).map(|made| made.step)
}

fn verdict(plan: &Plan<'_>, state: u8, done: &Done<'_>) -> (Verdict, Option<Move>) {
    let find = |states: Option<&[bool; MAX_STATES]>, fit: Fit| {
        plan.moves.iter().copied().find(|made| {
            states.is_none_or(|states| states.get(usize::from(made.from)) == Some(&true))
                && plan.steps.get(usize::from(made.step)).and_then(|step| done.fits(step)) == Some(fit)
        })
    };
    let near = ahead(plan, state, false);
    if let Some(made) = find(Some(&near), Fit::Is) {
        return (Verdict::Matched, Some(made));
    }
    if let Some(made) = find(Some(&ahead(plan, state, true)), Fit::Is) {
        return (Verdict::Skipped, Some(made));
    }
    if let Some(made) = find(Some(&near), Fit::OtherTarget) {
        return (Verdict::WrongTarget, Some(made));
    }
    let known = find(None, Fit::Is).is_some();
    (if known { Verdict::OutOfOrder } else { Verdict::Unplanned }, None)
}

/// One run's plan, as it lies in the store.
struct Entry<'a> {
    last: Nanos,
    hash: u64,
    text: &'a str,
    course: Course,
}

impl<'a> Entry<'a> {
    /// Nothing where there is no plan.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (last, rest) = bytes.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (done, rest) = rest.split_first_chunk()?;
        let (state, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (text, row) = rest.split_at_checked(MAX_TEXT)?;
        let last = Nanos(u64::from_le_bytes(*last));
        if last == Nanos(0) {
            return None;
        }
        let mut costs = [u16::MAX; MAX_STATES];
        for (cost, bytes) in costs.iter_mut().zip(row.chunks_exact(2)) {
            *cost = bytes.first_chunk().map_or(u16::MAX, |bytes| u16::from_le_bytes(*bytes));
        }
        Some(Self {
            last,
            hash: u64::from_le_bytes(*hash),
            text: std::str::from_utf8(text.get(..usize::from(u16::from_le_bytes(*length)))?).ok()?,
            course: Course {
                done: u32::from_le_bytes(*done),
                state: u16::from_le_bytes(*state) as u8,
                row: Row(costs),
            },
        })
    }

    fn write(&self, bytes: &mut [u8]) {
        let Self { last, hash, text, course: Course { done, state, row } } = self;
        let mut all = Vec::with_capacity(SIZE);
        all.extend(last.0.to_le_bytes());
        all.extend(hash.to_le_bytes());
        all.extend(done.to_le_bytes());
        all.extend(u16::from(*state).to_le_bytes());
        all.extend((text.len() as u16).to_le_bytes());
        all.extend(text.as_bytes());
        all.resize(HEAD + MAX_TEXT, 0);
        all.extend(row.0.iter().flat_map(|cost| cost.to_le_bytes()));
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
    }

    fn is_old(&self, idle: Span, now: Nanos) -> bool {
        now - self.last > idle || self.last - now > idle
    }

    /// Adherence of a run that is over.
    fn whole(&self) -> Option<u8> {
        Some(self.course.whole(&Plan::read(self.text).ok()?))
    }
}

/// What became of plans while one call was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Adherence of those that are over, in percent.
    pub closed: Vec<u8>,
    /// What became of plans that were declared.
    pub declared: Vec<Declared>,
}

/// What became of a plan that a call declares. The numbers are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Declared {
    /// It is the run's first.
    New,
    /// It takes the place of another.
    Replaces,
    /// It could not be read.
    Unread,
    /// It is too large.
    TooLarge,
    /// There is no place for it.
    NoPlace,
}

impl Declared {
    /// The words, by number.
    pub const WORDS: &'static [&'static str] = &["new", "replaces", "unread", "too_large", "no_place"];
}

/// What a request does, and whether that is a step in any plan; if not, it is one only where the plan names it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made<'a> {
    /// What is done.
    pub done: Done<'a>,
    /// It is a step whatever the plan has.
    pub always: bool,
}

/// Whose plan: a tenant's run.
pub type Whose<'a> = (Option<&'a str>, &'a str);

/// What one worker knows of plans.
#[derive(Debug)]
pub struct Plans {
    table: Table,
    idle: Span,
    salt: Salt,
}

impl Plans {
    /// Of this section.
    pub fn new(plan: &config::Plan) -> Self {
        Self {
            table: Table::of_large(PLANS, plan.max.get(), SIZE),
            idle: Span(u64::from(plan.idle_s.get()).saturating_mul(1_000_000_000)),
            salt: Salt::default(),
        }
    }

    fn key(&mut self, (tenant, run): Whose<'_>, store: &dyn Store, now: Nanos) -> Option<u64> {
        let salt = self.salt.get(store, now)?;
        Some(keyed(salt, &[part(tenant), run.as_bytes()]))
    }

    /// A call declares its run's plan, or what was none. The same one again changes nothing.
    pub fn declare(
        &mut self,
        whose: Whose<'_>,
        text: Result<&str, NoPlan>,
        seen: &mut Seen,
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
    ) {
        let read = text.and_then(|text| Ok((text, Plan::read(text)?)));
        let (text, plan) = match read {
            Ok(read) => read,
            Err(why) => {
                seen.declared.push(if why == NoPlan::TooLarge { Declared::TooLarge } else { Declared::Unread });
                return;
            }
        };
        let Some(key) = self.key(whose, store, now) else { return };
        let hash = keyed(0, &[text.as_bytes()]);
        let course = Course::start(&plan);
        let forgotten = Cell::new(None);
        let (mut declared, mut closed) = (None, None);
        let mut change = |bytes: &mut [u8]| {
            (declared, closed) = (None, forgotten.take());
            let before = Entry::read(bytes);
            declared = match &before {
                Some(before) if before.is_old(self.idle, now) => {
                    closed = before.whole();
                    Some(Declared::New)
                }
                Some(before) if before.hash == hash => return Change::Keep,
                Some(before) => {
                    let steps = before.course.done > 0;
                    closed = Plan::read(before.text).ok().filter(|_| steps).map(|plan| before.course.so_far(&plan));
                    Some(Declared::Replaces)
                }
                None => Some(Declared::New),
            };
            let entry = Entry { last: Nanos(now.0.max(1)), hash, text, course: course.clone() };
            entry.write(bytes);
            Change::Write
        };
        let free = |bytes: &[u8]| match Entry::read(bytes) {
            Some(entry) if entry.is_old(self.idle, now) => {
                forgotten.set(entry.whole());
                true
            }
            Some(_) => false,
            None => true,
        };
        match self.table.with(store, key, events, Use { free: &free, change: &mut change }) {
            Ok(()) => {
                seen.declared.extend(declared);
                seen.closed.extend(closed);
            }
            Err(_) => seen.declared.push(Declared::NoPlace),
        }
    }

    /// What a call would be to its run's plan, and which plan that is; nothing if it has none, or the call is no step.
    pub fn peek(
        &mut self,
        whose: Whose<'_>,
        made: &[Made<'_>],
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<(u64, Option<Stand>)> {
        let key = self.key(whose, store, now)?;
        let mut found = None;
        let mut change = |bytes: &mut [u8]| {
            let entry = Entry::read(bytes).filter(|entry| !entry.is_old(self.idle, now));
            found = entry.and_then(|mut entry| {
                let plan = Plan::read(entry.text).ok()?;
                Some((entry.hash, entry.course.steps(&plan, made).map(|(stand, _)| stand)))
            });
            Change::Keep
        };
        let _ = self.table.own(store, key, events, &mut change);
        found
    }

    /// A call of a run is over: moves along the plan that was found before (by its hash) by what it did, and is done
    /// with it if the run is over.
    pub fn go(
        &mut self,
        (whose, hash): (Whose<'_>, u64),
        (made, closes): (&[Made<'_>], bool),
        seen: &mut Seen,
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<(Stand, Vec<Verdict>)> {
        let key = self.key(whose, store, now)?;
        let (mut stands, mut closed) = (None, None);
        let mut change = |bytes: &mut [u8]| {
            (stands, closed) = (None, None);
            let mut next = [0; SIZE];
            {
                // Another plan may have come in between: the call was let go under that one.
                let Some(mut entry) = Entry::read(bytes).filter(|entry| entry.hash == hash) else {
                    return Change::Keep;
                };
                let Ok(plan) = Plan::read(entry.text) else { return Change::Keep };
                stands = entry.course.steps(&plan, made);
                if closes {
                    closed = Some(entry.course.whole(&plan));
                } else {
                    entry.last = Nanos(entry.last.0.max(now.0).max(1));
                    entry.write(&mut next);
                }
            }
            for (to, from) in bytes.iter_mut().zip(next) {
                *to = from;
            }
            Change::Write
        };
        self.table.own(store, key, events, &mut change).ok()?;
        seen.closed.extend(closed);
        stands
    }
}
