//! Limits: what a call reserves when it comes, and settles when it is over.
//!
//! [`Limiter::admit`] claims something of each limit that counts the call, of all or of none. [`Limiter::extend`] claims more
//! while the answer streams, where the config wants it watched. [`Limiter::settle`] puts right what was estimated.

use super::claim::{Claim, Claims, Left, Verdict};
use super::config::{Admission, Limit, OnExceeded};
use super::gcra::Taken;
use super::lease::{self, Entry, generation};
use super::rule::{Caller, Counts, Kind, Rule};
use super::share::{self, Bucket};
use crate::call::gate::Position;
use crate::call::size::{Money, Size};
use crate::record::Usage;
use crate::shared::table::{NoEntry, Table, Use};
use crate::shared::{Change, Events, Salt, Store};
use crate::units::{Nanos, Span};

/// The tables' names in the store. The number is the version of what lies there: another layout gets another one, so that
/// an old and a new filter in one process do not read each other's.
const RATES: &str = "weir.1.rate";
const SHARED: &str = "weir.1.share";
const TOTALS: &str = "weir.1.total";

/// Keys of limits that are divided among sharers; each takes 4 KB. Their scopes are few: models, routes, tenants.
const MAX_SHARED: u32 = 4096;

/// While a stream is watched, what it claims more at a time: this part of what it has claimed, and at least so many tokens.
const MORE_PART: u64 = 4;
const MORE_TOKENS: u64 = 64;

/// What a call claimed too much of a limit is given back at once only where less than this part of the limit is left. Neither
/// is it asked for once more where that much is left and what is missing is no more than such a part of what it has: all
/// who do so together cannot miss more than is left.
const PLENTY: u64 = 2;
const LITTLE: u64 = 8;

/// What to tell a client to wait where nobody knows when a place will be free.
const SOON: Span = Span(1_000_000_000);

/// What one worker knows of its limits.
#[derive(Debug)]
pub struct Limiter {
    /// In the order of the config.
    pub rules: Vec<Rule>,
    /// What they want to know of a call, beyond what is known anyway.
    pub needs: Needs,
    salt: Salt,
    /// Of the shared rates, the one that remembers its sharers longest.
    memory: Option<share::Rate>,
    rates: Table,
    shared: Table,
    totals: Table,
}

/// What limits want to know of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Envoy's route, when the call comes.
    pub route: bool,
    /// Which tool is called.
    pub tool: bool,
    /// Where it stands in its run's tree.
    pub lineage: bool,
    /// Calls hold leases that have to be renewed.
    pub leases: bool,
    /// What it costs.
    pub prices: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It passes.
    Pass,
    /// It has its place; its turn comes then.
    Until(Nanos),
    /// It has none yet; it may ask again.
    Again,
    /// It is refused by this rule; it may come again after that time, if ever.
    Refuse(usize, Option<Span>),
}

/// What is asked for a call.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who calls.
    pub caller: Caller<'a>,
    /// How large the call probably is.
    pub size: Size,
    /// All is known that ever will be.
    pub last: bool,
    /// There is room for one more that waits.
    pub room: bool,
}

/// Why a rule gives nothing.
enum No {
    /// There would be enough after this time.
    After(Span),
    /// There may be room at any time; nobody knows when, or probably then.
    Soon(Span),
    /// There will never be.
    Never,
    /// It cannot be decided; whether the call passes then.
    Undecided { pass: bool },
}

/// The store as of now, and what is seen of it.
struct Books<'a> {
    store: &'a dyn Store,
    events: Events,
    now: Nanos,
}

impl Limiter {
    /// Of these sections.
    pub fn new(limits: &[Limit], admission: &Admission) -> Self {
        let keys = admission.keys.get();
        let rules: Vec<Rule> = limits.iter().flat_map(Rule::of).collect();
        let any = |want: fn(&Rule) -> bool| rules.iter().any(want);
        let needs = Needs {
            route: any(Rule::wants_route),
            tool: any(Rule::counts_tools),
            lineage: any(Rule::wants_lineage),
            leases: any(|rule| rule.total().is_some()),
            prices: any(Rule::goes_by_price),
        };
        Self {
            memory: rules.iter().filter_map(Rule::shared).max_by_key(share::Rate::memory),
            rules,
            needs,
            salt: Salt::default(),
            rates: Table::new(RATES, keys, size_of::<u64>()),
            shared: Table::of_large(SHARED, MAX_SHARED, share::SIZE),
            totals: Table::new(TOTALS, keys, lease::SIZE),
        }
    }

