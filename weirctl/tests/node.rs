//! The second ring: the core's own unit tests, as Wasm, under Node.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::install::unreachable;
use support::{root, skipped};
use weirctl::paths;

/// The target that stands for the filter's: also 32 bits, also without threads, and Node can run it.
const TARGET: &str = "wasm32-unknown-unknown";

/// The program that runs a test binary under Node.
const RUNNER: &str = "wasm-bindgen-test-runner";

#[test]
fn the_cores_tests_pass_as_wasm_under_node() {
    if Command::new("node").arg("--version").output().is_err() {
        return skipped("the tests as Wasm under Node", "there is no `node`");
    }
    let runner = match runner() {
        Ok(runner) => runner,
        Err(why) => return skipped("the tests as Wasm under Node", &why),
    };
    // A target directory of its own: this test runs inside a cargo that holds the other one's lock.
    let output = nested_cargo()
        .args(["test", "--package", "weir", "--lib", "--test", "core", "--target", TARGET, "--no-default-features"])
        .env("CARGO_TARGET_DIR", paths::target().unwrap().join("node-ring"))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let passed = passed(&said);
    assert!(passed > 0, "no test ran: {said}\n{errors}");
    eprintln!("{passed} tests passed as Wasm under Node");
}

/// A cargo that does not inherit what the outer one was told.
fn nested_cargo() -> Command {
    let mut cargo = paths::cargo();
    // RUSTFLAGS would replace the flags that .cargo/config.toml has for the target.
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    cargo
}

/// How many tests the runner says it passed: its line `test result: ok. 12 passed; 0 failed; …`.
fn passed(said: &str) -> u64 {
    said.lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_once(" passed")?.0.parse::<u64>().ok())
        .sum()
}

/// The runner under `target/`, of the version that Cargo.lock has of `wasm-bindgen`; it is installed where it is missing.
fn runner() -> Result<PathBuf, String> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let version = locked(&lock, "wasm-bindgen").expect("wasm-bindgen is a dev-dependency");
    let home = paths::target().unwrap().join("tools").join(format!("{RUNNER}-{version}"));
    let binary = home.join("bin").join(RUNNER);
    if !binary.is_file() {
        install(&home, version)?;
    }
    Ok(binary)
}

fn install(home: &Path, version: &str) -> Result<(), String> {
    eprintln!("Installing {RUNNER} {version} (some minutes, once) …");
    let output = nested_cargo()
        .args(["install", "wasm-bindgen-cli", "--bin", RUNNER, "--version", version, "--quiet", "--root"])
        .arg(home)
        .env("CARGO_TARGET_DIR", home.join("build"))
        .output()
        .map_err(|error| error.to_string())?;
    // What it was built from is large and of no further use.
    let _ = std::fs::remove_dir_all(home.join("build"));
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    // A registry that does not answer is no fault of the code; a runner that does not build is.
    assert!(unreachable(&errors), "{RUNNER} {version} does not install:\n{errors}");
    Err(format!("the registry cannot be reached: {}", errors.lines().last().unwrap_or_default()))
}

/// The version of a package in a Cargo.lock.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0)
}

#[test]
fn the_runners_summary_is_understood() {
    let said = "\ntest stream::tests::a ... ok\n\ntest result: ok. 12 passed; 0 failed; 0 ignored; 3 filtered out\n";
    assert_eq!(passed(said), 12);
    assert_eq!(passed("no tests to run!"), 0);
}

#[test]
fn every_test_of_the_core_runs_under_node_too() {
    let mut without = Vec::new();
    for directory in ["src", "tests/core"] {
        rust_files(&root().join(directory), &mut |path, text| {
            let host = path.components().any(|part| part.as_os_str() == "host");
            let tests = text.lines().any(|line| line.trim() == "#[test]");
            if tests && !host && !text.contains("use wasm_bindgen_test::wasm_bindgen_test as test;") {
                without.push(path.to_owned());
            }
        });
    }
    assert!(without.is_empty(), "CONTRIBUTING.md has the two lines that these lack: {without:#?}");
}

fn rust_files(directory: &Path, each: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}
