//! Retries: told from first tries, held to a budget, refused where they come too late; and circuits.
//!
//! One [`Retrier`] per worker knows the rules; all that is counted lies in the store, so that it holds for all workers.

use super::budget::{self, Budget};
use super::circuit::{self, Circuit, Passage};
use super::config::{self, Retries, RetryScope, RetrySource};
use super::deadline::Medians;
use super::rule::{self, BudgetRule, Caller, CircuitRule};
use super::seen::{self, Seen};
use crate::shared::table::{NoEntry, Table, Use};
use crate::shared::{Change, Events, Salt, Store};
use crate::units::{Nanos, Span};

/// The tables' names in the store; the number is the version of what lies there.
const BUDGETS: &str = "weir.1.retry";
const CIRCUITS: &str = "weir.1.circuit";
const SEEN: &str = "weir.1.seen";

/// Keys of budgets and of circuits: their scopes are few (routes, clusters, tenants). Each takes 210 bytes.
const MAX_KEYS: u32 = 8192;

/// What one worker knows of retries.
#[derive(Debug)]
pub struct Retrier {
    /// How retries are told; nothing if nobody looks.
    pub retries: Option<Retries>,
    /// In the order of the config.
    pub budgets: Vec<BudgetRule>,
    /// In the order of the config.
    pub circuits: Vec<CircuitRule>,
    /// How long answers take.
    pub medians: Medians,
    salt: Salt,
    budget_table: Table,
    circuit_table: Table,
    seen_table: Table,
}

/// What a call holds of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    rule: usize,
    key: u64,
    /// Withdrawn, or deposited, in thousandths.
    amount: u64,
    /// When.
    at: Nanos,
    withdrawn: bool,
}

/// What a call has to do with one circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    rule: usize,
    key: u64,
    probe: bool,
}

/// All that a call holds.
#[derive(Debug, Default)]
pub struct Held {
    shares: Vec<Share>,
    /// Withdrawn for a retry that Envoy may make.
    ahead: Vec<Share>,
    /// When it came, calls failed.
    failing: bool,
    passed: Vec<Passed>,
    /// What was seen of the store.
    pub events: Events,
}

/// What is asked for a call.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who calls.
    pub caller: Caller<'a>,
    /// Tokens that it will probably take.
    pub tokens: u64,
    /// All is known that ever will be.
    pub last: bool,
    /// Any number that differs from call to call.
    pub chance: u64,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// By which rule.
    pub rule: usize,
    /// When it may come again.
    pub after: Span,
    /// With which status a call failed last under the same budget, if one did.
    pub last: Option<u16>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass,
    /// It would have been refused.
    Shadow,
    /// It could not be decided, and passes.
    Open,
    /// It is refused.
    Refuse(Refused),
}

/// What a call was in the end.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// It was sent to the upstream.
    pub sent: bool,
    /// The status, if it failed.
    pub failed: Option<u16>,
    /// Whether it failed by the upstream's fault, if it says anything of the upstream.
    pub upstream_failed: Option<bool>,
    /// Envoy's own retries.
    pub envoy_retries: u64,
    /// Tokens that it took, or probably would have.
    pub tokens: u64,
}

impl Retrier {
    /// Of these sections.
    pub fn new(retries: Option<&Retries>, budgets: &[config::RetryBudget], circuits: &[config::Circuit]) -> Self {
        let rules = !(budgets.is_empty() && circuits.is_empty());
        let retries = retries.cloned().or_else(|| rules.then(Retries::default));
        let keys = retries.as_ref().map_or(0, |retries| retries.keys.get());
        Self {
            retries,
            budgets: budgets.iter().map(BudgetRule::of).collect(),
            circuits: circuits.iter().map(CircuitRule::of).collect(),
            medians: Medians::default(),
            salt: Salt::default(),
            budget_table: Table::new(BUDGETS, MAX_KEYS, budget::SIZE),
            circuit_table: Table::new(CIRCUITS, MAX_KEYS, circuit::SIZE),
            seen_table: Table::new(SEEN, keys, seen::SIZE),
        }
    }

    /// Whether anybody looks.
    pub fn enabled(&self) -> bool {
        self.retries.is_some()
    }

    /// Whether a rule wants to know this of a call.
    pub fn wants(&self, part: RetryScope) -> bool {
        let scopes = self.budgets.iter().map(|rule| &rule.scope).chain(self.circuits.iter().map(|rule| &rule.scope));
        scopes.into_iter().any(|scope| scope.wants(part))
    }

