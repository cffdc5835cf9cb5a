//! What workers know of tools: how their names become labels, the key of all hashes of arguments, and who asked for what.

pub mod asks;

use crate::config::Config;
use crate::labels::Label;
use crate::policies::retry::fingerprint::keyed;
use crate::shared::{Store, agreed};
use crate::units::Nanos;
use asks::Asks;

/// The key of the store under which workers agree on the key of their hashes.
const SALT: &str = "weir.tools.salt";

/// A tool's own name. Some agents write an MCP tool's server in front: `mcp__server__tool`.
pub fn own_name(name: &str) -> &str {
    name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")).map_or(name, |(_, tool)| tool)
}

/// The tools under one config.
#[derive(Debug)]
pub struct Tools {
    /// Values of the label `tool`.
    pub label: Label,
    /// What models asked for and has not run yet; nothing if nobody wants to know.
    pub asks: Option<Asks>,
    salt: Option<u64>,
}

impl Tools {
    /// The tools of a config.
    pub fn new(config: &Config) -> Self {
        let (names, max) = config.tools.as_ref().map_or((&[][..], 0), |tools| (&tools.names[..], tools.max_names));
        let label = Label::new(names.iter().map(String::as_str), max.into());
        Self { label, asks: config.tools.as_ref().map(Asks::new), salt: None }
    }

    /// Whether anybody wants to know.
    pub fn is_on(&self) -> bool {
        self.asks.is_some()
    }

    /// The key of all hashes, the same for all workers; nothing if the store does not answer.
    pub fn salt(&mut self, store: &dyn Store, now: Nanos) -> Option<u64> {
        if self.salt.is_none() {
            self.salt = agreed(store, SALT, now.0).ok();
        }
        self.salt
    }
}
