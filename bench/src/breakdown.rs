//! Where a call's time goes: the host's functions that a filter calls, by name, and its own code, by callback, counted in a
//! real Envoy by a copy of the filter that counts ([`crate::counting`]).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;
use weirctl::envoy::Envoy;

use crate::counting::{self, CLOCK, PARTS, PREFIX};
use crate::variant::Parts;

/// The callback that comes once in each call.
const ONCE: &str = "proxy_on_log";

/// One of the host's functions, or one of the filter's callbacks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Which, without `proxy_`.
    pub name: String,
    /// How often per call.
    pub count: f64,
    /// How long per call, in µs.
    pub us: f64,
}

/// Where the time of a call goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breakdown {
    /// Calls that were counted.
    pub calls: u64,
    /// Each of the host's functions, the longest first, with the filter's allocator where Envoy asks it for memory.
    pub host: Vec<Share>,
    /// The filter's own code.
    pub own: Vec<Share>,
}

/// Sums by name, as Envoy's stats have them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums(BTreeMap<String, [u64; 3]>);

impl Sums {
    /// Those of an Envoy.
    ///
    /// # Errors
    /// It does not tell.
    pub fn of(envoy: &Envoy) -> Result<Self> {
        Self::parse(&envoy.admin().get(&format!("/stats?filter={PREFIX}"))?)
    }

    fn parse(stats: &str) -> Result<Self> {
        let mut sums = Self::default();
        for line in stats.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let Some((_, name)) = name.split_once(&format!("{PREFIX}.")) else { continue };
            let Some((name, part)) = name.rsplit_once('.') else { continue };
            let Some(at) = PARTS.iter().position(|known| *known == part) else { continue };
            let sum = sums.0.entry(name.to_owned()).or_default();
            sum[at] = value.trim().parse().with_context(|| line.to_owned())?;
        }
        Ok(sums)
    }

    /// What came between two looks.
    pub fn since(&self, before: &Self) -> Self {
        let none = [0; 3];
        let less = |(name, sum): (&String, &[u64; 3])| {
            let before = before.0.get(name).unwrap_or(&none);
            (name.clone(), [0, 1, 2].map(|at| sum[at].saturating_sub(before[at])))
        };
        Self(self.0.iter().map(less).collect())
    }

    /// As shares of a call. Nothing if no call was counted.
    pub fn breakdown(&self) -> Option<Breakdown> {
        let calls = self.0.get(ONCE).map(|sum| sum[0]).filter(|calls| *calls > 0)?;
        let per_call = |value: f64| value / calls as f64;
        // Within what is timed the clock is read once, as the time of nothing shows, and once more for each call of the host.
        let clock = self.0.get(CLOCK).map_or(0.0, |[count, ns, _]| *ns as f64 / (*count).max(1) as f64);
        let (mut host, mut own) = (Vec::new(), Vec::new());
        for (name, [count, ns, inner]) in &self.0 {
            if name == CLOCK || *count == 0 {
                continue;
            }
            let ns = (*ns as f64 - clock * (*count as f64 + *inner as f64)).max(0.0);
            let short = name.strip_prefix("proxy_").unwrap_or(name).to_owned();
            let to = if short.starts_with("on_") { &mut own } else { &mut host };
            to.push(Share { name: short, count: per_call(*count as f64), us: per_call(ns) / 1e3 });
        }
        for shares in [&mut host, &mut own] {
            shares.sort_by(|a, b| b.us.total_cmp(&a.us));
        }
        Some(Breakdown { calls, host, own })
    }
}

/// Copies of the filters that count, in a directory.
///
/// # Errors
/// One is no module, or cannot be written.
pub fn parts(parts: &Parts, dir: &std::path::Path) -> Result<Parts> {
    let copy = |path: &std::path::Path, name: &str| {
        let counting = counting::counting(&fs::read(path)?).with_context(|| path.display().to_string())?;
        let to = dir.join(name);
        fs::write(&to, counting)?;
        anyhow::Ok(to)
    };
    let maybe = |path: &Option<std::path::PathBuf>, name| path.as_deref().map(|path| copy(path, name)).transpose();
    Ok(Parts {
        weir: copy(&parts.weir, "weir.wasm")?,
        observe: maybe(&parts.observe, "observe.wasm")?,
        against: maybe(&parts.against, "against.wasm")?,
        filters: copy(&parts.filters, "filters.wasm")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_calls_between_two_looks_and_go_without_the_clocks_own_time() {
        let before = "wasmcustom.weir_bench.proxy_on_log.count: 5\n";
        let after = "wasmcustom.weir_bench.clock.count: 10\nwasmcustom.weir_bench.clock.ns: 1000\n\
                     wasmcustom.weir_bench.proxy_on_log.count: 15\nwasmcustom.weir_bench.proxy_on_log.ns: 23000\n\
                     wasmcustom.weir_bench.proxy_on_log.inner: 20\n\
                     wasmcustom.weir_bench.proxy_get_property.count: 20\nwasmcustom.weir_bench.proxy_get_property.ns: 22000\n\
                     wasmcustom.weir_bench.proxy_done.count: 0\nanother: 7\n";
        let (before, after) = (Sums::parse(before).unwrap(), Sums::parse(after).unwrap());
        let share = |name: &str, count, us| Share { name: name.to_owned(), count, us };
        let Breakdown { calls, host, own } = after.since(&before).breakdown().unwrap();
        assert_eq!((calls, host), (10, vec![share("get_property", 2.0, 2.0)]));
        assert_eq!(own, [share("on_log", 1.0, 2.0)]);
        assert_eq!(before.since(&before).breakdown(), None);
    }
}
