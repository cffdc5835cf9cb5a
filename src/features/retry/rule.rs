//! A budget or a circuit of the config, made ready: whose calls it counts, and under which key.

use super::config::{self as config, RefuseWith, RetryScope, RetryUnit};
use super::{budget, circuit};
use crate::config::values::{Fail, Match, Mode, fits};
use crate::shared::key::{keyed, part};
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
    /// The model asked for.
    pub model: Option<&'a str>,
    /// Envoy's route.
    pub route: Option<&'a str>,
    /// Envoy's cluster.
    pub cluster: Option<&'a str>,
    /// The tool that is called.
    pub tool: Option<&'a str>,
}

/// Whose calls are counted together.
#[derive(Debug)]
pub struct Scope {
    parts: Vec<RetryScope>,
    matches: Match,
    seed: u64,
}

impl Scope {
    fn new(kind: u8, name: &str, parts: &[RetryScope], matches: &Match) -> Self {
        Self { parts: parts.to_vec(), matches: matches.clone(), seed: keyed(kind.into(), &[name.as_bytes()]) }
    }

    /// Whether a part of it is to be known.
    pub fn wants(&self, scope: RetryScope) -> bool {
        let Match { model, route, tenant } = &self.matches;
        self.parts.contains(&scope)
            || match scope {
                RetryScope::Model => model.is_some(),
                RetryScope::Route => route.is_some(),
                RetryScope::Tenant => tenant.is_some(),
                _ => false,
            }
    }

    /// The key of a call, if it is counted; `last` says that all is known that ever will be. Nothing too while more of the
    /// call has to be known.
    #[inline(never)]
    pub fn key(&self, caller: &Caller<'_>, salt: u64, last: bool) -> Option<u64> {
        let later = self.wants(RetryScope::Model) && caller.model.is_none() || self.wants(RetryScope::Tool);
        if later && !last {
            return None;
        }
        let Match { model, route, tenant } = &self.matches;
        for (wanted, value) in [(model, caller.model), (route, caller.route), (tenant, caller.tenant)] {
            if !fits(wanted, &[value]) {
                return None;
            }
        }
        let seed = self.seed.to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![&seed];
        for scope in &self.parts {
            parts.push(match scope {
                RetryScope::Tenant => part(caller.tenant),
                RetryScope::User => part(caller.user),
                RetryScope::Run => part(caller.run),
                RetryScope::Model => part(caller.model),
                RetryScope::Route => part(caller.route),
                RetryScope::Cluster => part(caller.cluster),
                // As for limits: what calls no tool is not counted where tools are.
                RetryScope::Tool => caller.tool?.as_bytes(),
            });
        }
        Some(keyed(salt, &parts))
    }
}

/// A budget.
#[derive(Debug)]
pub struct BudgetRule {
    /// Its name.
    pub name: Box<str>,
    /// Whose calls it counts.
    pub scope: Scope,
    /// What it allows.
    pub terms: budget::Terms,
    /// What it counts.
    pub unit: RetryUnit,
    /// Whether it only records.
    pub shadow: bool,
    /// Whether a retry that cannot be decided is refused.
    pub closed: bool,
    /// With which status a retry is refused.
    pub refuse_with: RefuseWith,
}

impl BudgetRule {
    /// A budget of the config.
    pub fn of(budget: &config::RetryBudget) -> Self {
        let terms = budget::Terms {
            ratio: budget.ratio.milli(),
            reserve: budget.min_per_second.milli().saturating_mul(budget.ttl_s.seconds()),
            window: Span(budget.ttl_s.ns()),
        };
        Self {
            name: budget.name.as_str().into(),
            // What is counted in another way, or over another window, begins anew.
            scope: Scope::new(
                budget.unit as u8,
                &[budget.name.as_str(), " ", &budget.ttl_s.seconds().to_string()].concat(),
                &budget.scope,
                &budget.matches,
            ),
            terms,
            unit: budget.unit,
            shadow: budget.mode == Mode::Shadow,
            closed: budget.fail == Fail::Closed,
            refuse_with: budget.refuse_with,
        }
    }

    /// What a call of so many tokens counts, in thousandths.
    pub fn amount(&self, tokens: u64) -> u64 {
        match self.unit {
            RetryUnit::Calls => 1000,
            // A call that counts nothing yet counts as one token.
            RetryUnit::Tokens => tokens.max(1).saturating_mul(1000),
        }
    }
}

/// A circuit.
#[derive(Debug)]
pub struct CircuitRule {
    /// Its name.
    pub name: Box<str>,
    /// Whose calls it counts.
    pub scope: Scope,
    /// When it opens and closes.
    pub terms: circuit::Terms,
    /// Whether it only records.
    pub shadow: bool,
    retry_after: Span,
}

impl CircuitRule {
    /// A circuit of the config.
    pub fn of(circuit: &config::Circuit) -> Self {
        let ms = |ms: std::num::NonZeroU32| Span(u64::from(ms.get()) * 1_000_000);
        Self {
            name: circuit.name.as_str().into(),
            scope: Scope::new(
                9,
                &[circuit.name.as_str(), " ", &circuit.window_s.seconds().to_string()].concat(),
                &circuit.scope,
                &circuit.matches,
            ),
            terms: circuit::Terms {
                window: Span(circuit.window_s.ns()),
                failures: circuit.failures.milli(),
                min_calls: circuit.min_calls.get().into(),
                probe_every: ms(circuit.probe_ms),
                close_after: circuit.close_after.get().min(u16::MAX.into()) as u16,
            },
            shadow: circuit.mode == Mode::Shadow,
            retry_after: ms(circuit.retry_after_ms),
        }
    }

    /// When to come again: between a half and one and a half of what the config says. `chance` is any number that differs
    /// from call to call.
    pub fn retry_after(&self, chance: u64) -> Span {
        jittered(self.retry_after, chance)
    }
}

/// A time between a half and one and a half of this one.
fn jittered(span: Span, chance: u64) -> Span {
    let part = (u128::from(span.0) * u128::from(chance >> 32)) >> 32;
    Span((span.0 / 2).saturating_add(u64::try_from(part).unwrap_or(u64::MAX)))
}

/// A time between this one and a quarter more: nobody is told to come too early, and not all at once.
pub fn spread(span: Span, chance: u64) -> Span {
    let part = (u128::from(span.0 / 4) * u128::from(chance >> 32)) >> 32;
    Span(span.0.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)))
}
