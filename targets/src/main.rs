//! `cargo demo` and its like begin here: this sees that the Wasm targets are there, and only then has cargo build what takes minutes.
//!
//! `weir-targets [--filter] ARGUMENTS OF CARGO`; with `--filter` the filter is built meanwhile, for what needs it next.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use weir_targets::{ALL, Toolchain, filter_build};

fn main() -> ExitCode {
    if let Err(missing) = Toolchain::of(Path::new(".")).bring_unless_built(ALL, |line| eprintln!("{line}")) {
        eprintln!("error: {missing}");
        return ExitCode::FAILURE;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--filter") {
        arguments.remove(0);
        let mut filter = Command::new(&cargo);
        filter_build(&mut filter);
        // Whoever needs the filter builds it once more, waits for this one, and says what is wrong.
        let _ = filter.arg("--quiet").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
    // In this process's place, so that signals and the terminal are the command's own.
    let error = Command::new(cargo).args(arguments).exec();
    eprintln!("error: cargo does not start: {error}");
    ExitCode::FAILURE
}
