//! What a call cost: whole numbers only, from its usage and a price.
//!
//! A rate is kept in billionths of a dollar for a million tokens, so tokens times rate is money in units of 10⁻¹⁵ dollars, exact in
//! 128 bits. What a call cost is the exact sum, rounded once, half up, to a billionth of a dollar. Its parts are rounded so
//! that they add up: each is the rounded sum up to and with it, less the rounded sum before it.

use super::config::{Case, Dollars, Price, PriceMatch, Rates};
use crate::call::size::Money;
use crate::config::values::fits;
use crate::record::{Cost, Usage};
use crate::units::Span;

/// Units of 10⁻¹⁵ dollars in a billionth of a dollar.
const UNITS: u128 = 1_000_000;

/// A call, as far as prices want to know it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priced<'a> {
    /// The model asked for.
    pub asked: Option<&'a str>,
    /// The model that answered.
    pub answered: Option<&'a str>,
    /// Its kind.
    pub kind: Option<&'a str>,
    /// The tool that is called.
    pub tool: Option<&'a str>,
    /// Envoy's route.
    pub route: Option<&'a str>,
    /// The request's path.
    pub path: Option<&'a str>,
    /// The request's host.
    pub host: Option<&'a str>,
}

/// What a call took.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Tokens.
    pub usage: &'a Usage,
    /// Tokens of what came before it, apart from those: a compaction of what it was asked.
    pub before: Option<&'a Usage>,
    /// The tier in which the provider says that it served it.
    pub tier: Option<&'a str>,
    /// It was answered without an error.
    pub answered: bool,
    /// How long it took, if an upstream was asked.
    pub time: Option<Span>,
}

/// The price of a call: of those that match, the most specific one.
pub fn price_of<'p>(prices: &'p [Price], call: &Priced<'_>) -> Option<&'p Price> {
    let ranked = prices.iter().filter_map(|price| Some((rank(price, call)?, price)));
    // The first of equals.
    ranked.reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|(_, price)| price)
}

/// How specific a price is for a call that it matches: conditions, exact, by the model that answered, length of the name.
type Rank = (usize, bool, bool, usize);

fn rank(price: &Price, call: &Priced<'_>) -> Option<Rank> {
    let PriceMatch { kind, tool, route, path, host } = &price.matches;
    let conditions = [(kind, call.kind), (tool, call.tool), (route, call.route), (path, call.path), (host, call.host)];
    if !conditions.iter().all(|(wanted, seen)| fits(wanted, &[*seen])) {
        return None;
    }
    let conditions = conditions.iter().filter(|(wanted, _)| wanted.is_some()).count();
    if price.models.is_empty() {
        return Some((conditions, false, false, 0));
    }
    let models = [(call.asked, false), (call.answered, true)];
    let named = price.models.iter().flat_map(|name| {
        models.iter().filter_map(move |(model, answered)| {
            let model = model.filter(|model| like(name, model))?;
            Some((conditions, name == model, *answered, name.len().saturating_sub(stars(name))))
        })
    });
    named.max()
}

fn stars(name: &str) -> usize {
    memchr::memchr_iter(b'*', name.as_bytes()).count()
}

