//! `cargo demo` and its like begin here: this sees that the Wasm targets are there, and only then has cargo build what takes minutes.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use weir_targets::{ALL, Toolchain};

fn main() -> ExitCode {
    if let Err(missing) = Toolchain::of(Path::new(".")).bring_unless_built(ALL, |line| eprintln!("{line}")) {
        eprintln!("error: {missing}");
        return ExitCode::FAILURE;
    }
    // In this process's place, so that signals and the terminal are the command's own.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let error = Command::new(cargo).args(std::env::args_os().skip(1)).exec();
    eprintln!("error: cargo does not start: {error}");
    ExitCode::FAILURE
}
