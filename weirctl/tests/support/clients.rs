//! Real clients from the registries, with the scripts that make calls with them (`tests/clients`).

use std::fs;
use std::process::Command;

use super::install::{installed, pip, run, venv};
use super::{root, skipped};

/// Python with the SDKs and a script of them; nothing (said loudly) where the registry cannot be reached.
///
/// # Panics
/// If they do not install for another reason.
pub fn python(script: &str) -> Option<Command> {
    python_of("python", script)
}

/// Python with the `mcp` package and a script of it; nothing (said loudly) where the registry cannot be reached.
///
/// # Panics
/// If it does not install for another reason.
pub fn mcp(script: &str) -> Option<Command> {
    python_of("mcp", script)
}

/// Python with `litellm` and a script of it; nothing (said loudly) where the registry cannot be reached.
///
/// # Panics
/// If it does not install for another reason.
pub fn litellm(script: &str) -> Option<Command> {
    python_of("cost", script)
}

/// Python with what a folder of scripts requires.
fn python_of(folder: &str, script: &str) -> Option<Command> {
    let scripts = root().join("tests/clients").join(folder);
    let requirements = scripts.join("requirements.txt");
    let home = installed(folder, &fs::read_to_string(&requirements).unwrap(), |home| {
        venv(home)?;
        run(pip(home).args(["install", "--requirement"]).arg(&requirements))
    })?;
    let mut python = Command::new(home.join("venv/bin/python"));
    python.arg(scripts.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(without_proxies(python))
}

/// Node with the npm packages and a script of them; nothing (said loudly) where there is no Node or the registry cannot be reached.
///
/// # Panics
/// If they do not install for another reason.
pub fn node(script: &str) -> Option<Command> {
    let scripts = root().join("tests/clients/node");
    if Command::new("npm").arg("--version").output().is_err() {
        skipped("the npm packages", "there is no `npm`");
        return None;
    }
    let package = scripts.join("package.json");
    let home = installed("node", &fs::read_to_string(&package).unwrap(), |home| {
        fs::copy(&package, home.join("package.json")).map_err(|error| error.to_string())?;
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(home))
    })?;
    // A module is looked for from where the script stands.
    fs::copy(scripts.join(script), home.join(script)).unwrap();
    let mut node = Command::new("node");
    node.arg(home.join(script));
    Some(without_proxies(node))
}

fn without_proxies(mut command: Command) -> Command {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}
