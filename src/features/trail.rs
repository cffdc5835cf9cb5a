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

/// What one worker keeps of trails: the section and the trails, or nothing where they are disabled.
#[derive(Debug)]
pub struct Shared(Option<(Trail, Trails)>);

impl Shared {
    /// Of this section.
    pub fn new(trail: Option<&Trail>) -> Self {
        Self(trail.map(|trail| (trail.clone(), Trails::new(trail))))
    }

    /// The trails, where any are kept.
    pub fn trails(&self) -> Option<&Trails> {
        self.0.as_ref().map(|(_, trails)| trails)
    }
}
