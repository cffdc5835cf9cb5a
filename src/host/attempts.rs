//! Envoy's own attempts at a call, as the same filter in the upstream's chain sees them.
//!
//! ```text
//! downstream filter (role `call`)      upstream filter (role `attempt`), once per attempt
//!   request headers ──► Call::begin      request headers ──► its call, by `request.time`
//!   log ─────────────► Call::attempts    response headers ─► status, first byte
//!                                        done ────────────► its end
//! ```
//! With the same `vm_id`, code and VM configuration both run in the same VM of a worker, and meet in one table of it. An
//! attempt is done before its call is logged, but for those that the call's end breaks off: what is known of them by then
//! counts.
//!
//! # What Envoy 1.40 tells an attempt
//! Its request's headers come when its host is chosen and before there is a connection: `upstream.address` has the host
//! already, one too that then refuses the connection. Properties of the request are the call's own: `request.time`, when
//! the call began in nanoseconds, is the same in both and tells calls apart. (`x-request-id` does not: who passes it on for
//! tracing has many calls at once under one id.) An attempt that the router gives up (a retry, the call's end) is done and deleted without another
//! callback. A call's end by its client is logged first, and then its attempt is done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::thread::LocalKey;

use super::abi::{self, Map};
use super::clock::now;
use super::pairs;
use crate::port::Headers;
use crate::record::Attempt;
use crate::units::Nanos;

/// Most attempts of a call that are noted, the first ones.
const MAX_ATTEMPTS: usize = 16;
/// Most calls at once whose attempts are noted: four times as many as a cluster's circuit breaker lets pass by default.
/// With all attempts of each it is some 12 MB at the very most.
const MAX_CALLS: usize = 4096;
/// Longest address that is kept, in bytes. An IPv6 address with its port has 47; a pipe's path may be longer.
const MAX_ADDRESS: usize = 128;

/// What has been seen of a call's attempts.
#[derive(Debug, Default)]
struct Seen {
    attempts: RefCell<Vec<Attempt>>,
    /// Two calls at once began in the same nanosecond: nothing says whose an attempt is.
    mixed: Cell<bool>,
}

/// An attempt that runs, and where it is noted. Its call may be gone.
#[derive(Debug)]
struct Running {
    seen: Weak<Seen>,
    at: usize,
    began: Nanos,
}

thread_local! {
    /// How many plugins of this VM see attempts.
    static EXPECTED: Cell<u32> = const { Cell::new(0) };
    /// Calls by when they began.
    static CALLS: RefCell<BTreeMap<u64, Weak<Seen>>> = const { RefCell::new(BTreeMap::new()) };
    /// Attempts by the host's numbers for them; nothing before they begin, and where it is not known whose they are.
    static RUNNING: RefCell<BTreeMap<u32, Option<Running>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A plugin of this VM sees attempts for as long as this lives. Without one, calls are not kept.
#[derive(Debug)]
pub struct Expected(());

impl Expected {
    pub fn new() -> Self {
        EXPECTED.set(EXPECTED.get().saturating_add(1));
        Self(())
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        EXPECTED.set(EXPECTED.get().saturating_sub(1));
    }
}

/// A call whose attempts are noted for as long as this lives.
#[derive(Debug)]
pub struct Call {
    began: u64,
    seen: Rc<Seen>,
}

impl Call {
    /// The exchange that calls to the host are about. Nothing where nobody sees attempts, and where too many calls run.
    pub fn begin() -> Option<Self> {
        if EXPECTED.get() == 0 {
            return None;
        }
        let began = call_began()?;
        with(&CALLS, |calls| {
            if let Some(seen) = calls.get(&began).and_then(Weak::upgrade) {
                seen.mixed.set(true);
                return Some(Self { began, seen });
            }
            if calls.len() >= MAX_CALLS {
                return None;
            }
            let seen = Rc::new(Seen::default());
            calls.insert(began, Rc::downgrade(&seen));
            Some(Self { began, seen })
        })
    }

    /// What is known of its attempts now, in the order they began.
    pub fn attempts(self) -> Vec<Attempt> {
        if self.seen.mixed.get() {
            return Vec::new();
        }
        self.seen.attempts.try_borrow_mut().map(|mut attempts| std::mem::take(&mut *attempts)).unwrap_or_default()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The last one at this place takes it along.
        if Rc::strong_count(&self.seen) == 1 {
            with(&CALLS, |calls| calls.remove(&self.began));
        }
    }
}

/// An attempt is to come, by the host's number for it.
pub fn create(context: u32) {
    with(&RUNNING, |running| running.insert(context, None));
}

/// A request's head came; if it is an attempt's, it begins.
pub fn request_headers(context: u32) {
    if !runs(context) {
        return;
    }
    let began = now();
    let Some(call) = call_began() else { return };
    let Some(seen) = with(&CALLS, |calls| calls.get(&call)?.upgrade()) else { return };
    let at = seen.attempts.try_borrow_mut().ok().and_then(|mut attempts| {
        let at = attempts.len();
        (at < MAX_ATTEMPTS).then(|| attempts.push(Attempt { address: address(), ..Attempt::default() })).map(|()| at)
    });
    let place = at.map(|at| Running { seen: Rc::downgrade(&seen), at, began });
    with(&RUNNING, |running| running.insert(context, place));
}

/// A head of an answer came; if it is an attempt's, it is noted. A 1xx comes before the one that counts.
pub fn response_headers(context: u32) {
    note(context, |attempt, time| {
        let map = abi::header_pairs(Map::ResponseHeaders).unwrap_or_default();
        let pairs = pairs::parse(&map);
        let status = Headers(&pairs).text(":status").and_then(|status| status.parse().ok());
        if matches!(status, Some(100 | 102..=199)) {
            return;
        }
        attempt.status = status;
        attempt.first_byte_ms = Some(time);
    });
}

/// A context is done; if it is an attempt's, the attempt is over.
pub fn done(context: u32) {
    note(context, |attempt, time| attempt.total_ms = Some(time));
    with(&RUNNING, |running| running.remove(&context));
}

fn runs(context: u32) -> bool {
    with(&RUNNING, |running| Some(running.contains_key(&context))).unwrap_or(false)
}

/// Notes a fact of an attempt, `now` in milliseconds from its beginning, if its call is still there.
fn note(context: u32, fact: impl FnOnce(&mut Attempt, f64)) {
    let place = with(&RUNNING, |running| {
        let Running { seen, at, began } = running.get(&context)?.as_ref()?;
        Some((seen.upgrade()?, *at, *began))
    });
    let Some((seen, at, began)) = place else { return };
    let time = (now() - began).as_ms();
    if let Ok(mut attempts) = seen.attempts.try_borrow_mut()
        && let Some(attempt) = attempts.get_mut(at)
    {
        fact(attempt, time);
    }
}

/// When the call began, in nanoseconds since 1970.
fn call_began() -> Option<u64> {
    abi::property(&["request", "time"])?.try_into().ok().map(u64::from_le_bytes)
}

fn address() -> Option<String> {
    let address = abi::property(&["upstream", "address"]).filter(|address| !address.is_empty())?;
    let end = address.len().min(MAX_ADDRESS);
    Some(String::from_utf8_lossy(address.get(..end)?).into_owned())
}

/// Works on a table, if it is there: a worker that ends may drop its exchanges after it.
fn with<T, R>(table: &'static LocalKey<RefCell<T>>, work: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
    table.try_with(|table| table.try_borrow_mut().ok().and_then(|mut table| work(&mut table))).ok().flatten()
}
