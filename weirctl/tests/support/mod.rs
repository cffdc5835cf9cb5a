//! What several test files share. Each of them uses a part of it.
#![allow(dead_code)]

pub mod clients;
pub mod collector;
pub mod committed;
pub mod deploy;
pub mod failing;
pub mod http;
pub mod install;
pub mod llama;
pub mod yaml;

use std::path::PathBuf;

/// The repository's root.
pub fn root() -> PathBuf {
    weirctl::paths::workspace().expect("tests run in the workspace").to_owned()
}

/// Says that a check did not run, so that nobody takes its silence for success. Written past the test harness, which
/// shows a passing test's output to nobody.
pub fn skipped(what: &str, why: &str) {
    use std::io::Write;
    let line = format!("\n!! SKIPPED: {what}: {why}\n");
    // Where nobody reads stderr there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
