//! The keys of chains, by their ids.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use weir::features::audit::chain::Key;
use weir::settings::Config;

/// Keys by their ids.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<String, Key>);

impl Keys {
    /// Reads them from files: weir's configs, or lines of an id and a key.
    ///
    /// # Errors
    /// A file that cannot be read, or has no key.
    pub fn read(files: &[PathBuf]) -> Result<Self> {
        let mut keys = Self::default();
        for file in files {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            keys.add(&text).with_context(|| format!("{}", file.display()))?;
        }
        Ok(keys)
    }

    /// Adds those of one file.
    ///
    /// # Errors
    /// It has none.
    pub fn add(&mut self, text: &str) -> Result<()> {
        if text.trim_start().starts_with('{') {
            let config = Config::parse(text.as_bytes()).map_err(|reason| anyhow!(reason))?;
            let chain = config.audit.chain.context("the config has no audit.chain")?;
            self.insert(chain.key_id.as_str(), chain.key.as_bytes());
            return Ok(());
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let before = self.0.len();
        for line in lines {
            let (id, key) = line.split_once(char::is_whitespace).unwrap_or(("default", line));
            self.insert(id, key.trim_start().as_bytes());
        }
        if self.0.len() == before {
            bail!("there is no key in it, or none that is new");
        }
        Ok(())
    }

    fn insert(&mut self, id: &str, key: &[u8]) {
        self.0.insert(id.to_owned(), Key::new(key, id));
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}
