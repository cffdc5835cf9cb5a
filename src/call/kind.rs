//! What a call is to those who pay for it.

use std::rc::Rc;

/// Most kinds of the config's own words. A run's account has a place for each.
pub const MAX_OWN: usize = 8;
/// How many kinds there can be.
pub const SLOTS: usize = KNOWN.len() + MAX_OWN;

/// The kinds that are known by themselves; the last is all the rest.
pub const KNOWN: [&str; 8] =
    ["model", "embedding", "retrieval", "rerank", "tool", "guardrail", "observability", "other"];

/// A call's kind. Cheap to clone: the words are those of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub word: Rc<str>,
    /// Of a plain HTTP tool, the tool's name, where a rule has one.
    pub name: Option<Rc<str>>,
    /// Its number, below [`SLOTS`].
    pub slot: u8,
}

impl Kind {
    /// The kind of a tool, for a call that was none of the others until its body told.
    pub fn tool() -> Self {
        let slot = KNOWN.iter().position(|word| *word == "tool").unwrap_or_default();
        Self { word: Rc::from("tool"), name: None, slot: slot as u8 }
    }

    /// Whether it is none that is known.
    pub fn is_other(&self) -> bool {
        usize::from(self.slot) + 1 == KNOWN.len() && self.name.is_none()
    }
}
