//! Builds the filter.

mod by_table;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Error, Result, ensure};
use sha2::{Digest, Sha256};
use weir_targets::Toolchain;

use crate::paths;

/// Which of its rooms a filter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// All of them.
    Full,
    /// It records, counts and judges by objectives, and holds nothing: for proxies beside a gateway that does.
    Observe,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Flavour; 2] = [Flavour::Full, Flavour::Observe];

    /// The file's name under the target folder.
    pub fn file(self) -> &'static str {
        match self {
            Flavour::Full => "weir.wasm",
            Flavour::Observe => "weir-observe.wasm",
        }
    }

    /// The Cargo features of its rooms.
    fn features(self) -> &'static str {
        match self {
            Flavour::Full => "host,all",
            Flavour::Observe => "host,slo",
        }
    }
}

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

/// The path of a release build with these rooms, made now.
///
/// # Errors
/// As [`build`].
pub fn build_flavour(flavour: Flavour) -> Result<PathBuf> {
    make(&["--quiet"], flavour)
}

fn build_with(options: &[&str]) -> Result<PathBuf> {
    // Within a process once is enough: tests ask for it many times.
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("WEIR_WASM").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "WEIR_WASM names {}, which is no file", path.display());
        return Ok(path.canonicalize()?);
    }
    let path = make(options, Flavour::Full)?;
    *built = Some(path.clone());
    Ok(path)
}

fn make(options: &[&str], flavour: Flavour) -> Result<PathBuf> {
    let root = paths::workspace()
        .context("the workspace that weirctl was built from is gone; set WEIR_WASM to a weir.wasm")?;
    bring_targets(root, &[weir_targets::FILTER])?;
    let target = paths::target()?;
    // Cargo puts what it builds in one place, whatever its features: until it is copied nobody else is to build.
    let alone = std::fs::File::create(target.join(".weir-wasm.lock"))?;
    alone.lock()?;
    let mut cargo = paths::cargo();
    weir_targets::filter_build(&mut cargo);
    cargo.args(["--no-default-features", "--features", flavour.features()]);
    let status = cargo.args(options).current_dir(root).status().context("cargo does not start")?;
    ensure!(status.success(), "the filter does not build");
    let built = target.join(weir_targets::FILTER).join("release/weir.wasm");
    let finished = target.join(flavour.file());
    finish(&built, &finished).with_context(|| format!("{} cannot be made", finished.display()))?;
    Ok(finished)
}

/// Sees that the toolchain has these targets; the build script did too, but that may be long ago.
///
/// # Errors
/// One is missing and cannot be brought.
pub fn bring_targets(root: &Path, targets: &[&str]) -> Result<()> {
    Toolchain::of(root).bring(targets, |line| eprintln!("weirctl: {line}")).map_err(Error::msg)
}

/// Makes of what the compiler built what Envoy is to load, unless it is there already. Others may do the same at the same time, and
/// read what is there meanwhile.
fn finish(built: &Path, finished: &Path) -> Result<()> {
    let wasm = std::fs::read(built)?;
    let mut hash = Sha256::new();
    hash.update(include_str!("wasm/by_table.rs"));
    hash.update(&wasm);
    let source = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let made_of = finished.with_extension("wasm.sha256");
    if finished.is_file() && std::fs::read_to_string(&made_of).is_ok_and(|there| there == source) {
        return Ok(());
    }
    replace(finished, &by_table::rewritten(&wasm)?)?;
    replace(&made_of, source.as_bytes())
}

/// Puts a file in another's place at once.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().context("no directory")?)?;
    file.write_all(bytes)?;
    // A temporary file is its owner's alone; this one is for whoever Envoy runs as.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
