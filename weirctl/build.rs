//! Sees that the Wasm targets are there before anything long is built: what uses this crate builds Wasm sooner or later.

use std::path::Path;

use weir_targets::{ALL, BUILT, Toolchain};

fn main() {
    println!("cargo::rerun-if-env-changed={BUILT}");
    let toolchain = Toolchain::of(Path::new(env!("CARGO_MANIFEST_DIR")));
    if let Err(missing) = toolchain.bring_unless_built(ALL, |line| println!("cargo::warning={line}")) {
        println!("cargo::error={missing}");
        return;
    }
    // Whoever takes a target away has this run again.
    for target in ALL {
        if let Ok(Some(core)) = toolchain.core(target) {
            println!("cargo::rerun-if-changed={}", core.display());
        }
    }
}
