//! A limit of the config, made ready: whose calls it counts, under which key, and how much each counts.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::claim::Claim;
use super::config::{self, OnExceeded, Scope, Sharer, Unit, Without};
use super::gcra::Rate;
use super::lease::Total;
use super::share;
use crate::call::gate::Position;
use crate::call::size::Size;
use crate::config::values::{Fail, Match, Mode, fits};
use crate::record::Usage;
use crate::units::Span;

/// Who calls, and what for: as much as is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// Who pays.
    pub tenant: Option<&'a str>,
    /// Who calls.
    pub user: Option<&'a str>,
    /// The agent's request tree.
    pub run: Option<&'a str>,
    /// The run that began the tree that this run is part of.
    pub root: Option<&'a str>,
    /// The call from which this one was made.
    pub parent: Option<&'a str>,
    /// How many calls stand above this one.
    pub depth: u16,
    /// The model asked for.
    pub model: Option<&'a str>,
    /// Envoy's route.
    pub route: Option<&'a str>,
    /// The tool that is called.
    pub tool: Option<&'a str>,
    /// The tools that a batch calls, of which that is the first.
    pub batch: &'a [String],
    /// Whether a model is called.
    pub inference: bool,
    /// Its body could not be read.
    pub unread: bool,
    /// The model is known all the same, by the path.
    pub model_sure: bool,
}

impl Caller<'_> {
    /// The same as the caller of one of its tools alone.
    #[must_use]
    pub fn of_tool(self, part: usize) -> Self {
        Self { tool: if part == 0 { self.tool } else { self.batch.get(part).map(String::as_str) }, ..self }
    }
}

/// How a limit counts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// So much in a time.
    Rate(Rate),
    /// The same, divided among these.
    Shared(share::Rate, Sharer),
    /// So much in the scope's life.
    Budget(Total),
    /// So many calls in flight.
    InFlight(Total),
    /// Calls no deeper than this.
    Depth(u16),
    /// So many calls of one parent in flight.
    Fanout(Total),
}

/// One limit.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Box<str>,
    /// How it counts.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// Whether it only records.
    pub shadow: bool,
    /// Whether a call that cannot be decided is refused.
    pub closed: bool,
    /// Whether a key without a place is refused.
    pub refuse_full: bool,
    /// How long a call may wait for it.
    pub max_wait: Span,
    /// What happens to a stream that uses more than there is.
    pub on_exceeded: OnExceeded,
    scope: Vec<Scope>,
    matches: Match,
    without: Without,
    from_parent: bool,
    /// What a token counts, in thousandths: input, read from a cache, written to one, output, reasoning.
    weights: [u64; 5],
    /// It counts what calls cost by the section `prices`; the weights do not count.
    by_price: bool,
    seed: u64,
}

/// Whether a limit counts a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Under this key.
    Key(u64),
    /// It does not.
    No,
    /// It is not known yet: the body will tell.
    Later,
    /// It cannot be known: a part of the scope is missing that has to be there.
    Missing,
}

/// A lease of calls in flight does not outlive its generations: there is nothing to forget after.
const IN_FLIGHT_IDLE: Span = Span(0);

impl Rule {
    /// The rules of one limit: a tree is two.
    pub fn of(limit: &config::Limit) -> Vec<Self> {
        let in_flight = |calls: u64| Total { amount: calls, idle: IN_FLIGHT_IDLE };
        let rate = limit.rate.map(|rate| {
            let period = Span(rate.per.seconds().saturating_mul(1_000_000_000));
            let rate = Rate { amount: rate.limit.milli(), period, burst: rate.burst.unwrap_or(rate.limit).milli() };
            limit.share.map_or(Kind::Rate(rate), |share| {
                Kind::Shared(share::Rate::new(rate.amount, rate.period, rate.burst), share.of)
            })
        });
        let budget = limit.budget.map(|budget| {
            let idle = Span(budget.idle_s.get().saturating_mul(1_000_000_000));
            Kind::Budget(Total { amount: budget.limit.milli(), idle })
        });
        let concurrency = limit.concurrency.map(|calls| Kind::InFlight(in_flight(calls.get())));
        let depth = limit.tree.and_then(|tree| tree.max_depth).map(Kind::Depth);
        let fanout = limit.tree.and_then(|tree| tree.max_fanout).map(|calls| Kind::Fanout(in_flight(calls.get())));
        let kinds = [rate, budget, concurrency, depth, fanout];
        let mut rules: Vec<_> = kinds.into_iter().flatten().map(|kind| Self::new(limit, kind)).collect();
        if let [depth, fanout] = &mut rules[..] {
            depth.name = [&depth.name, ".depth"].concat().into();
            fanout.name = [&fanout.name, ".fanout"].concat().into();
        }
        rules
    }

