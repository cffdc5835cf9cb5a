//! Who calls, what for, and by which way: read once, when the request's headers come.

use super::kind::Kind;
use super::text;
use crate::api::{self, Api};
use crate::config::identity::{Identity, Source};
use crate::port::{Headers, Properties};
use crate::signals::identity;
use crate::wire::request::{self, Request};

/// What one call is about.
#[derive(Debug, Default)]
pub struct Subject {
    /// What its request line and host tell.
    pub asked: api::Asked,
    /// The call's id: Envoy's `x-request-id`.
    pub call: String,
    /// Who pays.
    pub tenant: Option<String>,
    /// Who calls.
    pub user: Option<String>,
    /// The agent's request tree that the call is part of.
    pub run: Option<String>,
    /// Envoy's route, where a feature wants it before the call's end.
    pub route: Option<String>,
    /// Envoy's cluster, where a feature wants it before the call's end.
    pub cluster: Option<String>,
    /// What kind of call it is; nothing where that is disabled.
    pub kind: Option<Kind>,
    /// It speaks MCP.
    pub mcp: bool,
    /// Its body may call a tool.
    pub may_call_tool: bool,
    /// It may, and a feature wants to know which.
    pub reads_tool: bool,
}

/// What features want to know of a call when its headers come. A property costs a microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Envoy's route.
    pub route: bool,
    /// Envoy's cluster.
    pub cluster: bool,
    /// Which tool is called.
    pub tool: bool,
}

impl Wants {
    /// What either wants.
    #[must_use]
    pub fn or(self, other: Wants) -> Self {
        let Wants { route, cluster, tool } = other;
        Self { route: self.route || route, cluster: self.cluster || cluster, tool: self.tool || tool }
    }
}

impl Subject {
    /// Reads a request's headers.
    pub fn read(head: Headers<'_>, sources: &Identity, wants: Wants, properties: &dyn Properties) -> Self {
        let of = |name| head.get(name).unwrap_or_default();
        let asked = api::asked(of(":method"), of(":path"), of(":authority"));
        let property = |wanted: bool, name| if wanted { property_text(properties, &["xds", name]) } else { None };
        let mcp = asked.api == Api::Other && is_mcp(head);
        // No header has to tell MCP: whoever takes such a message may be called with any. What is no JSON is read no further
        // than its first byte.
        let may_call_tool = asked.api == Api::Other && is_post(head);
        let told = mcp || contains(head.get("content-type"), b"json");
        let run = identity::find(&sources.run, head, properties);
        // MCP carries trace context in its messages where no header does.
        let nowhere = run.is_none() && !sources.run.is_empty();
        Self {
            call: text(of("x-request-id"), super::MAX_TEXT),
            tenant: identity::find(&sources.tenant, head, properties),
            user: identity::find(&sources.user, head, properties),
            route: property(wants.route, "route_name"),
            cluster: property(wants.cluster, "cluster_name"),
            kind: None,
            mcp,
            may_call_tool,
            reads_tool: may_call_tool && (wants.tool || nowhere && told),
            run,
            asked,
        }
    }

    /// The run of an MCP request, from the trace context that its message carries, if its headers have none.
    pub fn find_run(&mut self, sources: &[Source], told: &request::Asked) {
        let request::Asked { traceparent, baggage, .. } = told;
        if self.run.is_some() || traceparent.is_none() && baggage.is_none() {
            return;
        }
        let of = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let (traceparent, baggage) = (of(traceparent), of(baggage));
        let head = [(&b"traceparent"[..], &*traceparent), (b"baggage", &*baggage)];
        self.run = identity::find(sources, Headers(&head), &NoProperties);
    }

    /// Its body is a message of JSON-RPC: it speaks MCP, whatever its headers say.
    pub fn find_rpc(&mut self, told: &request::Asked) {
        if self.mcp || !self.may_call_tool || !told.rpc {
            return;
        }
        self.mcp = true;
        if self.kind.as_ref().is_some_and(Kind::is_other) {
            self.kind = Some(Kind::tool());
        }
    }

    /// Whether a model is called.
    pub fn is_inference(&self) -> bool {
        self.asked.api != Api::Other
    }
}

/// Where nothing but headers is asked.
struct NoProperties;

impl Properties for NoProperties {
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// A call as far as it is known: its subject, and what its body told so far.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What its headers told.
    pub subject: &'a Subject,
    /// What its body told.
    pub request: &'a Request,
}

impl<'a> Known<'a> {
    /// The model that is served: where the path names one, that is it, whatever the body says.
    pub fn model(self) -> Option<&'a str> {
        let (told, asked) = (self.request.asked(), &self.subject.asked);
        let by_id = told.model_id.as_deref().filter(|_| asked.by_model_id);
        asked.model.as_deref().or(by_id).or(told.model.as_deref())
    }

    /// Whether its body should tell what is served, and could not be read, or not as all servers read it.
    pub fn is_unread(self) -> bool {
        let told = self.subject.is_inference() || (self.subject.mcp && self.subject.reads_tool);
        told && self.request.is_unread()
    }

    /// Whether the model is known by the path: no body changes it.
    pub fn is_model_sure(self) -> bool {
        self.subject.asked.model.is_some()
    }

    /// The tool that is called.
    pub fn tool(self) -> Option<&'a str> {
        self.request.asked().tool().filter(|_| self.subject.reads_tool)
    }

    /// The tools that a batch calls; nothing of a single call.
    pub fn batch(self) -> &'a [String] {
        if self.subject.reads_tool { &self.request.asked().batch } else { &[] }
    }

    /// The tools that are called: several in an MCP batch.
    pub fn tools(self) -> impl Iterator<Item = &'a str> {
        self.request.asked().tools_called().filter(move |_| self.subject.reads_tool)
    }
}

/// MCP over HTTP: a session, or a version of the protocol; a client's first request has neither, but accepts both kinds of
/// answer.
pub fn is_mcp(head: Headers<'_>) -> bool {
    let named = ["mcp-session-id", "mcp-protocol-version", "mcp-method"].iter().any(|name| head.get(name).is_some());
    let accepts = |kind: &[u8]| contains(head.get("accept"), kind);
    named || is_post(head) && accepts(b"application/json") && accepts(b"text/event-stream")
}

/// Whether a header's value has this in it, in whatever case.
fn contains(value: Option<&[u8]>, part: &[u8]) -> bool {
    value.is_some_and(|value| value.windows(part.len()).any(|at| at.eq_ignore_ascii_case(part)))
}

fn is_post(head: Headers<'_>) -> bool {
    head.get(":method").is_some_and(api::is_post)
}

/// A property that is text, cut; nothing if it is empty.
pub fn property_text(properties: &dyn Properties, path: &[&str]) -> Option<String> {
    let value = properties.property(path)?;
    (!value.is_empty()).then(|| text(&value, super::MAX_TEXT))
}

/// A property that is a number of eight bytes.
pub fn property_number(properties: &dyn Properties, path: &[&str]) -> Option<u64> {
    Some(u64::from_le_bytes(*properties.property(path)?.first_chunk()?))
}

/// `[::1]:8080` is `[::1]`.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
