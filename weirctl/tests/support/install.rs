//! What tests install from the registries, once, under `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weirctl::paths;

use super::skipped;

/// The directory of this name under `target/clients`, made by `install` if what `wanted` lists is not in it yet; nothing (said
/// loudly) where the registry cannot be reached. Tests that ask at once wait for one another.
///
/// # Panics
/// If it does not install for another reason.
pub fn installed(name: &str, wanted: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let home = paths::target().unwrap().join("clients").join(name);
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join(".lock")).unwrap();
    lock.lock().unwrap();
    let done = home.join(".installed");
    if fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
        return Some(home);
    }
    eprintln!("Installing under {} …", home.display());
    match install(&home) {
        Ok(()) => {
            fs::write(&done, wanted).unwrap();
            Some(home)
        }
        Err(said) if unreachable(&said) => {
            let last = said.trim_end().lines().last().unwrap_or_default();
            skipped(&format!("what needs {name}"), &format!("the registry cannot be reached: {last}"));
            None
        }
        Err(said) => panic!("{name} does not install:\n{said}"),
    }
}

/// A new Python environment, in `venv` of a directory.
///
/// # Errors
/// What Python or pip said.
pub fn venv(home: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home.join("venv")))?;
    // An old pip fails on some current packages.
    run(pip(home).args(["install", "--upgrade", "pip"]))
}

/// The pip of the environment in a directory.
pub fn pip(home: &Path) -> Command {
    let mut pip = Command::new(home.join("venv/bin/python"));
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Runs a command to its end.
///
/// # Errors
/// What it said, if it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?}\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// What package clients say when nobody answers them; anything else is wrong with what was asked for.
pub const UNREACHABLE: &[&str] = &[
    // pip
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Connection refused",
    "Read timed out",
    "ConnectTimeoutError",
    "Network is unreachable",
    // npm
    "ENOTFOUND",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "ENETUNREACH",
    // cargo
    "failed to fetch",
    "failed to download",
    "failed to query",
    "download of",
];

/// Whether that is what one of them said.
pub fn unreachable(said: &str) -> bool {
    UNREACHABLE.iter().any(|words| said.contains(words))
}
