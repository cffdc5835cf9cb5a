//! Tools: those that models ask for, those that run, and which of the one are the other (docs/tools.md).
//!
//! What a model asks for is read out of its answer, what runs out of MCP's messages; a table that workers share holds what was
//! asked for until it runs.

pub mod call;
pub mod config;
pub mod pending;

use crate::labels::Label;
use crate::shared::{Salt, Store};
use crate::units::Nanos;
use config::{ToolArguments, Tools};
use pending::PendingCalls;

/// What one worker keeps of tools.
#[derive(Debug)]
pub struct Shared {
    /// Values of the label `tool`.
    pub label: Label,
    /// What models asked for and has not run yet; nothing if tools are disabled.
    pending: Option<PendingCalls>,
    arguments: Option<ToolArguments>,
    salt: Salt,
}

impl Shared {
    /// Of this section.
    pub fn new(tools: Option<&Tools>) -> Self {
        let (names, max) = tools.map_or((&[][..], 0), |tools| (&tools.names[..], tools.max_names));
        let label = Label::new(names.iter().map(String::as_str), max.into());
        let arguments = tools.and_then(|tools| tools.arguments.clone());
        Self { label, pending: tools.map(PendingCalls::new), arguments, salt: Salt::default() }
    }

    /// Whether tools are told apart.
    pub fn enabled(&self) -> bool {
        self.pending.is_some()
    }

    /// The key of all hashes, the same for all workers; nothing if the store does not answer.
    pub fn salt(&mut self, store: &dyn Store, now: Nanos) -> Option<u64> {
        self.salt.get(store, now)
    }
}