    /// The most bytes that values take in the store: of budgets, of circuits, of requests that were seen; zero for what no rule is.
    pub fn max_bytes(&self) -> [usize; 3] {
        let remembers = |source: &RetrySource| matches!(source, RetrySource::Body | RetrySource::IdempotencyKey);
        let seen = self.retries.as_ref().is_some_and(|retries| retries.sources.iter().any(remembers));
        let tables = [
            (&self.budget_table, !self.budgets.is_empty()),
            (&self.circuit_table, !self.circuits.is_empty()),
            (&self.seen_table, seen),
        ];
        tables.map(|(table, used)| if used { table.max_bytes() } else { 0 })
    }

    /// The key of all hashes, the same for all workers; nothing if the store does not answer.
    pub fn salt(&mut self, store: &dyn Store, now: Nanos) -> Option<u64> {
        self.salt.get(store, now)
    }

    fn window(&self) -> Span {
        Span(self.retries.as_ref().map_or(0, |retries| retries.window_s.ns()))
    }

    /// What is remembered of a request, by its hash.
    pub fn seen(&self, hash: u64, held: &mut Held, store: &dyn Store, now: Nanos) -> Option<Seen> {
        let mut found = None;
        self.with_seen(hash, held, store, now, &mut |seen| {
            found = *seen;
            Change::Keep
        });
        found
    }

    /// Works on what is remembered of a request; nothing is what was never seen, and what is to be forgotten.
    #[inline(never)]
    pub fn with_seen(
        &self,
        hash: u64,
        held: &mut Held,
        store: &dyn Store,
        now: Nanos,
        work: &mut dyn FnMut(&mut Option<Seen>) -> Change,
    ) {
        let window = self.window();
        let mut change = |bytes: &mut [u8]| {
            let mut seen = Seen::read(bytes, window, now);
            let change = work(&mut seen);
            match (&seen, change) {
                (Some(seen), Change::Write) => seen.write(bytes),
                (None, Change::Write) => bytes.fill(0),
                (_, Change::Keep) => {}
            }
            change
        };
        let using = Use { free: &|bytes| Seen::read(bytes, window, now).is_none(), change: &mut change };
        // What finds no place is not remembered, and counted: its repetition passes for a first try.
        let _ = self.seen_table.with(store, hash, &mut held.events, using);
    }

    fn budget<T>(
        &self,
        (rule, key): (&BudgetRule, u64),
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
        work: &mut dyn FnMut(&mut Budget) -> T,
    ) -> Result<T, NoEntry> {
        let mut result = None;
        self.budget_entry((rule, key), events, store, now, &mut |budget| result = Some(work(budget)))?;
        result.ok_or(NoEntry::Broken)
    }

    #[inline(never)]
    fn budget_entry(
        &self,
        (rule, key): (&BudgetRule, u64),
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
        work: &mut dyn FnMut(&mut Budget),
    ) -> Result<(), NoEntry> {
        let mut change = |bytes: &mut [u8]| {
            let mut budget = Budget::read(bytes, &rule.terms, now);
            let before = budget;
            work(&mut budget);
            budget.write(bytes);
            if budget == before { Change::Keep } else { Change::Write }
        };
        // An entry of another rule may have a longer window: only what is old under the longest of all is free.
        let longest = self.budgets.iter().map(|rule| rule.terms.window).max().unwrap_or(rule.terms.window);
        let using = Use { free: &|bytes| Budget::is_old(bytes, longest, now), change: &mut change };
        self.budget_table.with(store, key, events, using)
    }

    fn circuit<T>(
        &self,
        (rule, key): (&CircuitRule, u64),
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
        work: &mut dyn FnMut(&mut Circuit) -> T,
    ) -> Result<T, NoEntry> {
        let mut result = None;
        self.circuit_entry((rule, key), events, store, now, &mut |circuit| result = Some(work(circuit)))?;
        result.ok_or(NoEntry::Broken)
    }

    #[inline(never)]
    fn circuit_entry(
        &self,
        (rule, key): (&CircuitRule, u64),
        events: &mut Events,
        store: &dyn Store,
        now: Nanos,
        work: &mut dyn FnMut(&mut Circuit),
    ) -> Result<(), NoEntry> {
        let mut change = |bytes: &mut [u8]| {
            let mut circuit = Circuit::read(bytes, &rule.terms, now);
            let before = circuit;
            work(&mut circuit);
            circuit.write(bytes);
            if circuit == before { Change::Keep } else { Change::Write }
        };
        // An entry of another rule may have a longer window: only what is old under the longest of all is free.
        let longest = self.circuits.iter().map(|rule| rule.terms.window).max().unwrap_or(rule.terms.window);
        let using = Use { free: &|bytes| Circuit::is_old(bytes, longest, now), change: &mut change };
        self.circuit_table.with(store, key, events, using)
    }

