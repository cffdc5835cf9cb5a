//! Reads the section `kinds`.

use super::{KindMatch, KindRule};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, object, required, sections};

sections! {
    KindMatch { route, path, host, method }
}

impl Made for KindRule {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut matches, mut kind, mut name) = (KindMatch::default(), None, None);
        object(from, path, &mut [("match", &mut matches), ("kind", &mut kind), ("name", &mut name)])?;
        Ok(Self { matches, kind: required(kind, "kind")?, name })
    }
}
