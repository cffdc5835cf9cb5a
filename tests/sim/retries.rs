//! Retry budgets under three layers that retry: whole calls through [`weir::stream::Stream`], over one store, in made-up time.
//!
//! Users want something; an agent's loop, an SDK and Envoy's route try for them; an upstream fails as often as it is told to (see
//! [`world`]). A seed decides all the rest: who comes when, which worker a call meets, and who steps in between a worker's read
//! of the store and its write.

mod call;
mod outage;
mod troubles;
mod world;