    fn new(limit: &config::Limit, kind: Kind) -> Self {
        let weigh = &limit.weigh;
        let (input, output) = (weigh.input, weigh.output);
        let or = |weight: Option<config::Weight>, other: config::Weight| weight.unwrap_or(other).milli();
        let mut seed = DefaultHasher::new();
        // What is counted in another way begins anew; another amount goes on.
        (limit.name.as_str(), std::mem::discriminant(&kind), limit.unit as u8).hash(&mut seed);
        Self {
            name: limit.name.as_str().into(),
            kind,
            unit: limit.unit,
            shadow: limit.mode == Mode::Shadow,
            closed: limit.fail == Fail::Closed,
            refuse_full: limit.on_full == config::OnFull::Refuse,
            max_wait: Span(limit.max_wait_ms.ms().saturating_mul(1_000_000)),
            on_exceeded: limit.on_exceeded,
            scope: limit.scope.clone(),
            matches: limit.matches.clone(),
            without: limit.without,
            from_parent: limit.budget.is_some_and(|b| b.from_parent),
            weights: [
                input.milli(),
                or(weigh.cache_read, input),
                or(weigh.cache_write, input),
                output.milli(),
                or(weigh.reasoning, output),
            ],
            by_price: limit.goes_by_price(),
            seed: seed.finish(),
        }
    }

    /// Whether it counts calls of tools.
    pub fn counts_tools(&self) -> bool {
        self.scope.contains(&Scope::Tool)
    }

    /// How often it counts this call: once for each tool of a batch, if it counts tools.
    pub fn parts(&self, caller: &Caller<'_>) -> usize {
        if self.counts_tools() { caller.batch.len().max(1) } else { 1 }
    }

    /// Whether it wants to know what calls cost.
    pub fn goes_by_price(&self) -> bool {
        self.by_price && !self.counts_in_flight()
    }

    /// Whether it wants to know the route.
    pub fn wants_route(&self) -> bool {
        self.scope.contains(&Scope::Route) || self.matches.route.is_some()
    }

    /// Whether it wants to know where a call stands in its run's tree.
    pub fn wants_lineage(&self) -> bool {
        self.from_parent || matches!(self.kind, Kind::Depth(_) | Kind::Fanout(_))
    }

    /// Whether it has few keys: none that callers can make up.
    pub fn has_few_keys(&self) -> bool {
        self.scope.iter().all(|part| matches!(part, Scope::Tenant | Scope::Model | Scope::Route))
            && !matches!(self.kind, Kind::Depth(_) | Kind::Fanout(_))
    }

