//! Until when an answer is wanted, and how long answers take.

use super::config::Deadline;
use crate::port::Headers;
use crate::shared::key::{keyed, part};
use crate::units::{Nanos, Span};

const NS_PER_MS: u64 = 1_000_000;

/// How long a call may take, as its headers say; `wall` is the wall clock when it came, in ns since 1970.
pub fn allowed(head: Headers<'_>, wanted: &Deadline, wall: impl FnOnce() -> Option<u64>) -> Option<Span> {
    let text = |name: &str| head.text(name).map(str::trim);
    let at_ms = wanted.header.as_ref().and_then(|name| text(name.as_str())?.parse::<u64>().ok());
    let until = at_ms.and_then(|at| Some(Span(at.saturating_mul(NS_PER_MS).saturating_sub(wall()?))));
    let stainless = wanted.stainless_timeout.then(|| text("x-stainless-timeout")?.parse::<f64>().ok()).flatten();
    let stainless = stainless.filter(|s| s.is_finite() && *s > 0.0).map(|s| Span((s * 1e9) as u64));
    let grpc = wanted.grpc_timeout.then(|| grpc_timeout(text("grpc-timeout")?)).flatten();
    [until, stainless, grpc].into_iter().flatten().min()
}

/// At most eight digits and a unit: `100m`.
fn grpc_timeout(value: &str) -> Option<Span> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let ns = match unit {
        "H" => 3600 * 1_000_000_000,
        "M" => 60 * 1_000_000_000,
        "S" => 1_000_000_000,
        "m" => NS_PER_MS,
        "u" => 1_000,
        "n" => 1,
        _ => return None,
    };
    Some(Span(digits.parse::<u32>().ok().map(u64::from)?.saturating_mul(ns)))
}

/// Slots of a worker's table of medians, and how many a key may stand in.
const SLOTS: usize = 256;
const PROBES: usize = 4;
/// Answers that have to be seen before their median counts.
const ENOUGH: u16 = 8;
/// A median moves by one part in so many of itself with each answer: it is near the true one after some dozens.
const STEP: u64 = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Median {
    key: u64,
    ns: u64,
    seen: u16,
}

/// How long answers took of late, by model and route: running medians of one worker.
#[derive(Debug, Default)]
pub struct Medians {
    /// None until the first answer.
    slots: Vec<Median>,
}

impl Medians {
    fn keys(model: Option<&str>, route: Option<&str>) -> [u64; 2] {
        // Zero marks a slot that was never used.
        [model, None].map(|model| keyed(0, &[part(model), part(route)]).max(1))
    }

    fn first(key: u64) -> usize {
        (key % (SLOTS - PROBES) as u64) as usize
    }

    /// An answer took so long.
    pub fn learn(&mut self, model: Option<&str>, route: Option<&str>, took: Span) {
        if self.slots.is_empty() {
            self.slots = vec![Median::default(); SLOTS];
        }
        for key in Self::keys(model, route) {
            let probes = self.slots.iter_mut().skip(Self::first(key)).take(PROBES);
            let Some(slot) = probes.min_by_key(|slot| if slot.key == key { 0 } else { slot.seen.saturating_add(1) })
            else {
                continue;
            };
            if slot.key != key {
                *slot = Median { key, ns: took.0, seen: 0 };
            }
            slot.seen = slot.seen.saturating_add(1);
            // The first ones move it more.
            let step = slot.ns / STEP.min(u64::from(slot.seen) + 1);
            slot.ns = if took.0 > slot.ns { slot.ns.saturating_add(step.max(1)) } else { slot.ns.saturating_sub(step) };
        }
    }

    /// How long half of the answers take, if enough were seen: of this model on this route, else of the route.
    pub fn of(&self, model: Option<&str>, route: Option<&str>) -> Option<Span> {
        let known = |key: u64| {
            let mut probes = self.slots.iter().skip(Self::first(key)).take(PROBES);
            probes.find(|slot| slot.key == key && slot.seen >= ENOUGH)
        };
        Self::keys(model, route).into_iter().find_map(known).map(|median| Span(median.ns))
    }

    /// Whether an answer now would probably come too late.
    pub fn too_late(&self, model: Option<&str>, route: Option<&str>, came: Nanos, allowed: Span, now: Nanos) -> bool {
        let left = Span(allowed.0.saturating_sub((now - came).0));
        self.of(model, route).is_some_and(|median| median > left)
    }
}
