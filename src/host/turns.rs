//! Which exchanges have a turn at the next tick: calls that wait, and streams that are to be ended.
//!
//! One list for the whole VM: a call that waits under a config that was replaced must be let go too.

use std::cell::RefCell;

use crate::call::gate::Position;
use crate::units::{Nanos, Span};

/// How often calls that wait are looked at, in ms. Envoy makes 12 of it.
const TURN_MS: u32 = 10;
/// How often leases are renewed: well within a generation.
const RENEW: Span = Span(20 * 1_000_000_000);

/// How long a request's headers are held for a body that does not come whole: a slow client's, or one that the host has
/// no room for. Longer than uploads take, shorter than anybody's patience.
const UPLOAD: Span = Span(2_000_000_000);

/// An exchange that waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    context: u32,
    /// When its turn comes, if that is known.
    until: Option<Nanos>,
    /// Where it stands if it is not: calls in a line take turns by whose they are.
    position: Position,
}

#[derive(Debug, Default)]
struct Turns {
    waiting: Vec<Waiter>,
    ending: Vec<u32>,
    /// Exchanges whose headers are held for their bodies, and until when.
    uploads: Vec<(u32, Nanos)>,
    renewed: Nanos,
    leases: bool,
}

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// What a tick has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Exchanges whose turn it is, in this order; each with where it stands.
    pub turns: Vec<(u32, Option<Position>)>,
    /// It is time to renew leases.
    pub renew: bool,
}

fn with<T: Default>(work: impl FnOnce(&mut Turns) -> T) -> T {
    let turns = |turns: &RefCell<Turns>| turns.try_borrow_mut().map(|mut turns| work(&mut turns)).unwrap_or_default();
    // A worker that ends may drop its exchanges after this.
    TURNS.try_with(turns).unwrap_or_default()
}

/// How many calls wait.
pub fn waiting() -> usize {
    with(|turns| turns.waiting.len())
}

/// A call waits from now on.
pub fn wait(context: u32, until: Option<Nanos>, position: Position) {
    with(|turns| turns.waiting.push(Waiter { context, until, position }));
}

/// The queues in which calls wait that do not know their time.
pub fn queues() -> Vec<u64> {
    with(|turns| {
        let mut queues: Vec<u64> = Vec::new();
        for waiter in turns.waiting.iter().filter(|waiter| waiter.until.is_none()) {
            if !queues.contains(&waiter.position.queue) {
                queues.push(waiter.position.queue);
            }
        }
        queues
    })
}

/// A request's headers are held for its body from now on.
pub fn upload(context: u32, now: Nanos) {
    with(|turns| turns.uploads.push((context, Nanos(now.0.saturating_add(UPLOAD.0)))));
}

/// Its body is here.
pub fn uploaded(context: u32) {
    with(|turns| turns.uploads.retain(|(uploading, _)| *uploading != context));
}

/// A stream is to be ended at the next tick.
pub fn end(context: u32) {
    with(|turns| turns.ending.push(context));
}

/// An exchange is over.
pub fn forget(context: u32) {
    with(|turns| {
        turns.waiting.retain(|waiter| waiter.context != context);
        turns.ending.retain(|ending| *ending != context);
        turns.uploads.retain(|(uploading, _)| *uploading != context);
    });
}

/// Calls may hold leases from now on.
pub fn expect_leases() {
    with(|turns| turns.leases = true);
}

/// The period that ticks are to have, in ms; zero for none. A tick costs, so it only comes while there is something to do for it.
pub fn period() -> u32 {
    with(|turns| {
        let busy = !(turns.waiting.is_empty() && turns.ending.is_empty() && turns.uploads.is_empty());
        match (busy, turns.leases) {
            (true, _) => TURN_MS,
            (false, true) => (RENEW.0 / 1_000_000) as u32,
            (false, false) => 0,
        }
    })
}

/// Takes out what is due. Those who know their time come first, in its order; then the others, the oldest of each first,
/// then the second of each, and so on.
pub fn due(now: Nanos) -> Due {
    with(|turns| {
        let mut due = Due { turns: turns.ending.drain(..).map(|context| (context, None)).collect(), renew: false };
        if now - turns.renewed >= RENEW {
            (due.renew, turns.renewed) = (true, now);
        }
        let late = turns.uploads.extract_if(.., |(_, until)| *until <= now);
        due.turns.extend(late.map(|(context, _)| (context, None)));
        if turns.waiting.is_empty() {
            return due;
        }
        let asks = |waiter: &Waiter| waiter.until.is_none_or(|until| until <= now);
        let (mut asking, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut turns.waiting).into_iter().partition(asks);
        turns.waiting = waiting;
        // How many of the same stand in front.
        let mut before: Vec<(u64, u32)> = Vec::new();
        let mut order: Vec<(Option<Nanos>, u32, Waiter)> = Vec::with_capacity(asking.len());
        for waiter in asking.drain(..) {
            let rank = match before.iter_mut().find(|(of, _)| waiter.until.is_none() && *of == waiter.position.of) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    before.push((waiter.position.of, 0));
                    0
                }
            };
            order.push((waiter.until, rank, waiter));
        }
        order.sort_by_key(|(until, rank, _)| (until.is_none(), *until, *rank));
        due.turns.extend(order.iter().map(|(until, _, w)| (w.context, until.is_none().then_some(w.position))));
        due
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_know_their_time_come_first_and_the_others_take_turns() {
        let now = Nanos(1_000);
        for (context, until, of) in [
            (1, None, 7),
            (2, None, 7),
            (3, None, 8),
            (4, Some(Nanos(900)), 7),
            (5, Some(Nanos(800)), 8),
            (6, Some(Nanos(1_001)), 8),
            (7, None, 7),
        ] {
            wait(context, until, Position { queue: 1, of });
        }
        end(9);
        forget(7);
        let order: Vec<u32> = due(now).turns.iter().map(|(context, _)| *context).collect();
        assert_eq!(order, [9, 5, 4, 1, 3, 2]);
        assert!(queues().is_empty(), "whose time is known stands in none");
        assert_eq!(waiting(), 1, "the one whose time has not come");
        assert!(due(now).turns.is_empty());
    }
}