    /// The most bytes that values take in the store: of rates, of rates that are divided, of totals; zero for what no rule is.
    pub fn max_bytes(&self) -> [usize; 3] {
        let any = |of: fn(&Kind) -> bool| self.rules.iter().any(|rule| of(&rule.kind));
        let tables = [
            (&self.rates, any(|kind| matches!(kind, Kind::Rate(_)))),
            (&self.shared, any(|kind| matches!(kind, Kind::Shared(..)))),
            (&self.totals, any(|kind| matches!(kind, Kind::Budget(_) | Kind::InFlight(_) | Kind::Fanout(_)))),
        ];
        tables.map(|(table, used)| if used { table.max_bytes() } else { 0 })
    }

    /// Claims something of each limit that counts the call and is not claimed yet, and brings what is claimed to `size`; of
    /// all or of none. To be asked again when a call's turn has come.
    pub fn admit(&mut self, claims: &mut Claims, question: &Question<'_>, store: &dyn Store, now: Nanos) -> Admit {
        if self.rules.is_empty() {
            return Admit::Pass;
        }
        self.salt.get(store, now);
        let mut books = Books { store, events: Events::default(), now };
        let admit = self.decide(claims, question, &mut books);
        claims.events.add(books.events);
        admit
    }

    fn decide<'a>(&'a self, claims: &mut Claims, question: &Question<'_>, books: &mut Books<'_>) -> Admit {
        let now = books.now;
        let before = claims.list.clone();
        let queues = std::mem::take(&mut claims.queues);
        // However many limits it waits for, one after another, it waits no longer than each of them allows.
        let held = Span(claims.held.0.saturating_add(claims.since.map_or(0, |since| (now - since).0)));
        let caller = &question.caller;
        let parts = |(at, rule): (usize, &'a Rule)| (0..rule.parts(caller)).map(move |part| (at, part, rule));
        for (at, part, rule) in self.rules.iter().enumerate().flat_map(parts) {
            let waited = claims.waits.filter(|(rule, _)| *rule == at).map_or(Span(0), |(_, since)| now - since);
            let may_wait = Span(rule.max_wait.0.saturating_sub(held.0) * u64::from(question.room));
            let claimed = match claims.list.iter_mut().find(|claim| (claim.rule, claim.part) == (at, part)) {
                Some(claim) => self.resize(rule, claim, question.size, may_wait, books),
                None => {
                    let Some((mut claim, claimed)) = self.first((at, part), rule, question, (may_wait, &queues), books)
                    else {
                        continue;
                    };
                    claim.waited = Span(claim.waited.0.saturating_add(waited.0));
                    claims.list.push(claim);
                    claimed
                }
            };
            if let Err(no) = claimed {
                return self.deny(claims, &before, (at, no), may_wait, books);
            }
        }
        claims.waits = None;
        for claim in &mut claims.list {
            claim.reserved = claim.amount;
        }
        self.watch(claims, question.size);
        let turn = claims.list.iter().map(|claim| claim.turn).max().unwrap_or(now);
        if turn > now {
            claims.since.get_or_insert(now);
            return Admit::Until(turn);
        }
        (claims.held, claims.since) = (held, None);
        Admit::Pass
    }

    /// A call's first claim of a rule, if that counts the call.
    fn first(
        &self,
        (at, part): (usize, usize),
        rule: &Rule,
        question: &Question<'_>,
        (may_wait, queues): (Span, &[u64]),
        books: &mut Books<'_>,
    ) -> Option<(Claim, Result<(), No>)> {
        let Question { caller, size, last, room: _ } = question;
        let caller = &caller.of_tool(part);
        let mut claim = Claim {
            rule: at,
            part,
            key: 0,
            // Of no use to rules for which nobody stands in line.
            sharer: if rule.has_queues() { rule.sharer(caller, self.salt.known().unwrap_or_default()) } else { 0 },
            depth: caller.depth,
            taken: books.now,
            amount: 0,
            reserved: 0,
            charged: 0,
            generation: 0,
            verdict: Verdict::Pass,
            turn: books.now,
            waited: Span(0),
            left: None,
        };
        let counts = rule.counts(caller, self.salt.known().unwrap_or_default(), *last);
        let claimed = match (counts, self.salt.known()) {
            (Counts::No | Counts::Later, _) => return None,
            (Counts::Key(key), Some(_)) => {
                claim.key = key;
                // Nobody overtakes those who wait already.
                if !queues.is_empty() && rule.has_queues() && queues.contains(&rule.position(&claim).queue) {
                    return Some(said(rule, claim, Err(No::Soon(SOON))));
                }
                self.claim(rule, &mut claim, rule.reserve(*size), may_wait, books)
            }
            (Counts::Missing | Counts::Key(_), _) => Err(No::Undecided { pass: !rule.closed }),
        };
        Some(said(rule, claim, claimed))
    }

    /// Gives back what was claimed just now, or all of it if the call has no more time to ask again.
    fn deny(
        &self,
        claims: &mut Claims,
        before: &[Claim],
        (at, no): (usize, No),
        may_wait: Span,
        books: &mut Books<'_>,
    ) -> Admit {
        let again = matches!(no, No::Soon(_)) && may_wait > Span(0);
        for claim in &mut claims.list {
            let had = before.iter().find(|b| (b.rule, b.part) == (claim.rule, claim.part)).filter(|_| again);
            if had.is_none_or(|had| had.amount < claim.amount) {
                self.reduce(claim, had.map_or(0, |had| had.amount), books);
            }
            if let Some(had) = had {
                (claim.turn, claim.waited) = (had.turn, had.waited);
            }
        }
        if again {
            let waits = claims.list.iter().rfind(|claim| claim.rule == at).zip(self.rules.get(at));
            claims.position = waits.map_or(Position::default(), |(claim, rule)| rule.position(claim));
            claims.since.get_or_insert(books.now);
            claims.list.truncate(before.len());
            if claims.waits.is_none_or(|(rule, _)| rule != at) {
                claims.waits = Some((at, books.now));
            }
            return Admit::Again;
        }
        Admit::Refuse(
            at,
            match no {
                No::After(span) | No::Soon(span) => Some(span),
                No::Undecided { .. } => Some(SOON),
                No::Never => None,
            },
        )
    }

    /// Claims so much more of a limit.
    fn claim(
        &self,
        rule: &Rule,
        claim: &mut Claim,
        more: u64,
        may_wait: Span,
        books: &mut Books<'_>,
    ) -> Result<(), No> {
        let now = books.now;
        match rule.kind {
            Kind::Rate(rate) => {
                let take = &mut |tat: &mut u64| rate.take(tat, more, may_wait, now);
                let (taken, tat) = self.rate(claim.key, books, take).map_err(|error| undecided(rule, error))?;
                claim.left = Some(Left { amount: rate.level(tat, now), reset: Some(rate.until_full(tat, now)) });
                match taken {
                    Taken::After(wait) => {
                        claim.turn = claim.turn.max(Nanos(now.0.saturating_add(wait.0)));
                        claim.waited = Span(claim.waited.0.saturating_add(wait.0));
                    }
                    Taken::Never(wait) => return Err(No::After(wait)),
                }
            }
            Kind::Shared(rate, _) => {
                let (sharer, plain) = (claim.sharer, rate.plain());
                let (verdict, level) = self
                    .share(&rate, claim.key, books, &mut |bucket| {
                        let verdict = bucket.take_ahead(&rate, sharer, more, now, may_wait);
                        (verdict, u64::try_from(bucket.level(&rate, now)).unwrap_or(0))
                    })
                    .map_err(|error| undecided(rule, error))?;
                let reset = plain.span(plain.burst.saturating_sub(level));
                claim.left = Some(Left { amount: level, reset: Some(reset) });
                match verdict {
                    share::Verdict::Granted { wait } => {
                        claim.turn = claim.turn.max(Nanos(now.0.saturating_add(wait.0)));
                        claim.waited = Span(claim.waited.0.saturating_add(wait.0));
                    }
                    share::Verdict::Empty { wait } => return Err(No::After(wait)),
                    share::Verdict::OverShare { wait } => return Err(No::Soon(wait)),
                    share::Verdict::TooLarge => return Err(No::Never),
                }
            }
            Kind::Depth(max) => {
                claim.left = Some(Left { amount: max.saturating_sub(claim.depth).into(), reset: None });
                if claim.depth > max {
                    return Err(No::Never);
                }
            }
            Kind::Budget(total) | Kind::InFlight(total) | Kind::Fanout(total) => {
                let lease = (claim.amount, claim.generation);
                let leased = self.total(claim.key, books, &mut |entry| {
                    let leased = entry.lease(total, more, now);
                    if leased {
                        // One lease of one generation, not two of two.
                        entry.resize(total, lease, lease.0, now);
                    }
                    (leased, entry.used(), entry.generation())
                });
                let (leased, used, generation) = leased.map_err(|error| undecided(rule, error))?;
                claim.left = Some(Left { amount: total.amount.saturating_sub(used), reset: None });
                if !leased {
                    return Err(if matches!(rule.kind, Kind::Budget(_)) { No::Never } else { No::Soon(SOON) });
                }
                claim.generation = generation;
            }
        }
        claim.amount = claim.amount.saturating_add(more);
        Ok(())
    }

    /// Brings what is claimed to another size.
    fn resize(
        &self,
        rule: &Rule,
        claim: &mut Claim,
        size: Size,
        may_wait: Span,
        books: &mut Books<'_>,
    ) -> Result<(), No> {
        let wanted = rule.reserve(size);
        // What holds nothing was let pass without.
        if claim.amount == 0 || wanted == claim.amount {
            return Ok(());
        }
        // While most of the limit is left nobody misses what is claimed too much or a little too little; it is put right when
        // the call is over, and the store is asked once less.
        let plenty = claim.left.is_some_and(|left| left.amount >= rule.capacity() / PLENTY);
        let Some(more) = wanted.checked_sub(claim.amount) else {
            if !plenty {
                self.reduce(claim, wanted, books);
            }
            return Ok(());
        };
        if plenty && more <= claim.amount / LITTLE {
            return Ok(());
        }
        // A call whose turn has come does not queue again behind those who came after it, nor is it refused, for as much as its
        // estimate missed: it takes that as any call does at its end. What is more than it waited for is another call.
        if claim.waited > Span(0) && more <= claim.amount && matches!(rule.kind, Kind::Rate(_) | Kind::Shared(..)) {
            if self.put_right(rule, claim, wanted, books).is_ok() {
                claim.amount = wanted;
            }
            return Ok(());
        }
        let (verdict, claimed) = judged(rule, self.claim(rule, claim, more, may_wait, books));
        claim.verdict = verdict;
        claimed
    }

    /// The claim of which the least part is left: what clients are told of.
    pub fn tightest<'a>(&'a self, claims: &'a Claims) -> Option<(&'a Rule, &'a Claim)> {
        let known = claims.list.iter().filter_map(|claim| Some((self.rules.get(claim.rule)?, claim, claim.left?)));
        // Of a/b and c/d the smaller one, as a*d and c*b: without a division.
        let product = |left: &Left, rule: &Rule| u128::from(left.amount) * u128::from(rule.capacity().max(1));
        let tightest = known.min_by(|(rule, _, left), (than, _, is)| product(left, than).cmp(&product(is, rule)));
        tightest.map(|(rule, claim, _)| (rule, claim))
    }

    /// From which number of answered tokens on the claims have to be looked at again.
    fn watch(&self, claims: &mut Claims, size: Size) {
        let watched = claims.list.iter().filter_map(|claim| {
            let rule = self.watched(claim)?;
            Some(rule.output_covered(claim.amount, size))
        });
        claims.watch = watched.min();
    }

    /// The rule of a claim that is to be watched.
    fn watched(&self, claim: &Claim) -> Option<&Rule> {
        let rule = self.rules.get(claim.rule)?;
        (rule.on_exceeded != OnExceeded::Finish && claim.amount > 0 && claim.verdict == Verdict::Pass).then_some(rule)
    }

    /// Claims more for an answer that has grown to `size`. Gives the rule that cuts it, if one does.
    pub fn extend(&self, claims: &mut Claims, size: Size, store: &dyn Store, now: Nanos) -> Option<usize> {
        let mut books = Books { store, events: Events::default(), now };
        let mut cut = None;
        for claim in &mut claims.list {
            let Some(rule) = self.watched(claim) else { continue };
            if rule.output_covered(claim.amount, size) > size.output {
                continue;
            }
            let more = Size { input: 0, output: MORE_TOKENS, money: Money { call: 0, ..size.money } };
            let more = (claim.amount / MORE_PART).max(rule.reserve(more));
            match self.claim(rule, claim, more, Span(0), &mut books) {
                Ok(()) => {}
                Err(No::Undecided { pass: true }) => claim.verdict = Verdict::Open,
                Err(_) => claim.verdict = exceeded(rule),
            }
            if claim.verdict == Verdict::Cut {
                cut = Some(claim.rule);
            }
        }
        claims.events.add(books.events);
        self.watch(claims, size);
        cut
    }

    /// Makes the leases of a call that is still running good for longer.
    pub fn renew(&self, claims: &mut Claims, store: &dyn Store, now: Nanos) {
        let mut books = Books { store, events: Events::default(), now };
        for claim in claims.list.iter_mut().filter(|claim| claim.amount > 0 && claim.generation != generation(now)) {
            self.reduce(claim, claim.amount, &mut books);
        }
        claims.events.add(books.events);
    }

    /// Puts right what was reserved, now that the call is over; `sent` says whether the upstream heard of it.
    pub fn settle(&self, claims: &mut Claims, usage: &Usage, sent: bool, store: &dyn Store, now: Nanos) {
        let mut books = Books { store, events: Events::default(), now };
        for claim in claims.list.iter_mut().filter(|claim| claim.amount > 0) {
            let Some(rule) = self.rules.get(claim.rule) else { continue };
            let actual = if sent { rule.charge(usage, claims.cost) } else { 0 };
            let reserved = claim.amount;
            // A store that does not answer now leaves a rate's estimate standing: it flows back in time; and a lease runs out.
            let _ = match rule.kind {
                Kind::Rate(_) | Kind::Shared(..) => self.put_right(rule, claim, actual, &mut books),
                Kind::Depth(_) => Ok(()),
                Kind::Budget(total) | Kind::InFlight(total) | Kind::Fanout(total) => {
                    let lease = (reserved, claim.generation);
                    self.total(claim.key, &mut books, &mut |entry| entry.settle(total, lease, actual, now))
                }
            };
            (claim.amount, claim.charged) = (0, actual);
        }
        claims.events.add(books.events);
    }

    /// Gives back all but `to` of what is claimed.
    fn reduce(&self, claim: &mut Claim, to: u64, books: &mut Books<'_>) {
        let Some(rule) = self.rules.get(claim.rule).filter(|_| claim.amount >= to && claim.amount > 0) else { return };
        let now = books.now;
        let done = match (rule.kind, rule.total()) {
            (_, Some(total)) => {
                let lease = (claim.amount, claim.generation);
                let resized = self.total(claim.key, books, &mut |entry| {
                    entry.resize(total, lease, to, now);
                    entry.generation()
                });
                resized.map(|generation| claim.generation = generation)
            }
            _ => self.put_right(rule, claim, to, books),
        };
        if done.is_ok() {
            claim.amount = to;
        }
    }

    /// Makes `actual` of what was taken out of a bucket.
    fn put_right(&self, rule: &Rule, claim: &Claim, actual: u64, books: &mut Books<'_>) -> Result<(), NoEntry> {
        let (reserved, now) = (claim.amount, books.now);
        match rule.kind {
            Kind::Rate(rate) if reserved != actual => {
                self.rate(claim.key, books, &mut |tat| rate.settle(tat, reserved, actual, now)).map(|_| ())
            }
            Kind::Shared(rate, _) if reserved != actual => {
                let (sharer, taken) = (claim.sharer, claim.taken);
                self.share(&rate, claim.key, books, &mut |bucket| {
                    bucket.settle(&rate, sharer, reserved, taken, actual, now);
                })
            }
            _ => Ok(()),
        }
    }

    /// Works on the bucket of a key. Gives its TAT after that too.
    fn rate<T>(
        &self,
        key: u64,
        books: &mut Books<'_>,
        work: &mut dyn FnMut(&mut u64) -> T,
    ) -> Result<(T, u64), NoEntry> {
        let mut result = None;
        let now = books.now;
        let read = |bytes: &[u8]| bytes.first_chunk().map_or(0, |tat| u64::from_le_bytes(*tat));
        let mut change = |bytes: &mut [u8]| {
            let before = read(bytes);
            let mut tat = before;
            result = Some((work(&mut tat), tat));
            bytes.iter_mut().zip(tat.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            if tat == before { Change::Keep } else { Change::Write }
        };
        let using = Use { free: &|bytes| read(bytes) <= now.0, change: &mut change };
        self.rates.with(books.store, key, &mut books.events, using)?;
        result.ok_or(NoEntry::Broken)
    }

    /// Works on the shared bucket of a key.
    fn share<T>(
        &self,
        rate: &share::Rate,
        key: u64,
        books: &mut Books<'_>,
        work: &mut dyn FnMut(&mut Bucket<'_>) -> T,
    ) -> Result<T, NoEntry> {
        let mut result = None;
        let now = books.now;
        // As long as any limit remembers: the entry may be another one's.
        let memory = self.memory.as_ref().unwrap_or(rate);
        let free = |bytes: &[u8]| share::is_idle(bytes, memory, now);
        let mut change = |bytes: &mut [u8]| {
            let Some(mut bucket) = Bucket::over(bytes) else { return Change::Keep };
            result = Some(work(&mut bucket));
            Change::Write
        };
        self.shared.with(books.store, key, &mut books.events, Use { free: &free, change: &mut change })?;
        result.ok_or(NoEntry::Broken)
    }

    /// Works on the total of a key.
    fn total<T>(&self, key: u64, books: &mut Books<'_>, work: &mut dyn FnMut(&mut Entry) -> T) -> Result<T, NoEntry> {
        let mut result = None;
        let now = books.now;
        let mut change = |bytes: &mut [u8]| {
            let mut entry = Entry::read(bytes);
            let before = entry;
            result = Some(work(&mut entry));
            entry.write(bytes);
            if entry == before { Change::Keep } else { Change::Write }
        };
        let using = Use { free: &|bytes| Entry::read(bytes).is_idle(now), change: &mut change };
        self.totals.with(books.store, key, &mut books.events, using)?;
        result.ok_or(NoEntry::Broken)
    }
}

/// A claim with what its rule says of it.
fn said(rule: &Rule, mut claim: Claim, claimed: Result<(), No>) -> (Claim, Result<(), No>) {
    let (verdict, claimed) = judged(rule, claimed);
    claim.verdict = verdict;
    (claim, claimed)
}

/// What a rule that gave this says of the call, and whether the call goes on.
fn judged(rule: &Rule, claimed: Result<(), No>) -> (Verdict, Result<(), No>) {
    match claimed {
        Ok(()) => (Verdict::Pass, Ok(())),
        Err(No::Undecided { pass: true }) => (Verdict::Open, Ok(())),
        Err(_) if rule.shadow => (Verdict::Shadow, Ok(())),
        Err(No::Undecided { pass: false }) => (Verdict::Closed, claimed),
        Err(_) => (Verdict::Refuse, claimed),
    }
}

fn undecided(rule: &Rule, error: NoEntry) -> No {
    let refused = match error {
        NoEntry::Full => rule.refuse_full,
        NoEntry::Broken => rule.closed,
    };
    No::Undecided { pass: !refused }
}

/// What a stream has coming that used more than there is.
fn exceeded(rule: &Rule) -> Verdict {
    match rule.on_exceeded {
        _ if rule.shadow => Verdict::Shadow,
        OnExceeded::Cut => Verdict::Cut,
        OnExceeded::Warn | OnExceeded::Finish => Verdict::Warn,
    }
}
