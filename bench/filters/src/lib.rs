//! The floor that a Wasm filter stands on, in two steps: `noop` is called and does nothing, `copy` has each chunk of
//! the answer handed over and drops it. The plugin's configuration is the name of the one wanted.
#![allow(missing_docs)] // The entry point that the SDK's macro makes has none.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { kind: Kind::Noop }) });
}}

/// How the bench sees that the copying filter did copy: bytes handed over, added up once per stream.
const COPIED: &str = "weir_bench_copied_bytes";

enum Kind {
    Noop,
    Copy(Rc<u32>),
}

struct Root {
    kind: Kind,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.get_plugin_configuration().as_deref() {
            Some(b"noop") => true,
            Some(b"copy") => match hostcalls::define_metric(MetricType::Counter, COPIED) {
                Ok(metric) => {
                    self.kind = Kind::Copy(Rc::new(metric));
                    true
                }
                Err(_) => false,
            },
            _ => false,
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.kind {
            Kind::Noop => Box::new(Noop),
            Kind::Copy(metric) => Box::new(Copy { metric: Rc::clone(metric), bytes: 0 }),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Noop;

impl Context for Noop {}

impl HttpContext for Noop {}

struct Copy {
    metric: Rc<u32>,
    bytes: i64,
}

impl Context for Copy {}

impl HttpContext for Copy {
    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if let Ok(Some(chunk)) = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size) {
            self.bytes += chunk.len() as i64;
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        let _ = hostcalls::increment_metric(*self.metric, self.bytes);
    }
}
