//! Counters in memory: gone with the process, and every service has its own.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use limitador::RateLimiter;
use limitador::limit::{Context, Expression, Limit, Namespace, Predicate};

use super::{Count, Counters, name};
use crate::rules::{Rate, Rules};

/// Most counters that are kept at once; beyond them limitador drops those that were longest unused.
const MOST_COUNTERS: u64 = 100_000;

/// Counters of one domain.
pub struct Memory {
    limiter: RateLimiter,
    domain: Namespace,
}

impl Memory {
    /// Counters for these limits, all at zero.
    ///
    /// # Errors
    /// limitador does not take a limit.
    pub fn new(rules: &Rules) -> Result<Self> {
        let limiter = RateLimiter::new(MOST_COUNTERS);
        for rate in rules.rates() {
            // A limit is a rate; which descriptors it counts, and each apart, is found before limitador is asked.
            let is_rate = Predicate::parse(format!("hit[0].rate == '{}'", name(rate))).map_err(|e| anyhow!("{e:?}"))?;
            let descriptor = Expression::parse("hit[0].descriptor").map_err(|e| anyhow!("{e:?}"))?;
            let most = u64::from(rate.requests_per_unit);
            limiter.add_limit(Limit::new(&*rules.domain, most, rate.unit.seconds(), [is_rate], [descriptor]));
        }
        Ok(Self { limiter, domain: (&*rules.domain).into() })
    }
}

impl Counters for Memory {
    fn hit(&self, rate: Rate, descriptor: &str, hits: u64) -> Result<Count> {
        let mut context = Context::default();
        let values = [("rate", name(rate)), ("descriptor", descriptor.to_owned())];
        context.list_binding("hit".into(), vec![HashMap::from(values.map(|(k, v)| (k.to_owned(), v)))]);
        if hits > 0 {
            self.limiter.update_counters(&self.domain, &context, hits).map_err(|e| anyhow!("{e}"))?;
        }
        let compared = self.limiter.is_rate_limited(&self.domain, &context, 0).map_err(|e| anyhow!("{e}"))?;
        let counter = compared.counters.first().context("no limit of this rate")?;
        Ok(Count {
            over: compared.limited,
            left: counter.remaining().unwrap_or(counter.max_value()),
            reset: counter.expires_in().unwrap_or(counter.window()),
        })
    }
}
