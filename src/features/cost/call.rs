//! A call and its price: of its headers what prices want to know is kept, and the cost computed when it is over.

use super::price::{self, Priced, Taken};
use super::{Shared, Wanted};
use crate::call::finished::Finished;
use crate::call::head::AtHead;
use crate::call::size::Money;
use crate::call::subject::{Known, without_port};
use crate::call::text;
use crate::metrics::{Counts, Id, Series};
use crate::record::{Cost, Usage};
use crate::wire::dialects;
use crate::wire::facts::Facts;
use crate::wire::usage::{self, RawUsage};

/// The longest path that is kept for prices, in bytes: they look at how it begins.
const MAX_PATH: usize = 256;

/// What one call has to do with prices, beyond what is known anyway.
#[derive(Debug, Default)]
pub struct InCall {
    path: Option<String>,
    host: Option<String>,
}

impl InCall {
    /// The request's headers.
    pub fn head(&mut self, at: &AtHead<'_>, shared: &Shared) {
        let Wanted { path, host, .. } = shared.wants;
        let of = |name| at.head.text(name).unwrap_or_default();
        if path {
            self.path = Some(text(at.subject.asked.path.as_bytes(), MAX_PATH));
        }
        if host {
            self.host = Some(text(without_port(of(":authority")).to_ascii_lowercase().as_bytes(), MAX_PATH));
        }
    }

    fn priced<'a>(&'a self, known: Known<'a>, answered: Option<&'a str>) -> Priced<'a> {
        let kind = known.subject.kind.as_ref();
        Priced {
            asked: known.model(),
            answered,
            kind: kind.map(|kind| &*kind.word),
            tool: known.tool().or(kind.and_then(|kind| kind.name.as_deref())),
            route: known.subject.route.as_deref(),
            path: self.path.as_deref(),
            host: self.host.as_deref(),
        }
    }

    /// The price to reserve at, before it is known what answers.
    pub fn expected(&self, known: Known<'_>, input: u64, shared: &Shared) -> Money {
        let price = price::price_of(&shared.prices, &self.priced(known, None));
        price.map_or(Money::default(), |price| price::expected(price, input))
    }

    /// What the call cost, if it has a price. A call that the proxy answered by itself cost nothing.
    pub fn cost(&self, call: &Finished<'_>, shared: &Shared) -> Option<Cost> {
        let price = price::price_of(&shared.prices, &self.priced(call.known, call.facts.model.as_deref()))?;
        let answered = call.is_answered();
        let before = Some(call.facts).filter(|_| answered).and_then(|facts| compacted(call.known, facts));
        let taken = Taken {
            usage: call.usage,
            before: before.as_ref(),
            tier: call.facts.service_tier.as_deref(),
            answered,
            time: Some(call.total),
        };
        let cost = if call.reached { price::of(price, &taken) } else { Cost::default() };
        let waste = call.waste.filter(|_| cost.total > 0);
        Some(Cost {
            waste: if waste.is_some() { cost.total } else { 0 },
            waste_reason: waste.map(|waste| waste.word()),
            ..cost
        })
    }

    /// The call is over: what it cost is counted.
    pub fn settle(&self, call: &Finished<'_>, shared: &mut Shared, counts: &mut Counts) -> Option<Cost> {
        let cost = self.cost(call, shared)?;
        if let Some(kind) = call.known.subject.kind.as_ref().filter(|_| cost.total > 0) {
            let words = Id::Cost.metric().own.map_or(&[][..], |(_, words)| words);
            let waste = words.iter().position(|word| Some(*word) == cost.waste_reason).unwrap_or(0) as u8;
            let at = [kind.slot.into(), counts.set.model, counts.set.tenant, 0];
            counts.sample(Series { id: Id::Cost, value: waste }, shared.sets.bounded(at, waste), cost.total);
        }
        Some(cost)
    }
}

/// The tokens of compactions, which no other count has.
fn compacted(known: Known<'_>, facts: &Facts) -> Option<Usage> {
    let sum = dialects::of(known.subject.asked.api).map_or(dialects::Sum::Inclusive, |d| d.sum);
    usage::settle(sum, false, facts.compacted, RawUsage::default(), RawUsage::default())
}
