//! Chains put together from records as logs have them: workers interleave, so order counts within a chain alone.
//!
//! What is known of a chain is its runs: records that follow one another. A record is proven by the one before it, so the first
//! of a run waits for that one, and its text is kept as long.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir::features::audit::chain::{COUNT, FIRST, Mac};

use super::keys::Keys;
use super::sealed::{Line, Sealed};

/// A file, by its place in the list, and a line of it, counted from 1.
pub type At = (usize, u64);

/// Something about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The record's place in its chain.
    pub seq: u64,
    /// Where it stands.
    pub at: At,
}

/// What is known of one chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Its worker.
    pub worker: String,
    /// The lowest and the highest place that is there.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// How many there are.
    pub records: u64,
    /// Places that are not there, from and to.
    pub missing: Vec<(u64, u64)>,
    /// The MAC is not that of the record.
    pub changed: Vec<Finding>,
    /// There is no key of that name.
    pub unknown_key: Vec<Finding>,
    /// It was there before.
    pub repeated: Vec<Finding>,
    /// A later one was there before.
    pub out_of_order: Vec<Finding>,
    /// The one before it is missing.
    pub unproven: Vec<Finding>,
}

impl Chain {
    fn is_fine(&self) -> bool {
        let lists = [&self.changed, &self.unknown_key, &self.repeated, &self.out_of_order];
        self.missing.is_empty() && lists.iter().all(|list| list.is_empty())
    }
}

/// Chains of a process of which no record is there, although one that began later is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first of them.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What is known of all logs.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The chains in the order in which they came.
    pub chains: Vec<Chain>,
    /// Those that are missing as a whole.
    pub lost: Vec<Lost>,
    /// Lines with traces of a record.
    pub damaged: Vec<At>,
    /// Lines without a sealed record.
    pub unsealed: u64,
}

impl Findings {
    /// Whether nothing is wrong. Where there is no sealed record nothing was proven.
    pub fn is_fine(&self) -> bool {
        let proven = !self.chains.is_empty() && self.chains.iter().all(Chain::is_fine);
        proven && self.damaged.is_empty() && self.lost.is_empty()
    }

    /// All records.
    pub fn records(&self) -> u64 {
        self.chains.iter().map(|chain| chain.records).sum()
    }
}

/// Records that follow one another; stands under the place of the first.
#[derive(Debug)]
struct Run {
    last: u64,
    last_mac: Mac,
    /// The first one, until the one before it comes.
    waits: Option<Waits>,
}

#[derive(Debug)]
struct Waits {
    key: String,
    mac: Mac,
    signed: Vec<u8>,
    at: At,
}

#[derive(Debug, Default)]
struct Open {
    chain: Chain,
    runs: BTreeMap<u64, Run>,
}

/// Logs that are read line by line.
#[derive(Debug)]
pub struct Logs {
    keys: Keys,
    partial: bool,
    file: Option<usize>,
    line: u64,
    order: Vec<String>,
    chains: HashMap<String, Open>,
    damaged: Vec<At>,
    unsealed: u64,
}

impl Logs {
    /// Nothing read yet. With `partial`, a chain may begin anywhere.
    pub fn new(keys: Keys, partial: bool) -> Self {
        let (order, chains, damaged) = Default::default();
        Self { keys, partial, file: None, line: 0, order, chains, damaged, unsealed: 0 }
    }

    /// Another file begins.
    pub fn next_file(&mut self) {
        self.file = Some(self.file.map_or(0, |file| file + 1));
        self.line = 0;
    }

    /// The next line.
    pub fn line(&mut self, line: &Line<'_>) {
        self.line += 1;
        let at = (self.file.unwrap_or(0), self.line);
        match line {
            Line::Sealed(sealed) => self.sealed(sealed, at),
            Line::Damaged => self.damaged.push(at),
            Line::Other => self.unsealed += 1,
            Line::Empty => {}
        }
    }

    fn sealed(&mut self, sealed: &Sealed<'_>, at: At) {
        if !self.chains.contains_key(&sealed.worker) {
            self.order.push(sealed.worker.clone());
        }
        let open = self.chains.entry(sealed.worker.clone()).or_default();
        open.add(sealed, at, &self.keys);
    }

