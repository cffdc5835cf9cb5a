//! What a call holds of a limit, from admit to settle.

use crate::call::gate::Position;
use crate::shared::Events;
use crate::units::{Nanos, Span};

/// What a limit said to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It was refused.
    Refuse,
    /// It would have been refused, or cut; the limit only records.
    Shadow,
    /// It used more than there was, and went on.
    Warn,
    /// It used more than there was, and was cut.
    Cut,
    /// It could not be decided, and passed.
    Open,
    /// It could not be decided, and was refused.
    Closed,
}

impl Verdict {
    /// The words for them, by number.
    pub const WORDS: &[&str] = &["pass", "refuse", "shadow", "warn", "cut", "open", "closed"];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS.get(self as usize).copied().unwrap_or_default()
    }
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// So much, as the limit counts it.
    pub amount: u64,
    /// Until it is whole again; nothing for what does not flow back by itself.
    pub reset: Option<Span>,
}

/// What a call holds of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which of the rules.
    pub rule: usize,
    /// Which of the tools that the call calls, for rules that count tools; else the first.
    pub part: usize,
    /// The key, by hash.
    pub key: u64,
    /// Who has a share, by hash.
    pub sharer: u64,
    /// Calls above this one.
    pub depth: u16,
    /// When it began to take.
    pub taken: Nanos,
    /// Taken and not settled.
    pub amount: u64,
    /// Taken when the call was let go.
    pub reserved: u64,
    /// Taken for good, once the call is over.
    pub charged: u64,
    /// The generation of its lease.
    pub generation: u32,
    /// What the limit said.
    pub verdict: Verdict,
    /// When the call's turn comes.
    pub turn: Nanos,
    /// How long the call waited for it.
    pub waited: Span,
    /// What was left after it.
    pub left: Option<Left>,
}

/// All that a call holds.
#[derive(Debug, Default)]
pub struct Claims {
    /// One for each rule that counts the call.
    pub list: Vec<Claim>,
    /// What was seen of the store.
    pub events: Events,
    /// Which rule the call waits for without a place, and since when.
    pub waits: Option<(usize, Nanos)>,
    /// Where it stands then.
    pub position: Position,
    /// Queues in which others stand already; none for a call whose turn it is to ask.
    pub queues: Vec<u64>,
    /// Since when it has been held, if it is.
    pub since: Option<Nanos>,
    /// How long it was held before.
    pub held: Span,
    /// Tokens of the answer from which on the claims have to be looked at again.
    pub watch: Option<u64>,
    /// What the call cost in the end, in billionths of a dollar; to be known before it is settled.
    pub cost: u64,
}
