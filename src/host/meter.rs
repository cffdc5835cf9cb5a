//! A call's counts as Envoy's own stats.
//!
//! Labels go into a stat's name, `weir_calls_total;ended=complete;model=gpt-4o;route=a;tenant=t;api=openai.chat_completions`,
//! and `stats_tags` of the bootstrap take them out again. A name is built once per label set and series; then a call
//! costs one hash look-up and one host call per count.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::stats::{self, MetricType};
use crate::config::{Config, Slo};
use crate::labels::{self, LabelSet, Labels};
use crate::metrics::{Id, Kind, SERIES, Series, Shared};

/// The host's ids of the metrics of one label set, by [`Series::slot`]. A series that no call has had yet is not defined.
type Ids = [Option<u32>; SERIES];

/// Hashes with fixed keys: label sets are numbers that the worker gave out, nobody outside can choose them.
type FixedKeys = BuildHasherDefault<DefaultHasher>;

/// The metrics a worker has defined so far, for one config: label numbers and objectives are that config's.
#[derive(Debug, Default)]
pub struct Meter {
    sets: HashMap<LabelSet, Box<Ids>, FixedKeys>,
    /// Of each objective of the config, what counts its good calls and its bad ones.
    slos: Vec<[Option<u32>; 2]>,
    /// `weir_streams_active` by api; a handful.
    active: Vec<(&'static str, u32)>,
}

impl Meter {
    /// Adds a call's counts to the series of its label set.
    pub fn count(&mut self, labels: &Labels, set: LabelSet, counts: &[(Series, u64)]) {
        let ids = self.sets.entry(set).or_insert_with(|| Box::new([None; SERIES]));
        for &(series, value) in counts {
            let Some(id) = ids.get_mut(series.slot()) else { continue };
            let define = || stats::define(kind(series), &name(series, &Values::of(labels, set)));
            let Some(id) = known_or(id, define) else { continue };
            match series.id.metric().kind {
                Kind::Counter | Kind::Gauge if value == 0 => {}
                Kind::Counter | Kind::Gauge => stats::add(id, i64::try_from(value).unwrap_or(i64::MAX)),
                Kind::Histogram => stats::record(id, value),
            }
        }
    }

    /// A meter for calls under this config. The counters of its objectives are there from the start, at zero: a rate over a
    /// counter that is not there yet misses its first count.
    pub fn new(config: &Config) -> Self {
        let of = |at: usize, slo: &Slo| {
            [true, false].map(|good| stats::define(MetricType::Counter, &slo_name(at, slo.name.as_deref(), good)))
        };
        let slos = config.slo.iter().enumerate().map(|(at, slo)| of(at, slo)).collect();
        Self { slos, ..Self::default() }
    }

    /// Counts a verdict on each objective that counts the call.
    pub fn judge(&self, verdicts: &[(usize, bool)]) {
        for &(at, good) in verdicts {
            let Some([met, missed]) = self.slos.get(at) else { continue };
            if let Some(id) = if good { met } else { missed } {
                stats::add(*id, 1);
            }
        }
    }

    /// The id of the gauge of streams in flight for an api.
    pub fn active(&mut self, api: &'static str) -> Option<u32> {
        if let Some((_, id)) = self.active.iter().find(|(known, _)| *known == api) {
            return Some(*id);
        }
        let values = Values { model: labels::NONE, route: labels::NONE, tenant: labels::NONE, api };
        let series = Series::from(Id::StreamsActive);
        let id = stats::define(kind(series), &name(series, &values))?;
        self.active.push((api, id));
        Some(id)
    }
}

/// The id that is known, else the one that `define` gives, which is then known.
fn known_or(id: &mut Option<u32>, define: impl FnOnce() -> Option<u32>) -> Option<u32> {
    if id.is_none() {
        *id = define();
    }
    *id
}

/// The values of the labels that all series share.
struct Values<'a> {
    model: &'a str,
    route: &'a str,
    tenant: &'a str,
    api: &'a str,
}

impl<'a> Values<'a> {
    fn of(labels: &'a Labels, set: LabelSet) -> Self {
        Self {
            model: labels.model.value(set.model),
            route: labels.route.value(set.route),
            tenant: labels.tenant.value(set.tenant),
            api: labels.api.value(set.api),
        }
    }
}

fn kind(series: Series) -> MetricType {
    match series.id.metric().kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}

/// A stat's name: the metric, its own label, then those it shares.
fn name(series: Series, values: &Values<'_>) -> String {
    let metric = series.id.metric();
    let mut name = String::from(metric.name);
    if let Some((label, value)) = series.own() {
        push(&mut name, label, value);
    }
    let Values { model, route, tenant, api } = values;
    match metric.shared {
        Shared::All => {
            push(&mut name, "model", model);
            push(&mut name, "route", route);
            push(&mut name, "tenant", tenant);
            push(&mut name, "api", api);
        }
        Shared::Api => push(&mut name, "api", api),
        Shared::None => {}
    }
    name
}

fn slo_name(at: usize, name: Option<&str>, good: bool) -> String {
    let series = Series { id: Id::Slo, value: u8::from(!good) };
    let mut stat = String::from(series.id.metric().name);
    match name {
        Some(name) => push(&mut stat, "slo", &labels::clean(name)),
        None => push(&mut stat, "slo", &format!("slo-{at}")),
    }
    if let Some((label, value)) = series.own() {
        push(&mut stat, label, value);
    }
    stat
}

fn push(name: &mut String, label: &str, value: &str) {
    for part in [";", label, "=", value] {
        name.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_own_label_first_then_the_shared_ones() {
        let values = Values { model: "gpt-4o.1", route: "a", tenant: "t", api: "openai.chat_completions" };
        let shared = ";model=gpt-4o.1;route=a;tenant=t;api=openai.chat_completions";
        for (series, expected) in [
            (Series { id: Id::Calls, value: 0 }, format!("weir_calls_total;ended=complete{shared}")),
            (Series { id: Id::InterTokenBucket, value: 24 }, format!("weir_inter_token_ms_bucket;le=+Inf{shared}")),
            (Series::from(Id::FirstToken), format!("weir_first_token_ms{shared}")),
            (Series::from(Id::StreamsActive), "weir_streams_active;api=openai.chat_completions".to_owned()),
        ] {
            assert_eq!(name(series, &values), expected);
        }
    }

    #[test]
    fn objectives_are_named_by_their_name_or_their_place() {
        for (at, given, good, expected) in [
            (0, Some("chat"), true, "weir_slo_total;slo=chat;verdict=good"),
            (3, None, false, "weir_slo_total;slo=slo-3;verdict=bad"),
            (0, Some("a;b=c d"), true, "weir_slo_total;slo=a_b_c_d;verdict=good"),
        ] {
            assert_eq!(slo_name(at, given, good), expected);
        }
    }
}
