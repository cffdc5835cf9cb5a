use std::sync::{Arc, Barrier};
use std::{fs, thread};

use tempfile::TempDir;

use super::*;

/// A rustc whose sysroot is the folder beside it.
const RUSTC: &str = r#"
case "$*" in
  '--print sysroot') echo "$here/sysroot" ;;
  '--print target-libdir --target wasm32-'*) echo "$here/sysroot/lib/rustlib/$4/lib" ;;
  *) echo "error: could not find specification for target" >&2; exit 1 ;;
esac"#;

/// A rustup that brings what it is asked for, in its time.
const BRINGS: &str = r#"
echo "$*" >> "$here/calls"
for target in "$@"; do
  case "$target" in wasm32-*)
    /bin/mkdir -p "$here/sysroot/lib/rustlib/$target/lib"
    /bin/sleep 0.1
    : > "$here/sysroot/lib/rustlib/$target/lib/libcore-0123.rlib"
  esac
done"#;

/// One that has no network.
const OFFLINE: &str = r#"
echo "info: downloading component 'rust-std'" >&2
echo "error: could not download file: dns error" >&2
exit 1"#;

/// One that serves another rustc.
const ELSEWHERE: &str = "exit 0";

/// A folder with a rustc, a rustup and a toolchain that has some targets.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(rustup: Option<&str>, has: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = [Some(("rustc", RUSTC)), rustup.map(|script| ("rustup", script))];
        for (name, script) in programs.into_iter().flatten() {
            let (path, text) = (folder.path().join(name), folder.path().join(format!("{name}.sh")));
            fs::write(&text, format!("#!/bin/sh\nhere=${{0%/*}}\n{script}\n")).unwrap();
            // Not written by this process: a child of another test's might hold the file open, and then it does not start.
            assert!(Command::new("install").args(["-m", "755"]).args([&text, &path]).status().unwrap().success());
        }
        fs::create_dir(folder.path().join("sysroot")).unwrap();
        for target in has {
            let libraries = folder.path().join("sysroot/lib/rustlib").join(target).join("lib");
            fs::create_dir_all(&libraries).unwrap();
            fs::write(libraries.join("libcore-0123.rlib"), "").unwrap();
            fs::write(libraries.join("libcore-0123.rmeta"), "").unwrap();
        }
        Self { folder }
    }

    fn toolchain(&self, name: Option<&str>) -> Toolchain {
        let here = self.folder.path();
        Toolchain {
            directory: here.to_owned(),
            rustc: "rustc".into(),
            name: name.map(Into::into),
            path: Some(here.into()),
        }
    }

    /// What comes of it, and what was said.
    fn bring(&self, name: Option<&str>) -> (Result<(), String>, Vec<String>) {
        let mut said = Vec::new();
        let done = self.toolchain(name).bring(ALL, |line| said.push(line.to_owned()));
        (done, said)
    }

    /// The calls of rustup.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

#[test]
fn what_is_there_needs_no_rustup_and_is_not_talked_about() {
    for rustup in [None, Some(OFFLINE), Some(BRINGS)] {
        let machine = Machine::new(rustup, ALL);
        assert_eq!(machine.bring(None), (Ok(()), Vec::new()));
        assert!(machine.calls().is_empty());
    }
}

#[test]
fn what_is_missing_is_brought_aloud() {
    let both = format!("{FILTER} {NODE}");
    for (has, name, called) in [
        (&[][..], None, format!("target add {both}")),
        (&[][..], Some("1.95.0"), format!("target add --toolchain 1.95.0 {both}")),
        (&[FILTER][..], Some("1.95.0"), format!("target add --toolchain 1.95.0 {NODE}")),
        (&[NODE][..], None, format!("target add {FILTER}")),
    ] {
        let machine = Machine::new(Some(BRINGS), has);
        let (done, said) = machine.bring(name);
        assert_eq!(done, Ok(()));
        assert_eq!(machine.calls(), [called.as_str()]);
        assert!(said.len() == 1 && said[0].ends_with(&format!(": rustup {called}")), "{said:?}");
        assert_eq!(machine.bring(name), (Ok(()), Vec::new()), "it is there now");
    }
}

#[test]
fn a_folder_without_a_core_library_is_no_target() {
    let machine = Machine::new(Some(BRINGS), ALL);
    let libraries = machine.folder.path().join("sysroot/lib/rustlib").join(NODE).join("lib");
    fs::remove_file(libraries.join("libcore-0123.rlib")).unwrap();
    assert_eq!(machine.bring(None).0, Ok(()));
    assert_eq!(machine.calls(), [format!("target add {NODE}")]);
}

#[test]
fn what_cannot_be_brought_is_said_in_one_line_with_what_to_do() {
    for (rustup, has, words) in [
        (None, &[FILTER][..], &[NODE, "there is no rustup", "install it for the rustc of", "sysroot"][..]),
        (
            Some(OFFLINE),
            &[],
            &[FILTER, NODE, "rustup target add", "error: could not download file: dns error", "network"],
        ),
        (Some(ELSEWHERE), &[NODE], &[FILTER, "another rustc is in use", "sysroot"]),
    ] {
        let (done, _) = Machine::new(rustup, has).bring(None);
        let error = done.unwrap_err();
        assert!(!error.contains('\n'), "{error}");
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert!(!has.iter().any(|there| error.contains(there)), "{error}");
    }
}

#[test]
fn a_machine_without_rustc_and_a_target_that_it_does_not_know_are_said_too() {
    let machine = Machine::new(Some(BRINGS), &[]);
    let unknown = machine.toolchain(None).bring(&["z80"], |_| ()).unwrap_err();
    assert!(unknown.contains("could not find specification"), "{unknown}");
    fs::remove_file(machine.folder.path().join("rustc")).unwrap();
    let none = machine.bring(None).0.unwrap_err();
    assert!(none.starts_with("rustc does not start"), "{none}");
}

#[test]
fn those_who_ask_at_once_bring_it_once() {
    let machine = Arc::new(Machine::new(Some(BRINGS), &[]));
    let start = Arc::new(Barrier::new(6));
    let askers = (0..6).map(|_| {
        let (machine, start) = (Arc::clone(&machine), Arc::clone(&start));
        thread::spawn(move || {
            start.wait();
            machine.bring(None).0
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        assert_eq!(asker.join().unwrap(), Ok(()));
    }
    assert_eq!(machine.calls().len(), 1);
}

#[test]
fn the_targets_are_those_of_the_toolchain_file() {
    let file = include_str!("../../rust-toolchain.toml");
    let line = file.lines().find_map(|line| line.strip_prefix("targets = ")).unwrap();
    assert_eq!(line, format!("{ALL:?}"));
}
