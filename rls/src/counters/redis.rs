//! Counters in Redis: they outlive the process, and services share them. An older limitador: the newest whose Redis
//! counters build without RocksDB.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use limitador_redis::RateLimiter;
use limitador_redis::limit::{Limit, Namespace};
use limitador_redis::storage::redis::RedisStorage;

use super::{Count, Counters, name};
use crate::rules::{Rate, Rules};

/// Counters of one domain.
pub struct Redis {
    limiter: RateLimiter,
    domain: Namespace,
}

impl Redis {
    /// Counters for these limits, with the counts that they have in this Redis.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn new(rules: &Rules, url: &str) -> Result<Self> {
        let storage = RedisStorage::new(url).map_err(|error| anyhow!("{url}: {error}"))?;
        let limiter = RateLimiter::new_with_storage(Box::new(storage));
        for rate in rules.rates() {
            let condition = format!("rate == '{}'", name(rate));
            let most = i64::from(rate.requests_per_unit);
            let limit = Limit::new(&*rules.domain, most, rate.unit.seconds(), [&*condition], ["descriptor"]);
            limiter.add_limit(limit);
        }
        Ok(Self { limiter, domain: (&*rules.domain).into() })
    }
}

impl Counters for Redis {
    fn hit(&self, rate: Rate, descriptor: &str, hits: u64) -> Result<Count> {
        let values = [("rate", name(rate)), ("descriptor", descriptor.to_owned())];
        let values: HashMap<_, _> = values.map(|(key, value)| (key.to_owned(), value)).into();
        if hits > 0 {
            self.limiter.update_counters(&self.domain, &values, i64::try_from(hits)?)?;
        }
        let compared = self.limiter.check_rate_limited_and_update(&self.domain, &values, 0, true)?;
        let counter = compared.counters.first().context("no limit of this rate")?;
        Ok(Count {
            over: compared.limited,
            left: u64::try_from(counter.remaining().unwrap_or(counter.max_value())).unwrap_or(0),
            reset: counter.expires_in().unwrap_or_default(),
        })
    }
}