    /// Whether it counts this call, and under which key; `last` says that all is known that ever will be.
    pub fn counts(&self, caller: &Caller<'_>, salt: u64, last: bool) -> Counts {
        if !(caller.inference || (self.counts_tools() && (caller.tool.is_some() || caller.unread || !last))) {
            return Counts::No;
        }
        let Match { model, route, tenant } = &self.matches;
        if !last && caller.model.is_none() && (model.is_some() || self.scope.contains(&Scope::Model)) {
            return Counts::Later;
        }
        if !last && self.counts_tools() {
            return Counts::Later;
        }
        // What could not be read may be anything: where a limit is open, it counts what is known all the same.
        let by_model = !caller.model_sure && (model.is_some() || self.scope.contains(&Scope::Model));
        if caller.unread
            && ((by_model && (self.closed || caller.model.is_none()))
                || (self.counts_tools() && !caller.inference && (self.closed || caller.tool.is_none())))
            && fits(route, &[caller.route])
            && fits(tenant, &[caller.tenant])
        {
            return Counts::Missing;
        }
        for (wanted, value) in [(model, caller.model), (route, caller.route), (tenant, caller.tenant)] {
            if !fits(wanted, &[value]) {
                return Counts::No;
            }
        }
        let mut key = DefaultHasher::new();
        (salt, self.seed).hash(&mut key);
        for part in &self.scope {
            let value = self.value(*part, caller);
            match self.without {
                _ if value.is_some() => {}
                _ if *part == Scope::Tool => return Counts::No,
                Without::Share => {}
                Without::Skip => return Counts::No,
                Without::Refuse => return Counts::Missing,
            }
            value.hash(&mut key);
        }
        if matches!(self.kind, Kind::Fanout(_)) {
            (caller.run, caller.parent).hash(&mut key);
        }
        Counts::Key(key.finish())
    }

