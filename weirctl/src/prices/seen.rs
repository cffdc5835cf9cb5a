//! Which models the records of an access log name, and how often.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::Result;
use memchr::memmem;
use serde_json::Value;

use crate::access_log::{BEGIN, BEGIN_ESCAPED, first};

/// Calls by the models that were asked for and that answered.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many calls named them.
    pub calls: BTreeMap<(Option<String>, Option<String>), u64>,
    /// How many records there were.
    pub records: u64,
}

impl Seen {
    /// Reads a log: records bare, in a text or a JSON line, or as a string of one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, mut log: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line)? > 0 {
            if let Some(record) = record(&line) {
                let model = |key: &str| record[key].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
                let models = (model("request_model"), model("response_model"));
                self.records += 1;
                if models != (None, None) {
                    *self.calls.entry(models).or_default() += 1;
                }
            }
            line.clear();
        }
        Ok(())
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.calls.keys().flat_map(|(asked, answered)| [asked, answered]).filter_map(Option::as_deref)
    }
}

fn record(line: &[u8]) -> Option<Value> {
    let is_record = |value: &Value| value["api"].is_string() && value["v"].is_number();
    let bare = memmem::find_iter(line, BEGIN).filter_map(|at| first::<Value>(line.get(at..)?));
    let escaped = memmem::find_iter(line, BEGIN_ESCAPED).filter_map(|at| {
        let text: String = first(line.get(at..)?)?;
        serde_json::from_str(&text).ok()
    });
    bare.chain(escaped).find(is_record)
}
