//! The callbacks of the host, and what each does to a [`Stream`].
//!
//! ```text
//! request_headers ──► request_head        response_headers ──► response_head
//! request_body ─────► request_body        response_body ─────► response_body
//! request_trailers ─► request_body, end   response_trailers ─► response_body, end
//!                       log ──► done, the record and the counts
//! ```
//! Any of them may be missing: an invalid request is logged without a callback before, and a filter of the upstream's own
//! chain gets no `on_log`. The gauge of streams in flight goes down when the context is dropped, which comes always.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use weir_abi::hostcalls;
use weir_abi::types::{Action, BufferType, Bytes, MapType};

#[cfg(feature = "audit")]
use super::chain;
use super::clock::now;
use super::meter::Meter;
use super::own_time::OwnTime;
use super::store::HostStore;
use super::{attempts, stats, turns};
use crate::api::is_post;
use crate::call::gate::{Gate, Position, Watched};
use crate::call::head::Head;
use crate::call::reply::LocalReply;
#[cfg(feature = "audit")]
use crate::features::audit::chain::Key;
use crate::metrics::Id;
use crate::port::{Flow, Headers, Properties};
use crate::report::Report;
use crate::settings::{Config, Role};
use crate::stream::Stream;
use crate::units::Nanos;
use crate::worker::Worker;

/// Filter state in which the record is published: `%FILTER_STATE(wasm.weir.record:PLAIN)%`.
const RECORD: &str = "weir.record";

/// Filter state for `hits_addend` of Envoy's `ratelimit` filter as it asks at the request's headers.
const RESERVE: &str = "weir.reserve";

/// The same for what it sends when it is destroyed, which is after `on_log` of every filter.
const CHARGE: &str = "weir.charge";

/// How often Envoy may retry a request by itself, whatever its route says.
const MAX_RETRIES: &str = "x-envoy-max-retries";

/// More than any buffer holds: "all there is".
const ALL: usize = u32::MAX as usize;

/// The properties of the host's current stream.
struct HostProperties;

impl Properties for HostProperties {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path).ok().flatten()
    }
}

/// One config with all that has been learned and defined under it. A stream keeps the one it began with: label numbers
/// and objectives are only right together with their config.
#[derive(Debug)]
struct Plugin {
    worker: RefCell<Worker>,
    meter: RefCell<Meter>,
    /// What seals the records.
    #[cfg(feature = "audit")]
    key: Option<Key>,
}

impl Plugin {
    fn new(config: Config) -> Self {
        #[cfg(feature = "audit")]
        let key = config.audit.chain.as_ref().map(Key::of);
        let worker = Worker::new(config);
        let meter = RefCell::new(Meter::new(&worker.shared.counters(), &worker));
        Self {
            worker: RefCell::new(worker),
            meter,
            #[cfg(feature = "audit")]
            key,
        }
    }

    /// Emits all that a call leaves behind. Publishing comes first: it is what people read when something is wrong.
    fn emit(&self, report: Report, mut own_time: OwnTime, began: Nanos) {
        // Taken apart without `..`: a result that nobody emits does not compile.
        let Report { record, mut counts, charge } = report;
        #[cfg_attr(not(feature = "audit"), expect(unused_mut))]
        let mut json = record.to_json();
        #[cfg(feature = "audit")]
        if let Some(key) = &self.key {
            chain::seal(&mut json, key);
        }
        if let Err(status) = hostcalls::set_property(&[RECORD], Some(json.as_bytes())) {
            log::warn!("weir: the host does not take a record: {status:?}");
        }
        if let Some(tokens) = charge {
            let _ = hostcalls::set_property(&[CHARGE], Some(tokens.to_string().as_bytes()));
        }
        let (Ok(worker), Ok(mut meter)) = (self.worker.try_borrow(), self.meter.try_borrow_mut()) else { return };
        own_time.add(now() - began, 1);
        counts.sample(Id::FilterTime, [counts.set.api, 0, 0, 0], own_time.round_us());
        meter.count(&counts.samples, &*worker);
    }
}

/// The plugin in this VM. It lives as long as its configuration does.
pub struct Root {
    plugin: Rc<Plugin>,
    ticks: Rc<Ticks>,
    /// It is there for attempts, not for calls.
    attempts: Option<attempts::Expected>,
}

impl Default for Root {
    fn default() -> Self {
        Self { plugin: Rc::new(Plugin::new(Config::default())), ticks: Rc::default(), attempts: None }
    }
}

