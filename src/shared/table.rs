//! A set-associative table in the store: any number of keys in bounded memory.
//!
//! ```text
//! key of the store = <name>.<hash mod sets>      its value = ways × (hash: u64, entry: fixed size)
//! ```
//! An entry whose owner says that it has run out equals an absent one, so it is free to take, with nothing lost. Where all
//! entries of a set are in use, the key has no place, and the caller is told.

use super::{Broken, Change, Events, Store, update};

/// Entries of one set. In a table that is half full, one new key in some ten thousand finds its set full (Erlang's B of 32
/// places for 16); with eight it would be one in thirty.
const WAYS: usize = 32;
/// Sets in which a large entry may stand. In a table that is half full, one new key in 256 finds all of its places taken.
const PLACES: u32 = 8;
/// Bytes of a key's hash in front of its entry.
const HASH: usize = 8;

/// A table of entries of one size. Plain data: the entries are in the store.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    name: &'static str,
    sets: u32,
    ways: usize,
    entry: usize,
    /// Sets in which a key may stand.
    places: u32,
}

/// Why an entry could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEntry {
    /// All entries of the key's set are in use by others.
    Full,
    /// The store does not answer.
    Broken,
}

impl From<Broken> for NoEntry {
    fn from(_: Broken) -> Self {
        NoEntry::Broken
    }
}

/// What was found in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// An entry that could be used.
    Used,
    /// Only what others use.
    Other,
    /// It was never used.
    Blank,
}

/// What an entry is used for.
pub struct Use<'a> {
    /// Whether an entry has run out and equals an absent one (all zeros).
    pub free: &'a dyn Fn(&[u8]) -> bool,
    /// Works on the key's own entry; all zeros if it had none.
    pub change: &'a mut dyn FnMut(&mut [u8]) -> Change,
}

impl Table {
    /// A table for about so many keys, under this name; an entry has so many bytes.
    pub fn new(name: &'static str, keys: u32, entry: usize) -> Self {
        Self { name, sets: (keys / WAYS as u32).max(1), ways: WAYS, entry, places: 1 }
    }

    /// A table of large entries, one to a set: a key may stand in any of a few sets instead.
    pub fn of_large(name: &'static str, keys: u32, entry: usize) -> Self {
        Self { name, sets: keys.max(1), ways: 1, entry, places: PLACES }
    }

    /// The most bytes that its values take in the store.
    pub fn max_bytes(&self) -> usize {
        (self.sets as usize).saturating_mul(self.ways).saturating_mul(self.entry + HASH)
    }

    /// Uses the entry of a key, given by its hash.
    ///
    /// # Errors
    /// There is no place for it, or the store does not answer.
    pub fn with(&self, store: &dyn Store, hash: u64, events: &mut Events, using: Use<'_>) -> Result<(), NoEntry> {
        // Zeros mark an entry that was never used.
        let hash = hash.max(1);
        let mut using = using;
        // Its own entry comes before a free one, which may have come free after the key took another place.
        if self.places > 1 && self.own(store, hash, events, &mut *using.change)? {
            return Ok(());
        }
        for place in 0..self.places {
            if self.at(store, (hash, place, false), events, &mut using)? == At::Used {
                return Ok(());
            }
        }
        events.full = events.full.saturating_add(1);
        Err(NoEntry::Full)
    }

    /// Uses the entry of a key if it has one; gives whether it has.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn own(
        &self,
        store: &dyn Store,
        hash: u64,
        events: &mut Events,
        change: &mut dyn FnMut(&mut [u8]) -> Change,
    ) -> Result<bool, Broken> {
        let mut using = Use { free: &|_| false, change };
        for place in 0..self.places {
            match self.at(store, (hash.max(1), place, true), events, &mut using)? {
                At::Used => return Ok(true),
                At::Other => {}
                // Nothing is ever as it was before its first use: the key would have taken this place, and no later one.
                At::Blank => break,
            }
        }
        Ok(false)
    }

    /// Uses the entry of a key in one of its sets, if it is there or, unless only its own will do, another is free.
    fn at(
        &self,
        store: &dyn Store,
        (hash, place, own): (u64, u32, bool),
        events: &mut Events,
        using: &mut Use<'_>,
    ) -> Result<At, Broken> {
        let (mut found, mut taken_over) = (At::Other, false);
        let size = self.ways.saturating_mul(self.entry + HASH);
        update(store, &self.key(hash, place), size, events, &mut |set| {
            let blank = set.first_chunk() == Some(&[0; HASH]);
            (found, taken_over) = (if blank { At::Blank } else { At::Other }, false);
            let Some((entry, fresh)) = self.find(set, hash, using.free, own) else { return Change::Keep };
            let Some((owner, entry)) = entry.split_first_chunk_mut::<HASH>() else { return Change::Keep };
            found = At::Used;
            if fresh {
                taken_over = *owner != [0; HASH] && *owner != hash.to_le_bytes();
                *owner = hash.to_le_bytes();
                entry.fill(0);
            }
            let change = (using.change)(entry);
            taken_over &= change == Change::Write;
            change
        })?;
        events.taken_over = events.taken_over.saturating_add(taken_over.into());
        Ok(found)
    }

    fn key(&self, hash: u64, place: u32) -> String {
        // The low bits choose the set, others the next ones; all of them are compared within it.
        let mut set = hash.rotate_right(place * 8) % u64::from(self.sets);
        let mut key = String::with_capacity(24);
        key.push_str(self.name);
        key.push('.');
        loop {
            key.push(char::from(b'a' + (set % 26) as u8));
            set /= 26;
            if set == 0 {
                return key;
            }
        }
    }

    /// The key's own entry, or else one that is free (then it is to be cleared first).
    fn find<'a>(
        &self,
        set: &'a mut [u8],
        hash: u64,
        free: &dyn Fn(&[u8]) -> bool,
        own_only: bool,
    ) -> Option<(&'a mut [u8], bool)> {
        let owner = hash.to_le_bytes();
        let (mut own, mut empty) = (None, None);
        for (at, slot) in set.chunks_exact(self.entry + HASH).enumerate() {
            let Some((head, entry)) = slot.split_first_chunk::<HASH>() else { continue };
            if *head == owner {
                own = Some(at);
                break;
            }
            if empty.is_none() && !own_only && (*head == [0; HASH] || free(entry)) {
                empty = Some(at);
            }
        }
        let fresh = own.is_none();
        let slot = set.chunks_exact_mut(self.entry + HASH).nth(own.or(empty)?)?;
        // What has run out is as good as absent, its own entry too.
        let spent = !fresh && slot.get(HASH..).is_some_and(free);
        Some((slot, fresh || spent))
    }
}
