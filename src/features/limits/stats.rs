//! What of limits is counted beside the calls: what is left of limits of few keys.

use crate::labels;

/// Most keys of one limit that have a gauge of what is left.
const MAX_KEYS: usize = 16;

/// Keys by their place among the rules: each was seen in a call.
#[derive(Debug, Default)]
pub struct Keys(Vec<Vec<String>>);

impl Keys {
    /// The number of a rule's key, while there is room for one more.
    pub fn number(&mut self, rule: usize, key: &str) -> Option<u16> {
        if self.0.len() <= rule {
            self.0.resize(rule.saturating_add(1), Vec::new());
        }
        let keys = self.0.get_mut(rule)?;
        let known = keys.iter().position(|known| known == key);
        let at = known.or_else(|| {
            keys.push(Some(key.to_owned()).filter(|_| keys.len() < MAX_KEYS)?);
            Some(keys.len().saturating_sub(1))
        })?;
        Some(at as u16)
    }

    /// The key of a number, as a label may have it.
    pub fn text(&self, rule: u16, number: u16) -> std::borrow::Cow<'_, str> {
        let key = self.0.get(usize::from(rule)).and_then(|keys| keys.get(usize::from(number)));
        labels::clean(key.map_or("", String::as_str))
    }
}
