//! The fake host does what Envoy 1.40 was seen to do (the table in `abi/src/hostcalls/flow.rs`), shown with a filter that does
//! what a script says.
#![cfg(not(target_family = "wasm"))]

#[allow(dead_code, unused_imports)] // Each test has its own use of it.
mod fake_host;

use std::cell::RefCell;
use std::sync::Arc;

use fake_host::{CAS_MISMATCH, Headers, Http, Left, NOT_FOUND, OK, Process, Vm, headers, vm};

/// The filter: at a callback it does what stands behind its name, as in `request_body=hold tick=resume`.
mod filter {
    use super::*;

    thread_local! {
        static SCRIPT: RefCell<String> = RefCell::default();
        static SEEN: RefCell<Vec<String>> = RefCell::default();
        static LAST: RefCell<u32> = const { RefCell::new(0) };
    }

    unsafe extern "C" {
        fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
        fn proxy_replace_header_map_value(kind: u32, name: *const u8, size: usize, value: *const u8, n: usize) -> u32;
        fn proxy_add_header_map_value(kind: u32, name: *const u8, size: usize, value: *const u8, n: usize) -> u32;
        fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        fn proxy_set_effective_context(context: u32) -> u32;
        fn proxy_continue_stream(half: u32) -> u32;
        fn proxy_close_stream(half: u32) -> u32;
        fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        fn proxy_get_shared_data(k: *const u8, n: usize, data: *mut *mut u8, size: *mut usize, cas: *mut u32) -> u32;
        fn proxy_set_shared_data(k: *const u8, n: usize, value: *const u8, size: usize, cas: u32) -> u32;
    }

    pub fn plays(script: &str) {
        SCRIPT.set(script.to_owned());
        SEEN.take();
    }

    /// The callbacks since the last time this was asked, and all calls that the host refused.
    pub fn seen() -> Vec<String> {
        SEEN.take()
    }

    /// Taken over from the host.
    fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, u32> {
        let (mut data, mut size) = (std::ptr::null_mut::<u8>(), 0);
        match call(&mut data, &mut size) {
            OK if data.is_null() => Ok(Vec::new()),
            // SAFETY: made by the allocator below, of just this size.
            OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
            status => Err(status),
        }
    }

    fn body(kind: u32) -> String {
        // SAFETY: both pointers are to locals that outlive the call.
        let body = taken(|data, size| unsafe { proxy_get_buffer_bytes(kind, 0, usize::MAX, data, size) });
        body.map_or_else(|status| format!("status {status}"), |body| String::from_utf8(body).expect("text"))
    }

