//! The tool calls that models asked for and that have not run yet, over all workers.
//!
//! ```text
//! key of the store = weir.1.asks.<hash of the run mod sets>      its value = ways × an entry of fixed size
//! ```
//! All that one run asks for stands in one set, beside what a few other runs ask for. An entry ends in one of these ways, once:
//! its tool ran (`matched`); its time was up before it did, which is seen when next somebody uses the set (`never_run`); it was the
//! oldest of a full set, and another needed its place (then nobody knows, and the store's event `full` counts it).

use super::config::Tools as Config;
use crate::shared::key::keyed;
use crate::shared::{Broken, Change, Events, Store, update};
use crate::units::{Nanos, Span};
use crate::wire::arguments::own_name;

/// Entries of one set.
const WAYS: u32 = 32;
/// The longest id of an exchange that is kept, and of a call; longer ones are cut. Envoy's have 36 bytes, providers' some 30.
const MAX_BY: usize = 47;
const MAX_ID: usize = 63;
/// Run, call, id, moment; then two texts behind their lengths.
const ENTRY: usize = 4 * size_of::<u64>() + 1 + MAX_BY + 1 + MAX_ID;

/// Whose call it is: a run of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// The run.
    pub run: &'a str,
}

/// A tool that is asked for, or that ran.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its name.
    pub name: &'a str,
    /// The model's id for the call.
    pub id: Option<&'a str>,
    /// The hash of its arguments.
    pub hash: Option<u64>,
}

/// Who asked for a tool that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The exchange in which it did.
    pub by: String,
    /// The model's id for the call.
    pub id: Option<String>,
}

/// The table.
#[derive(Clone, Copy, Debug)]
pub struct PendingCalls {
    sets: u32,
    window: Span,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    run: u64,
    call: u64,
    /// Zero if it has none.
    id: u64,
    at: Nanos,
    asked: Asked,
}

/// What was seen while a set was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls whose time was up.
    pub never_run: u64,
    /// What was seen of the store.
    pub store: Events,
}

impl PendingCalls {
    /// The table of a config.
    pub fn new(config: &Config) -> Self {
        Self { sets: (config.keys.get() / WAYS).max(1), window: Span(config.window_s.ns()) }
    }

