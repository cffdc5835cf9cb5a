//! The ABI's numbers, by the SDK's names.

use crate::traits::RootContext;

/// What makes a plugin's context, given the host's number for it.
pub type NewRootContext = fn(context_id: u32) -> Box<dyn RootContext>;

/// Any bytes.
pub type Bytes = Vec<u8>;

/// How much a message of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// What the host is to do with what a callback showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Action {
    /// Pass it on.
    #[default]
    Continue = 0,
    /// Keep it back. Of a body, no more than the host's buffer takes: beyond it the client gets a 413.
    Pause = 1,
    /// Keep a body back, and stop reading from its sender when the buffer is full. For what is let go without more of it. Headers and
    /// trailers have no such thing: there it is a `Pause`.
    StopIterationAndWatermark = 2,
}

/// Why the host did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Status {
    NotFound,
    BadArgument,
    SerializationFailure,
    ParseFailure,
    Empty,
    CasMismatch,
    InternalFailure,
    /// Any other number.
    Other(u32),
}

impl Status {
    /// What a host call answered.
    pub(crate) fn check(status: u32) -> Result<(), Self> {
        Err(match status {
            0 => return Ok(()),
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            10 => Self::InternalFailure,
            other => Self::Other(other),
        })
    }
}

/// What can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum BufferType {
    HttpRequestBody = 0,
    HttpResponseBody = 1,
    VmConfiguration = 6,
    PluginConfiguration = 7,
}

/// Header maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum MapType {
    HttpRequestHeaders = 0,
    HttpRequestTrailers = 1,
    HttpResponseHeaders = 2,
    HttpResponseTrailers = 3,
}

/// The two halves of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum StreamType {
    HttpRequest = 0,
    HttpResponse = 1,
}

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}
