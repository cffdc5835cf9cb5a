//! One exchange, as the test plays it: what comes from the client and the upstream, and what both get.

use std::collections::BTreeMap;

use super::flow::{self, LocalResponse};
use super::{End, Exchange, Half, Headers, Phase, abi, misuse, with};

/// "Stop and watermark", by the ABI's number.
const HOLD: u32 = 2;

/// Which way an exchange's context goes.
#[derive(Clone, Copy, Debug)]
pub enum Goodbye {
    /// The usual one: log, done, delete.
    Logged,
    /// As in a filter of the upstream's own chain: done and delete.
    Done,
    /// Delete alone.
    Dropped,
    /// A host that flushes its logs twice.
    LoggedTwice,
}

impl Goodbye {
    pub const ALL: [Self; 4] = [Self::Logged, Self::Done, Self::Dropped, Self::LoggedTwice];

    /// Whether a record is to be expected.
    pub fn is_logged(self) -> bool {
        matches!(self, Self::Logged | Self::LoggedTwice)
    }
}

/// What an exchange has left behind.
#[derive(Debug)]
pub struct Left {
    /// The request's headers as the upstream gets them.
    pub request_headers: Headers,
    /// The request's body as the upstream gets it.
    pub request_body: Vec<u8>,
    /// The answer's headers, body and trailers as the client gets them.
    pub response_headers: Headers,
    pub response_body: Vec<u8>,
    pub response_trailers: Headers,
    /// The filter's own answer, if it sent one.
    pub local: Option<LocalResponse>,
    /// The client's answer broke off.
    pub broken: bool,
    /// The record, if there is one.
    pub record: Option<serde_json::Value>,
    /// All filter state, by name.
    pub filter_state: BTreeMap<String, Vec<u8>>,
}

/// One HTTP exchange.
pub struct Http {
    pub(super) context: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Http {
    pub(super) fn of(context: u32) -> Self {
        Self { context }
    }

    /// Gives a property a value; its path with dots.
    pub fn property(&self, path: &str, value: &[u8]) -> &Self {
        self.edit(|exchange| exchange.say(path, value));
        self
    }

    /// Takes a property away.
    pub fn no_property(&self, path: &str) -> &Self {
        self.edit(|exchange| drop(exchange.properties.remove(&path.replace('.', "\0"))));
        self
    }

    /// Whether the filter's answer or its reset has ended the exchange; nothing comes any more then.
    pub fn is_over(&self) -> bool {
        with(|state| !state.exchanges.contains_key(&self.context))
    }

    /// Whether the filter holds the request or the answer.
    pub fn is_held(&self) -> bool {
        let held = |half: &Half| half.headers_held || half.held;
        self.edit(|exchange| held(&exchange.request) || held(&exchange.response)).unwrap_or(false)
    }

    /// What the upstream has got of the request so far: nothing before its headers, then of its body.
    pub fn upstream_has(&self) -> Option<Vec<u8>> {
        self.edit(|exchange| exchange.request.gone.then(|| exchange.request.passed.clone())).flatten()
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Exchange) -> R) -> Option<R> {
        with(|state| state.exchanges.get_mut(&self.context).map(f))
    }

    pub fn request_headers(&self, headers: Headers, end: bool) -> &Self {
        self.headers(Side::Request, headers, end)
    }

    pub fn response_headers(&self, headers: Headers, end: bool) -> &Self {
        self.headers(Side::Response, headers, end)
    }

    pub fn request_body(&self, piece: &[u8], end: bool) -> &Self {
        self.body(Side::Request, piece, end)
    }

    pub fn response_body(&self, piece: &[u8], end: bool) -> &Self {
        self.body(Side::Response, piece, end)
    }

    pub fn request_trailers(&self) -> &Self {
        self.trailers(Side::Request)
    }

    pub fn response_trailers(&self) -> &Self {
        self.trailers(Side::Response)
    }

    /// A body in pieces of so many bytes, then the empty piece with which Envoy ends a body.
    pub fn response_in_pieces(&self, body: &[u8], size: usize) -> &Self {
        for piece in body.chunks(size) {
            self.response_body(piece, false);
        }
        self.response_body(b"", true)
    }

