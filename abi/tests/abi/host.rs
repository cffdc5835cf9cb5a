//! A host of the smallest kind: each import answers one status, hands over what it was given, and notes that it was called.

use std::cell::RefCell;
use std::collections::BTreeMap;

unsafe extern "C" {
    fn proxy_on_memory_allocate(size: usize) -> *mut u8;
    pub safe fn proxy_on_context_create(context: u32, root: u32);
    pub safe fn proxy_on_vm_start(root: u32, size: usize) -> bool;
    pub safe fn proxy_on_configure(root: u32, size: usize) -> bool;
    pub safe fn proxy_on_tick(root: u32);
    pub safe fn proxy_on_request_headers(context: u32, count: usize, end: bool) -> u32;
    pub safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    pub safe fn proxy_on_request_trailers(context: u32, count: usize) -> u32;
    pub safe fn proxy_on_response_headers(context: u32, count: usize, end: bool) -> u32;
    pub safe fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32;
    pub safe fn proxy_on_response_trailers(context: u32, count: usize) -> u32;
    pub safe fn proxy_on_log(context: u32);
    pub safe fn proxy_on_done(context: u32) -> bool;
    pub safe fn proxy_on_delete(context: u32);
    pub safe fn _initialize();
}

#[derive(Default)]
pub struct Host {
    /// What every call answers.
    pub status: u32,
    /// What is handed over.
    pub data: Vec<u8>,
    pub time: u64,
    pub cas: u32,
    pub logged: Vec<(u32, String)>,
    pub calls: BTreeMap<&'static str, usize>,
    /// What the host does in the middle of the next call.
    pub meanwhile: Option<fn()>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// The host of this thread. Never borrowed while the filter runs.
pub fn host<R>(work: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(work)
}

fn call(name: &'static str) -> u32 {
    let called = HOST.try_with(|host| {
        let mut host = host.borrow_mut();
        *host.calls.entry(name).or_default() += 1;
        (host.status, host.meanwhile.take())
    });
    // At the end of a thread contexts may be dropped after their host.
    let Ok((status, meanwhile)) = called else { return 0 };
    if let Some(meanwhile) = meanwhile {
        meanwhile();
    }
    status
}

/// Hands the data over, as Envoy does: nothing where there is nothing.
unsafe fn hand_over(name: &'static str, data: *mut *mut u8, size: *mut usize) -> u32 {
    let status = call(name);
    let bytes = host(|host| host.data.clone());
    if status == 0 && !bytes.is_empty() {
        // SAFETY: the filter gives two pointers to write to, and memory of the size that it is asked for.
        unsafe {
            let memory = proxy_on_memory_allocate(bytes.len());
            memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            (*data, *size) = (memory, bytes.len());
        }
    }
    status
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, message: *const u8, size: usize) -> u32 {
    // SAFETY: the filter hands over a slice.
    let message = String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(message, size) }).into_owned();
    host(|host| host.logged.push((level, message)));
    call("proxy_log")
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    // SAFETY: the filter gives a pointer to write to.
    unsafe { *time = host(|host| host.time) };
    call("proxy_get_current_time_nanoseconds")
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(_: u32, _: *const u8, _: usize, id: *mut u32) -> u32 {
    // SAFETY: the filter gives a pointer to write to.
    unsafe { *id = 7 };
    call("proxy_define_metric")
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(_: u32, _: usize, _: usize, data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: the filter gives two pointers to write to.
    unsafe { hand_over("proxy_get_buffer_bytes", data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(_: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: as above.
    unsafe { hand_over("proxy_get_header_map_pairs", data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(_: *const u8, _: usize, data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: as above.
    unsafe { hand_over("proxy_get_property", data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    _: *const u8,
    _: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    // SAFETY: as above.
    unsafe {
        *cas = host(|host| host.cas);
        hand_over("proxy_get_shared_data", data, size)
    }
}

/// Imports that hand nothing over.
macro_rules! plain {
    ($($name:ident($($kind:ty),*))*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $kind),*) -> u32 {
            call(stringify!($name))
        }
    )*};
}

type Text = *const u8;
plain! {
    proxy_set_buffer_bytes(u32, usize, usize, Text, usize)
    proxy_add_header_map_value(u32, Text, usize, Text, usize)
    proxy_replace_header_map_value(u32, Text, usize, Text, usize)
    proxy_remove_header_map_value(u32, Text, usize)
    proxy_set_property(Text, usize, Text, usize)
    proxy_set_shared_data(Text, usize, Text, usize, u32)
    proxy_increment_metric(u32, i64)
    proxy_record_metric(u32, u64)
    proxy_set_tick_period_milliseconds(u32)
    proxy_set_effective_context(u32)
    proxy_send_local_response(u32, Text, usize, Text, usize, Text, usize, i32)
    proxy_continue_stream(u32)
    proxy_close_stream(u32)
}
