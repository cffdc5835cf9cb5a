//! The callbacks of the host. Each has the SDK's name and, where a filter does not say otherwise, its answer.

use crate::types::Action;

/// What every context has.
pub trait Context {
    /// The host is done with it. False where something is left to do first.
    fn on_done(&mut self) -> bool {
        true
    }
}

/// A plugin in a VM. One VM may have several, each as long as its configuration.
pub trait RootContext: Context {
    /// The VM is there. False refuses the plugin.
    fn on_vm_start(&mut self, _vm_configuration_size: usize) -> bool {
        true
    }

    /// A configuration came: [`BufferType::PluginConfiguration`](crate::types::BufferType::PluginConfiguration) shows it. False refuses it.
    fn on_configure(&mut self, _plugin_configuration_size: usize) -> bool {
        true
    }

    /// A period of [`set_tick_period`](crate::hostcalls::set_tick_period) has passed.
    fn on_tick(&mut self) {}

    /// The host logs for the plugin itself.
    fn on_log(&mut self) {}

    /// A new exchange. One that gets no context passes by.
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        None
    }
}

/// An HTTP exchange. Any callback may be missing, but the last: the context is dropped, always.
pub trait HttpContext: Context {
    /// The request's head came.
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        Action::Continue
    }

    /// A piece of the request's body came; `body_size` counts what was kept back before, too.
    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        Action::Continue
    }

    /// The request's trailers came, and with them its end.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        Action::Continue
    }

    /// A head of the answer came; a 1xx comes before the one that counts.
    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        Action::Continue
    }

    /// A piece of the answer's body came.
    fn on_http_response_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        Action::Continue
    }

    /// The answer's trailers came, and with them its end.
    fn on_http_response_trailers(&mut self, _num_trailers: usize) -> Action {
        Action::Continue
    }

    /// The exchange is over, and logged.
    fn on_log(&mut self) {}
}
