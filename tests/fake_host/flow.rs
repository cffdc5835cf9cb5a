//! What the filter asks of the host about the flow of an exchange: to let it go on, to answer it, to break it off. It is
//! done when the callback that asked has returned, as in Envoy.

use super::abi::{bytes, call};
use super::http::{Http, Side};
use super::{BAD_ARGUMENT, Exchange, Headers, OK, Phase, State, misuse, with};

/// An answer in the upstream's place.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalResponse {
    pub status: u32,
    pub details: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Wish {
    Resume(Side),
    Answer(LocalResponse),
    Reset,
}

impl State {
    /// The exchange that calls are about ends when the callback returns.
    pub(super) fn is_doomed(&self) -> bool {
        let ends = |wish: &Wish| matches!(wish, Wish::Answer(_) | Wish::Reset);
        self.wishes.iter().any(|(context, wish)| *context == self.current && ends(wish))
    }

    fn wish(&mut self, wish: Wish) -> u32 {
        let current = self.current;
        if self.exchange().is_none() || matches!(self.phase, Phase::Log | Phase::Done) {
            self.misuse(format!("{wish:?} of an exchange that is over, or of none"));
            return BAD_ARGUMENT;
        }
        self.wishes.push_back((current, wish));
        OK
    }
}

/// Does all that has been asked for.
pub(super) fn settle() {
    while let Some((context, wish)) = with(|state| state.wishes.pop_front()) {
        let (http, told) = (Http::of(context), format!("{wish:?}"));
        let done = match wish {
            Wish::Resume(side) => resume(&http, side),
            Wish::Answer(local) => answer(&http, local),
            Wish::Reset => reset(&http),
        };
        if let Err(why) = done {
            misuse(format!("{told}: {why}"));
        }
    }
}

/// Runs on an exchange that is still there.
fn on<R>(http: &Http, f: impl FnOnce(&mut Exchange) -> Result<R, &'static str>) -> Result<R, &'static str> {
    with(|state| state.exchanges.get_mut(&http.context).map_or(Err("the exchange is over"), f))
}

fn resume(http: &Http, side: Side) -> Result<(), &'static str> {
    let (piece, end) = on(http, |exchange| {
        if exchange.local.is_some() {
            return Err("it has been answered");
        }
        let half = side.half(exchange);
        if !half.headers_held && !half.held {
            return Err("nothing is held: Envoy says yes all the same");
        }
        (half.gone, half.headers_held, half.held) = (true, false, false);
        half.passed.append(&mut half.aside);
        half.passed.append(&mut half.readable);
        Ok((std::mem::take(&mut half.waiting), half.waiting_end.take()))
    })?;
    if !piece.is_empty() || end == Some(super::End::Piece) {
        http.body(side, &piece, end == Some(super::End::Piece));
    }
    if end == Some(super::End::Trailers) {
        http.trailers(side);
    }
    Ok(())
}

fn answer(http: &Http, local: LocalResponse) -> Result<(), &'static str> {
    let LocalResponse { status, details, headers, body } = local.clone();
    let (new, shown) = on(http, |exchange| {
        if exchange.local.replace(local).is_some() {
            return Err("it has been answered");
        }
        exchange.say("response.code_details", details.as_bytes());
        if !exchange.request.gone {
            exchange.properties.remove("upstream\0address");
        }
        exchange.broken = exchange.response.gone;
        let new = !exchange.response.gone;
        // Its callbacks come, unless the upstream's have begun.
        let shown = new && exchange.response.headers.is_empty();
        if new {
            exchange.say("response.code", &u64::from(status).to_le_bytes());
            exchange.response = super::Half::default();
        }
        Ok((new, shown))
    })?;
    let mut head = super::headers(&[(":status", &status.to_string())]);
    head.extend(headers);
    if shown {
        http.local_headers(head, body.is_empty());
        if !body.is_empty() {
            http.local_body(&body);
        }
    } else if new {
        on(http, |exchange| {
            (exchange.response.headers, exchange.response.passed) = (head, body);
            Ok(())
        })?;
    }
    http.finish();
    Ok(())
}

fn reset(http: &Http) -> Result<(), &'static str> {
    on(http, |exchange| {
        exchange.broken = true;
        if !exchange.response.gone {
            exchange.say("response.code_details", b"wasm_close_stream");
        }
        if !exchange.request.gone {
            exchange.properties.remove("upstream\0address");
        }
        Ok(())
    })?;
    http.finish();
    Ok(())
}

impl Exchange {
    pub(super) fn say(&mut self, path: &str, value: &[u8]) {
        self.properties.insert(path.replace('.', "\0"), value.to_vec());
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    call("proxy_set_tick_period_milliseconds", |state| {
        let puts_off = state.tick_period != 0 && period >= state.tick_period;
        if puts_off && !matches!(state.phase, Phase::Root | Phase::Tick) {
            state.misuse("ticks are asked for while they come: each time puts the next one off".to_owned());
        }
        state.tick_period = period;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    call("proxy_set_effective_context", |state| {
        if !state.exchanges.contains_key(&context) {
            return BAD_ARGUMENT;
        }
        state.current = context;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(half: u32) -> u32 {
    call("proxy_continue_stream", |state| {
        let side = match half {
            0 => Side::Request,
            1 => Side::Response,
            _ => return BAD_ARGUMENT,
        };
        // From here on the filter cannot reach what goes.
        if let Some(exchange) = state.exchange() {
            side.half(exchange).reachable = false;
        }
        state.wish(Wish::Resume(side))
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_close_stream(half: u32) -> u32 {
    call("proxy_close_stream", |state| match half {
        0 | 1 => state.wish(Wish::Reset),
        _ => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    // SAFETY: the filter hands over slices.
    let (details, body, headers) =
        unsafe { (bytes(details, details_size), bytes(body, body_size), bytes(headers, headers_size)) };
    let local = LocalResponse {
        status,
        details: String::from_utf8(details.to_vec()).expect("details are text"),
        headers: pairs(headers),
        body: body.to_vec(),
    };
    call("proxy_send_local_response", |state| {
        if !(200..600).contains(&local.status) {
            state.misuse(format!("{} is no status of an answer", local.status));
        }
        state.wish(Wish::Answer(local))
    })
}

/// A header map in the ABI's form, which has to be right to the last byte.
fn pairs(map: &[u8]) -> Headers {
    let mut rest = map;
    let number = |rest: &mut &[u8]| u32::from_le_bytes(take(rest, 4).try_into().expect("four bytes")) as usize;
    let count = if map.is_empty() { 0 } else { number(&mut rest) };
    let sizes: Vec<_> = (0..count).map(|_| (number(&mut rest), number(&mut rest))).collect();
    let mut text = |size| {
        let text = take(&mut rest, size).to_vec();
        assert_eq!(take(&mut rest, 1), [0], "a text in a header map ends with a zero");
        text
    };
    let pairs = sizes.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    assert!(rest.is_empty(), "a header map has {} bytes too many", rest.len());
    pairs
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> &'a [u8] {
    rest.split_off(..size).expect("a header map is as long as it says")
}
