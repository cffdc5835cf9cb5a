//! From JSON text to a [`Config`], with the path of whatever is wrong.
//!
//! By hand, and through one tree: derived readers, each made anew for every type, were a fifth of what Envoy compiles
//! when it loads the filter. serde's attributes in the parent say the same for the schema and for writing; a test
//! reads back what they write.

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

mod audit;
mod kinds;
mod limits;
mod plan;
mod prices;
mod retry;
mod tools;
mod trail;
mod tree;

use std::num::{NonZeroU32, NonZeroU64};

pub use tree::Json;
use tree::Path;

use super::{
    ApiKeyHash, Config, EventCap, FilterState, HeaderName, Identity, JwtClaim, LabelBounds, Match, Objective, Read,
    Role, Salt, Slo, Source, Timing, UsageOptions,
};

/// Reads a whole text.
///
/// # Errors
/// What is wrong, behind the path where it stands.
pub(super) fn config(text: &[u8]) -> Result<Config, String> {
    let mut path = Path::default();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let tree = Json::read(&mut reader, &mut path).map_err(|e| path.before(&e.to_string()))?;
    reader.end().map_err(|e| Path::default().before(&e.to_string()))?;
    Config::read(&tree, &mut path).map_err(|reason| path.before(&reason))
}

/// What can be made of a value.
trait Made: Sized {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String>;
}

/// What can be replaced by a value, whatever its type.
trait Slot {
    fn fill(&mut self, from: &Json, path: &mut Path) -> Result<(), String>;
}

impl<T: Made> Slot for T {
    fn fill(&mut self, from: &Json, path: &mut Path) -> Result<(), String> {
        *self = T::read(from, path)?;
        Ok(())
    }
}

/// Reads an object into its fields; those that it leaves out stay as they are.
fn object(from: &Json, path: &mut Path, fields: &mut [(&str, &mut dyn Slot)]) -> Result<(), String> {
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

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    format!("unknown {what} `{name}`, expected one of `{}`", known.join("`, `"))
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, String> {
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

impl Made for EventCap {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, u32::MAX.into())? as u32)
    }
}

impl Made for Objective {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.number()?)
    }
}

limits::choices! {
    Role { "call" => Call, "attempt" => Attempt }
}

sections! {
    Config { role, identity, labels, usage, timing, read, slo, limits, admission, retries, retry_budgets, circuits, kinds, runs, prices, audit, tools, plan, filter_state }
    Identity { tenant, user, run }
    LabelBounds { models, routes, tenants, max_models, max_routes, max_tenants, max_sets }
    UsageOptions { inject, estimate }
    Timing { stall_ms }
    Read { max_event_bytes }
    Match { model, route, tenant }
    FilterState { tokens }
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

impl Made for JwtClaim {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut payload, mut claim) = (None, None);
        object(from, path, &mut [("payload", &mut payload), ("claim", &mut claim)])?;
        Ok(Self { payload: required(payload, "payload")?, claim: required(claim, "claim")? })
    }
}

impl Made for ApiKeyHash {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut salt = None;
        object(from, path, &mut [("salt", &mut salt)])?;
        Ok(Self { salt: required(salt, "salt")? })
    }
}

impl Made for Source {
    /// A name alone, or an object of one key.
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (name, value) = match from {
            Json::Text(name) => (name, &Json::Null),
            Json::Object(entries) => match &entries[..] {
                [(name, value)] => (name, value),
                _ => return Err("invalid value: object, expected one key".to_owned()),
            },
            other => return Err(other.is_no("a string or an object of one key")),
        };
        let known = ["header", "trace_id", "baggage", "jwt_claim", "mtls_peer", "api_key_hash"];
        if !known.contains(&name.as_str()) {
            return Err(unknown("variant", name, &known));
        }
        let back = path.key(name);
        let source = match name.as_str() {
            "header" => Self::Header(HeaderName::read(value, path)?),
            "baggage" => Self::Baggage(String::read(value, path)?),
            "jwt_claim" => Self::JwtClaim(JwtClaim::read(value, path)?),
            "api_key_hash" => Self::ApiKeyHash(ApiKeyHash::read(value, path)?),
            _ if !matches!(value, Json::Null) => return Err(value.is_no("nothing")),
            "trace_id" => Self::TraceId,
            _ => Self::MtlsPeer,
        };
        path.back(back);
        Ok(source)
    }
}
