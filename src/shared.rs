//! What all workers share: small values under fixed keys, guarded by compare-and-swap.
//!
//! In Envoy this is one store per process, under one lock, whose keys are never freed. So what lives here has a fixed size and
//! a fixed number of keys ([`table`]), and it is touched when a call begins and when it ends, never per piece.

pub mod key;
pub mod table;

use crate::units::Nanos;

/// The most times that a change is tried again because another worker was faster. Each time someone's change got through,
/// so to run out of them takes so many others in a row. A hundred in a row were seen of threads that do nothing else and share
/// too few cores; a try takes microseconds.
const MAX_TRIES: u32 = 1000;

/// The store, as the core sees it.
pub trait Store {
    /// A value and the number of its last change; nothing where there is none.
    ///
    /// # Errors
    /// The store does not answer.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken>;

    /// Puts a value in the place of the one whose last change has this number.
    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put;
}

/// The number to give to [`Store::set`] for a value that must not be there yet: no change gets it for the next four
/// billion, and zero would mean "whatever is there".
pub const ABSENT: u32 = u32::MAX;

/// What became of a [`Store::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// Someone else was faster; what is there now has to be looked at again.
    Lost,
    /// The store does not take it.
    Broken,
}

/// The store does not answer, or others were faster too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What is to become of a value that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was changed: to be written back.
    Write,
    /// It stays as it was.
    Keep,
}

/// What was seen of the store while it was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Changes that had to be made again because another worker was faster.
    pub contended: u32,
    /// Keys that found no place: all entries of their set are in use.
    pub full: u32,
    /// Entries of another key that had run out and were taken over.
    pub taken_over: u32,
    /// Times that the store did not answer, or not in time.
    pub failed: u32,
}

impl Events {
    /// Whether there was anything.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Adds what was seen elsewhere.
    pub fn add(&mut self, other: Events) {
        let Events { contended, full, taken_over, failed } = other;
        self.contended = self.contended.saturating_add(contended);
        self.full = self.full.saturating_add(full);
        self.taken_over = self.taken_over.saturating_add(taken_over);
        self.failed = self.failed.saturating_add(failed);
    }
}

/// Changes the value of a key as if nobody else were there: reads, lets `change` work on a copy, writes, and begins again
/// if another worker wrote in between. A value that is not there yet, or has another size, begins as zeros.
///
/// # Errors
/// The store does not answer, or others were faster too often.
pub fn update(
    store: &dyn Store,
    key: &str,
    size: usize,
    events: &mut Events,
    change: &mut dyn FnMut(&mut [u8]) -> Change,
) -> Result<(), Broken> {
    update_any(store, key, events, &mut |value: &mut Vec<u8>| {
        if value.len() != size {
            value.clear();
            value.resize(size, 0);
        }
        change(value)
    })
}

/// The same for a value whose size changes; one that is not there yet begins empty. Whoever changes it bounds it.
///
/// # Errors
/// As [`update`].
pub fn update_any(
    store: &dyn Store,
    key: &str,
    events: &mut Events,
    change: &mut dyn FnMut(&mut Vec<u8>) -> Change,
) -> Result<(), Broken> {
    for _ in 0..MAX_TRIES {
        let (mut value, cas) = match store.get(key) {
            Ok(found) => found.unwrap_or((Vec::new(), ABSENT)),
            Err(Broken) => break,
        };
        if change(&mut value) == Change::Keep {
            return Ok(());
        }
        match store.set(key, &value, cas) {
            Put::Done => return Ok(()),
            Put::Lost => events.contended = events.contended.saturating_add(1),
            Put::Broken => break,
        }
    }
    events.failed = events.failed.saturating_add(1);
    Err(Broken)
}

/// A number that the first worker made up and all others found: the same for all of them as long as the store lives.
///
/// # Errors
/// The store does not answer.
pub fn get_or_init(store: &dyn Store, key: &str, mine: u64) -> Result<u64, Broken> {
    let mut found = mine;
    let mut first = |value: &mut [u8]| match value.first_chunk_mut::<9>() {
        // A byte in front says that the number is there: it may be zero itself.
        Some([0, number @ ..]) => {
            *number = mine.to_le_bytes();
            value.iter_mut().take(1).for_each(|there| *there = 1);
            Change::Write
        }
        Some([_, number @ ..]) => {
            found = u64::from_le_bytes(*number);
            Change::Keep
        }
        None => Change::Keep,
    };
    update(store, key, 9, &mut Events::default(), &mut first)?;
    Ok(found)
}

/// Under which name the salt lies; the number is the version of what lies there.
const SALT: &str = "weir.1.salt";

/// The key of all keyed hashes in the store, the same for all workers. A worker asks for it once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Salt(Option<u64>);

impl Salt {
    /// The key; nothing if the store does not answer.
    pub fn get(&mut self, store: &dyn Store, now: Nanos) -> Option<u64> {
        if self.0.is_none() {
            self.0 = get_or_init(store, SALT, now.0).ok();
        }
        self.0
    }

    /// The same, where it was asked for before.
    pub fn known(&self) -> Option<u64> {
        self.0
    }
}

/// A store that keeps nothing and never answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullStore;

impl Store for NullStore {
    fn get(&self, _: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        Err(Broken)
    }

    fn set(&self, _: &str, _: &[u8], _: u32) -> Put {
        Put::Broken
    }
}
