//! The subcommands. Each has a module of its own with its arguments and a `run`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{audit, build, check, corpus, demo, limits, prices, replay, run, schema, serve};

/// Times and counts LLM calls in a stock Envoy.
#[derive(Debug, Parser)]
#[command(name = "weirctl", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Weir in a real Envoy: builds it, brings Envoy, drives calls of all formats through it, shows what Envoy knows of them.
    Demo(demo::Arguments),
    /// A real endpoint behind Envoy and weir.
    Run(run::Arguments),
    /// Says what is wrong with a config, by path, or what it will do.
    Check(check::Arguments),
    /// Prints the config's JSON Schema.
    Schema,
    /// Checks the core against recorded calls with ground truth.
    Corpus(corpus::Args),
    /// Plays recorded answers through the core and prints the records.
    Replay(replay::Args),
    /// What a limit would have done to recorded traffic: refused, held, used, and by how much it was exceeded.
    Limits(limits::Arguments),
    /// Makes the config's `prices` from LiteLLM's price file, for models by name or those that access logs name.
    Prices(prices::Arguments),
    /// Whether the chained records of access logs are all there, and as they were written.
    Audit(audit::Arguments),
    /// Builds weir.wasm as Envoy is to load it, and prints its path.
    Wasm(build::Arguments),
    /// Serves the embedded LLM upstream alone, for tests of clients.
    #[command(hide = true)]
    Upstream(serve::Arguments),
}

impl Cli {
    /// Runs what was asked for; the exit code says how it went.
    ///
    /// # Errors
    /// What kept it from being done.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Run(arguments) => run::run(&arguments),
            Command::Check(arguments) => check::run(&arguments),
            Command::Schema => schema::run(),
            Command::Corpus(arguments) => corpus::run(&arguments).map(code),
            Command::Replay(arguments) => replay::run(&arguments).map(|()| ExitCode::SUCCESS),
            Command::Limits(arguments) => limits::run(&arguments).map(|()| ExitCode::SUCCESS),
            Command::Prices(arguments) => prices::run(&arguments),
            Command::Audit(arguments) => audit::run(&arguments),
            Command::Wasm(arguments) => build::run(&arguments),
            Command::Upstream(arguments) => serve::run(arguments),
        }
    }
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
