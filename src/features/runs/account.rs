//! What a whole run took: one account per run in the store, added to when a call is over, and read out when the run is.
//!
//! A call with an outcome closes the account: what it has is the run's, that call included, and the next call begins a new one.
//! Adding and closing are one change of one entry, so that of calls that race each is in exactly one account.

use super::config::Runs;
use crate::call::kind::SLOTS;
use crate::shared::key::{keyed, part};
use crate::shared::table::{Table, Use};
use crate::shared::{Change, Events, Salt, Store};
use crate::units::{Nanos, Span};

/// The table's name in the store; the number is the version of what lies there.
const ACCOUNTS: &str = "weir.1.account";

/// Numbers of an account beside those by kind.
const SINGLE: usize = 9;

/// Bytes of an [`Account`].
pub const SIZE: usize = 8 * (SINGLE + SLOTS);

/// What a run took so far. Costs are nano-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The end of its first call.
    pub first: Nanos,
    /// The end of its last one; zero: there was none.
    pub last: Nanos,
    /// Calls that went out.
    pub calls: u64,
    /// Of those, the ones that went wrong.
    pub failed: u64,
    /// Calls that were answered in front of the upstream.
    pub refused: u64,
    /// Calls that have a price.
    pub priced: u64,
    /// Tokens.
    pub input: u64,
    /// Tokens.
    pub output: u64,
    /// As much of the cost as bought nothing.
    pub waste: u64,
    /// By the number of the kind.
    pub cost: [u64; SLOTS],
}

/// What one call adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The number of its kind.
    pub kind: u8,
    /// It was answered in front of the upstream.
    pub refused: bool,
    /// It went wrong.
    pub failed: bool,
    /// What it cost, and as much of that as bought nothing; nothing if it has no price.
    pub cost: Option<(u64, u64)>,
    /// Tokens.
    pub input: u64,
    /// Tokens.
    pub output: u64,
}

impl Account {
    /// Reads an account; bytes of another size are one that nobody ever used.
    pub fn read(bytes: &[u8]) -> Self {
        let mut words =
            bytes.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        let mut next = || words.next().unwrap_or(0);
        Self {
            first: Nanos(next()),
            last: Nanos(next()),
            calls: next(),
            failed: next(),
            refused: next(),
            priced: next(),
            input: next(),
            output: next(),
            waste: next(),
            cost: std::array::from_fn(|_| next()),
        }
    }

    /// Writes it where it was read.
    pub fn write(&self, bytes: &mut [u8]) {
        let Self { first, last, calls, failed, refused, priced, input, output, waste, cost } = self;
        let single: [u64; SINGLE] = [first.0, last.0, *calls, *failed, *refused, *priced, *input, *output, *waste];
        for (word, value) in bytes.chunks_exact_mut(8).zip(single.iter().chain(cost)) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Whether nobody uses it any more: it never was, or not for so long. What lies ahead of the clock by more than that
    /// was never written.
    pub fn is_old(bytes: &[u8], idle: Span, now: Nanos) -> bool {
        let last = Account::read(bytes).last;
        last == Nanos(0) || now - last > idle || last - now > idle
    }

    /// A call of the run is over.
    pub fn add(&mut self, call: &Call, now: Nanos) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        let Call { kind, refused, failed, cost, input, output } = *call;
        if self.last == Nanos(0) {
            self.first = Nanos(now.0.max(1));
        }
        // Another worker's clock may have been read a little later.
        self.last = Nanos(self.last.0.max(now.0).max(1));
        add(if refused { &mut self.refused } else { &mut self.calls }, 1);
        add(&mut self.failed, failed.into());
        add(&mut self.input, input);
        add(&mut self.output, output);
        let Some((total, waste)) = cost else { return };
        add(&mut self.priced, 1);
        add(&mut self.waste, waste);
        if let Some(sum) = self.cost.get_mut(usize::from(kind)) {
            add(sum, total);
        }
    }

    /// What it cost in all; nothing if none of its calls has a price.
    pub fn total(&self) -> Option<u64> {
        (self.priced > 0).then(|| self.cost.iter().fold(0, |sum: u64, cost| sum.saturating_add(*cost)))
    }
}

/// What one worker knows of accounts.
#[derive(Debug)]
pub struct Accounts {
    table: Table,
    idle: Span,
    /// In which order the config has kinds of its own: under another one, accounts begin anew.
    seed: u64,
    salt: Salt,
}

impl Accounts {
    /// Of this section; `own` are the config's own kinds, in their order.
    pub fn new(runs: &Runs, own: &[&str]) -> Self {
        let own: Vec<&[u8]> = own.iter().map(|word| word.as_bytes()).collect();
        Self {
            table: Table::new(ACCOUNTS, runs.max.get(), SIZE),
            idle: Span(u64::from(runs.idle_s.get()).saturating_mul(1_000_000_000)),
            seed: keyed(0, &own),
            salt: Salt::default(),
        }
    }

    /// A call of this tenant's run is over. Gives the run's account, that call included, if it closes it. A run that finds no place
    /// has no account, and nothing is made up for it.
    pub fn add(
        &mut self,
        (tenant, run): (Option<&str>, &str),
        call: &Call,
        closes: bool,
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
    ) -> Option<Account> {
        let salt = self.salt.get(store, now)?;
        let key = keyed(salt, &[&self.seed.to_le_bytes(), part(tenant), run.as_bytes()]);
        let mut account = Account::default();
        let mut change = |bytes: &mut [u8]| {
            account = Account::read(bytes);
            account.add(call, now);
            if closes {
                bytes.fill(0)
            } else {
                account.write(bytes)
            }
            Change::Write
        };
        let using = Use { free: &|bytes| Account::is_old(bytes, self.idle, now), change: &mut change };
        self.table.with(store, key, events, using).ok()?;
        Some(account).filter(|_| closes)
    }
}
