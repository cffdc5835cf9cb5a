//! Requests that are remembered because they failed, or because of their key: so that their repetition is known.

use crate::units::{Nanos, Span};

/// Bytes of a call's id that are kept: a UUID as text.
const MAX_ID: usize = 36;

/// Bytes of a [`Seen`].
pub const SIZE: usize = 8 + 2 + 2 + 1 + MAX_ID;

/// A request that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it failed last, or when its key was seen first; zero: never.
    pub at: Nanos,
    /// How often it was tried.
    pub attempts: u16,
    /// The status of the last failure; zero if there was none.
    pub status: u16,
    length: u8,
    id: [u8; MAX_ID],
}

impl Seen {
    /// A request whose first try was this call.
    pub fn new(call: &str, now: Nanos) -> Self {
        let mut id = [0; MAX_ID];
        let length = call.floor_char_boundary(MAX_ID);
        id.iter_mut().zip(call.bytes().take(length)).for_each(|(to, from)| *to = from);
        Self { at: Nanos(now.0.max(1)), attempts: 1, status: 0, length: length as u8, id }
    }

    /// The first try's id.
    pub fn call(&self) -> String {
        String::from_utf8_lossy(self.id.get(..self.length.into()).unwrap_or_default()).into_owned()
    }

    /// Reads what is remembered, if anything is, and not for longer than the window.
    pub fn read(bytes: &[u8], window: Span, now: Nanos) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<2>()?;
        let (status, rest) = rest.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first()?;
        let at = Nanos(u64::from_le_bytes(*at));
        // What lies ahead of the clock by more than another worker's reading of it was never written.
        let fresh = at.0 > 0 && now - at <= window && at - now <= window;
        fresh.then_some(Self {
            at,
            attempts: u16::from_le_bytes(*attempts),
            status: u16::from_le_bytes(*status),
            length: *length,
            id: *rest.first_chunk()?,
        })
    }

    /// Writes it where it was read.
    pub fn write(&self, bytes: &mut [u8]) {
        let Self { at, attempts, status, length, id } = self;
        let parts = at.0.to_le_bytes().into_iter().chain(attempts.to_le_bytes()).chain(status.to_le_bytes());
        let parts = parts.chain([*length]).chain(id.iter().copied());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    }
}
