//! The gate: a call asks to pass, at its headers and once its body is known.

use super::reply::LocalReply;
use super::size::Size;
use super::subject::Known;
use crate::shared::Store;
use crate::units::Nanos;

/// A call that asks to pass.
#[derive(Clone, Copy)]
pub struct AtGate<'a> {
    /// What is known of it.
    pub known: Known<'a>,
    /// How large it probably is.
    pub size: Size,
    /// All is known that ever will be.
    pub last: bool,
    /// All of its body came.
    pub whole: bool,
    /// One more call may wait.
    pub room: bool,
    /// What workers share.
    pub store: &'a dyn Store,
    /// Now.
    pub now: Nanos,
}

/// What becomes of a call that wants to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It passes.
    Open,
    /// It is held, and asks again at this time, or at each tick.
    Wait {
        /// When its turn comes, if that is known.
        until: Option<Nanos>,
        /// Where it stands if it is not.
        position: Position,
    },
    /// It is answered here.
    Refuse(Box<LocalReply>),
}

/// Why a call does not pass now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// See [`Gate::Wait`].
    Wait {
        /// When its turn comes, if that is known.
        until: Option<Nanos>,
        /// Where it stands if it is not.
        position: Position,
    },
    /// See [`Gate::Refuse`].
    Refuse(Box<LocalReply>),
}

/// Where a call stands that waits without a turn, both by hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The queue: a new call goes behind those that stand in it.
    pub queue: u64,
    /// Whose call it is, within the queue: they take turns.
    pub of: u64,
}

/// What becomes of a piece of an answer that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It goes on.
    Forward,
    /// It goes on as these bytes, and the exchange ends behind them.
    Cut(Vec<u8>),
}
