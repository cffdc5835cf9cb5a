//! Limits by descriptor, as `envoyproxy/ratelimit` has them in its file: a tree whose steps are a descriptor's entries.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The limits of one domain. Of envoyproxy/ratelimit's format this reads what it honours; anything else is an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The `domain` of the filter whose limits these are.
    pub domain: String,
    descriptors: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    key: String,
    /// Only this value; any value that no other node names if there is none.
    value: Option<String>,
    rate_limit: Option<Rate>,
    #[serde(default)]
    descriptors: Vec<Node>,
}

/// So many hits in a window of time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The window.
    pub unit: Unit,
    /// Hits in it.
    pub requests_per_unit: u32,
}

/// A window of time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    /// Its length in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, or not in the format.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// It is not in the format.
    pub fn parse(yaml: &str) -> Result<Self> {
        Ok(serde_saphyr::from_str(yaml)?)
    }

    /// The limit of a descriptor, if its entries lead to one. An entry takes the node of its key and value, else that of its
    /// key alone; the last entry's node has the limit, those on the way do not count.
    pub fn find(&self, entries: &[(String, String)]) -> Option<Rate> {
        let (mut nodes, mut found) = (&self.descriptors, None);
        for (key, value) in entries {
            let of_key = || nodes.iter().filter(|node| node.key == *key);
            let node = of_key()
                .find(|node| node.value.as_deref() == Some(value))
                .or_else(|| of_key().find(|node| node.value.is_none()))?;
            (nodes, found) = (&node.descriptors, node.rate_limit);
        }
        found
    }

    /// Every rate that stands in the file.
    pub fn rates(&self) -> Vec<Rate> {
        let (mut rates, mut nodes) = (Vec::new(), self.descriptors.iter().collect::<Vec<_>>());
        while let Some(node) = nodes.pop() {
            nodes.extend(&node.descriptors);
            rates.extend(node.rate_limit.filter(|rate| !rates.contains(rate)));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
domain: d
descriptors:
- key: unit
  value: tokens
  descriptors:
  - key: tenant
    rate_limit: {unit: hour, requests_per_unit: 10}
    descriptors:
    - key: user
      rate_limit: {unit: minute, requests_per_unit: 3}
  - key: tenant
    value: acme
    rate_limit: {unit: hour, requests_per_unit: 99}
";

    #[test]
    fn a_descriptor_has_the_limit_that_its_last_entry_leads_to() {
        let rules = Rules::parse(FILE).unwrap();
        for (entries, wanted) in [
            (&[("unit", "tokens"), ("tenant", "globex")][..], Some(10)),
            (&[("unit", "tokens"), ("tenant", "acme")], Some(99)),
            (&[("unit", "tokens"), ("tenant", "globex"), ("user", "ada")], Some(3)),
            // A value's own node hides the one of the key alone, with all that hangs on it.
            (&[("unit", "tokens"), ("tenant", "acme"), ("user", "ada")], None),
            (&[("unit", "tokens")], None),
            (&[("unit", "calls"), ("tenant", "acme")], None),
            (&[("tenant", "acme")], None),
        ] {
            let entries: Vec<_> = entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!(rules.find(&entries).map(|rate| rate.requests_per_unit), wanted, "{entries:?}");
        }
        assert_eq!(rules.rates().len(), 3);
    }

    #[test]
    fn what_would_not_be_honoured_is_refused() {
        for (from, to) in [("key: user", "key: user\n      shadow_mode: true"), ("hour", "fortnight")] {
            assert!(Rules::parse(&FILE.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