/// The ticks of one root. Each that calls wait under has its own: another's end with it.
#[derive(Debug, Default)]
struct Ticks {
    /// The period that the host was asked for, in ms. Asking again puts the next tick off, so it is asked for once.
    period_ms: Cell<u32>,
}

impl Ticks {
    /// Has the host tick as often as there is something to do; calls to it are about the root or one of its exchanges.
    fn ask(&self) {
        let wanted = turns::period();
        if self.period_ms.replace(wanted) != wanted {
            let _ = hostcalls::set_tick_period(Duration::from_millis(wanted.into()));
        }
    }
}

impl Root {
    /// Takes a config, or refuses it and keeps the one it has. Depends on the bytes alone: the host tries them on one VM
    /// and takes the answer for all.
    pub fn configure(&mut self, size: usize) -> bool {
        let bytes = if size == 0 { Some(Vec::new()) } else { all_of(BufferType::PluginConfiguration) };
        let config = bytes.ok_or_else(|| "the host does not hand it over".to_owned()).and_then(|b| Config::parse(&b));
        match config {
            Ok(config) if config.role == Role::Attempt => {
                self.attempts = Some(attempts::Expected::new());
                true
            }
            Ok(config) => {
                self.attempts = None;
                self.plugin = Rc::new(Plugin::new(config));
                if self.plugin.worker.try_borrow().is_ok_and(|worker| worker.shared.holds_leases()) {
                    turns::expect_leases();
                }
                self.ticks.ask();
                true
            }
            Err(reason) => {
                log::error!("weir: bad configuration: {reason}");
                false
            }
        }
    }

    /// Whether its contexts are attempts at calls that others see.
    pub fn sees_attempts(&self) -> bool {
        self.attempts.is_some()
    }

    /// A new exchange under the config in force, by the host's number for it.
    pub fn exchange(&self, context: u32) -> Exchange {
        Exchange::new(Rc::clone(&self.plugin), Rc::clone(&self.ticks), context)
    }

    /// Has the host tick as often as there is something to do.
    pub fn ask_for_ticks(&self) {
        self.ticks.ask();
    }

    /// Which exchanges have a turn, by the host's numbers for them.
    pub fn tick(&mut self) -> turns::Due {
        turns::due(now())
    }
}

/// The two halves of an exchange.
#[derive(Clone, Copy)]
pub enum Side {
    /// What the client asks.
    Request,
    /// What it gets.
    Response,
}

impl Side {
    fn buffer(self) -> BufferType {
        match self {
            Side::Request => BufferType::HttpRequestBody,
            Side::Response => BufferType::HttpResponseBody,
        }
    }
}

/// What the shell knows of one half.
#[derive(Default)]
struct Half {
    /// The host keeps back what came so far, and shows all of it with the next piece.
    held: bool,
    /// No HTTP body, but bytes of another protocol. (What follows a CONNECT is not wanted by the core.)
    tunnel: bool,
    /// The core knows that the body is over; there is no more to say.
    ended: bool,
}

/// Whether the limits hold a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    No,
    /// Its headers, until its body is known.
    UntilAsked,
    /// Until its turn comes; with its body, if all of it is known.
    Waits {
        last: bool,
    },
    /// It is answered here.
    Answered,
}

/// One HTTP exchange.
pub struct Exchange {
    plugin: Rc<Plugin>,
    ticks: Rc<Ticks>,
    /// The host's number for this exchange, by which a tick finds it again.
    context: u32,
    held: Held,
    /// The request's headers have gone on, or will with this callback.
    headers_gone: bool,
    /// The tick knows that they are held for the body.
    uploading: bool,
    /// Nothing once the call is done.
    stream: Option<Stream>,
    /// The gauge that counts this stream in flight; none before the request's head.
    active: Option<u32>,
    /// Where Envoy's own attempts at the call are noted, if anybody sees them.
    attempts: Option<attempts::Call>,
    request: Half,
    response: Half,
    own_time: OwnTime,
    /// The upstream sent trailers: nothing can be put into the body any more.
    trailers_came: bool,
}

