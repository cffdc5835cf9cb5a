//! A call and the trail of its run: its place in it, the token that opens it, and the calls that ask for it.

use super::Stream;
use super::admission::OwnAnswer;
use crate::api;
use crate::config::trail::{HandOut, Trail};
use crate::policies::limits::headers::Header;
use crate::port::{Headers, Properties};
use crate::record::Record;
use crate::shared::{Events, Store};
use crate::signals::identity;
use crate::signals::kind::is_mcp;
use crate::signals::trail::{self, Name, Shown, page};
use crate::units::{Nanos, Span};
use crate::wire::refusal::Shaped;
use crate::worker::Worker;

/// In which header a run's token is shown, as it is handed out.
const TOKEN: &str = "x-weir-run-token";
/// What Envoy's access log says of an answer with a trail.
const DETAILS: &str = "weir_trail";

/// What one call has to do with the trail of its run.
#[derive(Debug, Default)]
pub(super) struct Trailing {
    name: Option<Name>,
    /// The token is handed to its client.
    hands_out: bool,
}

impl Stream {
    /// The request's head, as far as trails want to know it. Gives the answer of a call that asks for one.
    pub fn trail_head(
        &mut self,
        head: Headers<'_>,
        worker: &Worker,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<Box<OwnAnswer>> {
        let config = std::rc::Rc::clone(&self.config);
        let (Some(trails), Some(config)) = (&worker.trails, &config.audit.trail) else { return None };
        let target = head.get(":path").unwrap_or_default();
        if let Some(rest) = target.strip_prefix(config.path.as_str().as_bytes()) {
            // No call of any run, whatever its path and headers look like.
            (self.asked, self.inject, self.run) = (api::Asked::default(), super::Inject::No, None);
            return Some(Box::new(self.trail_answer(head, rest, config, trails, store, now)));
        }
        let name = trails.name(self.tenant.as_deref(), self.run.as_deref()?);
        let hands_out = match config.tokens {
            HandOut::Always => true,
            // Where the store does not answer nobody can tell: who has begun the run is better off without its token than
            // another with it.
            HandOut::Start => trails.has_begun(&name, store, now) == Ok(false),
        };
        self.trailing = Trailing { name: Some(name), hands_out };
        self.sourcing.pointers = Some(&trails.pointers).filter(|pointers| !pointers.is_empty()).cloned();
        self.sourcing.mcp = is_mcp(head);
        None
    }

    fn trail_answer(
        &self,
        head: Headers<'_>,
        rest: &[u8],
        config: &Trail,
        trails: &trail::Trails,
        store: &dyn Store,
        now: Nanos,
    ) -> OwnAnswer {
        if !matches!(head.get(":method"), Some(b"GET" | b"HEAD")) {
            let body = b"Trails are only read.\n".to_vec();
            return own(405, "text/plain; charset=utf-8", Some(("allow", "GET, HEAD")), body);
        }
        let (run, query) = match memchr::memchr(b'?', rest) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (rest, &[][..]),
        };
        let run = identity::printable(&decoded(run)).unwrap_or_default();
        let operator = head.get(config.operator_header.as_str()).unwrap_or_default();
        let token = || head.get(TOKEN).or_else(|| value(query, b"token")).or_else(|| identity::bearer(head));
        // An operator says whose run it is, which nobody else may: so it is the key or the token, not both.
        let (token, tenant) = if operator.is_empty() {
            (token().unwrap_or_default(), self.tenant.clone())
        } else {
            let said = value(query, b"tenant").and_then(|tenant| identity::printable(&decoded(tenant)));
            (&[][..], said.or_else(|| self.tenant.clone()))
        };
        let name = trails.name(tenant.as_deref(), &run);
        let Some(found) = trails.look(&name, Shown { token, operator }, store, now) else {
            return own(404, "text/plain; charset=utf-8", None, b"There is no such run.\n".to_vec());
        };
        let accept = head.get("accept").unwrap_or_default();
        if memchr::memmem::find(accept, b"text/html").is_some() {
            return own(
                200,
                "text/html; charset=utf-8",
                None,
                page::page(tenant.as_deref(), &run, &found).into_bytes(),
            );
        }
        own(200, "application/json", None, trail::json(tenant.as_deref(), &run, &found).into_bytes())
    }

    /// The run's token, if the call's client is to have it.
    pub fn trail_token(&self) -> Option<String> {
        let name = self.trailing.name?;
        self.trailing.hands_out.then(|| name.token())
    }
}

impl Trailing {
    /// Whether the call is put into the trail of a run.
    pub(super) fn is_kept(&self) -> bool {
        self.name.is_some()
    }

    /// The call is over, and this is its record.
    pub(super) fn settle(
        &self,
        worker: &Worker,
        (record, sources): (&Record, &[String]),
        properties: &dyn Properties,
        store: &dyn Store,
        events: &mut Events,
        now: Nanos,
    ) {
        let (Some(trails), Some(name)) = (&worker.trails, &self.name) else { return };
        let began = properties.property(&["request", "time"]).and_then(|time| time.first_chunk().copied());
        let began_us = Span(began.map_or(0, u64::from_le_bytes)).as_us();
        trails.put(name, (record, sources, began_us), store, events, now);
    }
}

/// An answer that a browser shows, and neither keeps nor tells others of.
fn own(
    status: u16,
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
) -> OwnAnswer {
    let headers: [Header; 5] = [
        ("cache-control", "no-store".to_owned()),
        ("content-security-policy", page::POLICY.to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("vary", "accept".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    OwnAnswer { shaped: Shaped { status, content_type, header, body }, headers: headers.into(), details: DETAILS }
}

/// The value of a key in a query, as it stands there.
fn value<'a>(query: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    query.split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
}

/// What stands in a path or a query, without its `%` escapes; one that is none stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        if let (b'%', [high, low, after @ ..]) = (byte, more)
            && let Some((high, low)) = digit(high).zip(digit(low))
        {
            decoded.push((high * 16 + low) as u8);
            rest = after;
        } else {
            decoded.push(*byte);
        }
    }
    decoded
}
