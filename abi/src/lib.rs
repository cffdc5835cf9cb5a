//! proxy-wasm 0.2.1 for HTTP filters, with the names and shapes of the Rust SDK. Nothing in it panics, whatever the host does.
//!
//! A filter begins as with the SDK:
//! ```ignore
//! weir_abi::main! {{
//!     weir_abi::set_log_level(LogLevel::Info);
//!     weir_abi::set_root_context(|_| Box::new(MyRoot::default()));
//! }}
//! ```
//! Contexts implement [`traits`], and call the host through [`hostcalls`]. What differs from the SDK, and why, stands in the README.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod dispatcher;
mod flood;
pub mod hostcalls;
mod logger;
mod table;
pub mod traits;
pub mod types;

pub use dispatcher::set_root_context;
pub use logger::set_log_level;
pub use table::ContextTable;

/// The filter's beginning: its block runs once per VM, before anything else.
#[macro_export]
macro_rules! main {
    ($code:block) => {
        #[cfg(target_os = "wasi")]
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }

        /// The host calls this once per VM, before anything else.
        #[unsafe(no_mangle)]
        extern "C" fn _initialize() {
            #[cfg(target_os = "wasi")]
            // SAFETY: the linker's own function, called once, by the one who has to.
            unsafe {
                __wasm_call_ctors();
            }
            $code;
        }
    };
}