    /// Asks the circuits that count the call and were not asked before. One whose state cannot be read lets it pass.
    #[inline(never)]
    pub fn pass(&mut self, held: &mut Held, ask: &Ask<'_>, store: &dyn Store, now: Nanos) -> Verdict {
        if self.circuits.is_empty() {
            return Verdict::Pass;
        }
        let Some(salt) = self.salt(store, now) else { return Verdict::Open };
        let mut verdict = Verdict::Pass;
        for (at, rule) in self.circuits.iter().enumerate() {
            let known = held.passed.iter().any(|passed| passed.rule == at);
            let Some(key) = rule.scope.key(&ask.caller, salt, ask.last).filter(|_| !known) else { continue };
            let passage =
                self.circuit((rule, key), &mut held.events, store, now, &mut |circuit| circuit.ask(&rule.terms, now));
            match passage {
                Ok(Passage::Open(_)) if rule.shadow => verdict = Verdict::Shadow,
                Ok(Passage::Open(_)) => {
                    return Verdict::Refuse(Refused { rule: at, after: rule.retry_after(ask.chance), last: None });
                }
                Ok(passage) => held.passed.push(Passed { rule: at, key, probe: passage == Passage::Probe }),
                Err(_) => verdict = Verdict::Open,
            }
        }
        verdict
    }

    /// Withdraws a retry of so many tokens from the budgets that count it and were not asked before: from all or from none.
    #[inline(never)]
    pub fn withdraw(&mut self, held: &mut Held, ask: &Ask<'_>, store: &dyn Store, now: Nanos) -> Verdict {
        if self.budgets.is_empty() {
            return Verdict::Pass;
        }
        let salt = self.salt(store, now);
        let mut verdict = Verdict::Pass;
        for (at, rule) in self.budgets.iter().enumerate() {
            let known = held.shares.iter().any(|share| share.rule == at);
            let Some(key) = rule.scope.key(&ask.caller, salt.unwrap_or_default(), ask.last).filter(|_| !known) else {
                continue;
            };
            let amount = rule.amount(ask.tokens);
            // What was withdrawn ahead for Envoy is the call's own now; if Envoy retries too, that is charged.
            let ahead = held.ahead.iter().position(|ahead| ahead.rule == at).map(|at| held.ahead.swap_remove(at));
            let mut withdraw = |budget: &mut Budget| {
                if let Some(ahead) = ahead {
                    budget.give_back(ahead.amount, ahead.at, &rule.terms);
                }
                if budget.withdraw(amount, &rule.terms) {
                    return None;
                }
                let after = rule::spread(budget.wait(amount, &rule.terms, now), ask.chance);
                Some(Refused { rule: at, after, last: budget.last_status(&rule.terms, now) })
            };
            let asked = match salt {
                Some(_) => self.budget((rule, key), &mut held.events, store, now, &mut withdraw),
                None => Err(NoEntry::Broken),
            };
            let no = match asked {
                Ok(None) => {
                    held.shares.push(Share { rule: at, key, amount, at: now, withdrawn: true });
                    continue;
                }
                Ok(Some(_)) if rule.shadow => {
                    // It goes all the same, and counts.
                    let charge = &mut |budget: &mut Budget| budget.charge(amount, &rule.terms);
                    let _ = self.budget((rule, key), &mut held.events, store, now, charge);
                    held.shares.push(Share { rule: at, key, amount: 0, at: now, withdrawn: true });
                    verdict = Verdict::Shadow;
                    continue;
                }
                Ok(Some(refused)) => refused,
                Err(_) if rule.closed => Refused { rule: at, after: rule.terms.window, last: None },
                Err(_) => {
                    verdict = Verdict::Open;
                    continue;
                }
            };
            let taken = std::mem::take(&mut held.shares);
            self.give_back(taken, held, store, now);
            return Verdict::Refuse(no);
        }
        verdict
    }

