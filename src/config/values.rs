//! Values that sections of the configuration have in common: what is out of range does not parse.

use serde::Serialize;

use super::json::{Json, Path};
use super::read::{Made, choices, object, sections};

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// A header's name, kept in lower case.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^[A-Za-z0-9_.-]+$")))]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);

impl HeaderName {
    /// A name that is one: for defaults.
    pub(crate) fn of(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<HeaderName> for String {
    fn from(name: HeaderName) -> Self {
        name.0
    }
}

impl TryFrom<String> for HeaderName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if name.is_empty() || !name.bytes().all(fine) {
            return Err(format!("`{name}` is not a header name (letters, digits, `-`, `_`, `.`)"));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// A salt of at least 8 characters.
#[derive(Clone, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minLength" = 8)))]
#[serde(try_from = "String", into = "String")]
pub struct Salt(String);

impl Salt {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.0
    }
}

impl TryFrom<String> for Salt {
    type Error = String;
    fn try_from(salt: String) -> Result<Self, String> {
        if salt.len() < 8 {
            return Err("a salt has at least 8 characters".to_owned());
        }
        Ok(Self(salt))
    }
}

/// Which calls an objective or a limit counts. A value ending in `*` matches what begins with it.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The model asked for, or the one that answered.
    pub model: Option<String>,
    /// Envoy's route name.
    pub route: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
}

/// Whether one of the values is what a [`Match`] wants there; without a wish every one is.
pub fn fits(wanted: &Option<String>, seen: &[Option<&str>]) -> bool {
    let Some(wanted) = wanted else { return true };
    seen.iter().flatten().any(|seen| match wanted.strip_suffix('*') {
        Some(front) => seen.starts_with(front),
        None => seen == wanted,
    })
}

/// Whether a limit acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It only records what it would have done.
    Shadow,
}

/// What happens to a call that cannot be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fail {
    /// It passes.
    #[default]
    Open,
    /// It is refused.
    Closed,
}

/// A limit's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^[A-Za-z0-9_.-]{1,64}$")))]
#[serde(try_from = "String", into = "String")]
pub struct LimitName(String);

impl LimitName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<LimitName> for String {
    fn from(name: LimitName) -> Self {
        name.0
    }
}

impl TryFrom<String> for LimitName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fine) {
            return Err(format!("`{name}` is not a name (1 to 64 letters, digits, `-`, `_`, `.`)"));
        }
        Ok(Self(name))
    }
}

/// A number of keys, 8 to 1,048,576.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 8, "maximum" = 1_048_576)))]
#[serde(try_from = "u32", into = "u32")]
pub struct Keys(u32);

impl Keys {
    /// So many, for a default of another section.
    pub(crate) const fn of(keys: u32) -> Self {
        Self(keys)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Keys {
    fn default() -> Self {
        Keys(32_768)
    }
}

impl From<Keys> for u32 {
    fn from(keys: Keys) -> Self {
        keys.0
    }
}

impl TryFrom<u32> for Keys {
    type Error = String;
    fn try_from(keys: u32) -> Result<Self, String> {
        if !(8..=1 << 20).contains(&keys) {
            return Err(format!("{keys} is not between 8 and 1048576"));
        }
        Ok(Self(keys))
    }
}

/// A key of at least 16 characters. Nothing prints it.
#[derive(Clone, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minLength" = 16)))]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

impl Secret {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl TryFrom<String> for Secret {
    type Error = String;
    fn try_from(secret: String) -> Result<Self, String> {
        if secret.len() < 16 {
            return Err("a key has at least 16 characters".to_owned());
        }
        Ok(Self(secret))
    }
}

/// A number between 0 and 1000, counted in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(with = "f64", extend("minimum" = 0, "maximum" = 1000)))]
#[serde(into = "f64")]
pub struct Thousandths(u32);

impl Thousandths {
    /// So many, for a default.
    pub(crate) const fn of(milli: u32) -> Self {
        Self(milli)
    }

    /// In thousandths.
    pub fn milli(self) -> u64 {
        self.0.into()
    }
}

impl From<Thousandths> for f64 {
    fn from(number: Thousandths) -> Self {
        f64::from(number.0) / 1000.0
    }
}

impl TryFrom<f64> for Thousandths {
    type Error = String;
    fn try_from(number: f64) -> Result<Self, String> {
        if !(0.0..=1000.0).contains(&number) {
            let number = serde_json::to_string(&number).unwrap_or_default();
            return Err(format!("{number} is not between 0 and 1000"));
        }
        Ok(Self((number * 1000.0).round() as u32))
    }
}

/// Seconds, from 1 to 3600.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minimum" = 1, "maximum" = 3600)))]
#[serde(into = "u32")]
pub struct Seconds(u32);

impl Seconds {
    /// So many, for a default of another section.
    pub(crate) const fn of(seconds: u32) -> Self {
        Self(seconds)
    }

    /// In nanoseconds.
    pub fn ns(self) -> u64 {
        u64::from(self.0) * 1_000_000_000
    }

    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0.into()
    }
}

impl From<Seconds> for u32 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl TryFrom<u32> for Seconds {
    type Error = String;
    fn try_from(seconds: u32) -> Result<Self, String> {
        if !(1..=3600).contains(&seconds) {
            return Err(format!("{seconds} is not between 1 and 3600"));
        }
        Ok(Self(seconds))
    }
}

/// A kind's name: 1 to 32 lower-case letters, digits, `_` and `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("pattern" = "^[a-z0-9_-]{1,32}$")))]
#[serde(into = "String")]
pub struct KindName(String);

impl KindName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<KindName> for String {
    fn from(name: KindName) -> Self {
        name.0
    }
}

impl TryFrom<String> for KindName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fine) {
            return Err(format!("`{name}` is not a kind (1 to 32 lower-case letters, digits, `_`, `-`)"));
        }
        Ok(Self(name))
    }
}

choices! {
    Mode { "enforce" => Enforce, "shadow" => Shadow }
    Fail { "open" => Open, "closed" => Closed }
}

sections! {
    Match { model, route, tenant }
}

impl Made for HeaderName {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for Salt {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for Thousandths {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.number()?)
    }
}

impl Made for Seconds {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for Secret {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for Keys {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for LimitName {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}

impl Made for KindName {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        Self::try_from(String::read(from, path)?)
    }
}
