//! Reads the section `slo`.

use super::{Objective, Slo};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, object, required};
use crate::config::values::Match;

impl Made for Objective {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.number()?)
    }
}

impl Made for Slo {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut name, mut matches) = (None, Match::default());
        let (mut first_token_ms, mut objective) = (None, None);
        object(
            from,
            path,
            &mut [
                ("name", &mut name),
                ("match", &mut matches),
                ("first_token_ms", &mut first_token_ms),
                ("objective", &mut objective),
            ],
        )?;
        Ok(Self {
            name,
            matches,
            first_token_ms: required(first_token_ms, "first_token_ms")?,
            objective: required(objective, "objective")?,
        })
    }
}
