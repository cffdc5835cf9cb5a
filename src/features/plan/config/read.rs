//! Reads the section `plan`.

use super::{Enforce, Plan, PlanAnswer, PlanTool, Pointer};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, choices, object, sections};

sections! {
    Plan { header, baggage, tool, answer, target_header, enforce, headers, max, idle_s }
}

choices! {
    Enforce { "off" => Off, "warn" => Warn, "refuse" => Refuse }
}

impl Made for Pointer {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for PlanTool {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut tool = Self::default();
        object(from, path, &mut [("name", &mut tool.name), ("pointer", &mut tool.pointer)])?;
        Ok(tool)
    }
}

impl Made for PlanAnswer {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut answer = Self::default();
        let fields: &mut [(&str, &mut dyn Slot)] =
            &mut [("match", &mut answer.matches), ("header", &mut answer.header), ("pointer", &mut answer.pointer)];
        object(from, path, fields)?;
        Ok(answer)
    }
}
