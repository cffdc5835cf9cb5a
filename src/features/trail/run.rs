//! The trail of one run: totals of all its calls, and the last of them.
//!
//! ```text
//! set  = run, at most WAYS of them, one behind the other
//! run  = id (16)  last touched (8)  size of the rest (4)  head size (2)  head  call*
//! call = size (2)  bytes (call.rs)
//! ```
//! Numbers of fixed size are little-endian. A call is put behind the others by copying bytes; only the head is read.

use serde::Serialize;

use super::bytes::{Reader, Writer};
use super::entry::{self, Call};
use crate::record::{Ended, Record};
use crate::units::{Nanos, Span};

/// Kinds whose calls and cost are told apart; those of further ones are told as `other`.
const MAX_KINDS: usize = 8;
/// Bytes of a text in the head.
const TEXT: usize = 28;
/// The most bytes of a head: 13 numbers of at most ten bytes, two texts and one of a call's id, and eight kinds.
pub(super) const MAX_HEAD: usize = 13 * 10 + 3 * (TEXT + 10) + MAX_KINDS * (TEXT + 1 + 2 * 10);
/// Bytes in front of a run's body, and in front of a head and of a call.
pub(super) const FRONT: usize = 16 + 8 + 4;
pub(super) const SIZE: usize = 2;

/// What is known of all calls of a run, kept ones or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// How many there were.
    pub calls: u64,
    /// How many of them did not end well.
    pub failed: u64,
    /// Input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Nano-dollars.
    pub cost: u64,
    /// As much of it as bought nothing.
    pub waste: u64,
    /// By kind, in the order in which they came.
    pub kinds: Vec<KindTotal>,
}

/// What is known of all calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindTotal {
    /// Its name.
    pub kind: String,
    /// Calls.
    pub calls: u64,
    /// Nano-dollars.
    pub cost: u64,
}

/// Where a run first left its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// By its how-manieth call, from 1.
    pub at: u64,
    /// Of which step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Of how many.
    pub of: u64,
    /// What was expected.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub got: String,
}

/// What stands in front of a run's calls.
#[derive(Clone, Debug, Default, PartialEq)]
struct Head {
    began_us: u64,
    ended_us: u64,
    /// Calls that are not kept any more.
    dropped: u64,
    kept: u64,
    adherence: Option<u64>,
    left: Option<Divergence>,
    totals: Totals,
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let mut from = Reader(bytes);
        let mut head = Self {
            began_us: from.number(),
            ended_us: from.number(),
            dropped: from.number(),
            kept: from.number(),
            adherence: from.perhaps(),
            ..Self::default()
        };
        if from.byte() == 1 {
            head.left = Some(Divergence {
                at: from.number(),
                step: from.perhaps(),
                of: from.number(),
                expected: from.text(),
                got: from.text(),
            });
        }
        head.totals = Totals {
            calls: from.number(),
            failed: from.number(),
            input: from.number(),
            output: from.number(),
            cost: from.number(),
            waste: from.number(),
            kinds: Vec::new(),
        };
        for _ in 0..usize::from(from.byte()).min(MAX_KINDS) {
            head.totals.kinds.push(KindTotal { kind: from.text(), calls: from.number(), cost: from.number() });
        }
        head
    }

    fn write(&self) -> Vec<u8> {
        let mut to = Writer::new(MAX_HEAD);
        let Self { began_us, ended_us, dropped, kept, adherence, left, totals } = self;
        [began_us, ended_us, dropped, kept].into_iter().for_each(|number| to.number(*number));
        to.perhaps(*adherence);
        to.byte(u8::from(left.is_some()));
        if let Some(left) = left {
            to.number(left.at);
            to.perhaps(left.step);
            to.number(left.of);
            to.text(&left.expected, TEXT);
            to.text(&left.got, TEXT);
        }
        let Totals { calls, failed, input, output, cost, waste, kinds } = totals;
        [calls, failed, input, output, cost, waste].into_iter().for_each(|number| to.number(*number));
        to.byte(kinds.len() as u8);
        for KindTotal { kind, calls, cost } in kinds {
            to.text(kind, TEXT);
            to.number(*calls);
            to.number(*cost);
        }
        to.done()
    }

    fn add(&mut self, record: &Record, call: &Call) {
        let ended_us = call.began_us.saturating_add(call.total_us.unwrap_or(0));
        let first = self.totals.calls == 0;
        self.began_us = if first { call.began_us } else { self.began_us.min(call.began_us) };
        self.ended_us = self.ended_us.max(ended_us);
        let totals = &mut self.totals;
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut totals.calls, 1);
        add(&mut totals.failed, u64::from(record.ended != Ended::Complete));
        add(&mut totals.input, call.tokens.input.unwrap_or(0));
        add(&mut totals.output, call.tokens.output.unwrap_or(0));
        let cost = call.cost.unwrap_or(0);
        add(&mut totals.cost, cost);
        add(&mut totals.waste, call.waste);
        let at = totals.kinds.iter().position(|known| known.kind == call.kind);
        let at = at.unwrap_or_else(|| {
            // The last place is for all that find none.
            let last = totals.kinds.len() >= MAX_KINDS - 1;
            let kind = if last { "other" } else { &call.kind };
            let place = totals.kinds.iter().position(|known| known.kind == kind);
            place.unwrap_or_else(|| {
                totals.kinds.push(KindTotal { kind: kind.to_owned(), ..KindTotal::default() });
                totals.kinds.len() - 1
            })
        });
        if let Some(kind) = totals.kinds.get_mut(at) {
            add(&mut kind.calls, 1);
            add(&mut kind.cost, cost);
        }
        let Some(plan) = &call.plan else { return };
        self.adherence = plan.adherence.or(self.adherence);
        if self.left.is_none() && plan.verdict != "matched" {
            self.left = Some(Divergence {
                at: self.totals.calls,
                step: plan.step,
                of: plan.of,
                expected: plan.expected.clone().unwrap_or_default(),
                got: plan.got.clone().unwrap_or_default(),
            });
        }
    }
}

