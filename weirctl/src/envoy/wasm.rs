//! Builds the filter.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use crate::paths;

/// The path of `weir.wasm`: the one that `WEIR_WASM` names, else a release build of the workspace's own, made now.
/// Cargo itself lets processes that build at once wait for one another.
///
/// # Errors
/// `WEIR_WASM` names no file, there is no workspace, or the build fails.
pub fn build() -> Result<PathBuf> {
    build_with(&["--quiet"])
}

/// The same with Cargo's own progress on standard error.
///
/// # Errors
/// As [`build`].
pub fn build_aloud() -> Result<PathBuf> {
    build_with(&[])
}

fn build_with(options: &[&str]) -> Result<PathBuf> {
    // Within a process once is enough: tests ask for it many times.
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    let path = make(options)?;
    *built = Some(path.clone());
    Ok(path)
}

fn make(options: &[&str]) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WEIR_WASM").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "WEIR_WASM names {}, which is no file", path.display());
        return Ok(path.canonicalize()?);
    }
    let root = paths::workspace()
        .context("the workspace that weirctl was built from is gone; set WEIR_WASM to a weir.wasm")?;
    let status = paths::cargo()
        .args(["build", "--release", "--target", "wasm32-wasip1", "--package", "weir", "--lib"])
        .args(options)
        .current_dir(root)
        // RUSTFLAGS of a test run would replace the target's own flags, and with them SIMD.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the filter does not build");
    Ok(paths::target()?.join("wasm32-wasip1/release/weir.wasm"))
}
