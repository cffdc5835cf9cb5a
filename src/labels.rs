//! Label values, bounded: configured ones pass, others up to a cap, then `other`.
//!
//! A metric once defined is never freed by Envoy, so what a client can make up must not reach a metric's name without
//! limit. A value that the config does not name gets a place only from a call that the upstream answered with success,
//! so made-up names cannot take the places of real ones.

use std::collections::{BTreeMap, BTreeSet};

/// Longest label value, in bytes; longer ones are cut.
pub const MAX_VALUE: usize = 64;
/// The value of everything past the cap.
pub const OTHER: &str = "other";
/// The value of what a call does not have.
pub const NONE: &str = "none";

/// The values of one label, by a small number each.
#[derive(Debug)]
pub struct Label {
    values: Vec<Box<str>>,
    numbers: BTreeMap<Box<str>, u16>,
    cap: usize,
}

impl Label {
    /// A label with `known` values from the config and room for `cap` more.
    pub fn new<'a>(known: impl IntoIterator<Item = &'a str>, cap: usize) -> Self {
        let mut label = Self { values: Vec::new(), numbers: BTreeMap::new(), cap: usize::MAX };
        label.add(OTHER);
        label.add(NONE);
        for value in known {
            label.add(&clean(value));
        }
        label.cap = label.values.len().saturating_add(cap).min(u16::MAX as usize);
        label
    }

    fn add(&mut self, value: &str) -> u16 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        if self.values.len() >= self.cap {
            return 0;
        }
        let number = self.values.len() as u16;
        self.values.push(value.into());
        self.numbers.insert(value.into(), number);
        number
    }

    /// The number of a value; an unknown one gets a number if `may_grow` and there is room, else that of `other`.
    pub fn number(&mut self, value: Option<&str>, may_grow: bool) -> u16 {
        let Some(value) = value.filter(|v| !v.is_empty()) else { return 1 };
        let value = clean(value);
        match self.numbers.get(value.as_ref()) {
            Some(number) => *number,
            None if may_grow => self.add(&value),
            None => 0,
        }
    }

    /// The value of a number.
    pub fn value(&self, number: u16) -> &str {
        self.values.get(number as usize).map_or(OTHER, |v| v)
    }

    /// How many values there are, `other` and `none` among them.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never: `other` and `none` are always there.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Letters, digits and what model names are made of; the rest would break a metric's name, and becomes `_`.
pub fn clean(value: &str) -> std::borrow::Cow<'_, str> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"._:/@-+".contains(&b);
    if value.len() <= MAX_VALUE && value.bytes().all(fine) {
        return value.into();
    }
    let cut = value.bytes().take(MAX_VALUE);
    cut.map(|b| if fine(b) { b as char } else { '_' }).collect::<String>().into()
}

/// The four labels of a call, as numbers of the worker's [`Labels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet {
    /// As asked for; where a request names none, as answered.
    pub model: u16,
    /// Envoy's route name.
    pub route: u16,
    /// The tenant, as the config's `identity` finds it.
    pub tenant: u16,
    /// The kind of API, a number of [`crate::api::Api`].
    pub api: u16,
}

/// The labels of a worker's VM.
#[derive(Debug)]
pub struct Labels {
    /// Values of `model`.
    pub model: Label,
    /// Values of `route`.
    pub route: Label,
    /// Values of `tenant`.
    pub tenant: Label,
    /// Values of `api`.
    pub api: Label,
    sets: BTreeSet<LabelSet>,
    max_sets: usize,
}

impl Labels {
    /// Empty tables with these values and bounds; `max_sets` bounds the combinations.
    pub fn new(model: Label, route: Label, tenant: Label, api: Label, max_sets: usize) -> Self {
        Self { model, route, tenant, api, sets: Default::default(), max_sets }
    }

    /// The set itself while there is room for one more combination, then the one where all but the api is `other`.
    pub fn bounded(&mut self, set: LabelSet) -> LabelSet {
        if self.sets.contains(&set) {
            return set;
        }
        if self.sets.len() < self.max_sets {
            self.sets.insert(set);
            return set;
        }
        LabelSet { model: 0, route: 0, tenant: 0, api: set.api }
    }
}
