//! Builds the Wasm filters.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use weirctl::{envoy, paths};

use crate::variant::Parts;

/// Builds weir (or takes the .wasm that is named) and the filters it is compared with. The build that only observes is the one that
/// is named, or stands beside weir's.
///
/// # Errors
/// A build fails.
pub fn build(weir: Option<&Path>, observe: Option<&Path>, against: Option<&Path>) -> Result<Parts> {
    let named = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
    let weir = match weir {
        Some(path) => named(path)?,
        None => envoy::wasm::build()?,
    };
    let beside = weir.with_file_name("weir-observe.wasm");
    let observe = match observe {
        Some(path) => Some(named(path)?),
        None => beside.is_file().then_some(beside),
    };
    Ok(Parts { weir, observe, against: against.map(named).transpose()?, filters: filters()? })
}

fn filters() -> Result<PathBuf> {
    let root = paths::workspace().context("the workspace that this was built from is gone")?;
    envoy::wasm::bring_targets(root, &["wasm32-wasip1"])?;
    let status = paths::cargo()
        .args(["build", "--quiet", "--release", "--target", "wasm32-wasip1", "--package", "weir-bench-filters"])
        .current_dir(root)
        // RUSTFLAGS of a test run would replace the target's own.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the filters to compare with do not build");
    Ok(paths::target()?.join("wasm32-wasip1/release/weir_bench_filters.wasm"))
}
