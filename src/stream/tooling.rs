//! A call and tools: those that the model asks for.

use super::Stream;
use crate::config::tools::Tools;
use crate::policies::tools::Tools as Known;
use crate::record::ToolCall;
use crate::shared::Store;
use crate::units::Nanos;
use crate::wire::arguments::{self, Arguments};
use crate::wire::body::Body;
use crate::wire::calls::Call;

/// What one call has to do with tools, where somebody wants to know.
#[derive(Debug)]
pub(super) struct Tooling {
    /// The key of all hashes; nothing if the store does not answer: then there are none.
    salt: Option<u64>,
}

impl Stream {
    /// The request's head, as far as tools want to know it.
    pub fn tool_head(&mut self, known: &mut Known, store: &dyn Store, now: Nanos) {
        if known.is_on() {
            self.tooling = Some(Box::new(Tooling { salt: known.salt(store, now) }));
        }
    }

    /// The answer of a model is to be read: its tool calls are told apart, if somebody wants to know.
    pub(super) fn tool_answer(&self, body: &mut Body) {
        if let Some(tooling) = &self.tooling {
            body.tell_calls(tooling.salt.unwrap_or(0), self.kept_arguments());
        }
    }

    fn tools_config(&self) -> Option<&Tools> {
        self.config.tools.as_ref()
    }

    /// How many bytes of a call's arguments are kept.
    fn kept_arguments(&self) -> usize {
        let arguments = self.tools_config().and_then(|tools| tools.arguments.as_ref());
        arguments.map_or(0, |arguments| arguments.max_bytes.into())
    }

    /// The calls that the model asked for, for the record.
    pub(super) fn tool_calls(&self, calls: Vec<Call>) -> Vec<ToolCall> {
        calls.into_iter().map(|Call { name, id, arguments }| self.tool_call(name, id, arguments)).collect()
    }

    fn tool_call(&self, name: String, id: Option<String>, arguments: Arguments) -> ToolCall {
        let Arguments { bytes, hash, kept } = arguments;
        let shown = self.tools_config().and_then(|tools| tools.arguments.as_ref());
        ToolCall {
            name,
            id,
            bytes,
            hash: self.shown_hash(hash),
            arguments: shown.map(|shown| arguments::redacted(&kept, &shown.redact, shown.max_bytes.into())),
        }
    }

    fn shown_hash(&self, hash: Option<u64>) -> Option<String> {
        self.tooling.as_ref()?.salt?;
        hash.map(|hash| format!("{hash:016x}"))
    }
}