    /// One word of the script; whether the callback is to pause.
    fn act(word: &str) -> bool {
        let (name, value) = ("x-set", "1");
        let map = |change: unsafe extern "C" fn(u32, *const u8, usize, *const u8, usize) -> u32, kind: u32| {
            // SAFETY: the host only reads, and only within the texts.
            unsafe { change(kind, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
        };
        let no_headers = [0; 4];
        // SAFETY: numbers, and slices that the host only reads.
        let status = unsafe {
            match word {
                "hold" => return true,
                "resume" => proxy_continue_stream(0),
                "resume_answer" => proxy_continue_stream(1),
                "reset" => proxy_close_stream(1),
                "set_request" => map(proxy_replace_header_map_value, 0),
                "set_response" => map(proxy_add_header_map_value, 2),
                "set_trailer" => map(proxy_add_header_map_value, 3),
                "cut" => proxy_set_buffer_bytes(1, 0, usize::MAX, b"cut".as_ptr(), 3),
                "ticks" => proxy_set_tick_period_milliseconds(10),
                "look" => {
                    SEEN.with_borrow_mut(|seen| seen.push(format!("looks: {}", body(0))));
                    OK
                }
                "answer" => proxy_send_local_response(
                    429,
                    b"no".as_ptr(),
                    2,
                    b"wait".as_ptr(),
                    4,
                    no_headers.as_ptr(),
                    no_headers.len(),
                    -1,
                ),
                _ => panic!("{word} is not in the language"),
            }
        };
        if status != OK {
            SEEN.with_borrow_mut(|seen| seen.push(format!("{word}: status {status}")));
        }
        false
    }

    fn callback(name: &str, about: &str) -> u32 {
        SEEN.with_borrow_mut(|seen| seen.push(format!("{name} {about}").trim_end().to_owned()));
        let script = SCRIPT.with_borrow(String::clone);
        let lines = script.split(' ').filter_map(|line| line.split_once('=')).filter(|(of, _)| *of == name);
        let words: Vec<&str> = lines.flat_map(|(_, words)| words.split('+')).collect();
        u32::from(words.into_iter().fold(false, |pause, word| act(word) | pause))
    }

    fn piece(name: &str, kind: u32, end: bool) -> u32 {
        let name = if end { format!("{name}_end") } else { name.to_owned() };
        callback(&name, &body(kind))
    }

    #[unsafe(no_mangle)]
    extern "C" fn _initialize() {}
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(context: u32, _: u32) {
        LAST.set(context);
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
        true
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(_: u32, _: usize) -> bool {
        // SAFETY: only a number crosses.
        unsafe { proxy_set_tick_period_milliseconds(10) == OK }
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(_: u32) {
        // SAFETY: only a number crosses.
        let status = unsafe { proxy_set_effective_context(LAST.with_borrow(|last| *last)) };
        if status == OK {
            callback("tick", "");
        }
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(_: u32, _: usize, _: bool) -> u32 {
        callback("request_headers", "")
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_body(_: u32, _: usize, end: bool) -> u32 {
        piece("request_body", 0, end)
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_trailers(_: u32, _: usize) -> u32 {
        callback("request_trailers", "")
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_headers(_: u32, _: usize, _: bool) -> u32 {
        callback("response_headers", "")
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_body(_: u32, _: usize, end: bool) -> u32 {
        piece("response_body", 1, end)
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_trailers(_: u32, _: usize) -> u32 {
        callback("response_trailers", "")
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_log(_: u32) {
        callback("log", "");
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_done(_: u32) -> bool {
        callback("done", "");
        true
    }
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_delete(_: u32) {}

    /// Reads a key of the shared data: its value and its number.
    pub fn get(key: &str) -> Result<(Vec<u8>, u32), u32> {
        let mut cas = 0;
        // SAFETY: the key is only read; the other pointers are to locals that outlive the call.
        taken(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas) })
            .map(|value| (value, cas))
    }

    /// Sets one.
    pub fn set(key: &str, value: &str, cas: u32) -> u32 {
        // SAFETY: the host only reads, and only within the texts.
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) }
    }
}

/// Plays an exchange: `head`, `body` (a piece `ab`), `end` (the empty last piece), `last` (a piece `ab` that is the last),
/// `trailers`; the same of the answer behind `answer_`; `tick`.
fn play(vm: &Vm, steps: &str) -> Http {
    let http = vm.exchange();
    for step in steps.split(' ') {
        match step {
            "head" => drop(http.request_headers(headers(&[(":path", "/")]), false)),
            "body" => drop(http.request_body(b"ab", false)),
            "last" => drop(http.request_body(b"ab", true)),
            "end" => drop(http.request_body(b"", true)),
            "trailers" => drop(http.request_trailers()),
            "answer_head" => drop(http.response_headers(headers(&[(":status", "200")]), false)),
            "answer_body" => drop(http.response_body(b"xy", false)),
            "answer_end" => drop(http.response_body(b"", true)),
            "tick" => assert!(vm.tick()),
            _ => panic!("{step} is not in the language"),
        }
    }
    http
}

fn has(headers: &Headers, name: &str) -> bool {
    headers.iter().any(|(known, _)| known == name.as_bytes())
}

const ANSWERED: &str = "response_headers, response_body_end wait, log, done";

#[test]
fn what_is_held_let_go_answered_or_reset_has_the_callbacks_that_envoy_gives() {
    let default = false;
    let allow = true;
    for (mode, script, steps, callbacks, upstream, over) in [
        // Held headers hold the body, which then comes in one piece.
        (default, "request_headers=hold", "head body last", "request_headers", None, false),
        (
            default,
            "request_headers=hold tick=resume",
            "head body last tick",
            "request_headers, tick, request_body_end abab",
            Some("abab"),
            false,
        ),
        (
            default,
            "request_headers=hold tick=resume",
            "head body trailers tick",
            "request_headers, tick, request_body ab, request_trailers",
            Some("ab"),
            false,
        ),
        (default, "request_headers=hold tick=resume", "head tick", "request_headers, tick", Some(""), false),
        // Or not, and then a body that goes on lets them go.
        (
            allow,
            "request_headers=hold request_body=hold request_body_end=hold",
            "head body end",
            "request_headers, request_body ab, request_body_end ab",
            None,
            false,
        ),
        (allow, "request_headers=hold", "head body", "request_headers, request_body ab", Some("ab"), false),
        (
            allow,
            "request_headers=hold request_body=hold request_body_end=hold+set_request tick=look+set_request+resume",
            "head body end tick",
            "request_headers, request_body ab, request_body_end ab, tick, looks: ab",
            Some("ab"),
            false,
        ),
        // A held body is shown whole with each piece, and not again when it goes.
        (
            default,
            "request_body=hold request_body_end=hold tick=look+resume",
            "head body body last tick",
            "request_headers, request_body ab, request_body abab, request_body_end ababab, tick, looks: ababab",
            Some("ababab"),
            false,
        ),
        // What was not held before the end has gone.
        (
            default,
            "request_body_end=hold",
            "head body end",
            "request_headers, request_body ab, request_body_end",
            Some("ab"),
            false,
        ),
        // Headers that have gone cannot be changed.
        (
            default,
            "request_body_end=set_request",
            "head last",
            "request_headers, request_body_end ab, set_request: status 2",
            Some("ab"),
            false,
        ),
        (
            default,
            "request_headers=hold tick=resume+set_request",
            "head tick",
            "request_headers, tick, set_request: status 2",
            Some(""),
            false,
        ),
        // An answer, from anywhere.
        (default, "request_headers=answer+hold", "head last", &format!("request_headers, {ANSWERED}"), None, true),
        (default, "request_headers=answer", "head last", &format!("request_headers, {ANSWERED}"), None, true),
        (
            default,
            "request_headers=hold tick=answer",
            "head last tick",
            &format!("request_headers, tick, {ANSWERED}"),
            None,
            true,
        ),
        (
            default,
            "request_body=hold request_body_end=answer+hold",
            "head body end",
            &format!("request_headers, request_body ab, request_body_end ab, {ANSWERED}"),
            Some(""),
            true,
        ),
        (
            default,
            "response_headers=answer",
            "head last answer_head answer_body",
            "request_headers, request_body_end ab, response_headers, log, done",
            Some("ab"),
            true,
        ),
        (
            default,
            "response_body=answer",
            "head last answer_head answer_body answer_body",
            "request_headers, request_body_end ab, response_headers, response_body xy, log, done",
            Some("ab"),
            true,
        ),
        // A reset.
        (
            default,
            "request_headers=hold tick=reset",
            "head last tick tick",
            "request_headers, tick, log, done",
            None,
            true,
        ),
        (
            default,
            "response_body=cut tick=reset",
            "head last answer_head answer_body tick answer_body",
            "request_headers, request_body_end ab, response_headers, response_body xy, tick, log, done",
            Some("ab"),
            true,
        ),
    ] {
        vm(|vm| {
            assert!(vm.configure("{}"));
            if mode == allow {
                vm.allow_on_headers_stop_iteration();
            }
            filter::plays(script);
            let http = play(vm, steps);
            assert_eq!(filter::seen().join(", "), callbacks, "{script}: {steps}");
            assert_eq!(http.is_over(), over, "{script}: {steps}");
            if !over {
                let has = http.upstream_has().map(|body| String::from_utf8(body).expect("text"));
                assert_eq!(has.as_deref(), upstream, "{script}: {steps}");
            }
            http.abort();
        });
    }
}

#[test]
fn a_client_gets_what_envoy_would_send() {
    for (script, status, body, broken) in [
        ("tick=look", "200", "xyxy", false),
        ("request_headers=answer", "429", "wait", false),
        ("response_headers=answer", "429", "wait", false),
        ("response_body=answer", "200", "", true),
        ("response_body=cut tick=reset", "200", "cut", true),
        // The last piece is lost with the exchange.
        ("response_body=cut+reset", "200", "", true),
    ] {
        vm(|vm| {
            assert!(vm.configure("{}"));
            filter::plays(script);
            let Left { response_headers, response_body, broken: broke, .. } =
                play(vm, "head last answer_head answer_body tick answer_body answer_end").log();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            let got = response_headers.iter().find(|(name, _)| name == b":status").map(|(_, value)| text(value));
            assert_eq!(
                (got.as_deref(), text(&response_body).as_str(), broke),
                (Some(status), body, broken),
                "{script}"
            );
        });
    }
}

#[test]
fn headers_and_trailers_change_only_where_envoy_lets_them() {
    let script = "request_headers=set_request+hold response_headers=set_response response_body=set_response+set_trailer \
                  response_body_end=set_trailer tick=resume log=set_response";
    vm(|vm| {
        assert!(vm.configure("{}"));
        filter::plays(script);
        let http = play(vm, "head last tick answer_head answer_body answer_end");
        let refused = |seen: Vec<String>| seen.into_iter().filter(|s| s.contains("status")).collect::<Vec<_>>();
        assert_eq!(refused(filter::seen()), ["set_response: status 2", "set_trailer: status 2"]);
        let left = http.log();
        assert_eq!(refused(filter::seen()), ["set_response: status 2"]);
        assert!(has(&left.request_headers, "x-set") && has(&left.response_headers, "x-set"));
        assert_eq!(left.response_trailers, headers(&[("x-set", "1")]));
    });
}

#[test]
fn what_envoy_would_punish_later_is_noted() {
    for (mode, script, steps, expected) in [
        (false, "request_headers=hold", "head last", "nothing let it go"),
        (false, "request_body_end=hold", "head last", "nothing let it go"),
        (false, "response_body_end=hold", "head last answer_head answer_end", "nothing let it go"),
        (false, "tick=resume", "head last tick", "nothing is held"),
        (false, "request_headers=hold tick=resume+resume", "head tick", "nothing is held"),
        (false, "request_headers=answer+answer", "head", "is over"),
        (false, "request_headers=hold tick=answer+resume", "head tick", "is over"),
        (false, "request_headers=hold tick=reset+reset", "head tick", "is over"),
        (false, "log=reset", "head last", "is over"),
        (false, "response_headers=hold", "head answer_head", "nothing let it go"),
        (false, "request_headers=answer response_headers=hold tick=look", "head tick", "holds its own answer"),
        (true, "request_headers=hold request_body_end=set_request", "head body end", "changed that have gone"),
        (false, "request_headers=ticks", "head last", "puts the next one off"),
    ] {
        vm(|vm| {
            assert!(vm.configure("{}"));
            if mode {
                vm.allow_on_headers_stop_iteration();
            }
            filter::plays(script);
            play(vm, steps).log();
            let misuses = vm.misuses();
            assert!(matches!(&misuses[..], [one] if one.contains(expected)), "{script}: {misuses:?}");
        });
    }
}

#[test]
fn a_client_may_go_while_its_call_is_held() {
    vm(|vm| {
        assert!(vm.configure("{}"));
        filter::plays("request_headers=hold tick=resume");
        let http = play(vm, "head last");
        assert!(http.is_held());
        assert!(http.abort().broken);
        assert!(vm.tick());
        assert_eq!(filter::seen(), ["request_headers", "log", "done"], "its number is refused at the tick");
    });
}

#[test]
fn ticks_come_when_they_are_asked_for() {
    vm(|vm| {
        filter::plays("");
        assert!(!vm.tick());
        assert!(vm.configure("{}"));
        let http = play(vm, "head last");
        filter::seen();
        vm.pass_ticking_ms(59);
        assert_eq!(filter::seen(), ["tick"; 5]);
        assert_eq!(vm.tick_period_ms(), 10);
        http.log();
    });
}

#[test]
fn shared_data_has_one_counter_and_inserts_whatever_the_number() {
    let process = Arc::new(Process::default());
    process.vm(|_| {
        assert_eq!(filter::get("a"), Err(NOT_FOUND));
        assert_eq!(filter::set("a", "1", u32::MAX), OK);
        assert_eq!(filter::get("a"), Ok((b"1".to_vec(), 1)));
        assert_eq!(filter::set("a", "2", u32::MAX), CAS_MISMATCH);
        assert_eq!(filter::set("b", "1", 5), OK);
        assert_eq!(filter::set("a", "2", 0), OK);
        assert_eq!(filter::set("a", "3", 1), CAS_MISMATCH);
        assert_eq!(filter::set("a", "", 3), OK);
    });
    process.vm(|_| assert_eq!(filter::get("a"), Ok((vec![], 4)), "the next worker sees it"));
    assert_eq!(process.shared_keys(), [b"a", b"b"]);
    assert_eq!(process.shared_value(b"b"), Some(b"1".to_vec()));
    process.set_shared_value(b"b", b"2");
    process.vm(|_| assert_eq!(filter::get("b"), Ok((b"2".to_vec(), 5))));
}

#[test]
fn two_workers_that_count_with_compare_and_swap_lose_nothing() {
    let process = Arc::new(Process::default());
    let count = || {
        process.vm(|_| {
            for _ in 0..500 {
                loop {
                    let (value, cas) = filter::get("n").unwrap_or((b"0".to_vec(), u32::MAX));
                    let n: u32 = std::str::from_utf8(&value).expect("text").parse().expect("a number");
                    if filter::set("n", &(n + 1).to_string(), cas) == OK {
                        break;
                    }
                }
            }
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(count);
        scope.spawn(count);
    });
    assert_eq!(process.shared_value(b"n"), Some(b"1000".to_vec()));
}
