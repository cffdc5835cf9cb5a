//! A call and the trail of its run: its place in it, the token that opens it, and the calls that ask for it.

use super::Shared;
use super::config::HandOut;
use super::page;
use super::sources::InAnswer;
use super::trails::{self, Name, Shown};
use crate::call::head::AtHead;
use crate::call::reply::{Header, LocalReply};
use crate::call::subject::{Subject, property_number};
use crate::port::{Headers, Properties};
use crate::record::Record;
use crate::shared::{Events, Store};
use crate::signals::identity;
use crate::units::{Nanos, Span};
use crate::wire::body::{BodyHead, Unread};
use crate::wire::refusal::Shaped;

/// In which header a run's token is shown, and handed out.
const TOKEN: &str = "x-weir-run-token";
/// What Envoy's access log says of an answer with a trail.
const DETAILS: &str = "weir_trail";

/// What one call has to do with the trail of its run.
#[derive(Debug, Default)]
pub struct InCall {
    name: Option<Name>,
    /// The token is handed to its client.
    hands_out: bool,
    sources: InAnswer,
}

impl InCall {
    /// The answer of a call that asks for a trail: it is no call of any run, whatever its headers look like.
    pub fn asks(at: &AtHead<'_>, shared: &Shared) -> Option<LocalReply> {
        let Shared(Some((config, trails))) = shared else { return None };
        let target = at.head.get(":path").unwrap_or_default();
        let rest = target.strip_prefix(config.path.as_str().as_bytes())?;
        let head = at.head;
        if !matches!(head.get(":method"), Some(b"GET" | b"HEAD")) {
            let body = b"Trails are only read.\n".to_vec();
            return Some(own(405, "text/plain; charset=utf-8", Some(("allow", "GET, HEAD")), body));
        }
        let (run, query) = match memchr::memchr(b'?', rest) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (rest, &[][..]),
        };
        let run = identity::printable(&decoded(run)).unwrap_or_default();
        let operator = head.get(config.operator_header.as_str()).unwrap_or_default();
        let token = || head.get(TOKEN).or_else(|| value(query, b"token")).or_else(|| identity::bearer(head));
        let tenant = || at.subject.tenant.clone();
        // An operator says whose run it is, which nobody else may: so it is the key or the token, not both.
        let (token, tenant) = if operator.is_empty() {
            (token().unwrap_or_default(), tenant())
        } else {
            let said = value(query, b"tenant").and_then(|tenant| identity::printable(&decoded(tenant)));
            (&[][..], said.or_else(tenant))
        };
        let name = trails.name(tenant.as_deref(), &run);
        let Some(found) = trails.look(&name, Shown { token, operator }, at.store, at.now) else {
            return Some(own(404, "text/plain; charset=utf-8", None, b"There is no such run.\n".to_vec()));
        };
        let accept = head.get("accept").unwrap_or_default();
        let (content_type, text) = if memchr::memmem::find(accept, b"text/html").is_some() {
            ("text/html; charset=utf-8", page::page(tenant.as_deref(), &run, &found))
        } else {
            ("application/json", trails::json(tenant.as_deref(), &run, &found))
        };
        Some(own(200, content_type, None, text.into_bytes()))
    }

    /// The request's headers.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &Shared) {
        let (Shared(Some((config, trails))), subject) = (shared, at.subject) else { return };
        let Some(run) = subject.run.as_deref() else { return };
        let name = trails.name(subject.tenant.as_deref(), run);
        self.hands_out = match config.tokens {
            HandOut::Always => true,
            // Where the store does not answer nobody can tell: who has begun the run is better off without its token than
            // another with it.
            HandOut::Start => trails.has_begun(&name, at.store, at.now) == Ok(false),
        };
        self.name = Some(name);
    }

    /// The answer's headers: which sources they name, and whether its body is to be read for more. `counted` says that what cannot be
    /// read of it is counted elsewhere.
    pub fn response_head(
        &mut self,
        subject: &Subject,
        head: (Headers<'_>, BodyHead<'_>, bool),
        (counted, cap): (bool, usize),
        shared: &Shared,
    ) {
        let (Shared(Some((config, trails))), Some(_)) = (shared, self.name) else { return };
        self.sources.head(subject, head, (counted, cap), (config, trails));
    }

    /// The run's token, if the call's client is to have it.
    pub fn response_headers(&self) -> Option<Header> {
        let name = self.name.filter(|_| self.hands_out)?;
        Some((TOKEN, name.token()))
    }

    /// Whether the answer's body is to be read.
    pub fn reads_answer(&self) -> bool {
        self.sources.reads_answer()
    }

    /// A piece of the answer's body.
    pub fn response_body(&mut self, bytes: &[u8]) {
        self.sources.piece(bytes);
    }

    /// The answer is over: its sources, and what of it could not be read.
    pub fn ended(&mut self) -> (Vec<String>, Unread) {
        self.sources.finish()
    }

    /// The call is over, and this is its record.
    pub fn settle(
        self,
        (record, sources): (&Record, &[String]),
        shared: &Shared,
        properties: &dyn Properties,
        events: &mut Events,
        (store, now): (&dyn Store, Nanos),
    ) {
        let (Some(trails), Some(name)) = (shared.trails(), &self.name) else { return };
        let began = property_number(properties, &["request", "time"]).unwrap_or(0);
        trails.put(name, (record, sources, Span(began).as_us()), store, events, now);
    }
}

/// An answer that a browser shows, and neither keeps nor tells others of.
fn own(
    status: u16,
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
) -> LocalReply {
    let headers: [Header; 5] = [
        ("cache-control", "no-store".to_owned()),
        ("content-security-policy", page::POLICY.to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("vary", "accept".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    LocalReply { shaped: Shaped { status, content_type, header, body }, headers: headers.into(), details: DETAILS }
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
