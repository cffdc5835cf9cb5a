//! The key `chain` of the section `audit`: how records are made tamper-evident.

mod read;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::config::values::{LimitName, Secret};

/// How records are chained.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The key of the HMAC-SHA256; at least 16 characters, better 32 random ones. Who has it can forge a log.
    pub key: Secret,
    /// Its name in the record, so that a verifier who has several knows which it was. Letters, digits, `-`, `_`, `.`; at
    /// most 64. Default `default`.
    #[serde(default = "default_key_id")]
    pub key_id: LimitName,
}

pub(super) fn default_key_id() -> LimitName {
    LimitName::try_from("default".to_owned()).unwrap_or_default()
}