    /// Deposits a first try of so many tokens in the budgets that count it and were not told before.
    #[inline(never)]
    pub fn deposit(&mut self, held: &mut Held, ask: &Ask<'_>, store: &dyn Store, now: Nanos) {
        if self.budgets.is_empty() {
            return;
        }
        let Some(salt) = self.salt(store, now) else { return };
        for (at, rule) in self.budgets.iter().enumerate() {
            let known = held.shares.iter().any(|share| share.rule == at);
            let Some(key) = rule.scope.key(&ask.caller, salt, ask.last).filter(|_| !known) else { continue };
            let amount = rule.amount(ask.tokens);
            let deposit = &mut |budget: &mut Budget| budget.deposit(amount);
            if self.budget((rule, key), &mut held.events, store, now, deposit).is_ok() {
                held.shares.push(Share { rule: at, key, amount, at: now, withdrawn: false });
            }
        }
    }

    /// How often Envoy may retry the call by itself, if its route is not to say: once where budgets are short or the last call
    /// failed, for which one retry is withdrawn ahead and given back if it was not needed; not at all where they are out.
    #[inline(never)]
    pub fn envoy_may(&mut self, held: &mut Held, ask: &Ask<'_>, store: &dyn Store, now: Nanos) -> Option<u8> {
        if self.budgets.is_empty() {
            return None;
        }
        let salt = self.salt(store, now)?;
        let mut may = None;
        for (at, rule) in self.budgets.iter().enumerate().filter(|(_, rule)| !rule.shadow) {
            let Some(key) = rule.scope.key(&ask.caller, salt, ask.last) else { continue };
            let amount = rule.amount(ask.tokens);
            let mut failing = false;
            let mut ahead = |budget: &mut Budget| {
                failing = budget.is_failing(&rule.terms, now);
                let plenty = !failing && budget.is_plenty(amount, &rule.terms);
                (!plenty).then(|| budget.may_lie_ready(amount, &rule.terms) && budget.withdraw(amount, &rule.terms))
            };
            let asked = self.budget((rule, key), &mut held.events, store, now, &mut ahead);
            held.failing |= failing;
            match asked {
                Ok(None) | Err(_) => {}
                Ok(Some(true)) => {
                    held.ahead.push(Share { rule: at, key, amount, at: now, withdrawn: true });
                    may = Some(1);
                }
                Ok(Some(false)) => {
                    let ahead = std::mem::take(&mut held.ahead);
                    self.give_back(ahead, held, store, now);
                    return Some(0);
                }
            }
        }
        may
    }

    /// Undoes these.
    #[inline(never)]
    fn give_back(&self, shares: Vec<Share>, held: &mut Held, store: &dyn Store, now: Nanos) {
        for share in shares {
            let Some(rule) = self.budgets.get(share.rule) else { continue };
            let undo = &mut |budget: &mut Budget| match share.withdrawn {
                true => budget.give_back(share.amount, share.at, &rule.terms),
                false => budget.cancel(share.amount, share.at, &rule.terms),
            };
            // A store that does not answer now forgets in a window.
            let _ = self.budget((rule, share.key), &mut held.events, store, now, undo);
        }
    }

    /// The call is over.
    #[inline(never)]
    pub fn settle(&mut self, held: &mut Held, outcome: &Outcome, store: &dyn Store, now: Nanos) {
        let mut ahead = std::mem::take(&mut held.ahead);
        if !outcome.sent {
            ahead.append(&mut held.shares);
        }
        if !outcome.sent || outcome.envoy_retries == 0 {
            self.give_back(std::mem::take(&mut ahead), held, store, now);
        }
        if !outcome.sent {
            return;
        }
        let Outcome { failed, upstream_failed, envoy_retries, tokens, .. } = *outcome;
        let recovers = held.failing && failed.is_none() && upstream_failed == Some(false);
        if envoy_retries > 0 || failed.is_some() || recovers {
            for share in &held.shares {
                let Some(rule) = self.budgets.get(share.rule) else { continue };
                let paid = u64::from(ahead.iter().any(|ahead| ahead.rule == share.rule));
                let owed = envoy_retries.saturating_sub(paid);
                let tell = &mut |budget: &mut Budget| {
                    if owed > 0 {
                        budget.charge(rule.amount(tokens).saturating_mul(owed), &rule.terms);
                    }
                    match failed {
                        Some(status) => budget.failed(status, &rule.terms, now),
                        None if recovers => budget.went_well(),
                        None => {}
                    }
                };
                let _ = self.budget((rule, share.key), &mut held.events, store, now, tell);
            }
        }
        for passed in &held.passed {
            let Some((rule, failed)) = self.circuits.get(passed.rule).zip(upstream_failed) else { continue };
            let tell = &mut |circuit: &mut Circuit| circuit.told(failed, passed.probe, &rule.terms, now);
            let _ = self.circuit((rule, passed.key), &mut held.events, store, now, tell);
        }
    }
}
