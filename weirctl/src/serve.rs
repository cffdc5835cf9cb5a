//! `weirctl upstream`: the embedded upstream alone.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;

use crate::upstream::{Options, Upstream};

/// Arguments of `weirctl upstream`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; port 0 is any free one. The URL is the first line printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where randomness comes from that a request does not steer.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Answers without any delay.
    #[arg(long)]
    at_once: bool,
}

/// Serves until it is interrupted.
///
/// # Errors
/// Nothing can listen there.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let options = Options { seed: arguments.seed, at_once: arguments.at_once, created: None, faults: None };
    let upstream = Upstream::start(arguments.listen, options)?;
    println!("http://{}", upstream.address());
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
