//! Envoy's shared data in a test's memory: what is absent is set whatever the number; else the number has to fit, or be zero.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weir::shared::{Broken, Put, Store};

#[derive(Debug, Default)]
pub struct Memory {
    values: Mutex<HashMap<String, (Vec<u8>, u32)>>,
    /// It does not answer.
    pub broken: AtomicBool,
    lost: AtomicU64,
}

#[allow(dead_code)]
impl Memory {
    /// Keys, and bytes of all values.
    pub fn size(&self) -> (usize, usize) {
        let values = self.values.lock().unwrap();
        (values.len(), values.values().map(|(value, _)| value.len()).sum())
    }

    /// How often somebody else was faster.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// All values under keys that begin like this.
    pub fn values(&self, front: &str) -> Vec<Vec<u8>> {
        let values = self.values.lock().unwrap();
        values.iter().filter(|(key, _)| key.starts_with(front)).map(|(_, (value, _))| value.clone()).collect()
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Broken);
        }
        Ok(self.values.lock().unwrap().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        if self.broken.load(Ordering::Relaxed) {
            return Put::Broken;
        }
        let mut values = self.values.lock().unwrap();
        match values.get_mut(key) {
            None => {
                values.insert(key.to_owned(), (value.to_owned(), 1));
            }
            Some((_, there)) if cas != 0 && cas != *there => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return Put::Lost;
            }
            Some(there) => *there = (value.to_owned(), there.1 + 1),
        }
        Put::Done
    }
}
