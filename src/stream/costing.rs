//! A call and its price: kept of its head what prices want to know, and computed when it is over.

use super::Stream;
use super::admission::property_text;
use crate::api::Api;
use crate::config::prices::PriceMatch;
use crate::policies::limits::rule::Money;
use crate::port::{Headers, Properties};
use crate::record::{Cost, Usage};
use crate::signals::cost::{self, Priced, Taken, Waste};
use crate::signals::kind;
use crate::units::Nanos;
use crate::wire::dialects;
use crate::wire::facts::Facts;
use crate::wire::usage::{self, RawUsage};

/// The longest path that is kept for prices, in bytes: they look at how it begins.
const MAX_PATH: usize = 256;

/// What one call has to do with prices, beyond what is known anyway.
#[derive(Debug, Default)]
pub(super) struct Costing {
    route: Option<String>,
    path: Option<String>,
    host: Option<String>,
}

impl Stream {
    /// The request's head, as far as prices want to know it.
    pub fn price_head(&mut self, head: Headers<'_>, properties: &dyn Properties) {
        let prices = &self.config.prices;
        let wants = |of: fn(&PriceMatch) -> &Option<String>| prices.iter().any(|price| of(&price.matches).is_some());
        if prices.is_empty() {
            return;
        }
        self.reads_tool |= self.asked.api == Api::Other && wants(|matches| &matches.tool) && kind::asks_for_tool(head);
        let of = |name| head.text(name).unwrap_or_default();
        if wants(|matches| &matches.route) {
            self.costing.route = property_text(properties, &["xds", "route_name"]);
        }
        if wants(|matches| &matches.path) {
            let path = of(":path");
            let path = path.split_once('?').map_or(path, |(front, _query)| front);
            self.costing.path = Some(super::text(path.as_bytes(), MAX_PATH));
        }
        if wants(|matches| &matches.host) {
            let host = kind::without_port(of(":authority")).to_ascii_lowercase();
            self.costing.host = Some(super::text(host.as_bytes(), MAX_PATH));
        }
    }

    fn priced<'a>(&'a self, answered: Option<&'a str>) -> Priced<'a> {
        let asked = self.request.asked();
        let kind = self.kind.as_ref();
        Priced {
            asked: asked.model.as_deref().or(self.asked.model.as_deref()),
            answered,
            kind: kind.map(|kind| &*kind.word),
            tool: asked.tool().filter(|_| self.reads_tool).or(kind.and_then(|kind| kind.name.as_deref())),
            route: self.costing.route.as_deref(),
            path: self.costing.path.as_deref(),
            host: self.costing.host.as_deref(),
        }
    }

    /// What to reserve at, before it is known what answers.
    pub(super) fn expected_price(&self, input: u64) -> Money {
        let price = cost::price_of(&self.config.prices, &self.priced(None));
        price.map_or(Money::default(), |price| cost::expected(price, input))
    }

    /// The tokens of compactions, which no other count has.
    fn compacted(&self, facts: &Facts) -> Option<Usage> {
        let sum = dialects::of(self.asked.api).map_or(dialects::Sum::Inclusive, |d| d.sum);
        usage::settle(sum, false, facts.compacted, RawUsage::default(), RawUsage::default())
    }

    /// What the call cost, if it has a price. A call that the proxy answered by itself cost nothing.
    pub(super) fn cost(
        &self,
        facts: Option<&Facts>,
        usage: &Usage,
        (answered, reached): (bool, bool),
        waste: Option<Waste>,
        now: Nanos,
    ) -> Option<Cost> {
        if self.config.prices.is_empty() {
            return None;
        }
        let model = facts.and_then(|facts| facts.model.as_deref());
        let price = cost::price_of(&self.config.prices, &self.priced(model))?;
        let before = facts.filter(|_| answered).and_then(|facts| self.compacted(facts));
        let taken = Taken {
            usage,
            before: before.as_ref(),
            tier: facts.and_then(|facts| facts.service_tier.as_deref()),
            answered,
            time: Some(self.timing.total(now)),
        };
        let cost = if reached { cost::of(price, &taken) } else { Cost::default() };
        let waste = waste.filter(|_| cost.total > 0);
        Some(Cost { waste: if waste.is_some() { cost.total } else { 0 }, waste_reason: waste.map(Waste::word), ..cost })
    }
}
