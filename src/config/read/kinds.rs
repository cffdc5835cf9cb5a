//! Reads the sections `kinds` and `runs`.

use super::{Json, Made, Path, object, required};
use crate::config::kinds::{KindMatch, KindName, KindRule};
use crate::config::runs::Runs;

sections! {
    KindMatch { route, path, host, method }
    Runs { max, idle_s, header, outcomes }
}

impl Made for KindName {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for KindRule {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut matches, mut kind, mut name) = (KindMatch::default(), None, None);
        object(from, path, &mut [("match", &mut matches), ("kind", &mut kind), ("name", &mut name)])?;
        Ok(Self { matches, kind: required(kind, "kind")?, name })
    }
}
