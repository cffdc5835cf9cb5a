//! Envoy's shared data as the core's [`Store`].

use weir_abi::hostcalls;
use weir_abi::types::Status;

use crate::shared::{Broken, Put, Store};

/// The store of this VM's `vm_id`.
pub struct HostStore;

impl Store for HostStore {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        match hostcalls::get_shared_data(key) {
            Ok((Some(value), Some(cas))) => Ok(Some((value, cas))),
            Ok((None, _)) => Ok(None),
            // Without a number it could only be replaced blindly.
            Ok((Some(_), None)) => Err(Broken),
            Err(status) => {
                log::warn!("weir: the host's shared data cannot be read: {status:?}");
                Err(Broken)
            }
        }
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        match hostcalls::set_shared_data(key, Some(value), Some(cas)) {
            Ok(()) => Put::Done,
            Err(Status::CasMismatch) => Put::Lost,
            Err(status) => {
                log::warn!("weir: the host's shared data cannot be written: {status:?}");
                Put::Broken
            }
        }
    }
}
