//! What the host calls: the exports of the ABI, and the contexts that they are for.
//!
//! Whatever a host may do wrong has an answer: a context that is not known passes what it is shown, one that is made twice replaces the
//! first, and a call that comes in the middle of another is passed too. (Envoy 1.40 calls there for memory alone: what it is asked to
//! let go, answer or reset is done when the callback has returned.)

// Exports are unsafe attributes.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::thread::LocalKey;

use crate::table::ContextTable;
use crate::traits::{HttpContext, RootContext};
use crate::types::{Action, NewRootContext};

thread_local! {
    static NEW_ROOT: Cell<Option<NewRootContext>> = const { Cell::new(None) };
    static ROOTS: RefCell<ContextTable<Box<dyn RootContext>>> = RefCell::default();
    static EXCHANGES: RefCell<ContextTable<Box<dyn HttpContext>>> = RefCell::default();
}

/// Says what makes the contexts of plugins.
pub fn set_root_context(callback: NewRootContext) {
    NEW_ROOT.set(Some(callback));
}

/// Works on a table, if it is there and nobody else does.
fn with<T, R>(
    table: &'static LocalKey<RefCell<ContextTable<T>>>,
    work: impl FnOnce(&mut ContextTable<T>) -> Option<R>,
) -> Option<R> {
    table.try_with(|table| work(&mut *table.try_borrow_mut().ok()?)).ok().flatten()
}

fn root<R>(context: u32, ask: impl FnOnce(&mut dyn RootContext) -> R) -> Option<R> {
    with(&ROOTS, |table| table.get_mut(&context).map(|root| ask(root.as_mut())))
}

fn exchange<R>(context: u32, ask: impl FnOnce(&mut dyn HttpContext) -> R) -> Option<R> {
    with(&EXCHANGES, |table| table.get_mut(&context).map(|exchange| ask(exchange.as_mut())))
}

/// What a body's callback answers, as the ABI's number.
fn body(context: u32, ask: impl FnOnce(&mut dyn HttpContext) -> Action) -> u32 {
    exchange(context, ask).unwrap_or_default() as u32
}

/// What the callback of headers or trailers answers. Their 2 is another one: "continue, and end the stream".
fn head(context: u32, ask: impl FnOnce(&mut dyn HttpContext) -> Action) -> u32 {
    match exchange(context, ask).unwrap_or_default() {
        Action::Continue => 0,
        Action::Pause | Action::StopIterationAndWatermark => 1,
    }
}

/// Says by its name which version of the ABI this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what the host hands over; [`crate::hostcalls`] takes it as a vector of just this capacity.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    // The one that had the number is dropped after: its end may call the host.
    if parent == 0 {
        let new = NEW_ROOT.get().map(|new| new(context));
        let old = new.and_then(|new| with(&ROOTS, |table| table.insert(context, new)));
        drop(old);
    } else {
        let new = root(parent, |root| root.create_http_context(context)).flatten();
        let old = new.and_then(|new| with(&EXCHANGES, |table| table.insert(context, new)));
        drop(old);
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(context: u32, size: usize) -> bool {
    root(context, |root| root.on_vm_start(size)).unwrap_or(false)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> bool {
    root(context, |root| root.on_configure(size)).unwrap_or(false)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    root(context, |root| root.on_tick());
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, count: usize, end: bool) -> u32 {
    head(context, |exchange| exchange.on_http_request_headers(count, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32 {
    body(context, |exchange| exchange.on_http_request_body(size, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, count: usize) -> u32 {
    head(context, |exchange| exchange.on_http_request_trailers(count))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, count: usize, end: bool) -> u32 {
    head(context, |exchange| exchange.on_http_response_headers(count, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32 {
    body(context, |exchange| exchange.on_http_response_body(size, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, count: usize) -> u32 {
    head(context, |exchange| exchange.on_http_response_trailers(count))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    exchange(context, |exchange| exchange.on_log()).or_else(|| root(context, |root| root.on_log()));
}

/// True where nothing is left to wait for, as with a context that nobody knows.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> bool {
    exchange(context, |exchange| exchange.on_done()).or_else(|| root(context, |root| root.on_done())).unwrap_or(true)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    // Taken out first, dropped after: its end may call the host.
    let exchange = with(&EXCHANGES, |table| table.remove(&context));
    let root = with(&ROOTS, |table| table.remove(&context));
    drop((exchange, root));
}
