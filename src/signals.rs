//! What is observed of a call; none of it can change what happens to the call.

pub mod chain;
pub mod cost;
pub mod estimate;
pub mod gaps;
pub mod identity;
pub mod kind;
pub mod slo;
pub mod timing;
pub mod trail;
