//! The core's layers: a module knows what stands below it, never what stands above or beside it.
#![cfg(not(target_family = "wasm"))]

use std::path::{Path, PathBuf};

/// From the bottom up; a row knows the rows below it, and of its own row only itself.
const LAYERS: &[&[&str]] = &[
    &["units", "mac", "port", "json", "baggage", "labels", "metrics", "record", "api", "config"],
    &["shared"],
    &["policies::gcra", "policies::lease", "policies::learned", "policies::lineage"],
    &["policies::share"],
    &["policies::limits", "policies::retry"],
    &["policies::account", "policies::plan", "policies::tools"],
    &[
        "end",
        "wire",
        "signals::cost",
        "signals::identity",
        "signals::kind",
        "signals::slo",
        "signals::estimate",
        "signals::gaps",
        "signals::chain",
    ],
    &["signals::timing", "signals::trail"],
    &["worker"],
    &["report"],
    &["stream"],
    &["host"],
];

fn layer(module: &str) -> Option<(usize, &'static str)> {
    let fits = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    LAYERS.iter().enumerate().find_map(|(i, row)| row.iter().find(|name| fits(name)).map(|name| (i, *name)))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { sources(&path, out) } else { out.push(path) }
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

#[test]
fn a_module_knows_only_what_stands_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut seen = 0;
    for file in files {
        let own = module(&root, &file);
        let Some((own_layer, own_name)) = layer(&own) else {
            assert!(["lib", "signals", "policies"].contains(&own.as_str()), "{own} has no layer");
            continue;
        };
        for used in used(&std::fs::read_to_string(&file).unwrap()) {
            let Some((layer, name)) = layer(&used) else { continue };
            assert!(layer < own_layer || name == own_name, "{own} knows {used}");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} uses were seen");
}

#[test]
fn only_the_host_knows_the_abi() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files.iter().filter(|f| !module(&root, f).starts_with("host")) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("extern \"C\""), "{} talks to the host", file.display());
    }
}
