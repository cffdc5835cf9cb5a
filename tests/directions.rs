//! The core's layers: a module knows what stands below it, never what stands above or beside it. A room of a feature knows no
//! other room.
#![cfg(not(target_family = "wasm"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the bottom up; a row knows the rows below it, and of its own row only itself.
const LAYERS: &[&[&str]] = &[
    &["units", "mac", "port", "json", "baggage"],
    &["api", "record"],
    &["labels", "shared", "config"],
    &["metrics", "wire"],
    &["signals"],
    &["call"],
    // Rooms: `features::limits` and the others, each a module of its own here.
    &["features::*"],
    &["settings"],
    &["features"],
    &["worker", "report"],
    &["stream"],
    &["host"],
];

/// What a module's row and name are: a room is one of many in its row.
fn layer(module: &str) -> Option<(usize, String)> {
    let mut parts = module.split("::");
    let (first, second) = (parts.next()?, parts.next());
    let room =
        second.filter(|second| first == "features" && second.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    let (name, row) = match room {
        Some(room) => (format!("features::{room}"), "features::*"),
        None => (first.to_owned(), first),
    };
    LAYERS.iter().position(|names| names.contains(&row)).map(|at| (at, name))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out)
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path)
        }
    }
}

/// `src/wire/sse.rs` is `wire::sse`.
fn module(root: &Path, file: &Path) -> String {
    let name = file.strip_prefix(root).unwrap().with_extension("");
    name.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::")
}

/// What a file uses of the crate: `use crate::a::b::{C, D};` and `crate::a::b::C` alike.
fn used(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| {
        line.split("crate::").skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            rest[..end].trim_end_matches(':').to_owned()
        })
    })
}

fn all() -> (PathBuf, Vec<PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    (root, files)
}

/// Of each module at the top, and each room: what of those it knows.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let (root, files) = all();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let own = module(&root, &file);
        if own == "lib" {
            continue;
        }
        let (row, name) = layer(&own).unwrap_or_else(|| panic!("{own} has no layer"));
        let knows = known.entry(name.clone()).or_default();
        for used in used(&std::fs::read_to_string(&file).unwrap()) {
            let Some((below, other)) = layer(&used) else { continue };
            assert!(below < row || other == name, "{own} knows {used}");
            if other != name {
                knows.insert(other);
            }
        }
    }
    known
}

#[test]
fn a_module_knows_only_what_stands_below_it() {
    let known = known();
    let seen: usize = known.values().map(BTreeSet::len).sum();
    assert!(seen > 50, "only {seen} uses were seen");
}

#[test]
fn no_room_knows_another() {
    let rooms: Vec<_> = known().into_iter().filter(|(name, _)| name.starts_with("features::")).collect();
    assert!(rooms.len() >= 10, "{} rooms", rooms.len());
    for (room, knows) in rooms {
        assert!(knows.iter().all(|other| !other.starts_with("features")), "{room} knows {knows:?}");
    }
}

#[test]
fn a_room_has_a_folder_a_line_in_the_table_and_a_feature_of_its_own() {
    let (root, _) = all();
    let cargo = std::fs::read_to_string(root.with_file_name("Cargo.toml")).unwrap();
    let table = std::fs::read_to_string(root.join("features.rs")).unwrap();
    let all = cargo.lines().find(|line| line.starts_with("all = [")).expect("the feature `all`");
    for entry in std::fs::read_dir(root.join("features")).unwrap() {
        let path = entry.unwrap().path();
        let room = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !path.is_dir() {
            continue;
        }
        assert!(path.with_extension("rs").is_file(), "{room} has no head");
        assert!(table.contains(&format!("pub mod {room};")), "{room} is not in the table");
        assert!(all.contains(&format!("\"{room}\"")), "{room} is not among all");
        assert!(cargo.lines().any(|line| line.starts_with(&format!("{room} = ["))), "{room} has no feature");
        assert!(table.contains(&format!("#[cfg(feature = \"{room}\")]")), "{room} cannot be left out");
    }
}

#[test]
fn the_codemap_says_what_each_module_knows() {
    let page = include_str!("../ARCHITECTURE.md");
    for (name, knows) in known() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("`{name}` is not in the codemap"));
        let said = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap().trim();
        let knows: Vec<_> = knows.iter().map(String::as_str).collect();
        let knows = if knows.is_empty() { "nothing".to_owned() } else { knows.join(" ") };
        assert_eq!(said, knows, "what `{name}` knows");
    }
}

#[test]
fn the_core_calls_no_host() {
    let (root, files) = all();
    for file in files.iter().filter(|f| !module(&root, f).starts_with("host")) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("extern \"C\"") && !text.contains("weir_abi"), "{} talks to the host", file.display());
    }
}
