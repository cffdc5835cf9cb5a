//! Runs: what all calls of an agent's request tree took together, until one of them says how the run ended (docs/runs.md).

pub mod account;
pub mod call;
pub mod config;

use account::Accounts;
use config::Runs;

/// What one worker keeps of runs.
#[derive(Debug)]
pub struct Shared {
    /// The section; nothing if runs have no accounts.
    config: Option<Runs>,
    accounts: Option<Accounts>,
}

impl Shared {
    /// Of this section; `own` are the config's own kinds, in their order.
    pub fn new(runs: Option<&Runs>, own: &[&str]) -> Self {
        Self { config: runs.cloned(), accounts: runs.map(|runs| Accounts::new(runs, own)) }
    }

    /// The outcomes, by their numbers.
    pub fn outcomes(&self) -> Vec<&str> {
        self.config.as_ref().map(Runs::words).unwrap_or_default()
    }
}
