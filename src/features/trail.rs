//! Trails: what a run did, call by call, for the person in front of the agent (docs/trail.md).

mod bytes;
pub mod call;
pub mod config;
pub mod entry;
pub mod page;
pub mod run;
mod sources;
pub mod trails;

use config::Trail;
use trails::Trails;

/// What one worker keeps of trails.
#[derive(Debug)]
pub enum Shared {
    /// They are disabled.
    Off,
    /// The section, and the trails.
    On(Trail, Trails),
}

impl Shared {
    /// Of this section.
    pub fn new(trail: Option<&Trail>) -> Self {
        trail.map_or(Self::Off, |trail| Self::On(trail.clone(), Trails::new(trail)))
    }
}
