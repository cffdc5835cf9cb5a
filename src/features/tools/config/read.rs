//! Reads the section `tools`.

use super::{ToolArguments, Tools};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, object, sections};

sections! {
    Tools { names, max_names, window_s, keys, arguments }
    ToolArguments { max_bytes, redact }
}