    /// What is known now.
    pub fn findings(mut self) -> Findings {
        let (order, partial) = (std::mem::take(&mut self.order), self.partial);
        let chains = order.iter().filter_map(|worker| {
            let open = self.chains.remove(worker)?;
            Some(Chain { worker: worker.clone(), ..open.closed(partial) })
        });
        let chains: Vec<Chain> = chains.collect();
        // Where the beginning is gone, chains may be that were over by then.
        let lost = if partial { Vec::new() } else { lost(&chains) };
        Findings { chains, lost, damaged: self.damaged, unsealed: self.unsealed }
    }
}

impl Open {
    fn add(&mut self, sealed: &Sealed<'_>, at: At, keys: &Keys) {
        let Sealed { seq, ref key, mac, ref signed, .. } = *sealed;
        let (finding, chain) = (Finding { seq, at }, &mut self.chain);
        // The run that it is in or behind.
        let before = self.runs.range_mut(..=seq).next_back();
        if before.as_ref().is_some_and(|(_, run)| run.last >= seq) {
            chain.repeated.push(finding);
            return;
        }
        if chain.records > 0 && seq < chain.last {
            chain.out_of_order.push(finding);
        }
        chain.records += 1;
        chain.last = chain.last.max(seq);
        let known = match before {
            Some((first, run)) if run.last + 1 == seq => Some((*first, run.last_mac)),
            _ if seq == 0 => Some((0, FIRST)),
            _ => None,
        };
        let waits = match known {
            Some((_, previous)) => {
                prove(chain, keys, (key, &previous, signed, &mac), finding);
                None
            }
            None => Some(Waits { key: key.clone(), mac, signed: signed.to_vec(), at }),
        };
        let first = known.map_or(seq, |(first, _)| first);
        match self.runs.get_mut(&first) {
            Some(run) => (run.last, run.last_mac) = (seq, mac),
            None => drop(self.runs.insert(first, Run { last: seq, last_mac: mac, waits })),
        }
        // The run behind it waited for it.
        let Some(next) = seq.checked_add(1).and_then(|next| self.runs.remove(&next)) else { return };
        if let Some(Waits { key, mac: its, signed, at }) = next.waits {
            prove(&mut self.chain, keys, (&key, &mac, &signed, &its), Finding { seq: seq + 1, at });
        }
        if let Some(run) = self.runs.get_mut(&first) {
            (run.last, run.last_mac) = (next.last, next.last_mac);
        }
    }

    fn closed(self, partial: bool) -> Chain {
        let mut chain = self.chain;
        chain.first = self.runs.keys().next().copied().unwrap_or(0);
        let mut wanted = if partial { chain.first } else { 0 };
        for (first, run) in self.runs {
            if first > wanted {
                chain.missing.push((wanted, first - 1));
            }
            if let Some(waits) = run.waits {
                chain.unproven.push(Finding { seq: first, at: waits.at });
            }
            wanted = run.last.saturating_add(1);
        }
        chain
    }
}

/// Chains are counted from 1 within a process, and have its number in front.
fn lost(chains: &[Chain]) -> Vec<Lost> {
    let numbers = chains.iter().filter_map(|chain| u64::from_str_radix(&chain.worker, 16).ok());
    let numbers: BTreeSet<u64> = numbers.filter(|number| number & COUNT != 0).collect();
    let mut lost = Vec::new();
    let mut before = None;
    for number in numbers {
        let same = |before: &u64| before & !COUNT == number & !COUNT;
        let wanted = before.filter(same).unwrap_or(number & !COUNT) + 1;
        if wanted < number {
            lost.push(Lost { from: wanted, to: number - 1 });
        }
        before = Some(number);
    }
    lost
}

fn prove(chain: &mut Chain, keys: &Keys, (key, before, signed, mac): (&str, &Mac, &[u8], &Mac), finding: Finding) {
    match keys.get(key) {
        Some(key) if key.mac(before, signed) == *mac => {}
        Some(_) => chain.changed.push(finding),
        None => chain.unknown_key.push(finding),
    }
}
