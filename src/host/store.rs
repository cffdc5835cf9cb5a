//! Envoy's shared data as the core's [`Store`].

use super::abi::{self, Shared};
use crate::shared::{Broken, Put, Store};

/// The store of this VM's `vm_id`.
pub struct HostStore;

impl Store for HostStore {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        match abi::shared_data(key.as_bytes()) {
            Shared::Present { value, cas } => Ok(Some((value, cas))),
            Shared::Absent => Ok(None),
            Shared::Failed => Err(Broken),
        }
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        match abi::set_shared_data(key.as_bytes(), value, cas) {
            abi::Put::Done => Put::Done,
            abi::Put::Lost => Put::Lost,
            abi::Put::Failed => Put::Broken,
        }
    }
}
