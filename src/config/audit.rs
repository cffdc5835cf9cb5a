//! The section `audit`: what a caller is told of its call, and how records are made tamper-evident.

use serde::Serialize;

use super::limits::LimitName;
use super::trail::Trail;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// What a caller is told of its call, and how records are made tamper-evident (docs/audit.md).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Every answer says at its start what is known then: `x-weir-call`, `x-weir-run`, `x-weir-model`, `x-weir-limit`,
    /// `x-weir-retry`. Default false.
    pub headers: bool,
    /// Every answer with a body says at its end what is known then, in HTTP trailers: `x-weir-ended`, `x-weir-usage`,
    /// `x-weir-cost`, `x-weir-ttft-ms`. Over HTTP/1.1 they need Envoy's `enable_trailers` and a client that asks
    /// for them (`TE: trailers`). Default false.
    pub trailers: bool,
    /// Puts the same behind the last event of a stream, as an SSE comment, for APIs whose SDKs take one: OpenAI's,
    /// Anthropic's, Cohere's. Not for all clients of them: try yours. Default false.
    pub sse_comment: bool,
    /// Chains the records of each worker, so that a log from which one is missing, or in which one is changed, is found out
    /// by `weirctl audit verify`.
    pub chain: Option<Chain>,
    /// Keeps the trail of each run for the person in front of the agent. Left out, nothing is kept.
    pub trail: Option<Trail>,
}

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
