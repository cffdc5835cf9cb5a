//! One process's shared data, in memory: what Envoy keeps for the filter.

use std::cell::RefCell;
use std::collections::HashMap;

use weir::shared::{Broken, Put, Store};

/// One process's shared data.
#[derive(Debug, Default)]
pub struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        let mut values = self.0.borrow_mut();
        let there = values.get(key).map(|(_, there)| *there);
        if there.is_some_and(|there| cas != 0 && there != cas) {
            return Put::Lost;
        }
        values.insert(key.to_owned(), (value.to_owned(), there.unwrap_or(0).wrapping_add(1)));
        Put::Done
    }
}
