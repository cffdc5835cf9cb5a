//! Where the workspace is, and where what was built and brought is kept.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The workspace that this command was built from, if it is still there.
pub fn workspace() -> Option<&'static Path> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    root.join("Cargo.toml").is_file().then_some(root)
}

/// The directory for what is built or brought: Cargo's target directory, or a cache directory where there is no
/// workspace (the command was installed and its source is gone).
///
/// # Errors
/// Cargo does not answer, or there is no home directory.
pub fn target() -> Result<&'static Path> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(dir) = TARGET.get() {
        return Ok(dir);
    }
    let dir = match workspace() {
        Some(root) => cargo_target(root)?,
        None => cache()?,
    };
    Ok(TARGET.get_or_init(|| dir))
}

/// The `cargo` that runs or built this.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cargo_target(root: &Path) -> Result<PathBuf> {
    let metadata = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo does not start; weirctl needs it to build the filter")?;
    ensure!(metadata.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&metadata.stderr).trim());
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(dir.into())
}

fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("weir"))
}
