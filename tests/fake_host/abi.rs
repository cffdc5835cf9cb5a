//! The ABI itself: imports that the filter calls, exports that the host calls.

use proptest::prelude::Rng;

use super::{
    BAD_ARGUMENT, Exchange, Fault, Half, Headers, Metric, NOT_FOUND, OK, Phase, SERIALIZATION_FAILURE, State, misuse,
    with,
};

unsafe extern "C" {
    pub fn _initialize();
    pub fn proxy_on_context_create(context: u32, root: u32);
    pub fn proxy_on_vm_start(root: u32, size: usize) -> bool;
    pub fn proxy_on_configure(root: u32, size: usize) -> bool;
    pub fn proxy_on_request_headers(context: u32, count: usize, end: bool) -> u32;
    pub fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    pub fn proxy_on_request_trailers(context: u32, count: usize) -> u32;
    pub fn proxy_on_response_headers(context: u32, count: usize, end: bool) -> u32;
    pub fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32;
    pub fn proxy_on_response_trailers(context: u32, count: usize) -> u32;
    pub fn proxy_on_tick(root: u32);
    pub fn proxy_on_log(context: u32);
    pub fn proxy_on_done(context: u32) -> bool;
    pub fn proxy_on_delete(context: u32);
    fn proxy_on_memory_allocate(size: usize) -> *mut u8;
}

/// What Envoy tells of most streams. Numbers are little-endian.
pub const USUAL_PROPERTIES: [(&str, &[u8]); 9] = [
    ("xds.route_name", b"chat"),
    ("xds.cluster_name", b"llm"),
    ("request.id", b"35384a62-8b0e-4166-8c13-5fe15dc30928"),
    ("upstream.address", b"127.0.0.1:8000"),
    ("upstream.request_attempt_count", &1u64.to_le_bytes()),
    ("upstream.cx_pool_ready_duration", &30_000u64.to_le_bytes()),
    ("response.flags", &0u64.to_le_bytes()),
    ("response.code_details", b"via_upstream"),
    ("source.address", b"127.0.0.1:40000"),
];

/// Properties that answer SerializationFailure (seen in Envoy where a stream has no upstream locality).
const UNSERIALIZABLE: &str = "xds\0upstream_host_locality_metadata";

/// Without these, a filter cannot let go what it holds.
const LETS_GO: [&str; 5] = [
    "proxy_set_tick_period_milliseconds",
    "proxy_set_effective_context",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_send_local_response",
];

/// One call: counted, failed if a fault says so, else done. A fault is status alone; nothing is handed over or changed.
pub(super) fn call(function: &'static str, work: impl FnOnce(&mut State) -> u32) -> u32 {
    with(|state| {
        *state.calls.entry(function).or_default() += 1;
        let failed = match &mut state.fault {
            Some(Fault::Always(name, status)) => (*name == function).then_some(*status),
            Some(Fault::Random(rng)) => rng.next_u32().is_multiple_of(2).then(|| match rng.next_u32() % 14 {
                13 => rng.next_u32(),
                status => status,
            }),
            None => None,
        };
        state.stuck |= failed.is_some() && LETS_GO.contains(&function);
        failed.unwrap_or_else(|| work(state))
    })
}

/// Bytes in the filter's own memory, as Envoy puts them there.
///
/// # Safety
/// Both pointers must be good for a write.
pub(super) unsafe fn hand_over(bytes: &[u8], data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: the filter's allocator gives memory of just this size; the caller vouches for the pointers.
    unsafe {
        if bytes.is_empty() {
            (*data, *size) = (std::ptr::null_mut(), 0);
            return OK;
        }
        let memory = proxy_on_memory_allocate(bytes.len());
        memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        (*data, *size) = (memory, bytes.len());
    }
    OK
}

/// # Safety
/// The pointer must be good for a read of so many bytes.
pub(super) unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: as the caller vouches.
    unsafe { std::slice::from_raw_parts(data, size) }
}