impl Exchange {
    fn new(plugin: Rc<Plugin>, ticks: Rc<Ticks>, context: u32) -> Self {
        let config = plugin.worker.try_borrow().map(|w| Rc::clone(&w.config)).unwrap_or_default();
        Self {
            plugin,
            ticks,
            context,
            held: Held::No,
            headers_gone: false,
            uploading: false,
            stream: Some(Stream::new(config)),
            active: None,
            attempts: None,
            request: Half::default(),
            response: Half::default(),
            own_time: OwnTime::default(),
            trailers_came: false,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// A piece of a body, or its end alone (`size` zero): one read of the body and one of the clock, and none where the
    /// core does not want the body. Unwanted pieces are passed in silence; their end is told.
    pub fn body(&mut self, side: Side, size: usize, end: bool) -> Action {
        if let (Side::Request, Some(back)) = (side, self.keeps_back(size, end)) {
            return back;
        }
        // Nothing follows what a cut put in, not even the end: the next tick breaks the answer off.
        if matches!(side, Side::Response) && self.stream.as_ref().is_some_and(Stream::is_cut) {
            return Action::StopIterationAndWatermark;
        }
        let Half { held, tunnel, ended } = *self.half(side);
        let Some(stream) = &mut self.stream else { return Action::Continue };
        let wanted = match side {
            Side::Request => stream.wants_request_body(),
            Side::Response => stream.wants_response_body(),
        };
        let wanted = wanted && !tunnel;
        if ended || !(wanted || end) {
            self.half(side).held = false;
            let kept = matches!(side, Side::Request) && matches!(self.held, Held::UntilAsked | Held::Waits { .. });
            return if kept { Action::StopIterationAndWatermark } else { Action::Continue };
        }
        let weight = self.own_time.weight_of_next_body();
        let began = now();
        let read = if wanted && (size > 0 || held) { all_of(side.buffer()) } else { Some(Vec::new()) };
        // What the host will not show now is passed on unseen.
        let (bytes, seen) = read.map_or((Vec::new(), false), |bytes| (bytes, true));
        let mut flow = match side {
            Side::Request => stream.request_body(&bytes, end, began),
            Side::Response => stream.response_body(&bytes, end, began),
        };
        if end
            && matches!(side, Side::Response)
            && stream.tells_end()
            && let Ok(worker) = self.plugin.worker.try_borrow()
        {
            let told = stream.told_at_end(&worker, &HostProperties, &HostStore, began);
            for (name, value) in told.trailers {
                let _ = hostcalls::add_map_value_bytes(MapType::HttpResponseTrailers, name, value.as_bytes());
            }
            if let Some(comment) = told.comment.filter(|_| seen && !self.trailers_came) {
                let mut all = if let Flow::Replace(other) = flow { other } else { bytes.clone() };
                all.extend_from_slice(comment.as_bytes());
                flow = Flow::Replace(all);
            }
        }
        // At the end nothing can be held any more: no later callback would let it go.
        let hold = flow == Flow::Hold && !end;
        if let Flow::Replace(bytes) = &flow
            && seen
        {
            replace(side.buffer(), bytes);
        }
        *self.half(side) = Half { held: hold, tunnel, ended: end };
        let action = match side {
            Side::Request if hold => Action::Pause,
            Side::Request => self.body_asked(end, began),
            Side::Response => {
                self.watch(&flow, &bytes, end, began);
                if hold { Action::Pause } else { Action::Continue }
            }
        };
        if weight > 0 {
            self.own_time.add(now() - began, weight);
        }
        action
    }

    /// The upstream's trailers came, and so the end of its body.
    pub fn response_trailers(&mut self) -> Action {
        self.trailers_came = true;
        self.body(Side::Response, 0, true)
    }

    /// Whether a piece of the request's body is not to be looked at now: all is known of the call that waits, it was answered, or
    /// is held until all of its body is here.
    fn keeps_back(&mut self, size: usize, end: bool) -> Option<Action> {
        match self.held {
            Held::No => None,
            Held::Waits { last: true } | Held::Answered => Some(Action::StopIterationAndWatermark),
            Held::UntilAsked | Held::Waits { last: false } => {
                let stream = self.stream.as_ref().filter(|stream| stream.may_change_request())?;
                // What may be changed is read once, when it is whole or too much: the host shows all that it holds then.
                self.request.held = true;
                (!end && size < stream.max_held()).then_some(Action::Pause)
            }
        }
    }

    /// A piece of the request's body was read: if all that counts is known, the limits are asked.
    fn body_asked(&mut self, end: bool, now: Nanos) -> Action {
        let known = end || self.stream.as_ref().is_some_and(Stream::is_asked);
        // Who waits is asked with what is known when its turn comes.
        if let Held::Waits { last } = &mut self.held {
            *last |= known;
            return Action::StopIterationAndWatermark;
        }
        // Held headers wait for the end itself: a client that is refused with its request unfinished loses its connection.
        let asked = end || (known && self.held != Held::UntilAsked);
        // What is too large to be held goes on as if it had not been: its head is decided now, the rest when it is known.
        match self.held {
            _ if asked => {}
            Held::UntilAsked if self.stream.as_ref().is_some_and(Stream::is_held_enough) => {}
            Held::UntilAsked => {
                if !self.uploading {
                    self.uploading = true;
                    turns::upload(self.context, now);
                    self.ticks.ask();
                }
                return Action::StopIterationAndWatermark;
            }
            _ => return Action::Continue,
        }
        if std::mem::take(&mut self.uploading) {
            turns::uploaded(self.context);
        }
        match self.ask(known, now) {
            Action::Pause => Action::StopIterationAndWatermark,
            action => action,
        }
    }

    /// Asks the limits, and does what they say.
    fn ask(&mut self, last: bool, now: Nanos) -> Action {
        let Some(stream) = &mut self.stream else { return Action::Continue };
        let Ok(mut worker) = self.plugin.worker.try_borrow_mut() else { return Action::Continue };
        let waits = matches!(self.held, Held::Waits { .. });
        let room = waits || turns::waiting() < usize::from(worker.config.admission.max_waiting);
        if !waits {
            stream.stands_behind(turns::queues());
        }
        match stream.admit(&mut worker, &HostStore, last, room, now) {
            Gate::Open => {
                if let Some(tokens) = stream.reserve() {
                    let _ = hostcalls::set_property(&[RESERVE], Some(tokens.to_string().as_bytes()));
                }
                if let Some(retries) = stream.envoy_may_retry().filter(|_| !self.headers_gone) {
                    let _ = hostcalls::set_map_value_bytes(
                        MapType::HttpRequestHeaders,
                        MAX_RETRIES,
                        Some(&[b'0' + retries.min(9)]),
                    );
                }
                (self.held, self.headers_gone) = (Held::No, true);
                Action::Continue
            }
            Gate::Wait { until, position } => {
                turns::wait(self.context, until, position);
                self.ticks.ask();
                self.held = Held::Waits { last };
                Action::Pause
            }
            Gate::Refuse(reply) => {
                drop(worker);
                self.held = Held::Answered;
                send(&reply);
                Action::Pause
            }
        }
    }

    /// A piece of the answer is to go on as `flow` says: whether the limits let it.
    fn watch(&mut self, flow: &Flow, bytes: &[u8], end: bool, now: Nanos) {
        let Some(stream) = self.stream.as_mut().filter(|stream| !end && stream.is_watched()) else { return };
        let Ok(mut worker) = self.plugin.worker.try_borrow_mut() else { return };
        let passing = if let Flow::Replace(bytes) = flow { bytes } else { bytes };
        match stream.watch(passing, &mut worker, &HostStore, now) {
            Watched::Forward => {}
            Watched::Cut(bytes) => {
                replace(BufferType::HttpResponseBody, &bytes);
                turns::end(self.context);
                self.ticks.ask();
            }
        }
    }

    /// Its turn has come at a tick, and calls to the host are about it. False if it has to go on waiting.
    pub fn tick(&mut self) -> bool {
        let now = now();
        if let Held::Waits { last } = self.held {
            self.ask_again(last, now);
            return !matches!(self.held, Held::Waits { .. });
        }
        if self.held == Held::UntilAsked {
            // As what is too large to be held.
            self.uploading = false;
            self.ask_again(false, now);
            return true;
        }
        if self.stream.as_ref().is_some_and(Stream::is_cut) {
            let _ = hostcalls::reset_http_response();
        }
        true
    }

    /// Asks the limits at a tick; if they let it go, it goes on, and what came of its body too.
    fn ask_again(&mut self, last: bool, now: Nanos) {
        if self.ask(last, now) != Action::Continue {
            return;
        }
        // What was held to be changed goes on by no callback: it is read as it is, and may be all that is missing.
        if !last && std::mem::take(&mut self.request.held) {
            let bytes = all_of(BufferType::HttpRequestBody).unwrap_or_default();
            let Some(stream) = &mut self.stream else { return };
            stream.keep_request();
            stream.request_body(&bytes, false, now);
            if stream.is_asked() && self.ask(true, now) != Action::Continue {
                return;
            }
        }
        let _ = hostcalls::resume_http_request();
    }

    /// It goes on waiting without being asked again.
    pub fn wait_on(&mut self, position: Position) {
        turns::wait(self.context, None, position);
    }

    /// Makes what a long call holds good for longer.
    pub fn renew(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let Ok(worker) = self.plugin.worker.try_borrow() else { return };
        stream.renew(&worker, &HostStore, now());
    }

    /// The request's head came.
    pub fn request_headers(&mut self, end: bool) -> Action {
        let Some(stream) = &mut self.stream else { return Action::Continue };
        let began = now();
        let map = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
        let pairs = map.pairs();
        let head = Headers(&pairs);
        let Ok(mut worker) = self.plugin.worker.try_borrow_mut() else { return Action::Continue };
        let Head { edits, reply } = stream.request_head(head, end, &mut worker, &HostProperties, &HostStore, began);
        if let Some(reply) = reply {
            self.held = Held::Answered;
            send(&reply);
            return Action::Pause;
        }
        for name in &edits.remove {
            let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
        }
        for (name, value) in &edits.replace {
            let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value));
        }
        if self.attempts.is_none() {
            self.attempts = attempts::Call::begin();
        }
        // Nobody tunnels with a POST: such a body is read, whatever else its headers say.
        let posts = head.get(":method").is_some_and(is_post);
        self.request.tunnel = head.get("upgrade").is_some() && !posts;
        let body_tells = !end && !self.request.tunnel && stream.wants_request_body();
        // Where Envoy passes `expect` on, the client sends its body when the upstream has heard of the call, not before.
        let hold_headers = stream.holds_headers(&worker) && head.get("expect").is_none();
        if self.active.is_none()
            && let Ok(mut meter) = self.plugin.meter.try_borrow_mut()
        {
            let api = worker.labels.api.number(Some(stream.api()), true);
            self.active = meter.active(api, &*worker);
            self.active.into_iter().for_each(|id| stats::add(id, 1));
        }
        drop(worker);
        let action = if body_tells && hold_headers {
            self.held = Held::UntilAsked;
            Action::Pause
        } else {
            self.ask(!body_tells, began)
        };
        self.own_time.add(now() - began, 1);
        action
    }

