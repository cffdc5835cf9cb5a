//! From a tree of JSON to the values of the configuration, with the path of whatever is wrong.
//!
//! By hand, and through one tree: derived readers, each made anew for every type, were a fifth of what Envoy compiles
//! when it loads the filter. serde's attributes say the same for the schema and for writing; a test reads back what they
//! write. Each section's reader stands under the section.

/// Reads sections whose keys may all be left out. Every field is named, or this does not compile.
macro_rules! sections {
    ($($section:ident { $($field:ident),* })*) => {$(
        impl Made for $section {
            fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
                let mut section = Self::default();
                let Self { $($field),* } = &mut section;
                object(from, path, &mut [$((stringify!($field), $field)),*])?;
                Ok(section)
            }
        }
    )*};
}

/// Reads a choice of one name out of a few.
macro_rules! choices {
    ($($choice:ident { $($name:literal => $value:ident),* })*) => {$(
        impl Made for $choice {
            fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
                let names = [$($name),*];
                let values = [$(Self::$value),*];
                let at = crate::config::read::choice(from, &names)?;
                values.get(at).copied().ok_or_else(String::new)
            }
        }
    )*};
}

pub(crate) use {choices, sections};

use std::num::{NonZeroU32, NonZeroU64};

use super::json::{Json, Path};

/// What can be made of a value.
pub(crate) trait Made: Sized {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String>;
}

/// What can be replaced by a value, whatever its type.
pub(crate) trait Slot {
    fn fill(&mut self, from: &Json, path: &mut Path) -> Result<(), String>;
}

impl<T: Made> Slot for T {
    fn fill(&mut self, from: &Json, path: &mut Path) -> Result<(), String> {
        *self = T::read(from, path)?;
        Ok(())
    }
}

/// Reads an object into its fields; those that it leaves out stay as they are.
pub(crate) fn object(from: &Json, path: &mut Path, fields: &mut [(&str, &mut dyn Slot)]) -> Result<(), String> {
    let Json::Object(entries) = from else { return Err(from.is_no("an object")) };
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    for (key, value) in entries {
        let back = path.key(key);
        let Some((name, slot)) = fields.iter_mut().find(|(name, _)| name == key) else {
            return Err(unknown("field", key, &names));
        };
        let left = names.len();
        names.retain(|other| other != name);
        if names.len() == left {
            return Err(format!("duplicate field `{key}`"));
        }
        slot.fill(value, path)?;
        path.back(back);
    }
    Ok(())
}

pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    format!("unknown {what} `{name}`, expected one of `{}`", known.join("`, `"))
}

pub(crate) fn required<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("missing field `{name}`"))
}

impl Made for bool {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        if let Json::Bool(value) = from { Ok(*value) } else { Err(from.is_no("a boolean")) }
    }
}

impl Made for String {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        if let Json::Text(text) = from { Ok(text.clone()) } else { Err(from.is_no("a string")) }
    }
}

impl Made for u16 {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        from.whole(0, Self::MAX.into()).map(|n| n as Self)
    }
}

impl Made for NonZeroU32 {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        from.whole(1, u32::MAX.into()).map(|n| Self::new(n as u32).unwrap_or(Self::MIN))
    }
}

impl Made for NonZeroU64 {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        from.whole(1, u64::MAX).map(|n| Self::new(n).unwrap_or(Self::MIN))
    }
}

impl<T: Made> Made for Option<T> {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        if matches!(from, Json::Null) { Ok(None) } else { T::read(from, path).map(Some) }
    }
}

impl<T: Made> Made for Vec<T> {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let Json::List(values) = from else { return Err(from.is_no("a list")) };
        let mut made = Vec::new();
        for value in values {
            let back = path.element(made.len());
            made.push(T::read(value, path)?);
            path.back(back);
        }
        Ok(made)
    }
}

impl Made for u32 {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        from.whole(0, Self::MAX.into()).map(|n| n as Self)
    }
}

impl Made for u64 {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        from.whole(0, Self::MAX)
    }
}

pub(crate) fn choice(from: &Json, names: &[&str]) -> Result<usize, String> {
    let Json::Text(text) = from else { return Err(from.is_no("a string")) };
    names.iter().position(|name| name == text).ok_or_else(|| unknown("variant", text, names))
}
