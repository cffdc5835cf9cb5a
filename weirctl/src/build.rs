//! `weirctl wasm`: builds the filter as Envoy is to load it, with all rooms and with those alone that observe.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::envoy;
use crate::envoy::wasm::Flavour;

/// Where it goes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Copies the filter with all rooms there, too.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds both, and prints their paths.
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
    let observe = envoy::wasm::build_flavour(Flavour::Observe)?;
    println!("{}\n{}", path.display(), observe.display());
    Ok(ExitCode::SUCCESS)
}
