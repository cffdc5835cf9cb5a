//! A small filter on the crate, over a host that does what no host should.

mod contexts;
mod host;
mod hostcalls;
mod logging;
