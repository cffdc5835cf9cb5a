//! Audit: what a call's client is told of it, and records that hold on to one another (docs/audit.md).

pub mod call;
pub mod chain;
pub mod config;

/// Where clients are told of their calls, as the config's section `audit` has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tells {
    /// In the answer's headers.
    pub headers: bool,
    /// In its trailers.
    pub trailers: bool,
    /// In a comment behind a stream's last event.
    pub comment: bool,
}
