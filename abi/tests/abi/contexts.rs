//! What comes of callbacks, whatever their order, and whoever they are for.

use std::cell::RefCell;

use weir_abi::hostcalls;
use weir_abi::traits::{Context, HttpContext, RootContext};
use weir_abi::types::{Action, LogLevel};

use super::host::*;

weir_abi::main! {{
    weir_abi::set_log_level(LogLevel::Info);
    weir_abi::set_root_context(|id| Box::new(Root { id, open: true }));
}}

thread_local! {
    /// What has happened, in order.
    static SEEN: RefCell<Vec<String>> = RefCell::default();
}

fn see(what: String) {
    // At the end of a thread nobody looks any more.
    let _ = SEEN.try_with(|seen| seen.borrow_mut().push(what));
}

fn seen() -> Vec<String> {
    SEEN.take()
}

struct Root {
    id: u32,
    /// Takes in exchanges.
    open: bool,
}

impl Context for Root {}

impl RootContext for Root {
    /// The size is what there is to configure: none closes it, and 13 is refused.
    fn on_configure(&mut self, size: usize) -> bool {
        self.open = size > 0;
        size != 13
    }

    fn on_tick(&mut self) {
        see(format!("tick {}", self.id));
        let _ = hostcalls::set_effective_context(self.id);
    }

    fn on_log(&mut self) {
        see(format!("root {} logged", self.id));
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let (root, open) = (self.id, self.open);
        open.then(|| Box::new(Exchange { id, root }) as _)
    }
}

struct Exchange {
    id: u32,
    root: u32,
}

impl Context for Exchange {
    fn on_done(&mut self) -> bool {
        see(format!("{} done", self.id));
        // Something is left to do for one of them.
        self.id != 99
    }
}

impl HttpContext for Exchange {
    /// Pauses at the end, and asks for what headers do not have before it.
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        see(format!("{} of {}: {count} headers", self.id, self.root));
        let _ = hostcalls::set_property(&["a"], Some(b"b"));
        if end { Action::Pause } else { Action::StopIterationAndWatermark }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        match (size, end) {
            (0, _) => Action::Continue,
            (_, false) => Action::Pause,
            (_, true) => Action::StopIterationAndWatermark,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        Action::StopIterationAndWatermark
    }

    fn on_log(&mut self) {
        see(format!("{} logged", self.id));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A gauge goes down.
        let _ = hostcalls::increment_metric(7, -1);
        see(format!("{} of {} is gone", self.id, self.root));
    }
}

fn plugin(id: u32) {
    _initialize();
    proxy_on_context_create(id, 0);
    assert!(proxy_on_vm_start(id, 0) && proxy_on_configure(id, 1));
}

/// All callbacks of an exchange, and what each answers.
fn every_callback(id: u32) -> [u32; 6] {
    [
        proxy_on_request_headers(id, 3, true),
        proxy_on_request_body(id, 1, false),
        proxy_on_request_trailers(id, 1),
        proxy_on_response_headers(id, 1, false),
        proxy_on_response_body(id, 1, true),
        proxy_on_response_trailers(id, 1),
    ]
}

#[test]
fn a_context_that_nobody_knows_passes_what_it_is_shown() {
    plugin(1);
    for id in [0, 1, 2, u32::MAX] {
        assert_eq!(every_callback(id), [0; 6], "{id}");
        proxy_on_log(id);
        assert!(proxy_on_done(id));
    }
    assert_eq!(seen(), ["root 1 logged"]);
    for id in [0, 2, u32::MAX] {
        assert!(!proxy_on_vm_start(id, 0) && !proxy_on_configure(id, 1), "{id}: nobody has taken it");
        proxy_on_tick(id);
        proxy_on_delete(id);
    }
    // Of a plugin that is not there, and of an exchange.
    proxy_on_context_create(5, 4);
    assert_eq!(every_callback(5), [0; 6]);
    proxy_on_context_create(6, 1);
    proxy_on_context_create(7, 6);
    assert_eq!(every_callback(7), [0; 6]);
    assert_eq!(seen(), Vec::<String>::new());
}

#[test]
fn before_anything_is_set_up_nothing_answers_and_nothing_breaks() {
    proxy_on_context_create(1, 0);
    assert!(!proxy_on_vm_start(1, 0) && !proxy_on_configure(1, 0));
    proxy_on_context_create(2, 1);
    assert_eq!(every_callback(2), [0; 6]);
    proxy_on_tick(1);
    proxy_on_delete(2);
    proxy_on_delete(1);
}

