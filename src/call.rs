//! The words in which a call is spoken of between the stream and the rooms of features: who calls and what for, how large it
//! probably is, what becomes of it at the gate, and how it ended.

pub mod end;
pub mod finished;
pub mod gate;
pub mod head;
pub mod kind;
pub mod reply;
pub mod size;
pub mod subject;
pub mod waste;

/// Longest text of Envoy's or of a header that is kept as it is, in bytes.
pub const MAX_TEXT: usize = 128;

/// Text that is fit for a record: cut, and what is no UTF-8 replaced.
pub fn text(bytes: &[u8], max: usize) -> String {
    String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes)).into_owned()
}
