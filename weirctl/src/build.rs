//! `weirctl wasm`: builds the filter as Envoy is to load it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::envoy;

/// Where it goes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Copies it there, too.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds it, and prints its path.
///
/// # Errors
/// It does not build, or cannot be put there.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let built = envoy::wasm::build_aloud()?;
    let path: &Path = match &arguments.out {
        Some(out) => {
            std::fs::copy(&built, out).with_context(|| out.display().to_string())?;
            out
        }
        None => &built,
    };
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}