    fn value<'a>(&self, part: Scope, caller: &Caller<'a>) -> Option<&'a str> {
        match part {
            Scope::Tenant => caller.tenant,
            Scope::User => caller.user,
            Scope::Run if self.from_parent => caller.root.or(caller.run),
            Scope::Run => caller.run,
            Scope::Model => caller.model,
            Scope::Route => caller.route,
            Scope::Tool => caller.tool,
        }
    }

    /// The key in words, for limits of few keys.
    pub fn key_text(&self, caller: &Caller<'_>) -> String {
        let values: Vec<&str> = self.scope.iter().map(|part| self.value(*part, caller).unwrap_or("none")).collect();
        values.join("/")
    }

    /// Who has a share, by hash.
    pub fn sharer(&self, caller: &Caller<'_>, salt: u64) -> u64 {
        let mut hash = DefaultHasher::new();
        salt.hash(&mut hash);
        match self.kind {
            Kind::Shared(_, Sharer::Tenant) => caller.tenant.hash(&mut hash),
            Kind::Shared(_, Sharer::User) => caller.user.hash(&mut hash),
            Kind::Shared(_, Sharer::Run) => caller.run.hash(&mut hash),
            // Without shares, those who wait for a limit take turns by who they are.
            _ => (caller.tenant, caller.user).hash(&mut hash),
        }
        hash.finish()
    }

    /// Whether those who wait for it ask again and again, without knowing their time.
    pub fn has_queues(&self) -> bool {
        matches!(self.kind, Kind::Shared(..) | Kind::InFlight(_) | Kind::Fanout(_))
    }

    /// Where a call with this claim waits for it. Of a limit that is shared, each sharer has a line of its own: who is inside its
    /// share does not wait for those above it.
    pub fn position(&self, claim: &Claim) -> Position {
        let hash = |sharer: Option<u64>| {
            let mut hash = DefaultHasher::new();
            (claim.key, sharer).hash(&mut hash);
            hash.finish()
        };
        let of = hash(Some(claim.sharer));
        Position { queue: if matches!(self.kind, Kind::Shared(..)) { of } else { hash(None) }, of }
    }

    /// The most that one call can take at once, in what the limit counts.
    pub fn capacity(&self) -> u64 {
        match self.kind {
            Kind::Rate(rate) => rate.burst,
            Kind::Shared(rate, _) => rate.plain().burst,
            Kind::Budget(total) | Kind::InFlight(total) | Kind::Fanout(total) => total.amount,
            Kind::Depth(_) => u64::MAX,
        }
    }

    /// What to reserve for a call of this size. Never more than the limit can ever give: a call that is larger than the
    /// limit has all of it, and no other passes beside.
    pub fn reserve(&self, size: Size) -> u64 {
        let [input, _, _, output, _] = self.weights;
        let wanted = match (self.kind, self.unit) {
            (Kind::InFlight(_) | Kind::Fanout(_) | Kind::Depth(_), _) => 1,
            (_, Unit::Calls) => 1000,
            (_, Unit::Cost) if self.by_price => size.money.of(size.input, size.output).max(1000),
            (_, Unit::Tokens | Unit::Cost) => {
                let sum = size.input.saturating_mul(input).saturating_add(size.output.saturating_mul(output));
                // A call that counts nothing yet counts as one token: none passes an empty bucket.
                sum.max(1000)
            }
        };
        wanted.min(self.capacity())
    }

    /// What a call took for good: nothing of what is only counted in flight. `cost` is in billionths of a dollar.
    pub fn charge(&self, usage: &Usage, cost: u64) -> u64 {
        match (self.kind, self.unit) {
            (Kind::InFlight(_) | Kind::Fanout(_) | Kind::Depth(_), _) => 0,
            (_, Unit::Calls) => 1000,
            (_, Unit::Cost) if self.by_price => cost,
            (_, Unit::Tokens | Unit::Cost) => {
                let of = |tokens: Option<u64>| tokens.unwrap_or(0);
                let (read, write, reasoning) = (of(usage.cache_read), of(usage.cache_write), of(usage.reasoning));
                let parts = [
                    of(usage.input).saturating_sub(read).saturating_sub(write),
                    read,
                    write,
                    of(usage.output).saturating_sub(reasoning),
                    reasoning,
                ];
                let weighed = parts.iter().zip(self.weights).map(|(tokens, weight)| tokens.saturating_mul(weight));
                weighed.fold(0, u64::saturating_add)
            }
        }
    }

    /// How many tokens of an answer are covered by what is claimed, beside the prompt of a call of this size.
    pub fn output_covered(&self, amount: u64, size: Size) -> u64 {
        let Size { input, money, .. } = size;
        if self.by_price {
            let left = u128::from(amount.saturating_sub(money.of(input, 0))).saturating_mul(1_000_000);
            let covered = left.checked_div(money.output.into());
            return covered.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(u64::MAX);
        }
        let [prompt, _, _, output, _] = self.weights;
        amount.saturating_sub(input.saturating_mul(prompt)).checked_div(output).unwrap_or(u64::MAX)
    }

    /// Whether it counts calls, whatever its unit.
    pub fn counts_in_flight(&self) -> bool {
        matches!(self.kind, Kind::InFlight(_) | Kind::Fanout(_) | Kind::Depth(_))
    }

    /// What a total allows, if it is one.
    pub fn total(&self) -> Option<Total> {
        match self.kind {
            Kind::Budget(total) | Kind::InFlight(total) | Kind::Fanout(total) => Some(total),
            Kind::Rate(_) | Kind::Shared(..) | Kind::Depth(_) => None,
        }
    }

    /// The rate that is divided, if one is.
    pub fn shared(&self) -> Option<share::Rate> {
        if let Kind::Shared(rate, _) = self.kind { Some(rate) } else { None }
    }

    /// The limit as clients know it: how much, and in how many seconds.
    pub fn policy(&self) -> (u64, Option<u64>) {
        match self.kind {
            Kind::Rate(rate) => windowed(rate),
            Kind::Shared(rate, _) => windowed(rate.plain()),
            Kind::Budget(total) => (total.amount / 1000, None),
            Kind::InFlight(total) | Kind::Fanout(total) => (total.amount, None),
            Kind::Depth(depth) => (depth.into(), None),
        }
    }

    /// An amount as clients know it.
    pub fn whole(&self, amount: u64) -> u64 {
        match self.kind {
            Kind::InFlight(_) | Kind::Fanout(_) | Kind::Depth(_) => amount,
            _ => amount / 1000,
        }
    }
}

/// So much, in so many seconds.
fn windowed(rate: Rate) -> (u64, Option<u64>) {
    (rate.amount / 1000, Some(rate.period.0 / 1_000_000_000))
}
