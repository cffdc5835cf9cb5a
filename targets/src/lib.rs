//! The Wasm targets that this workspace builds for. A toolchain may lack them: a rustup with `RUSTUP_AUTO_INSTALL=0` installs nothing
//! of what `rust-toolchain.toml` names. So whatever builds Wasm looks first, and brings what is missing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[cfg(all(test, unix))]
mod tests;

/// The filter's own, which Envoy runs.
pub const FILTER: &str = "wasm32-wasip1";
/// The one on which the core's tests run under Node.
pub const NODE: &str = "wasm32-unknown-unknown";
/// All that `rust-toolchain.toml` names.
pub const ALL: &[&str] = &[FILTER, NODE];

/// Names a filter that is there already, for whoever cannot or will not build one.
pub const BUILT: &str = "WEIR_WASM";

/// A toolchain, as cargo uses it in a directory.
#[derive(Clone, Debug)]
pub struct Toolchain {
    directory: PathBuf,
    rustc: OsString,
    /// Its name, if rustup chose it.
    name: Option<OsString>,
    /// Where programs are, if not where this process's own `PATH` says; for tests.
    path: Option<OsString>,
}

impl Toolchain {
    /// The one of the cargo that runs this, else of the `rustc` that a call in this directory finds.
    pub fn of(directory: &Path) -> Self {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Self { directory: directory.to_owned(), rustc, name: std::env::var_os("RUSTUP_TOOLCHAIN"), path: None }
    }

    /// [`bring`](Self::bring), unless `WEIR_WASM` names a filter, so that none is built.
    ///
    /// # Errors
    /// As `bring`.
    pub fn bring_unless_built(&self, targets: &[&str], say: impl FnMut(&str)) -> Result<(), String> {
        if std::env::var_os(BUILT).is_some_and(|path| !path.is_empty()) { Ok(()) } else { self.bring(targets, say) }
    }

    /// Sees that these targets are there; brings with rustup those that are not, and says so. Processes that do so at once wait for
    /// one another.
    ///
    /// # Errors
    /// One line: what is missing, why it did not come, and what to do.
    pub fn bring(&self, targets: &[&str], mut say: impl FnMut(&str)) -> Result<(), String> {
        if self.missing(targets)?.is_empty() {
            return Ok(());
        }
        // Two rustups in one toolchain disturb each other. Its directory is the lock; where that cannot be, rustup says what is wrong.
        let sysroot = self.ask(&["--print", "sysroot"])?;
        let lock = File::open(&sysroot).ok();
        if let Some(lock) = &lock {
            let _ = lock.lock();
        }
        let missing = self.missing(targets)?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut rustup = self.command("rustup".into());
        rustup.args(["target", "add"]);
        if let Some(name) = &self.name {
            rustup.arg("--toolchain").arg(name);
        }
        rustup.args(&missing);
        let words = std::iter::once(rustup.get_program()).chain(rustup.get_args());
        let words = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        say(&format!("this toolchain lacks {}; bringing what is missing: {words}", missing.join(" and ")));
        let output = rustup.output();
        let missing = self.missing(targets)?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("the Rust target {} is missing: {}", missing.join(" and "), why(&words, &sysroot, &output)))
    }

    /// Which of these have no core library.
    fn missing<'a>(&self, targets: &[&'a str]) -> Result<Vec<&'a str>, String> {
        let mut missing = Vec::new();
        for target in targets {
            if self.core(target)?.is_none() {
                missing.push(*target);
            }
        }
        Ok(missing)
    }

    /// A target's core library, if it is there.
    ///
    /// # Errors
    /// There is no rustc, or it does not know the target.
    pub fn core(&self, target: &str) -> Result<Option<PathBuf>, String> {
        let directory = self.ask(&["--print", "target-libdir", "--target", target])?;
        let Ok(entries) = fs::read_dir(directory) else { return Ok(None) };
        let is_core = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        };
        Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).find(is_core))
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let rustc = self.rustc.to_string_lossy();
        let output = self.command(self.rustc.clone()).args(arguments).output();
        let output = output.map_err(|error| format!("{rustc} does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{rustc} {}: {}", arguments.join(" "), last_words(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self, program: OsString) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }
}

/// The arguments with which cargo builds the filter.
pub fn filter_build(cargo: &mut Command) {
    cargo.args(["build", "--release", "--target", FILTER, "--package", "weir", "--lib"]);
    // RUSTFLAGS of a test run would replace the target's own flags, and with them SIMD.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
}

/// Why a target did not come, and what to do.
fn why(words: &str, sysroot: &str, output: &io::Result<Output>) -> String {
    match output {
        Ok(output) if output.status.success() => {
            format!("rustup has it now, but another rustc is in use; install it for the one of {sysroot}")
        }
        Ok(output) => format!("`{words}` failed ({}); run it where there is a network", last_words(output)),
        Err(_) => format!("there is no rustup to bring it; install it for the rustc of {sysroot}"),
    }
}

/// The last line that is not empty, of what a program said was wrong.
fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(|| output.status.to_string(), str::to_owned)
}
