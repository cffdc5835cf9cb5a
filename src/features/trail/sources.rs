//! Which sources an answer names: in its headers, and where the config points into its body.

use super::config::Trail;
use super::trails::Trails;
use crate::api::Api;
use crate::call::subject::Subject;
use crate::port::Headers;
use crate::signals::identity;
use crate::wire::body::{Body, BodyHead, Unread};
use crate::wire::sources::{self, MAX_SOURCES, Sources};

/// The kinds of calls that bring sources, and whose answers are read for them.
const KINDS: [&str; 3] = ["tool", "retrieval", "rerank"];

/// Most bytes that are kept of a source.
const MAX_SOURCE: usize = 64;

/// The sources of one answer.
#[derive(Debug, Default)]
pub(super) struct InAnswer {
    body: Option<Box<Body>>,
    /// Others read the same body, and count what of it cannot be read.
    counted: bool,
    found: Vec<String>,
}

impl InAnswer {
    /// The answer's headers came: what they name, and whether its body is to be read.
    pub(super) fn head(
        &mut self,
        subject: &Subject,
        (head, body_head, empty): (Headers<'_>, BodyHead<'_>, bool),
        (counted, cap): (bool, usize),
        (config, trails): (&Trail, &Trails),
    ) {
        for wanted in &config.sources {
            let named = head.0.iter().filter(|(name, _)| *name == wanted.as_str().as_bytes());
            named.flat_map(|(_, v)| v.split(|b| *b == b',')).for_each(|v| self.add(v));
        }
        let brings = subject.kind.as_ref().is_some_and(|kind| KINDS.contains(&&*kind.word));
        if !brings || trails.pointers.is_empty() || !body_head.ok || empty {
            return;
        }
        let body_head = BodyHead { stream_asked: false, ..body_head };
        let mut body = Body::new(Api::Other, sources::dialect(subject.mcp), body_head, cap);
        body.read_sources(Box::new(Sources::new(&trails.pointers)));
        (self.body, self.counted) = (Some(Box::new(body)), counted);
    }

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
