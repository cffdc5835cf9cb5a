//! The section `prices`: what models, and what is no model, cost.

mod read;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// Most prices a config may have: each is tried on each call.
pub const MAX_PRICES: usize = 256;
/// Most names of one price.
pub const MAX_NAMES: usize = 32;
/// Longest name, in bytes; model names are cut there too.
const MAX_NAME: usize = 256;
/// Most cases of one price in which other rates hold: tiers times context sizes, with room.
const MAX_CASES: usize = 16;

/// What the calls cost that match. Of several that match the most specific one counts: the one with more in `match`; then one that
/// names the model exactly before one with a `*`; then one that names the model which answered before one that names the model
/// asked for; then the one with the longest name without its `*`; then the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// Models by name, each of which may have a `*` for any characters: at its end, or anywhere. At most 32. None: also what
    /// is no model.
    pub models: Vec<String>,
    /// Which calls, beyond their model: those that match every key given.
    #[serde(rename = "match")]
    pub matches: PriceMatch,
    /// Dollars for a million tokens.
    pub per_million: Rates,
    /// Other rates in some cases. Each rate is taken from the most specific case that has it. At most 16.
    pub cases: Vec<Case>,
    /// Dollars for each call that was answered without an error.
    pub per_call: Option<Dollars>,
    /// Dollars for each second from the complete request to the end of the call, if an upstream was asked.
    pub per_second: Option<Dollars>,
}

/// Which calls have a price. A value ending in `*` matches what begins with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PriceMatch {
    /// The call's kind, as in the record.
    pub kind: Option<String>,
    /// The tool that is called: the name in an MCP `tools/call`, or that of a rule in `kinds`.
    pub tool: Option<String>,
    /// Envoy's route name.
    pub route: Option<String>,
    /// The request's path, without its query.
    pub path: Option<String>,
    /// The request's host, without its port, in lower case.
    pub host: Option<String>,
}

/// Dollars for a million tokens of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Input that is in no cache. Default 0.
    pub input: Option<Dollars>,
    /// Output without reasoning. Default 0.
    pub output: Option<Dollars>,
    /// Input that is read from a cache. Default: as `input`.
    pub cache_read: Option<Dollars>,
    /// Input that is written to a cache. Default: as `input`.
    pub cache_write: Option<Dollars>,
    /// Input that is written to a cache to stay for an hour. Default: as `cache_write`.
    pub cache_write_1h: Option<Dollars>,
    /// Output of reasoning. Default: as `output`.
    pub reasoning: Option<Dollars>,
    /// Input that is sound. Default: as `input`.
    pub audio_input: Option<Dollars>,
    /// Output that is sound. Default: as `output`.
    pub audio_output: Option<Dollars>,
}

/// Rates that hold in some cases. One with both a tier and a size is more specific than one with a tier, and that than one with a size;
/// of sizes the largest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// The provider says that it served the call in this tier, such as `priority`, `flex` or `batch`.
    pub tier: Option<String>,
    /// The input, cached tokens too, is more than so many tokens. The rates then hold for all of the call.
    pub above: Option<u64>,
    /// What then holds.
    pub per_million: Rates,
}

/// An amount of dollars from 0 to 1,000,000, to nine places: a decimal number of at most 15 digits, or a string with such a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(schema_with = "dollars"))]
#[serde(into = "String")]
pub struct Dollars(u64);

#[cfg(feature = "schema")]
fn dollars(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1_000_000},
        {"type": "string", "pattern": "^[0-9]{1,7}(\\.[0-9]{1,9})?$"},
    ]})
}

/// Places behind the point.
const PLACES: usize = 9;
/// The largest amount, in billionths of a dollar: tokens times rates, and sums of them, keep far inside 128 bits.
const MOST: u64 = 1_000_000 * 1_000_000_000;
/// So many digits of a decimal number survive as a binary one.
pub(super) const MAX_DIGITS: usize = 15;

impl Dollars {
    /// In billionths of a dollar. As the price of a million tokens: millionths of a billionth of a dollar for each.
    pub fn nanos(self) -> u64 {
        self.0
    }
}

impl From<Dollars> for String {
    fn from(dollars: Dollars) -> Self {
        let text = format!("{}.{:09}", dollars.0 / 1_000_000_000, dollars.0 % 1_000_000_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl TryFrom<&str> for Dollars {
    type Error = String;

    /// Digit by digit: what does not fit is refused, never rounded.
    fn try_from(text: &str) -> Result<Self, String> {
        let no = || format!("`{text:.40}` is not an amount of dollars (0 to 1000000, at most 9 places, such as `2.5`)");
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(places) || whole.len() > 7 || places.len() > PLACES {
            return Err(no());
        }
        let number = |digits: &str| digits.parse::<u64>().unwrap_or(u64::MAX);
        let scale = 10u64.pow((PLACES - places.len()) as u32);
        let nanos = number(whole).saturating_mul(1_000_000_000).saturating_add(number(places).saturating_mul(scale));
        if nanos > MOST { Err(no()) } else { Ok(Self(nanos)) }
    }
}

impl Rates {
    /// Whether it has no rate at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Price {
    /// What no price can be, however well each key reads.
    pub(super) fn fits(&self) -> Result<(), String> {
        let Self { models, matches, per_million, cases, per_call, per_second } = self;
        let bad_case = |case: &Case| (case.tier.is_none() && case.above.is_none()) || case.per_million.is_empty();
        let wrong = [
            (models.is_empty() && *matches == PriceMatch::default(), "neither `models` nor `match` has anything"),
            (models.len() > MAX_NAMES, "more than 32 `models`"),
            (models.iter().any(|name| name.is_empty() || name.len() > MAX_NAME), "a name of 1 to 256 bytes is wanted"),
            (
                per_million.is_empty() && cases.is_empty() && per_call.is_none() && per_second.is_none(),
                "nothing has a price",
            ),
            (cases.len() > MAX_CASES, "more than 16 `cases`"),
            (cases.iter().any(bad_case), "a case wants a `tier` or `above`, and rates"),
        ];
        match wrong.iter().find(|(is, _)| *is) {
            Some((_, reason)) => Err((*reason).to_owned()),
            None => Ok(()),
        }
    }
}
