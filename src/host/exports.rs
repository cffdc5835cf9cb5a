//! What the host calls: the exports of the proxy-wasm ABI, and the contexts that they are for.
//!
//! The SDK's own exports do the same with four tables of contexts, for kinds of filters that this is not, and panic at a
//! context they do not know. These are a tenth of their size, which V8 compiles at every start, and pass what they do not
//! know.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::shell::{Action, Exchange, Root, Side};
use super::turns::Due;
use super::{abi, attempts};

#[cfg(target_os = "wasi")]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// The host calls this once per VM, before anything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    #[cfg(target_os = "wasi")]
    // SAFETY: the linker's own function, called once, by the one who has to.
    unsafe {
        __wasm_call_ctors();
    }
}

/// Says by its name which version of the ABI this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what the host hands over; [`super::abi`] takes it as a vector of just this capacity.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

/// Context numbers are the host's own and never chosen by anyone outside: one multiplication spreads them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        /// 2^64 divided by the golden ratio.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(GOLDEN);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Table<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;

thread_local! {
    static ROOTS: RefCell<Table<Root>> = RefCell::default();
    static EXCHANGES: RefCell<Table<Box<Exchange>>> = RefCell::default();
}

/// What a root answers; the default where there is none.
fn root<T: Default>(context: u32, ask: impl FnOnce(&mut Root) -> T) -> T {
    ROOTS.with(|table| table.try_borrow_mut().ok().and_then(|mut t| t.get_mut(&context).map(ask))).unwrap_or_default()
}

/// What an exchange answers; the default where there is none, and for a host that calls in the middle of a call. Envoy
/// 1.40 calls there for memory alone: what it is asked to let go, answer or reset is done when the callback has returned.
fn exchange<T: Default>(context: u32, ask: impl FnOnce(&mut Exchange) -> T) -> T {
    EXCHANGES
        .with(|table| table.try_borrow_mut().ok().and_then(|mut t| t.get_mut(&context).map(|e| ask(e))))
        .unwrap_or_default()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    if parent == 0 {
        ROOTS.with(|table| table.try_borrow_mut().map(|mut t| t.insert(context, Root::default())).ok());
        return;
    }
    let new = ROOTS.with(|table| {
        let table = table.try_borrow().ok()?;
        let root = table.get(&parent)?;
        if root.sees_attempts() {
            attempts::create(context);
            return None;
        }
        Some(root.exchange(context))
    });
    if let Some(new) = new {
        EXCHANGES.with(|table| table.try_borrow_mut().map(|mut t| t.insert(context, Box::new(new))).ok());
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> bool {
    root(context, |root| root.configure(size))
}

/// Time has passed: the root says whose turn it is, then each of them has it as the exchange that calls are about.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    let Due { turns, renew } = root(context, Root::tick);
    // Where one had to go on waiting, those behind him would too.
    let mut stuck = Vec::new();
    for (due, position) in turns {
        if let Some(position) = position.filter(|position| stuck.contains(&position.of)) {
            exchange(due, |e| e.wait_on(position));
        } else if abi::set_effective_context(due) && !exchange(due, Exchange::tick) {
            stuck.extend(position.map(|position| position.of));
        }
    }
    abi::set_effective_context(context);
    root(context, |root| root.ask_for_ticks());
    if renew {
        EXCHANGES.with(|table| table.try_borrow_mut().map(|mut t| t.values_mut().for_each(|e| e.renew())).ok());
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _: usize, end: bool) -> Action {
    attempts::request_headers(context);
    exchange(context, |e| e.request_headers(end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end: bool) -> Action {
    exchange(context, |e| e.body(Side::Request, size, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _: usize) -> Action {
    exchange(context, |e| e.body(Side::Request, 0, true))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _: usize, end: bool) -> Action {
    attempts::response_headers(context);
    exchange(context, |e| e.response_headers(end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end: bool) -> Action {
    exchange(context, |e| e.body(Side::Response, size, end))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _: usize) -> Action {
    exchange(context, Exchange::response_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    exchange(context, Exchange::log);
}

/// Nothing is left to wait for, ever.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> bool {
    attempts::done(context);
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    attempts::done(context);
    // Taken out first, dropped after: its end calls the host.
    let gone = EXCHANGES.with(|table| table.try_borrow_mut().ok()?.remove(&context));
    let root = ROOTS.with(|table| table.try_borrow_mut().ok()?.remove(&context));
    drop((gone, root));
}