/// A run's trail, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// When its first call began, in microseconds since 1970.
    pub began_us: u64,
    /// When the last of its calls was over.
    pub ended_us: u64,
    /// How many of its first calls are not kept any more.
    pub dropped: u64,
    /// The last known adherence to its plan, in percent.
    pub adherence: Option<u64>,
    /// Where it first left its plan.
    pub left: Option<Divergence>,
    /// Of all its calls.
    pub totals: Totals,
    /// The last ones, in the order in which they were over.
    pub calls: Vec<Call>,
}

/// One run in a set, as bytes.
#[derive(Clone, Copy)]
struct Place<'a> {
    id: &'a [u8],
    touched: Nanos,
    body: &'a [u8],
}

/// The runs of a set, as far as they can be read.
fn places(mut set: &[u8]) -> impl Iterator<Item = Place<'_>> {
    std::iter::from_fn(move || {
        let (id, rest) = set.split_at_checked(16)?;
        let (touched, rest) = rest.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        set = rest;
        Some(Place { id, touched: Nanos(u64::from_le_bytes(*touched)), body })
    })
}

impl Place<'_> {
    /// Nobody touched it for so long; or it lies ahead of the clock, so that this clock never wrote it.
    fn is_old(&self, idle: Span, now: Nanos) -> bool {
        now - self.touched > idle || self.touched - now > idle
    }

    fn copy(&self, to: &mut Vec<u8>) {
        let Self { id, touched, body } = self;
        write(to, id, *touched, &[body]);
    }
}

fn write(to: &mut Vec<u8>, id: &[u8], touched: Nanos, body: &[&[u8]]) {
    to.extend_from_slice(id);
    to.extend_from_slice(&touched.0.to_le_bytes());
    let size = body.iter().fold(0, |sum, part| sum + part.len());
    to.extend_from_slice(&(size as u32).to_le_bytes());
    body.iter().for_each(|part| to.extend_from_slice(part));
}

/// A text with its size in front, and what follows it.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<SIZE>()?;
    rest.split_at_checked(u16::from_le_bytes(*size).into())
}

/// Whether a run is in its set.
pub(super) fn is_there(set: &[u8], id: &[u8; 16], idle: Span, now: Nanos) -> bool {
    places(set).any(|place| place.id == id && !place.is_old(idle, now))
}

/// Reads a run out of its set.
pub(super) fn read(set: &[u8], id: &[u8; 16], idle: Span, now: Nanos) -> Option<Run> {
    let place = places(set).find(|place| place.id == id && !place.is_old(idle, now))?;
    let (head, mut rest) = sized(place.body)?;
    let Head { began_us, ended_us, dropped, kept: _, adherence, left, totals } = Head::read(head);
    let mut calls = Vec::new();
    while let Some((call, more)) = sized(rest) {
        calls.push(entry::decode(call));
        rest = more;
    }
    Some(Run { began_us, ended_us, dropped, adherence, left, totals, calls })
}

/// What a call is put behind.
pub(super) struct Bounds {
    /// Runs of a set.
    pub ways: usize,
    /// Calls of a run that are kept.
    pub records: u64,
    /// A run that nobody touches for so long is forgotten.
    pub idle: Span,
}

/// Puts a call behind the others of its run. A run that is new to a full set takes the place of one that is to be
/// forgotten, or else of the one that was idle for longest. Gives the set as it is then, and whether another's place was taken.
pub(super) fn put(
    set: &[u8],
    id: &[u8; 16],
    bounds: &Bounds,
    (record, call, bytes): (&Record, &Call, &[u8]),
    now: Nanos,
) -> (Vec<u8>, bool) {
    let own = places(set).find(|place| place.id == id && !place.is_old(bounds.idle, now));
    let (mut head, mut calls) = match own.and_then(|place| sized(place.body)) {
        Some((head, calls)) => (Head::read(head), calls),
        None => (Head::default(), &[][..]),
    };
    head.add(record, call);
    while head.kept >= bounds.records
        && let Some((_, rest)) = sized(calls)
    {
        calls = rest;
        head.kept = head.kept.saturating_sub(1);
        head.dropped = head.dropped.saturating_add(1);
    }
    head.kept = head.kept.saturating_add(1);
    // Own and old ones leave; then, if there are still too many, the idlest.
    let others = || places(set).filter(|place| place.id != id && !place.is_old(bounds.idle, now));
    let idlest = others().map(|place| place.touched).min().filter(|_| others().count() >= bounds.ways);
    let mut result = Vec::with_capacity(set.len() + FRONT + MAX_HEAD + 2 * SIZE + bytes.len());
    let mut taken = idlest;
    for place in others() {
        if taken.is_some_and(|idlest| place.touched == idlest) {
            taken = None;
            continue;
        }
        place.copy(&mut result);
    }
    let size = |text: &[u8]| (text.len() as u16).to_le_bytes();
    let head = head.write();
    write(&mut result, id, Nanos(now.0.max(1)), &[&size(&head), &head, calls, &size(bytes), bytes]);
    (result, idlest.is_some())
}
