//! Calls that answer, let go, or end an exchange, and the tick that they are made from.
//!
//! # What Envoy 1.40 does with them
//! It takes note, and acts when the callback has returned: none of these calls back into the VM while it runs.
//!
//! | call | from | what follows |
//! |---|---|---|
//! | local response | request headers | its `response_headers`, `response_body`, then `on_log`; the upstream sees nothing; HTTP/1.1 clients get `connection: close` if their body was still to come |
//! | | end of the request's body, every piece held | the same; the upstream got the headers and sees the connection close; with `allow_on_headers_stop_iteration` and the headers held it sees nothing |
//! | | a tick, while headers or body are held | the same |
//! | | the answer's headers | `on_log` alone; the client gets the local response |
//! | | later, or a tick while the answer runs | `on_log` alone; the client's answer breaks off |
//! | [`resume_http_request`] | a tick, while headers are held | the body that came meanwhile, all in one piece, and so on |
//! | | a tick, while the whole body is held | the answer's callbacks; the body is not shown again |
//! | [`reset_http_request`] | a tick, while the request is held | `on_log`; the client gets nothing (HTTP/1.1: the connection closes) |
//! | | a tick, while the answer runs | `on_log`; what was passed before reaches the client, then its answer breaks off (HTTP/2: INTERNAL_ERROR); the upstream's request is cancelled |
//! | | a body callback | the same, but the piece of this callback is lost: so first replace it, reset at the next tick |
//!
//! `on_log` then has flags 0. After a local response the details are its own, and so is the code unless the answer had begun.
//! After a reset the details are `wasm_close_stream`, or those of the answer if it had begun (`via_upstream`): there a stream
//! that was cut looks like a whole one, so the filter has to remember.
//!
//! # What holding a body takes
//! A piece that is continued has gone, and Envoy sends the last bytes of an HTTP/1.1 body before it tells its end: with a
//! content-length, an upstream then has all of it and begins. So a body is only held at its end if each piece was.
//! Each piece shows all that is held; see [`super::get_buffer`]. With `allow_on_headers_stop_iteration` the first continued
//! piece lets the held headers go too. A held body can be read and replaced from a tick, and properties answer there. A client
//! that goes away while it is held: `on_log` (`downstream_remote_disconnect`, flags 0x4000), done, delete.

use std::time::Duration;

use super::pairs;
use crate::types::{Status, StreamType};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
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
    fn proxy_continue_stream(half: u32) -> u32;
    fn proxy_close_stream(half: u32) -> u32;
}

/// Asks for a tick of this VM's plugin every `period` from now, in whole milliseconds; zero: none any more. Any callback may ask.
///
/// Envoy rounds up: 10 are 12, 5 are 8, 1 is 4. Asking again while ticks come puts the next one off, so a worker that asks
/// at every request never ticks: ask once. A VM that nobody asks in does not tick, and the main thread's ticks too
/// if its `on_configure` asks. An idle tick costs some 20 µs of CPU with the thread's waking: at 10 ms, 1.1 % of a CPU for two
/// workers and the main thread with two plugins each (50 ms: 0.4 %; none: 0.1 %).
///
/// Calls that an older configuration or `.wasm` holds while a new one comes still get their ticks, from the root that they began
/// with.
pub fn set_tick_period(period: Duration) -> Result<(), Status> {
    let ms = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: only a number crosses.
    Status::check(unsafe { proxy_set_tick_period_milliseconds(ms) })
}

/// Makes an exchange the one that calls are about, until the callback returns. Refused for one that is gone.
pub fn set_effective_context(context_id: u32) -> Result<(), Status> {
    // SAFETY: only a number crosses.
    Status::check(unsafe { proxy_set_effective_context(context_id) })
}

/// Answers in the upstream's place. At most once in an exchange: the host takes more, but shows the client one of them.
///
/// `details` say why, in one word: they are `response.code_details`, as they are. Names of headers are in lower case; the host adds
/// content-length, and a content-type where there is none.
pub fn send_http_response(
    status_code: u32,
    details: &str,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<(), Status> {
    /// No gRPC status: the host makes one of the HTTP status for clients that speak gRPC.
    const NONE: i32 = -1;
    let headers = pairs::serialize(headers);
    // SAFETY: the host only reads, and only within the slices.
    Status::check(unsafe {
        proxy_send_local_response(
            status_code,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NONE,
        )
    })
}

/// Lets go what a Pause holds of the request. The host says yes where nothing is held, too. After it, the exchange's headers and body
/// cannot be read before its next callback.
pub fn resume_http_request() -> Result<(), Status> {
    go_on(StreamType::HttpRequest)
}

/// The same of the answer.
pub fn resume_http_response() -> Result<(), Status> {
    go_on(StreamType::HttpResponse)
}

/// Breaks an exchange off, both halves of it.
pub fn reset_http_request() -> Result<(), Status> {
    close(StreamType::HttpRequest)
}

/// The same: Envoy does not tell the halves apart here.
pub fn reset_http_response() -> Result<(), Status> {
    close(StreamType::HttpResponse)
}

fn go_on(half: StreamType) -> Result<(), Status> {
    // SAFETY: only a number crosses.
    Status::check(unsafe { proxy_continue_stream(half as u32) })
}

fn close(half: StreamType) -> Result<(), Status> {
    // SAFETY: only a number crosses.
    Status::check(unsafe { proxy_close_stream(half as u32) })
}
