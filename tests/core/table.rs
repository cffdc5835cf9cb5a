//! A table in the store: any number of keys in fixed memory, with nothing lost of those that are in use.

use std::cell::Cell;
use std::collections::HashMap;

use weir::shared::table::{NoEntry, Table, Use};
use weir::shared::{Broken, Change, Events, Put, Store};

use super::memory::Memory;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// An entry is the moment up to which it is in use, and a count.
const ENTRY: usize = 16;

fn words(entry: &[u8]) -> [u64; 2] {
    let (words, _) = entry.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

/// Counts a key up, keeps it in use until then; gives its count.
fn count(table: &Table, store: &dyn Store, hash: u64, now: u64, until: u64, seen: &mut Events) -> Result<u64, NoEntry> {
    let after = Cell::new(0);
    let mut change = |entry: &mut [u8]| {
        let [_, count] = words(entry);
        after.set(count + 1);
        entry[..8].copy_from_slice(&until.to_le_bytes());
        entry[8..].copy_from_slice(&(count + 1).to_le_bytes());
        Change::Write
    };
    let free = |entry: &[u8]| words(entry)[0] <= now;
    table.with(store, hash, seen, Use { free: &free, change: &mut change })?;
    Ok(after.get())
}

fn scattered(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Gives the most bytes that it ever took, and how many keys were turned away.
fn a_million_keys(table: Table, in_use: u64) -> (usize, u64, Events) {
    let (store, mut seen) = (Memory::default(), Events::default());
    let (mut known, mut turned_away) = (HashMap::new(), 0);
    for n in 0..1_000_000u64 {
        // One in four comes back while it is in use, the others are new.
        let key = if n % 4 == 3 { scattered(n - n.min(in_use / 2)) } else { scattered(n) };
        let until = n + in_use;
        match count(&table, &store, key, n, until, &mut seen) {
            Ok(counted) => {
                let (free_at, naive) = known.entry(key).or_insert((0, 0));
                *naive = if *free_at <= n { 1 } else { *naive + 1 };
                *free_at = until;
                assert_eq!(counted, *naive, "key {key:x} at {n}");
            }
            Err(NoEntry::Full) => {
                turned_away += 1;
                assert!(known.get(&key).is_none_or(|(free_at, _)| *free_at <= n), "a key in use lost its place");
            }
            Err(NoEntry::Broken) => panic!("the store answers"),
        }
    }
    let (_, bytes) = store.size();
    assert!(bytes <= table.max_bytes());
    (bytes, turned_away, seen)
}

#[test]
fn a_million_keys_take_no_more_memory_than_what_is_in_use_and_none_in_use_loses_anything() {
    let table = Table::new("t", 16_384, ENTRY);
    assert_eq!(table.max_bytes(), 16_384 * (ENTRY + 8));
    let (bytes, turned_away, seen) = a_million_keys(table, 7_000);
    assert_eq!(bytes, table.max_bytes(), "every set was used");
    assert_eq!((u64::from(seen.full), seen.contended, seen.failed), (turned_away, 0, 0));
    // Some half of all places are in use at a time: by Erlang's B one key in 14,000 finds none.
    assert!(turned_away < 200, "{turned_away}");
    assert!(seen.taken_over > 700_000, "{seen:?}");
}

#[test]
fn keys_for_which_there_is_no_room_are_told_so_and_those_that_have_a_place_keep_it() {
    let (bytes, turned_away, seen) = a_million_keys(Table::new("t", 512, ENTRY), 4_000);
    assert_eq!(bytes, 512 * (ENTRY + 8));
    assert!(turned_away > 500_000 && u64::from(seen.full) == turned_away);
}

#[test]
fn a_large_entry_finds_another_place_where_its_first_is_taken_and_is_found_there_again() {
    let (table, store, mut seen) = (Table::of_large("t", 16, ENTRY), Memory::default(), Events::default());
    let mut placed = Vec::new();
    for key in (0..64).map(scattered) {
        match count(&table, &store, key, 0, 10, &mut seen) {
            Ok(1) => placed.push(key),
            Ok(count) => panic!("{key:x} begins with {count}"),
            Err(NoEntry::Full) => {}
            Err(NoEntry::Broken) => panic!("the store answers"),
        }
    }
    assert!((12..=16).contains(&placed.len()), "{} of 16 places in use", placed.len());
    assert!(store.size().1 <= table.max_bytes());
    for key in &placed {
        assert_eq!(count(&table, &store, *key, 5, 10, &mut seen), Ok(2), "{key:x}");
    }
    // A place that came free in front of its own does not draw a key away from it.
    let [first, others @ ..] = &placed[..] else { panic!("none has a place") };
    for key in others {
        assert_eq!(count(&table, &store, *key, 9, 30, &mut seen), Ok(3), "{key:x}");
    }
    for key in others {
        assert_eq!(count(&table, &store, *key, 20, 30, &mut seen), Ok(4), "{key:x}");
    }
    assert_eq!(count(&table, &store, *first, 20, 30, &mut seen), Ok(3), "nobody has taken it over: it is as it was");
}

#[test]
fn keys_of_one_set_do_not_see_each_other() {
    let (table, store, mut seen) = (Table::new("t", 32, ENTRY), Memory::default(), Events::default());
    for round in 1..=3 {
        for key in 0..32 {
            assert_eq!(count(&table, &store, key << 32 | 1, 0, 10, &mut seen), Ok(round));
        }
    }
    assert_eq!(count(&table, &store, 99 << 32, 9, 20, &mut seen), Err(NoEntry::Full));
    assert_eq!(seen, Events { full: 1, ..Events::default() });
    assert_eq!(count(&table, &store, 99 << 32, 10, 20, &mut seen), Ok(1), "as new");
    assert_eq!(seen.taken_over, 1);
}

#[test]
fn an_entry_that_is_only_looked_at_is_not_taken_over() {
    let (table, store, mut seen) = (Table::new("t", 32, ENTRY), Memory::default(), Events::default());
    for key in 1..=32 {
        count(&table, &store, key, 0, 10, &mut seen).unwrap();
    }
    let using = Use { free: &|_| true, change: &mut |_| Change::Keep };
    table.with(&store, 99, &mut seen, using).unwrap();
    assert_eq!(seen.taken_over, 0);
    assert_eq!(count(&table, &store, 1, 0, 10, &mut seen), Ok(2));
}

#[test]
fn values_of_another_size_begin_anew() {
    let (table, store, mut seen) = (Table::new("t", 32, ENTRY), Memory::default(), Events::default());
    store.set("t.a", b"junk", 0);
    assert_eq!(count(&table, &store, 1, 0, 10, &mut seen), Ok(1));
    assert_eq!(store.size(), (1, table.max_bytes()));
}

/// Counts what is read.
struct Reads<'a>(&'a Memory, Cell<u32>);

impl Store for Reads<'_> {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        self.1.set(self.1.get() + 1);
        self.0.get(key)
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        self.0.set(key, value, cas)
    }
}

#[test]
fn who_looks_for_a_key_that_is_not_there_reads_on_only_where_something_ever_was() {
    let (table, store, mut seen) = (Table::of_large("t", 4096, ENTRY), Memory::default(), Events::default());
    let reads = Reads(&store, Cell::new(0));
    let look = |key: u64| {
        let before = reads.1.get();
        let found = table.own(&reads, key, &mut Events::default(), &mut |_| Change::Keep).unwrap();
        (found, reads.1.get() - before)
    };
    assert_eq!(look(scattered(0)), (false, 1), "an empty table");
    let placed: Vec<u64> =
        (0..2048).map(scattered).filter(|key| count(&table, &store, *key, 0, 10, &mut seen).is_ok()).collect();
    assert!(placed.iter().all(|key| look(*key).0), "each is found wherever it had to go");
    let absent: Vec<_> = (10_000..14_000).map(|n| look(scattered(n))).collect();
    assert!(absent.iter().all(|(found, reads)| !found && *reads <= 8));
    let mean = f64::from(absent.iter().map(|(_, reads)| reads).sum::<u32>()) / absent.len() as f64;
    assert!((1.9..2.1).contains(&mean), "half of the places were ever used: {mean} reads");
}