/// Whether a name is like a pattern, in which `*` is for any characters.
pub fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The earliest place for each part leaves the most for those behind it.
    for part in parts {
        let Some(at) = memchr::memmem::find(rest.as_bytes(), part.as_bytes()) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// What a call cost by this price; no waste yet.
pub fn of(price: &Price, taken: &Taken<'_>) -> Cost {
    let usage = taken.usage;
    let tokens = |count: Option<u64>| count.unwrap_or(0);
    let billed = usage.billed.unwrap_or_default();
    let (input, output) = (tokens(billed.input.or(usage.input)), tokens(billed.output.or(usage.output)));
    let rates = Chosen { price, tier: taken.tier, input };
    // Parts are taken off what is left of the whole, so that no provider's numbers are paid twice.
    let mut fresh = input;
    let read = part(&mut fresh, usage.cache_read);
    let hour = usage.cache_write_1h.unwrap_or(0).min(tokens(usage.cache_write));
    let written = part(&mut fresh, usage.cache_write);
    let hour = hour.min(written);
    let heard = part(&mut fresh, usage.input_audio);
    let mut plain = output;
    let reasoned = part(&mut plain, usage.reasoning);
    let spoken = part(&mut plain, usage.output_audio);

    let mut sum = Sum::default();
    let by_input: Pick = |r| r.input;
    let by_output: Pick = |r| r.output;
    let by_write: Pick = |r| r.cache_write;
    let input = sum.add(&[(fresh, rates.rate(&[by_input])), (heard, rates.rate(&[|r| r.audio_input, by_input]))]);
    let output = sum.add(&[(plain, rates.rate(&[by_output])), (spoken, rates.rate(&[|r| r.audio_output, by_output]))]);
    let cache_read = sum.add(&[(read, rates.rate(&[|r| r.cache_read, by_input]))]);
    let cache_write = sum.add(&[
        (written.saturating_sub(hour), rates.rate(&[by_write, by_input])),
        (hour, rates.rate(&[|r| r.cache_write_1h, by_write, by_input])),
    ]);
    let reasoning = sum.add(&[(reasoned, rates.rate(&[|r| r.reasoning, by_output]))]);
    let call = price.per_call.filter(|_| taken.answered).map_or(0, Dollars::nanos);
    sum.units = sum.units.saturating_add(u128::from(call).saturating_mul(UNITS));
    if let Some((rate, time)) = price.per_second.zip(taken.time) {
        // Billionths of a dollar a second, times billionths of a second.
        let units = u128::from(rate.nanos()).saturating_mul(time.0.into()) / (1_000_000_000 / UNITS);
        sum.units = sum.units.saturating_add(units);
    }
    let cost =
        Cost { total: sum.rounded(), input, output, cache_read, cache_write, reasoning, waste: 0, waste_reason: None };
    let Some(usage) = taken.before else { return cost };
    // Its size is its own, and so is its rounding.
    let before = of(price, &Taken { usage, before: None, answered: false, time: None, ..*taken });
    let and = u64::saturating_add;
    Cost {
        total: and(cost.total, before.total),
        input: and(cost.input, before.input),
        output: and(cost.output, before.output),
        cache_read: and(cost.cache_read, before.cache_read),
        cache_write: and(cost.cache_write, before.cache_write),
        ..cost
    }
}

/// What a call of so many tokens will cost by this price, as far as that is known before it: at `input` and `output`, in no tier.
pub fn expected(price: &Price, input: u64) -> Money {
    let rates = Chosen { price, tier: None, input };
    Money {
        input: rates.rate(&[|r| r.input]),
        output: rates.rate(&[|r| r.output]),
        call: price.per_call.map_or(0, Dollars::nanos),
    }
}

fn part(whole: &mut u64, count: Option<u64>) -> u64 {
    let count = count.unwrap_or(0).min(*whole);
    *whole -= count;
    count
}

/// Exact money, part by part.
#[derive(Default)]
struct Sum {
    units: u128,
}

impl Sum {
    /// Adds tokens at their rates. Gives by how much the rounded sum grew.
    fn add(&mut self, parts: &[(u64, u64)]) -> u64 {
        let before = self.rounded();
        for (tokens, rate) in parts {
            self.units = self.units.saturating_add(u128::from(*tokens).saturating_mul(u128::from(*rate)));
        }
        self.rounded().saturating_sub(before)
    }

    /// In billionths of a dollar, half up.
    fn rounded(&self) -> u64 {
        u64::try_from(self.units.saturating_add(UNITS / 2) / UNITS).unwrap_or(u64::MAX)
    }
}

/// One of the rates.
type Pick = fn(&Rates) -> Option<Dollars>;

/// The rates of a price in the case of one call.
struct Chosen<'a> {
    price: &'a Price,
    tier: Option<&'a str>,
    /// All of its input.
    input: u64,
}

impl Chosen<'_> {
    /// The first of these rates that the price has for the call, in any case that holds.
    fn rate(&self, picks: &[Pick]) -> u64 {
        picks.iter().find_map(|pick| self.one(*pick)).map_or(0, Dollars::nanos)
    }

    fn one(&self, pick: Pick) -> Option<Dollars> {
        let holds = |case: &&Case| {
            case.tier.as_deref().is_none_or(|tier| Some(tier) == self.tier)
                && case.above.is_none_or(|above| self.input > above)
        };
        let having = self.price.cases.iter().filter(holds).filter_map(|case| Some((case, pick(&case.per_million)?)));
        let best = having.max_by_key(|(case, _)| (case.tier.is_some(), case.above));
        best.map(|(_, rate)| rate).or_else(|| pick(&self.price.per_million))
    }
}
