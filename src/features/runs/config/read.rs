//! Reads the section `runs`.

use super::Runs;
use crate::config::json::{Json, Path};
use crate::config::read::{Made, object, sections};

sections! {
    Runs { max, idle_s, header, outcomes }
}
