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

use weir_abi::hostcalls;
use weir_abi::traits::{Context, HttpContext};
use weir_abi::types::{Action, MapType};

use super::clock::now;
use crate::port::Headers;
use crate::record;
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
    attempts: RefCell<Vec<record::Attempt>>,
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
    pub fn attempts(self) -> Vec<record::Attempt> {
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

/// An attempt; nothing before it begins, where it is not known whose it is, and once it is over.
#[derive(Debug, Default)]
pub struct Attempt(Option<Running>);

impl Attempt {
    fn begin() -> Option<Running> {
        let began = now();
        let call = call_began()?;
        let seen = with(&CALLS, |calls| calls.get(&call)?.upgrade())?;
        let mut attempts = seen.attempts.try_borrow_mut().ok()?;
        let at = attempts.len();
        if at >= MAX_ATTEMPTS {
            return None;
        }
        attempts.push(record::Attempt { address: address(), ..Default::default() });
        Some(Running { seen: Rc::downgrade(&seen), at, began })
    }

    /// Notes a fact of it, `now` in milliseconds from its beginning, if its call is still there.
    fn note(&self, fact: impl FnOnce(&mut record::Attempt, f64)) {
        let Some(Running { seen, at, began }) = &self.0 else { return };
        let Some(seen) = seen.upgrade() else { return };
        let time = (now() - *began).as_ms();
        if let Ok(mut attempts) = seen.attempts.try_borrow_mut()
            && let Some(attempt) = attempts.get_mut(*at)
        {
            fact(attempt, time);
        }
    }

    fn end(&mut self) {
        self.note(|attempt, time| attempt.total_ms = Some(time));
        self.0 = None;
    }
}

impl Context for Attempt {
    fn on_done(&mut self) -> bool {
        self.end();
        true
    }
}

impl HttpContext for Attempt {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.0 = Self::begin();
        Action::Continue
    }

    /// A head of the answer came. A 1xx comes before the one that counts.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.note(|attempt, time| {
            let map = hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default();
            let status = Headers(&map.pairs()).text(":status").and_then(|status| status.parse().ok());
            if matches!(status, Some(100 | 102..=199)) {
                return;
            }
            attempt.status = status;
            attempt.first_byte_ms = Some(time);
        });
        Action::Continue
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end();
    }
}

/// When the call began, in nanoseconds since 1970.
fn call_began() -> Option<u64> {
    hostcalls::get_property(&["request", "time"]).ok()??.try_into().ok().map(u64::from_le_bytes)
}

fn address() -> Option<String> {
    let address = hostcalls::get_property(&["upstream", "address"]).ok()?.filter(|address| !address.is_empty())?;
    let end = address.len().min(MAX_ADDRESS);
    Some(String::from_utf8_lossy(address.get(..end)?).into_owned())
}

/// Works on a table, if it is there: a worker that ends may drop its exchanges after it.
fn with<T, R>(table: &'static LocalKey<RefCell<T>>, work: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
    table.try_with(|table| table.try_borrow_mut().ok().and_then(|mut table| work(&mut table))).ok().flatten()
}
