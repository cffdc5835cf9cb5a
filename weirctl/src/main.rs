//! `weirctl`: the command for people.

use std::process::ExitCode;

use clap::Parser;
use weirctl::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weirctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