    /// A model asked for these, in the exchange of this id.
    pub fn ask(
        &self,
        store: &dyn Store,
        salt: u64,
        who: Who<'_>,
        (by, calls): (&str, &[Call<'_>]),
        now: Nanos,
    ) -> Seen {
        let run = run_hash(salt, who);
        let mut seen = Seen::default();
        let mut full = 0;
        let mut never_run = 0;
        // A store that does not answer has forgotten them: when they run, nobody will have asked.
        let _ = self.with(store, run, &mut seen.store, &mut |set| {
            (never_run, full) = (self.sweep(set, now), 0);
            for call in calls {
                let Some(hash) = call.hash else { continue };
                let entry = Entry {
                    run,
                    call: call_hash(salt, call.name, hash),
                    id: call.id.map_or(0, |id| id_hash(salt, id)),
                    at: now,
                    asked: Asked { by: by.to_owned(), id: call.id.map(str::to_owned) },
                };
                full += u32::from(put(set, &entry));
            }
            Change::Write
        });
        seen.never_run = never_run;
        seen.store.full = seen.store.full.saturating_add(full);
        seen
    }

    /// These ran; where the first says so, its entry is used up. Gives who asked for each.
    ///
    /// # Errors
    /// The store does not answer: nobody knows.
    pub fn ran(
        &self,
        store: &dyn Store,
        salt: u64,
        who: Who<'_>,
        calls: &[(bool, Call<'_>)],
        now: Nanos,
    ) -> (Result<Vec<Option<Asked>>, Broken>, Seen) {
        let run = run_hash(salt, who);
        let mut seen = Seen::default();
        let mut never_run = 0;
        let mut found = Vec::new();
        let result = self.with(store, run, &mut seen.store, &mut |set| {
            never_run = self.sweep(set, now);
            let mut changed = never_run > 0;
            found.clear();
            for (used_up, call) in calls {
                let id = call.id.map_or(0, |id| id_hash(salt, id));
                let hash = call.hash.map(|hash| call_hash(salt, call.name, hash));
                let at = find(set, &|entry| entry.run == run && id != 0 && entry.id == id)
                    .or_else(|| find(set, &|entry| entry.run == run && Some(entry.call) == hash));
                let slot = at.and_then(|at| set.chunks_exact_mut(ENTRY).nth(at));
                found.push(slot.and_then(|slot| {
                    let entry = Entry::read(slot);
                    if *used_up {
                        slot.fill(0);
                        changed = true;
                    }
                    entry.map(|entry| entry.asked)
                }));
            }
            if changed { Change::Write } else { Change::Keep }
        });
        seen.never_run = if result.is_ok() { never_run } else { 0 };
        (result.map(|()| found), seen)
    }

    fn with(
        &self,
        store: &dyn Store,
        run: u64,
        events: &mut Events,
        change: &mut dyn FnMut(&mut [u8]) -> Change,
    ) -> Result<(), Broken> {
        let key = format!("weir.1.asks.{}", run % u64::from(self.sets));
        update(store, &key, ENTRY * WAYS as usize, events, change)
    }

    /// Frees the entries whose time is up; how many they were.
    fn sweep(&self, set: &mut [u8], now: Nanos) -> u64 {
        let mut swept = 0;
        for slot in set.chunks_exact_mut(ENTRY) {
            if Entry::read(slot).is_some_and(|entry| (now - entry.at) >= self.window) {
                slot.fill(0);
                swept += 1;
            }
        }
        swept
    }
}

/// The first such entry of those that stand longest.
fn find(set: &[u8], is: &dyn Fn(&Entry) -> bool) -> Option<usize> {
    let entries = set.chunks_exact(ENTRY).enumerate().filter_map(|(at, slot)| Some((at, Entry::read(slot)?)));
    entries.filter(|(_, entry)| is(entry)).min_by_key(|(_, entry)| entry.at).map(|(at, _)| at)
}

/// Puts an entry into a free place, or into that of the oldest; whether that had to go.
fn put(set: &mut [u8], entry: &Entry) -> bool {
    let free = set.chunks_exact(ENTRY).position(|slot| Entry::read(slot).is_none());
    let at = free.or_else(|| find(set, &|_| true));
    if let Some(slot) = at.and_then(|at| set.chunks_exact_mut(ENTRY).nth(at)) {
        entry.write(slot);
    }
    free.is_none()
}

impl Entry {
    /// The entry that stands here, if there is one.
    fn read(slot: &[u8]) -> Option<Self> {
        let (numbers, texts) = slot.split_at_checked(4 * size_of::<u64>())?;
        let mut numbers = numbers.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let (run, call, id, at) = (numbers.next()?, numbers.next()?, numbers.next()?, Nanos(numbers.next()?));
        let text = |field: &[u8]| {
            let (len, text) = field.split_first()?;
            let text = text.get(..usize::from(*len))?;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (by, id_text) = texts.split_at_checked(1 + MAX_BY)?;
        let asked = Asked { by: text(by)?, id: text(id_text).filter(|_| id != 0) };
        (run != 0).then_some(Self { run, call, id, at, asked })
    }

    fn write(&self, slot: &mut [u8]) {
        slot.fill(0);
        let Some((numbers, texts)) = slot.split_at_mut_checked(4 * size_of::<u64>()) else { return };
        let values = [self.run, self.call, self.id, self.at.0];
        for (to, value) in numbers.as_chunks_mut().0.iter_mut().zip(values) {
            *to = u64::to_le_bytes(value);
        }
        let Some((by, id)) = texts.split_at_mut_checked(1 + MAX_BY) else { return };
        for (field, text) in [(by, self.asked.by.as_str()), (id, self.asked.id.as_deref().unwrap_or(""))] {
            let Some((len, to)) = field.split_first_mut() else { continue };
            let text = text.as_bytes();
            let size = text.len().min(to.len());
            *len = size as u8;
            if let (Some(to), Some(from)) = (to.get_mut(..size), text.get(..size)) {
                to.copy_from_slice(from);
            }
        }
    }
}

/// Zero marks an entry that is free, and an id that is none.
fn run_hash(salt: u64, who: Who<'_>) -> u64 {
    let tenant = who.tenant.map_or(&b"\xff"[..], str::as_bytes);
    keyed(salt, &[b"run", tenant, who.run.as_bytes()]).max(1)
}

fn id_hash(salt: u64, id: &str) -> u64 {
    keyed(salt, &[b"id", id.as_bytes()]).max(1)
}

fn call_hash(salt: u64, name: &str, arguments: u64) -> u64 {
    keyed(salt, &[b"call", own_name(name).as_bytes(), &arguments.to_le_bytes()])
}
