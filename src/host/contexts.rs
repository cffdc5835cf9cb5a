//! What the host's callbacks are for: plugins, calls, and Envoy's own attempts at them.
//!
//! A tick is a plugin's, but the turns that it gives are calls', under whatever plugin they began. So the dispatcher owns a handle of
//! each call, and this has another.

use std::cell::RefCell;
use std::rc::Rc;

use weir_abi::ContextTable;
use weir_abi::hostcalls;
use weir_abi::traits::{Context, HttpContext, RootContext};
use weir_abi::types::{Action, LogLevel};

use super::attempts;
use super::shell::{Exchange, Root, Side};
use super::turns::Due;

weir_abi::main! {{
    weir_abi::set_log_level(LogLevel::Info);
    weir_abi::set_root_context(|context| Box::new(Plugin { context, root: Root::default() }));
}}

type Shared = Rc<RefCell<Exchange>>;

thread_local! {
    static CALLS: RefCell<ContextTable<Shared>> = RefCell::default();
}

/// A plugin of this VM, by the host's number for it.
struct Plugin {
    context: u32,
    root: Root,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, size: usize) -> bool {
        self.root.configure(size)
    }

    /// Time has passed: the root says whose turn it is, then each of them has it as the exchange that calls are about.
    fn on_tick(&mut self) {
        let Due { turns, renew } = self.root.tick();
        // Where one had to go on waiting, those behind him would too.
        let mut stuck = Vec::new();
        for (due, position) in turns {
            let Some(call) = call(due) else { continue };
            let Ok(mut call) = call.try_borrow_mut() else { continue };
            if let Some(position) = position.filter(|position| stuck.contains(&position.of)) {
                call.wait_on(position);
            } else if hostcalls::set_effective_context(due).is_ok() && !call.tick() {
                stuck.extend(position.map(|position| position.of));
            }
        }
        let _ = hostcalls::set_effective_context(self.context);
        self.root.ask_for_ticks();
        if renew {
            renew_all();
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        if self.root.sees_attempts() {
            return Some(Box::new(attempts::Attempt::default()));
        }
        let call = Rc::new(RefCell::new(self.root.exchange(context)));
        CALLS.with(|calls| calls.try_borrow_mut().map(|mut calls| calls.insert(context, Rc::clone(&call)))).ok();
        Some(Box::new(Call { context, call }))
    }
}

fn call(context: u32) -> Option<Shared> {
    CALLS.with(|calls| calls.try_borrow().ok()?.get(&context).cloned())
}

/// Makes what long calls hold good for longer.
fn renew_all() {
    CALLS.with(|calls| {
        let Ok(calls) = calls.try_borrow() else { return };
        for call in calls.values() {
            if let Ok(mut call) = call.try_borrow_mut() {
                call.renew();
            }
        }
    });
}

/// A call, by the host's number for it.
struct Call {
    context: u32,
    call: Shared,
}

impl Call {
    /// What the call answers. Nothing else works on it while its callback runs: a tick is a callback of its own.
    fn ask(&self, ask: impl FnOnce(&mut Exchange) -> Action) -> Action {
        self.call.try_borrow_mut().map(|mut call| ask(&mut call)).unwrap_or_default()
    }
}

impl Context for Call {}

impl HttpContext for Call {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        self.ask(|call| call.request_headers(end))
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.ask(|call| call.body(Side::Request, size, end))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.ask(|call| call.body(Side::Request, 0, true))
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        self.ask(|call| call.response_headers(end))
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        self.ask(|call| call.body(Side::Response, size, end))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.ask(Exchange::response_trailers)
    }

    fn on_log(&mut self) {
        if let Ok(mut call) = self.call.try_borrow_mut() {
            call.log();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Taken out first, dropped after: its end calls the host. A worker that ends may drop its calls after the table. Another call
        // may have come by the same number.
        let gone = CALLS.try_with(|calls| {
            let mut calls = calls.try_borrow_mut().ok()?;
            calls.get(&self.context).filter(|call| Rc::ptr_eq(call, &self.call))?;
            calls.remove(&self.context)
        });
        drop(gone);
    }
}
