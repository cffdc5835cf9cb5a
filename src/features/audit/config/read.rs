//! Reads the section `audit`.

use super::{Chain, default_key_id};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, object, required};

impl Made for Chain {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut key, mut key_id) = (None, default_key_id());
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [("key", &mut key), ("key_id", &mut key_id)];
        object(from, path, fields)?;
        Ok(Self { key: required(key, "key")?, key_id })
    }
}
