//! The command and what it is made of, without an Envoy.

mod audit;
mod core;
mod corpus;
mod cost_corpus;
mod generated;
mod limits;
mod plan_study;
mod prices;
mod prometheus;
mod record;
mod replay;
mod retries_study;
#[path = "../support/mod.rs"]
mod support;
mod upstream;
