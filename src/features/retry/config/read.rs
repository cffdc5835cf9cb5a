//! Reads the sections `retries`, `retry_budgets` and `circuits`.

use super::{
    Circuit, Deadline, RefuseWith, Retries, RetryBudget, RetryScope, RetrySource, RetryUnit, default_budget_scope,
    default_circuit_scope, default_close_after, default_failures, default_min_calls, default_min_per_second,
    default_probe_ms, default_retry_after_ms, default_ttl,
};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, choices, object, required, sections};
use crate::config::values::{Fail, LimitName, Mode};

choices! {
    RetrySource {
        "stainless" => Stainless, "envoy" => Envoy, "amz_sdk" => AmzSdk, "idempotency_key" => IdempotencyKey, "body" => Body
    }
    RetryScope {
        "tenant" => Tenant, "user" => User, "run" => Run, "model" => Model, "route" => Route, "cluster" => Cluster,
        "tool" => Tool
    }
    RetryUnit { "calls" => Calls, "tokens" => Tokens }
    RefuseWith { "last_error" => LastError, "too_many_requests" => TooManyRequests, "unavailable" => Unavailable }
}

sections! {
    Retries { sources, header, window_s, keys, deadline }
    Deadline { header, stainless_timeout, grpc_timeout }
}

impl Made for RetryBudget {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut name, mut ratio) = (None::<LimitName>, None);
        let (mut scope, mut matches) = (default_budget_scope(), Default::default());
        let (mut min_per_second, mut ttl_s, mut unit) = (default_min_per_second(), default_ttl(), RetryUnit::default());
        let (mut mode, mut fail, mut refuse_with) = (Mode::default(), Fail::default(), RefuseWith::default());
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            ("name", &mut name),
            ("scope", &mut scope),
            ("match", &mut matches),
            ("ratio", &mut ratio),
            ("min_per_second", &mut min_per_second),
            ("ttl_s", &mut ttl_s),
            ("unit", &mut unit),
            ("mode", &mut mode),
            ("fail", &mut fail),
            ("refuse_with", &mut refuse_with),
        ];
        object(from, path, fields)?;
        let (name, ratio) = (required(name, "name")?, required(ratio, "ratio")?);
        Ok(Self { name, scope, matches, ratio, min_per_second, ttl_s, unit, mode, fail, refuse_with })
    }
}

impl Made for Circuit {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut name = None;
        let mut circuit = Self {
            name: LimitName::default(),
            scope: default_circuit_scope(),
            matches: Default::default(),
            failures: default_failures(),
            min_calls: default_min_calls(),
            window_s: default_ttl(),
            probe_ms: default_probe_ms(),
            close_after: default_close_after(),
            retry_after_ms: default_retry_after_ms(),
            mode: Mode::default(),
        };
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            ("name", &mut name),
            ("scope", &mut circuit.scope),
            ("match", &mut circuit.matches),
            ("failures", &mut circuit.failures),
            ("min_calls", &mut circuit.min_calls),
            ("window_s", &mut circuit.window_s),
            ("probe_ms", &mut circuit.probe_ms),
            ("close_after", &mut circuit.close_after),
            ("retry_after_ms", &mut circuit.retry_after_ms),
            ("mode", &mut circuit.mode),
        ];
        object(from, path, fields)?;
        circuit.name = required(name, "name")?;
        Ok(circuit)
    }
}
