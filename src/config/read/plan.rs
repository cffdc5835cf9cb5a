//! Reads the section `plan`.

use super::{Json, Made, Path, object};
use crate::config::plan::{Enforce, Plan};

sections! {
    Plan { header, baggage, target_header, enforce, headers, max, idle_s }
}

super::limits::choices! {
    Enforce { "off" => Off, "warn" => Warn, "refuse" => Refuse }
}
