//! The second ring: the core's own unit tests, as Wasm, under Node.

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{root, skipped};
use wasm_bindgen_cli_support::Bindgen;
use weirctl::envoy::wasm::bring_targets;
use weirctl::paths;

/// The target that stands for the filter's: also 32 bits, also without threads, and Node can run it.
const TARGET: &str = "wasm32-unknown-unknown";

#[test]
fn the_cores_tests_pass_as_wasm_under_node() {
    if Command::new("node").arg("--version").output().is_err() {
        return skipped("the tests as Wasm under Node", "there is no `node`");
    }
    bring_targets(&root(), &[TARGET]).unwrap();
    let ran = std::thread::scope(|scope| {
        let running: Vec<_> = test_binaries().into_iter().map(|binary| scope.spawn(move || run(&binary))).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(ran.len(), 2, "the unit tests and those of tests/core");
    eprintln!("{} tests passed as Wasm under Node", ran.iter().sum::<u64>());
}

/// Builds the core's tests, and gives their .wasm.
fn test_binaries() -> Vec<PathBuf> {
    let mut cargo = paths::cargo();
    // What the outer cargo was told is not for this one: RUSTFLAGS would replace the flags that .cargo/config.toml has for the target.
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    let output = cargo
        .args(["test", "--no-run", "--package", "weir", "--lib", "--test", "core", "--target", TARGET])
        .args(["--no-default-features", "--features", "all", "--message-format", "json-render-diagnostics"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect()
}

/// Runs the tests of a binary; how many passed.
fn run(binary: &Path) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut bindgen = Bindgen::new();
    // The tests are plain exports of the Wasm, and nothing starts by itself.
    bindgen.nodejs(true).unwrap().typescript(false).export_wasm(true).emit_start(false);
    bindgen.input_path(binary).out_name("tests").generate(folder.path()).unwrap();
    let output = Command::new("node")
        .arg(root().join("weirctl/tests/node/run.cjs"))
        .arg(folder.path().join("tests.js"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}\n{errors}", binary.display());
    let passed = passed(&said);
    assert!(passed > 0, "{}: no test ran: {said}\n{errors}", binary.display());
    passed
}

/// How many tests the summary says to have passed: its line `test result: ok. 12 passed; 0 failed; …`.
fn passed(said: &str) -> u64 {
    said.lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_once(" passed")?.0.parse::<u64>().ok())
        .sum()
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
