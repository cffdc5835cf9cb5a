//! Reads the key `trail` of the section `audit`.

use super::{
    HandOut, Idle, MAX_SOURCES, SourcePointer, Trail, TrailPath, TrailRecords, TrailRuns, default_operator_header,
};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, choices, object, required};
use crate::config::values::HeaderName;

choices! {
    HandOut { "start" => Start, "always" => Always }
}

impl Made for TrailPath {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for SourcePointer {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for TrailRuns {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for TrailRecords {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for Idle {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for Trail {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut trail_path, mut key, mut operator_key) = (TrailPath::default(), None, None);
        let (mut tokens, mut operator_header) = (HandOut::default(), default_operator_header());
        let mut sources: Vec<HeaderName> = Vec::new();
        let mut source_pointers: Vec<SourcePointer> = Vec::new();
        let (mut runs, mut records, mut forget_after_s) =
            (TrailRuns::default(), TrailRecords::default(), Idle::default());
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            ("path", &mut trail_path),
            ("key", &mut key),
            ("tokens", &mut tokens),
            ("operator_key", &mut operator_key),
            ("operator_header", &mut operator_header),
            ("sources", &mut sources),
            ("source_pointers", &mut source_pointers),
            ("runs", &mut runs),
            ("records", &mut records),
            ("forget_after_s", &mut forget_after_s),
        ];
        object(from, path, fields)?;
        let key = required(key, "key")?;
        for (name, many) in [("sources", sources.len()), ("source_pointers", source_pointers.len())] {
            if many > MAX_SOURCES {
                path.key(name);
                return Err(format!("{many} of them, at most {MAX_SOURCES}"));
            }
        }
        Ok(Self {
            path: trail_path,
            key,
            tokens,
            operator_key,
            operator_header,
            sources,
            source_pointers,
            runs,
            records,
            forget_after_s,
        })
    }
}
