//! What weirctl's tests share, as far as it is used here.
#![allow(dead_code)]

#[path = "../../../weirctl/tests/support/deploy.rs"]
pub mod deploy;
#[path = "../../../weirctl/tests/support/http.rs"]
pub mod http;
#[path = "../../../weirctl/tests/support/yaml.rs"]
pub mod yaml;

/// The repository's root.
pub fn root() -> std::path::PathBuf {
    weirctl::paths::workspace().expect("tests run in the workspace").to_owned()
}
