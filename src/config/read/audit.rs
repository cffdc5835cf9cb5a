//! Reads the section `audit`.

use super::{Json, Made, Path, Slot, object, required};
use crate::config::audit::{Audit, Chain, Secret, default_key_id};

sections! {
    Audit { headers, trailers, sse_comment, chain, trail }
}

impl Made for Secret {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for Chain {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut key, mut key_id) = (None, default_key_id());
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [("key", &mut key), ("key_id", &mut key_id)];
        object(from, path, fields)?;
        Ok(Self { key: required(key, "key")?, key_id })
    }
}
