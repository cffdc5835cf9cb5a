//! A small JSON document as a tree: a config, or what a model wrote where it was asked for a plan.
//!
//! serde_json's `Value` and its maps are not used: what is derived for them is compiled at each start.

use std::fmt::{Formatter, Result as Formatted, Write};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::de::SliceRead;

/// Where in the text we are: `slo[0].match`. An error leaves it standing.
#[derive(Debug, Default)]
pub struct Path(String);

impl Path {
    /// Steps into a key's value. Gives where to step back to.
    pub fn key(&mut self, key: &str) -> usize {
        let back = self.0.len();
        if back > 0 {
            self.0.push('.');
        }
        self.0.push_str(key);
        back
    }

    /// Steps into an element. Gives where to step back to.
    pub fn element(&mut self, index: usize) -> usize {
        let back = self.0.len();
        let _ = write!(self.0, "[{index}]");
        back
    }

    /// Steps back.
    pub fn back(&mut self, to: usize) {
        self.0.truncate(to);
    }

    /// What went wrong, behind where that is.
    pub fn before(&self, reason: &str) -> String {
        let path = if self.0.is_empty() { "." } else { &self.0 };
        format!("{path}: {reason}")
    }
}

/// A JSON value. Keys keep their order, and one that stands there twice is there twice.
#[derive(Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Whole(u64),
    /// A whole number below zero.
    Negative(i64),
    /// Any other number.
    Fraction(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, in its order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What is wrong with a value that is no `expected`.
    pub fn is_no(&self, expected: &str) -> String {
        let found = match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Whole(_) | Json::Negative(_) => "integer",
            Json::Fraction(_) => "floating point number",
            Json::Text(_) => "string",
            Json::List(_) => "list",
            Json::Object(_) => "object",
        };
        format!("invalid type: {found}, expected {expected}")
    }

    /// A number.
    pub fn number(&self) -> Result<f64, String> {
        Ok(match self {
            Json::Fraction(number) => *number,
            Json::Whole(n) => *n as f64,
            Json::Negative(n) => *n as f64,
            other => return Err(other.is_no("a number")),
        })
    }

    /// A whole number of a range.
    pub fn whole(&self, least: u64, most: u64) -> Result<u64, String> {
        let found: &dyn std::fmt::Display = match self {
            Json::Whole(n) if (least..=most).contains(n) => return Ok(*n),
            Json::Whole(n) => n,
            Json::Negative(n) => n,
            other => return Err(other.is_no("a whole number")),
        };
        let kind = if least > 0 { "nonzero whole" } else { "whole" };
        Err(format!("invalid value: {found}, expected a {kind} number up to {most}"))
    }
}

/// Makes the tree of what is well-formed.
#[derive(Debug)]
struct Tree<'p>(&'p mut Path);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;
    fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Negative(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Fraction(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        loop {
            let back = self.0.element(values.len());
            let value = list.next_element_seed(Tree(self.0))?;
            self.0.back(back);
            match value {
                Some(value) => values.push(value),
                None => return Ok(Json::List(values)),
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = object.next_key::<String>()? {
            let back = self.0.key(&key);
            let value = object.next_value_seed(Tree(self.0))?;
            self.0.back(back);
            entries.push((key, value));
        }
        Ok(Json::Object(entries))
    }
}

impl Json {
    /// The next value. Never inline: it is large, and there are two who read.
    ///
    /// # Errors
    /// It is no JSON, or nested too deep; the path says where.
    #[inline(never)]
    pub fn read(
        reader: &mut serde_json::Deserializer<SliceRead<'_>>,
        path: &mut Path,
    ) -> Result<Json, serde_json::Error> {
        Tree(path).deserialize(reader)
    }

    /// The value that a text begins with, whatever stands behind it.
    pub fn first(text: &[u8]) -> Option<Json> {
        Self::read(&mut serde_json::Deserializer::from_slice(text), &mut Path::default()).ok()
    }

    /// The value of a key.
    pub fn member(&self, key: &str) -> Option<&Json> {
        let Json::Object(entries) = self else { return None };
        entries.iter().find_map(|(name, value)| (name == key).then_some(value))
    }
}