    /// The same of a request.
    pub fn request_in_pieces(&self, body: &[u8], size: usize) -> &Self {
        for piece in body.chunks(size) {
            self.request_body(piece, false);
        }
        self.request_body(b"", true)
    }

    /// Nothing of this comes: the exchange is over, or it is the answer of an upstream that has not been asked.
    fn is_void(&self, side: Side) -> bool {
        self.edit(|exchange| side == Side::Response && exchange.request.headers_held).unwrap_or(true)
    }

    /// Held headers hold this too, if the plugin's config does not say otherwise; it is shown when they go.
    fn waits(&self, side: Side, piece: &[u8], end: Option<End>) -> bool {
        with(|state| {
            let allow = state.allow_on_headers_stop_iteration;
            let half = side.half(state.exchanges.get_mut(&self.context).expect("the exchange is open"));
            let waits = half.headers_held && !allow;
            if waits {
                half.waiting.extend(piece);
                half.waiting_end = end.or(half.waiting_end);
            }
            waits
        })
    }

    pub(super) fn headers(&self, side: Side, headers: Headers, end: bool) -> &Self {
        if !self.is_void(side) {
            self.show_headers(side, headers, end);
            flow::settle();
        }
        self
    }

    pub(super) fn body(&self, side: Side, piece: &[u8], end: bool) -> &Self {
        if !self.is_void(side) && !self.waits(side, piece, end.then_some(End::Piece)) {
            self.show_body(side, piece, end);
            flow::settle();
        }
        self
    }

