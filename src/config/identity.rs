//! The section `identity`: who is calling.

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::json::{Json, Path};
use super::read::{Made, object, required, sections, unknown};
use super::values::{HeaderName, Salt};

/// Sources of a call's identity.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Who pays: a label of every metric.
    pub tenant: Vec<Source>,
    /// The person or service that calls; in the record only.
    pub user: Vec<Source>,
    /// The agent's request tree that the call is part of; in the record only. Default: the W3C trace id.
    pub run: Vec<Source>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { tenant: Vec::new(), user: Vec::new(), run: vec![Source::TraceId] }
    }
}

impl Identity {
    /// Whether runs are known by their traces alone.
    pub fn knows_runs_by_trace(&self) -> bool {
        self.run.iter().all(|source| *source == Source::TraceId)
    }
}

/// One place where an identity may stand. Values are cut at 128 bytes; characters that are not printable become `_`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Source {
    /// A request header, by its name in any case.
    Header(HeaderName),
    /// The trace id of the W3C `traceparent` header.
    TraceId,
    /// A key of the W3C `baggage` header.
    Baggage(String),
    /// A claim of a JWT that Envoy's `jwt_authn` filter has verified (it needs `payload_in_metadata`).
    JwtClaim(JwtClaim),
    /// What the client's certificate says: the URI SAN, else the subject. Needs mTLS at this listener.
    MtlsPeer,
    /// A salted hash of the API key (`authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key`): 16 hex digits of SHA-256.
    ApiKeyHash(ApiKeyHash),
}

/// Where a JWT's claim stands.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwtClaim {
    /// The `payload_in_metadata` of the provider in Envoy's `jwt_authn`.
    pub payload: String,
    /// The claim's name, such as `sub`.
    pub claim: String,
}

/// How an API key is hashed.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiKeyHash {
    /// What is hashed in front of the key, so that nobody can look a hash up; at least 8 characters.
    pub salt: Salt,
}

sections! {
    Identity { tenant, user, run }
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
