//! A call that is over: all that is known of it, for those who settle.

use super::subject::Known;
use super::waste::Waste;
use crate::port::Properties;
use crate::record::{Ended, Usage};
use crate::shared::Store;
use crate::units::{Nanos, Span};
use crate::wire::facts::Facts;

/// A call that is over. Where its answer's trailers are written before that, a call as it will be.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    /// What its request told.
    pub known: Known<'a>,
    /// How it ended.
    pub ended: Ended,
    /// The HTTP status, if an answer began.
    pub status: Option<u16>,
    /// An upstream was asked.
    pub reached: bool,
    /// Envoy's own attempts.
    pub attempts: u64,
    /// It was let go with all that is known of it.
    pub sent: bool,
    /// It was answered here, by a gate.
    pub refused: bool,
    /// A limit cut its answer.
    pub cut: bool,
    /// What its answer told.
    pub facts: &'a Facts,
    /// Its tokens.
    pub usage: &'a Usage,
    /// The model asked for; where none was, the one that answered.
    pub model: Option<&'a str>,
    /// Tokens of the content that came, by its bytes.
    pub written: u64,
    /// Why it bought nothing, if it did not.
    pub waste: Option<Waste>,
    /// How long it took, from the whole request on.
    pub total: Span,
    /// What Envoy knows.
    pub properties: &'a dyn Properties,
    /// What workers share.
    pub store: &'a dyn Store,
    /// Now.
    pub now: Nanos,
}

impl Finished<'_> {
    /// Whether the answer is none of an error.
    pub fn is_answered(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }
}
