//! `weirctl schema`: the config's JSON Schema, from the code that reads it.

use std::process::ExitCode;

use anyhow::Result;
use weir::settings::Config;

/// The schema as `docs/config.schema.json` has it.
pub fn text() -> String {
    format!("{:#}\n", schemars::schema_for!(Config).to_value())
}

/// Prints it.
///
/// # Errors
/// None.
pub fn run() -> Result<ExitCode> {
    print!("{}", text());
    Ok(ExitCode::SUCCESS)
}