    /// A head of the answer came; a 1xx comes before the one that counts.
    pub fn response_headers(&mut self, end: bool) -> Action {
        let Some(stream) = &mut self.stream else { return Action::Continue };
        let began = now();
        let map = hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default();
        let pairs = map.pairs();
        let head = Headers(&pairs);
        let status = head.get(":status").unwrap_or_default();
        // 101 is the last head of its exchange; the other 1xx come before it.
        let switched = status == b"101";
        if status.first() == Some(&b'1') && !switched {
            return Action::Continue;
        }
        if let Ok(worker) = self.plugin.worker.try_borrow() {
            let (added, replaced) = stream.response_head(head, end, &worker, began);
            for (name, value) in added {
                let _ = hostcalls::add_map_value_bytes(MapType::HttpResponseHeaders, name, value.as_bytes());
            }
            for (name, value) in replaced {
                let _ = hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, name, Some(value.as_bytes()));
            }
        }
        self.response.tunnel = switched;
        self.own_time.add(now() - began, 1);
        Action::Continue
    }

    /// The call is over.
    pub fn log(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let began = now();
        turns::forget(self.context);
        let Ok(mut worker) = self.plugin.worker.try_borrow_mut() else { return };
        let mut report = stream.done(&mut worker, &HostProperties, &HostStore, began);
        drop(worker);
        report.record.attempts = self.attempts.take().map(attempts::Call::attempts).unwrap_or_default();
        self.plugin.emit(report, std::mem::take(&mut self.own_time), began);
    }
}

/// All of a buffer that can be read now. Nothing where the host has no such buffer.
fn all_of(buffer: BufferType) -> Option<Bytes> {
    hostcalls::get_buffer(buffer, 0, ALL).ok().flatten()
}

/// Puts bytes in the place of all of a buffer. One that the host does not let go of stays as it is.
fn replace(buffer: BufferType, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(buffer, 0, ALL, bytes);
}

/// Answers a call in the upstream's place.
fn send(reply: &LocalReply) {
    let LocalReply { shaped, headers, details } = reply;
    let own = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let apis = shaped.header.iter().map(|(name, value)| (*name, value.as_bytes()));
    let all: Vec<_> = [("content-type", shaped.content_type.as_bytes())].into_iter().chain(apis).chain(own).collect();
    if let Err(status) = hostcalls::send_http_response(shaped.status.into(), details, &all, &shaped.body) {
        log::warn!("weir: the host does not send an answer: {status:?}");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        turns::forget(self.context);
        if let Some(id) = self.active {
            stats::add(id, -1);
        }
    }
}
