//! What `weirctl` is made of; a library too, so that tests and benches start the same Envoy and the same upstream.

pub mod access_log;
pub mod audit;
pub mod base64;
pub mod build;
pub mod check;
pub mod cli;
pub mod corpus;
pub mod demo;
pub mod envoy;
pub mod limits;
pub mod paths;
pub mod play;
pub mod prices;
pub mod prometheus;
pub mod quantiles;
pub mod replay;
pub mod run;
pub mod schema;
pub mod serve;
pub mod stop;
pub mod store;
pub mod upstream;
