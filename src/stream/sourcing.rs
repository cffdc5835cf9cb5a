//! Which sources an answer names: in its head, and where the config points into its body.

use super::Stream;
use crate::api::Api;
use crate::port::Headers;
use crate::signals::identity;
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::sources::{self, MAX_SOURCES, Pointers, Sources};

/// The kinds of calls that bring sources, and whose answers are read for them.
const KINDS: [&str; 3] = ["tool", "retrieval", "rerank"];

/// Most bytes that are kept of a source.
const MAX_SOURCE: usize = 64;

/// The sources of one answer.
#[derive(Debug, Default)]
pub(super) struct Sourcing {
    /// Where they are in the body; nothing if nobody wants to know.
    pub(super) pointers: Option<Pointers>,
    /// The request looks like MCP's.
    pub(super) mcp: bool,
    body: Option<Box<Body>>,
    /// Others read the same body, and count what of it cannot be read.
    counted: bool,
    found: Vec<String>,
}

impl Stream {
    /// The answer's head came: what it names, and whether its body is to be read.
    pub(super) fn sources_head(&mut self, head: Headers<'_>, body_head: BodyHead<'_>, empty: bool) {
        let Some(trail) = self.config.audit.trail.as_ref().filter(|_| self.trailing.is_kept()) else { return };
        let counted = self.tool_tells_answer();
        let sourcing = &mut self.sourcing;
        for wanted in &trail.sources {
            let named = head.0.iter().filter(|(name, _)| *name == wanted.as_str().as_bytes());
            named.flat_map(|(_, v)| v.split(|b| *b == b',')).for_each(|v| sourcing.add(v));
        }
        let brings = self.kind.as_ref().is_some_and(|kind| KINDS.contains(&&*kind.word));
        let Some(pointers) = sourcing.pointers.as_ref().filter(|_| brings && body_head.ok && !empty) else { return };
        let cap = self.config.read.max_event_bytes.bytes();
        let body_head = BodyHead { stream_asked: false, ..body_head };
        let mut body = Body::new(Api::Other, sources::dialect(sourcing.mcp), body_head, cap);
        body.read_sources(Box::new(Sources::new(pointers)));
        (sourcing.body, sourcing.counted) = (Some(Box::new(body)), counted);
    }
}

impl Sourcing {
    /// Whether the answer's body is to be read for sources.
    pub(super) fn reads_answer(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_ignored())
    }

    /// A piece of the answer's body.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        let Some(body) = &mut self.body else { return };
        body.push(bytes);
        let found = body.facts().sources.as_ref().map_or(0, |sources| sources.found().len());
        if found >= MAX_SOURCES {
            self.ended();
        }
    }

    fn add(&mut self, source: &[u8]) {
        let Some(mut source) = identity::printable(source) else { return };
        source.truncate(source.floor_char_boundary(MAX_SOURCE));
        sources::add(&mut self.found, source);
    }

    /// No more of the body is wanted.
    fn ended(&mut self) -> Unread {
        let Some(body) = self.body.take() else { return Unread::default() };
        let unread = body.unread();
        let named = body.into_facts().sources;
        named.iter().flat_map(|s| s.found()).for_each(|source| self.add(source.as_bytes()));
        // An answer that is no JSON and no events promised none.
        if self.counted { Unread::default() } else { Unread { format: 0, ..unread } }
    }

    /// The call is over: its sources, and what of its answer could not be read.
    pub(super) fn finish(&mut self) -> (Vec<String>, Unread) {
        if let Some(body) = &mut self.body {
            body.finish();
        }
        let unread = self.ended();
        (std::mem::take(&mut self.found), unread)
    }
}
