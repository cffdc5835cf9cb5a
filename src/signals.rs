//! What every call has: when things happened, how large it is, who calls. Observed; none of it can change what happens to the call.

pub mod estimate;
pub mod gaps;
pub mod identity;
pub mod size;
pub mod timing;