fn buffer(exchange: &mut Exchange, phase: Phase, kind: u32) -> Option<&mut Half> {
    let (half, body, trailers) = match kind {
        0 => (&mut exchange.request, Phase::RequestBody, Phase::RequestTrailers),
        1 => (&mut exchange.response, Phase::ResponseBody, Phase::ResponseTrailers),
        _ => return None,
    };
    let shown = phase == body || half.held && (phase == trailers || phase == Phase::Tick);
    shown.then_some(half)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    kind: u32,
    start: usize,
    max: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    call("proxy_get_buffer_bytes", |state| {
        let phase = state.phase;
        let all = match kind {
            7 if phase == Phase::Root => state.configuration.clone(),
            _ => match state.exchange().and_then(|exchange| buffer(exchange, phase, kind)) {
                Some(half) => half.readable.clone(),
                None => return NOT_FOUND,
            },
        };
        let end = all.len().min(start.saturating_add(max));
        match all.get(start..end) {
            // Envoy answers Ok and leaves the pointers alone.
            None | Some([]) => OK,
            // SAFETY: the filter gives two pointers to write to.
            Some(part) => unsafe { hand_over(part, data, size) },
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_buffer_bytes(
    kind: u32,
    start: usize,
    size: usize,
    data: *const u8,
    data_size: usize,
) -> u32 {
    // SAFETY: the filter hands over a slice.
    let new = unsafe { bytes(data, data_size) };
    call("proxy_set_buffer_bytes", |state| {
        let phase = state.phase;
        let Some(half) = state.exchange().and_then(|exchange| buffer(exchange, phase, kind)) else { return NOT_FOUND };
        let old = &mut half.readable;
        match (start, size) {
            (0, 0) => drop(old.splice(0..0, new.iter().copied())),
            (0, size) if size >= old.len() => *old = new.to_vec(),
            (start, _) if start >= old.len() => old.extend(new),
            _ => return BAD_ARGUMENT,
        }
        OK
    })
}

fn map(state: &mut State, kind: u32) -> Option<&mut Half> {
    let log = state.phase == Phase::Log;
    let exchange = state.exchange()?;
    let half = match kind {
        0 => &mut exchange.request,
        2 => &mut exchange.response,
        _ => return None,
    };
    (half.reachable || log).then_some(half)
}

/// Changes a header map, or refuses as Envoy does.
fn change_map(kind: u32, change: impl FnOnce(&mut Headers)) -> impl FnOnce(&mut State) -> u32 {
    move |state| {
        if kind == 3 {
            let phase = state.phase;
            let Some(Exchange { response, .. }) = state.exchange() else { return BAD_ARGUMENT };
            let last = phase == Phase::ResponseTrailers || phase == Phase::ResponseBody && response.ended;
            if last {
                change(&mut response.trailers);
            }
            return if last { OK } else { BAD_ARGUMENT };
        }
        let log = state.phase == Phase::Log;
        let Some(half) = map(state, kind).filter(|_| !log) else { return BAD_ARGUMENT };
        if half.gone {
            state.misuse("headers are changed that have gone: Envoy says yes, and reports a bug of its own".to_owned());
            return OK;
        }
        change(&mut half.headers);
        OK
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    call("proxy_get_header_map_pairs", |state| {
        let Some(half) = map(state, kind) else { return BAD_ARGUMENT };
        let mut pairs = (half.headers.len() as u32).to_le_bytes().to_vec();
        for (name, value) in &half.headers {
            pairs.extend((name.len() as u32).to_le_bytes());
            pairs.extend((value.len() as u32).to_le_bytes());
        }
        for (name, value) in &half.headers {
            pairs.extend(name.iter().chain(&[0]).chain(value).chain(&[0]));
        }
        // SAFETY: the filter gives two pointers to write to.
        unsafe { hand_over(&pairs, data, size) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(kind: u32, name: *const u8, size: usize) -> u32 {
    // SAFETY: the filter hands over a slice.
    let name = unsafe { bytes(name, size) };
    call("proxy_remove_header_map_value", change_map(kind, |map| map.retain(|(known, _)| known != name)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    kind: u32,
    name: *const u8,
    size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: the filter hands over slices.
    let (name, value) = unsafe { (bytes(name, size), bytes(value, value_size)) };
    call("proxy_add_header_map_value", change_map(kind, |map| map.push((name.to_vec(), value.to_vec()))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_replace_header_map_value(
    kind: u32,
    name: *const u8,
    size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: the filter hands over slices.
    let (name, value) = unsafe { (bytes(name, size), bytes(value, value_size)) };
    let change = change_map(kind, |map| {
        map.retain(|(known, _)| known != name);
        map.push((name.to_vec(), value.to_vec()));
    });
    call("proxy_replace_header_map_value", change)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: the filter hands over a slice.
    let path = unsafe { bytes(path, path_size) };
    let path = std::str::from_utf8(path).expect("a path is text");
    call("proxy_get_property", |state| {
        if path == UNSERIALIZABLE {
            return SERIALIZATION_FAILURE;
        }
        let Some(value) = state.exchange().and_then(|exchange| exchange.properties.get(path)) else { return NOT_FOUND };
        // SAFETY: the filter gives two pointers to write to.
        unsafe { hand_over(value, data, size) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32 {
    // SAFETY: the filter hands over slices.
    let (path, value) = unsafe { (bytes(path, path_size), bytes(value, size)) };
    let path = String::from_utf8(path.to_vec()).expect("a path is text");
    call("proxy_set_property", |state| {
        let Some(exchange) = state.exchange() else { return NOT_FOUND };
        // Envoy keeps the last of several values, but a call has one record.
        if exchange.filter_state.insert(path.clone(), value.to_vec()).is_some() && path == "weir.record" {
            state.misuse("a record is published twice".to_owned());
        }
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32 {
    // SAFETY: the filter hands over a slice.
    let name = unsafe { bytes(name, size) };
    let name = String::from_utf8(name.to_vec()).expect("a stat's name is text");
    call("proxy_define_metric", |state| {
        let mut metrics = state.process.metrics.lock().unwrap();
        let known = metrics.entry(name.clone()).or_insert_with(|| Metric { kind, ..Metric::default() }).kind;
        drop(metrics);
        if known != kind {
            state.misuse(format!("{name} is defined as two kinds"));
        }
        // SAFETY: the filter gives a pointer to write to.
        unsafe { *id = state.defined.len() as u32 };
        state.defined.push((kind, name));
        OK
    })
}

fn change(state: &mut State, id: u32, change: impl FnOnce(&mut Metric) -> Result<(), &'static str>) -> u32 {
    let Some((_, name)) = state.defined.get(id as usize) else { return NOT_FOUND };
    let mut metrics = state.process.metrics.lock().unwrap();
    let changed = change(metrics.get_mut(name).expect("a defined metric is there"));
    drop(metrics);
    match changed.map_err(|why| format!("{name}: {why}")) {
        Ok(()) => OK,
        Err(misuse) => {
            state.misuse(misuse);
            BAD_ARGUMENT
        }
    }
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, by: i64) -> u32 {
    call("proxy_increment_metric", |state| {
        change(state, id, |metric| match metric.kind {
            COUNTER if by < 0 => Err("a counter goes down"),
            HISTOGRAM => Err("a histogram is incremented"),
            _ => {
                metric.value += by;
                Ok(())
            }
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    call("proxy_record_metric", |state| {
        change(state, id, |metric| match metric.kind {
            HISTOGRAM => {
                metric.samples.push(value);
                Ok(())
            }
            GAUGE => {
                metric.value = value as i64;
                Ok(())
            }
            _ => Err("a counter is recorded"),
        })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(_level: u32, message: *const u8, size: usize) -> u32 {
    // SAFETY: the filter hands over a slice.
    let message = unsafe { bytes(message, size) };
    let message = String::from_utf8_lossy(message).into_owned();
    call("proxy_log", |state| {
        state.log.push(message);
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    call("proxy_get_current_time_nanoseconds", |state| {
        // A read takes its time, as in Envoy.
        state.clock += 80;
        // SAFETY: the filter gives a pointer to write to.
        unsafe { *time = state.clock };
        OK
    })
}

/// Imports of the ABI that this filter must not use.
macro_rules! never {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> u32 {
            misuse(concat!(stringify!($name), " is called").to_owned());
            BAD_ARGUMENT
        }
    )*};
}

never! {
    proxy_call_foreign_function proxy_dequeue_shared_queue proxy_done proxy_enqueue_shared_queue
    proxy_get_header_map_value proxy_get_status proxy_grpc_call proxy_grpc_cancel proxy_grpc_close proxy_grpc_send
    proxy_grpc_stream proxy_http_call proxy_register_shared_queue proxy_resolve_shared_queue
    proxy_set_header_map_pairs
}