    pub(super) fn trailers(&self, side: Side) -> &Self {
        if self.is_void(side) || self.waits(side, b"", Some(End::Trailers)) {
            return self;
        }
        self.enter(side.phases()[2], |exchange| side.half(exchange).ended = true);
        // SAFETY: as below.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_trailers(self.context, 1),
                Side::Response => abi::proxy_on_response_trailers(self.context, 1),
            }
        };
        self.go_on(side, action);
        flow::settle();
        self
    }

    /// The filter's own answer goes past it as any other.
    pub(super) fn local_headers(&self, headers: Headers, end: bool) {
        if self.show_headers(Side::Response, headers, end) != CONTINUE {
            misuse("the filter holds its own answer".to_owned());
        }
    }

    pub(super) fn local_body(&self, body: &[u8]) {
        if self.show_body(Side::Response, body, true) != CONTINUE {
            misuse("the filter holds its own answer".to_owned());
        }
    }

    fn show_headers(&self, side: Side, headers: Headers, end: bool) -> u32 {
        let (phase, count) = (side.phases()[0], headers.len());
        self.enter(phase, |exchange| {
            let half = side.half(exchange);
            (half.headers, half.reachable, half.ended) = (headers, true, end);
        });
        // SAFETY: the exports take numbers, in the order the ABI asks for.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_headers(self.context, count, end),
                Side::Response => abi::proxy_on_response_headers(self.context, count, end),
            }
        };
        let doomed = with(|state| state.is_doomed());
        self.enter(Phase::Root, |exchange| {
            let half = side.half(exchange);
            let interim = side == Side::Response
                && half.headers.iter().any(|(n, v)| n == b":status" && v.starts_with(b"1") && v != b"101");
            half.headers_held = action != CONTINUE;
            half.reachable = half.headers_held;
            half.gone |= !half.headers_held && !doomed && !interim;
            if interim {
                half.headers.clear();
            }
        });
        action
    }

    fn show_body(&self, side: Side, piece: &[u8], end: bool) -> u32 {
        let size = self.enter(side.phases()[1], |exchange| {
            let half = side.half(exchange);
            half.readable.extend(piece);
            half.ended = end;
            half.readable.len()
        });
        // SAFETY: as above.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_body(self.context, size, end),
                Side::Response => abi::proxy_on_response_body(self.context, size, end),
            }
        };
        self.go_on(side, action);
        action
    }

    fn go_on(&self, side: Side, action: u32) {
        let doomed = with(|state| state.is_doomed());
        self.enter(Phase::Root, |exchange| {
            let half = side.half(exchange);
            half.held = action != CONTINUE;
            if action == HOLD {
                half.aside.append(&mut half.readable);
            }
            // What an exchange shows last is lost with it.
            if !half.held && !doomed {
                half.passed.append(&mut half.aside);
                half.passed.append(&mut half.readable);
                // With allow_on_headers_stop_iteration they may have waited for this.
                (half.headers_held, half.gone) = (false, true);
            }
        });
    }

    fn enter<R>(&self, phase: Phase, f: impl FnOnce(&mut Exchange) -> R) -> R {
        with(|state| {
            (state.phase, state.current) = (phase, self.context);
            f(state.exchange().expect("the exchange is open"))
        })
    }

    /// The end of the context. Nothing may be held then, but by a filter that the host has not let do better.
    pub fn end(self, goodbye: Goodbye) -> Left {
        if let Some(left) = with(|state| state.over.remove(&self.context)) {
            return left;
        }
        for side in [Side::Request, Side::Response] {
            let held = self.edit(|exchange| side.half(exchange).is_held()).unwrap_or(false);
            if held && !with(|state| state.stuck) {
                misuse(format!("{side:?} is held at the end: nothing let it go"));
            }
        }
        self.say_goodbye(goodbye)
    }

    /// The client closes its connection, whatever is held.
    pub fn abort(self) -> Left {
        self.edit(|exchange| {
            exchange.say("response.code_details", b"downstream_remote_disconnect");
            exchange.say("response.flags", &0x4000u64.to_le_bytes());
            if !exchange.request.gone {
                exchange.properties.remove("upstream\0address");
            }
            exchange.broken = true;
        });
        match with(|state| state.over.remove(&self.context)) {
            Some(left) => left,
            None => self.say_goodbye(Goodbye::Logged),
        }
    }

    /// The exchange ends by what the filter did.
    pub(super) fn finish(&self) {
        let left = self.say_goodbye(Goodbye::Logged);
        with(|state| state.over.insert(self.context, left));
    }

    fn say_goodbye(&self, goodbye: Goodbye) -> Left {
        // SAFETY: the exports take numbers, in the order the ABI asks for.
        unsafe {
            if goodbye.is_logged() {
                self.enter(Phase::Log, |_| ());
                abi::proxy_on_log(self.context);
            }
            if let Goodbye::LoggedTwice = goodbye {
                abi::proxy_on_log(self.context);
            }
            if !matches!(goodbye, Goodbye::Dropped) {
                self.enter(Phase::Done, |_| ());
                assert!(abi::proxy_on_done(self.context), "the filter is done at once");
            }
            self.enter(Phase::Done, |_| ());
            abi::proxy_on_delete(self.context);
        }
        let Exchange { request, response, local, broken, filter_state, properties: _ } =
            with(|state| state.exchanges.remove(&self.context)).expect("the exchange is open");
        let record = filter_state.get("weir.record");
        Left {
            record: record.map(|json| serde_json::from_slice(json).expect("a record is JSON")),
            filter_state,
            request_headers: request.headers,
            request_body: request.passed,
            response_headers: response.headers,
            response_body: response.passed,
            response_trailers: response.trailers,
            local,
            broken,
        }
    }

    /// The usual end.
    pub fn log(self) -> Left {
        self.end(Goodbye::Logged)
    }
}

const CONTINUE: u32 = 0;

impl Side {
    /// Of headers, body, trailers.
    fn phases(self) -> [Phase; 3] {
        match self {
            Side::Request => [Phase::RequestHeaders, Phase::RequestBody, Phase::RequestTrailers],
            Side::Response => [Phase::ResponseHeaders, Phase::ResponseBody, Phase::ResponseTrailers],
        }
    }

    pub(super) fn half(self, exchange: &mut Exchange) -> &mut Half {
        match self {
            Side::Request => &mut exchange.request,
            Side::Response => &mut exchange.response,
        }
    }
}
