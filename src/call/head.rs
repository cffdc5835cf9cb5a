//! The request's headers: what features see when they come, and what is to be changed in them.

use std::borrow::Cow;

use super::reply::LocalReply;
use super::subject::Subject;
use crate::port::{Headers, Properties};
use crate::shared::Store;
use crate::units::Nanos;

/// A request's headers as they came.
#[derive(Clone, Copy)]
pub struct AtHead<'a> {
    /// The headers.
    pub head: Headers<'a>,
    /// No body follows.
    pub end: bool,
    /// What was read of them.
    pub subject: &'a Subject,
    /// What Envoy knows.
    pub properties: &'a dyn Properties,
    /// What workers share.
    pub store: &'a dyn Store,
    /// Now.
    pub now: Nanos,
}

/// What is to be changed in a request's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadEdits {
    /// Names of those that are taken off.
    pub remove: Vec<Cow<'static, str>>,
    /// Those that get another value.
    pub replace: Vec<(&'static str, Vec<u8>)>,
}

/// What becomes of a request whose headers came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// What is to be changed in them.
    pub edits: HeadEdits,
    /// It is answered here, and asks nothing of anyone.
    pub reply: Option<Box<LocalReply>>,
}