#[test]
fn a_call_after_its_delete_is_one_that_nobody_knows() {
    plugin(1);
    proxy_on_context_create(2, 1);
    proxy_on_log(2);
    assert!(proxy_on_done(2));
    proxy_on_delete(2);
    assert_eq!(seen(), ["2 logged", "2 done", "2 of 1 is gone"]);
    assert_eq!(every_callback(2), [0; 6]);
    proxy_on_log(2);
    assert!(proxy_on_done(2));
    proxy_on_delete(2);
    assert_eq!(seen(), Vec::<String>::new());
}

#[test]
fn what_one_waits_for_keeps_its_context() {
    plugin(1);
    proxy_on_context_create(99, 1);
    assert!(!proxy_on_done(99));
    assert_eq!(seen(), ["99 done"]);
    assert_eq!(proxy_on_request_headers(99, 1, true), 1);
}

#[test]
fn there_are_as_many_plugins_as_the_host_makes_each_with_its_own_exchanges() {
    for root in 1..=100 {
        plugin(root);
    }
    for root in 1..=100 {
        proxy_on_context_create(1000 + root, root);
        proxy_on_request_headers(1000 + root, 1, true);
        assert_eq!(seen(), [format!("{} of {root}: 1 headers", 1000 + root)]);
    }
    proxy_on_tick(17);
    assert_eq!(seen(), ["tick 17"]);
    // A plugin goes; what began under it goes on, and takes no new one.
    proxy_on_delete(17);
    proxy_on_request_headers(1017, 2, true);
    assert_eq!(seen(), ["1017 of 17: 2 headers"]);
    proxy_on_context_create(2017, 17);
    assert_eq!(every_callback(2017), [0; 6]);
    proxy_on_delete(1017);
    assert_eq!(seen(), ["1017 of 17 is gone"]);
}

#[test]
fn a_plugin_that_gives_an_exchange_no_context_lets_it_pass() {
    plugin(1);
    assert!(proxy_on_configure(1, 0), "closed");
    proxy_on_context_create(2, 1);
    assert_eq!(every_callback(2), [0; 6]);
    assert!(proxy_on_done(2));
    assert!(!proxy_on_configure(1, 13), "refused, and the plugin lives");
    proxy_on_context_create(3, 1);
    assert_eq!(proxy_on_request_headers(3, 1, true), 1);
}

#[test]
fn a_context_that_is_made_twice_takes_the_place_of_the_first() {
    plugin(1);
    plugin(2);
    proxy_on_context_create(3, 1);
    proxy_on_context_create(3, 2);
    assert_eq!(seen(), ["3 of 1 is gone"]);
    proxy_on_request_headers(3, 1, true);
    assert_eq!(seen(), ["3 of 2: 1 headers"]);
    proxy_on_context_create(2, 0);
    proxy_on_tick(2);
    assert_eq!(seen(), ["tick 2"]);
}

#[test]
fn a_host_that_calls_in_the_middle_of_a_call_is_passed() {
    plugin(1);
    proxy_on_context_create(2, 1);
    host(|host| {
        host.meanwhile = Some(|| {
            assert_eq!(every_callback(2), [0; 6]);
            proxy_on_log(2);
            assert!(proxy_on_done(2));
            proxy_on_context_create(3, 1);
            proxy_on_delete(2);
        });
    });
    assert_eq!(proxy_on_request_headers(2, 1, true), 1);
    assert_eq!(seen(), ["2 of 1: 1 headers", "3 of 1 is gone"], "there is no room for it now");
    host(|host| {
        host.meanwhile = Some(|| {
            proxy_on_tick(1);
            proxy_on_context_create(4, 1);
            proxy_on_delete(1);
            assert_eq!(proxy_on_request_headers(2, 2, true), 1, "an exchange is not in the middle of anything");
        });
    });
    proxy_on_tick(1);
    assert_eq!(seen(), ["tick 1", "2 of 1: 2 headers"]);
    proxy_on_tick(1);
    proxy_on_delete(2);
    assert_eq!(seen(), ["tick 1", "2 of 1 is gone"]);
    assert_eq!(every_callback(4), [0; 6]);
}

#[test]
fn the_third_action_is_two_for_bodies_and_a_pause_for_what_has_none() {
    plugin(1);
    proxy_on_context_create(2, 1);
    assert_eq!(proxy_on_request_body(2, 0, false), 0);
    assert_eq!(proxy_on_request_body(2, 1, false), 1);
    assert_eq!(proxy_on_request_body(2, 1, true), 2);
    assert_eq!(proxy_on_request_headers(2, 1, false), 1, "2 would end the stream");
    assert_eq!(proxy_on_response_trailers(2, 1), 1);
}
