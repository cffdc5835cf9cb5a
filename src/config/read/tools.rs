//! Reads the section `tools`.

use super::{Json, Made, Path, object};
use crate::config::tools::{ToolArguments, Tools};

sections! {
    Tools { names, max_names, window_s, keys, arguments }
    ToolArguments { max_bytes, redact }
}
