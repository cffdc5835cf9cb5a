//! The trails of runs: what an agent did, call by call, for the person in front of it.
//!
//! They lie in the store, so that every worker has all of them, in sets of a few runs each: one read when a call comes, to
//! see whether its run has begun, and one change when it is over. What a run is kept under is a code of tenant and run
//! that only the config's key makes, so that another tenant with the same run id never meets it; half of the same code is
//! the token that whoever began the run is handed.

use std::rc::Rc;

use serde::Serialize;

use super::config::Trail;
use super::entry::{self, Call};
use super::run::{self, Bounds, Divergence, Run, Totals};
use crate::mac::{self, Mac};
use crate::record::Record;
use crate::shared::key::part;
use crate::shared::{Broken, Change, Events, Store, update_any};
use crate::units::{Nanos, Span};

/// The name of the sets in the store; the number is the version of what lies there.
const SETS: &str = "weir.2.trail.";

/// Runs of one set. More make it less likely that a run in use loses its place, and every change larger.
const WAYS: u32 = 4;

/// What one worker knows of trails.
#[derive(Debug)]
pub struct Trails {
    mac: Mac,
    /// The code of the operator's key, if there is one.
    operator: Option<[u8; 32]>,
    sets: u32,
    bounds: (u64, Span),
    /// Where answers name sources.
    pub pointers: Rc<[Vec<String>]>,
}

/// What a run is kept under, and what opens it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    id: [u8; 16],
    token: [u8; 16],
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Name(…)")
    }
}

impl Name {
    /// The run's token, in 32 hex digits.
    pub fn token(&self) -> String {
        self.token
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|n| char::from_digit(n.into(), 16))
            .collect()
    }
}

/// What a caller shows to be let in.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The run's token.
    pub token: &'a [u8],
    /// The operator's key.
    pub operator: &'a [u8],
}

impl Trails {
    /// As a config has them.
    pub fn new(config: &Trail) -> Self {
        let mac = Mac::new(config.key.as_bytes());
        let operator = config.operator_key.as_ref().map(|key| mac.of(&[b"operator\0", key.as_bytes()]));
        let sets = config.runs.get().div_ceil(WAYS).max(1);
        let bounds = (config.records.get().into(), Span(u64::from(config.forget_after_s.get()) * 1_000_000_000));
        let pointers = config.source_pointers.iter().map(|pointer| pointer.steps()).collect();
        Self { mac, operator, sets, bounds, pointers }
    }

    /// The name of a tenant's run. The same code for all workers of all proxies with the same key.
    #[inline(never)]
    pub fn name(&self, tenant: Option<&str>, run: &str) -> Name {
        let tenant = part(tenant);
        let length = (tenant.len() as u64).to_le_bytes();
        let code = self.mac.of(&[b"run\0", &length, tenant, run.as_bytes()]);
        let (mut id, mut token) = ([0; 16], [0; 16]);
        id.iter_mut().chain(&mut token).zip(code).for_each(|(to, from)| *to = from);
        Name { id, token }
    }

    /// The most bytes that all trails of a config take in the store.
    pub fn max_bytes(config: &Trail) -> usize {
        let calls = config.records.get() as usize * (entry::MAX_BYTES + run::SIZE);
        let run = run::FRONT + run::SIZE + run::MAX_HEAD + calls;
        (config.runs.get().div_ceil(WAYS).max(1) * WAYS) as usize * run
    }

    fn set(&self, id: &[u8; 16]) -> String {
        let number = id.first_chunk::<8>().map_or(0, |id| u64::from_le_bytes(*id));
        format!("{SETS}{}", number % u64::from(self.sets))
    }

    fn bounds(&self) -> Bounds {
        let (records, idle) = self.bounds;
        Bounds { ways: WAYS as usize, records, idle }
    }

    /// Whether a call of the run was over before: one read of the store.
    pub fn has_begun(&self, name: &Name, store: &dyn Store, now: Nanos) -> Result<bool, Broken> {
        let found = store.get(&self.set(&name.id))?;
        Ok(found.is_some_and(|(set, _)| run::is_there(&set, &name.id, self.bounds.1, now)))
    }

    /// A call of the run is over: one change in the store.
    pub fn put(
        &self,
        name: &Name,
        (record, sources, began_us): (&Record, &[String], u64),
        store: &dyn Store,
        events: &mut Events,
        now: Nanos,
    ) {
        if !entry::is_step(record) {
            return;
        }
        let bytes = entry::encode(record, sources, began_us);
        let call = entry::decode(&bytes);
        let bounds = self.bounds();
        let mut taken = false;
        let result = update_any(store, &self.set(&name.id), events, &mut |set: &mut Vec<u8>| {
            (*set, taken) = run::put(set, &name.id, &bounds, (record, &call, &bytes), now);
            Change::Write
        });
        if result.is_ok() {
            events.taken_over = events.taken_over.saturating_add(taken.into());
        }
    }

    /// A run's trail, for those who may read it. Whatever is shown, the same is done: four codes, two comparisons of all their
    /// bytes, one read of the store. Who is not let in is read another set, so that not even the time that takes says whether
    /// the run is there.
    #[inline(never)]
    pub fn look(&self, name: &Name, shown: Shown<'_>, store: &dyn Store, now: Nanos) -> Option<Run> {
        // Codes of both, so that what is compared has one length and is nobody's choice.
        let token = self.mac.of(&[b"token\0", name.token().as_bytes()]);
        let token = mac::same(&self.mac.of(&[b"token\0", shown.token]), &token);
        let operator = self.mac.of(&[b"operator\0", shown.operator]);
        let operator = mac::same(&operator, &self.operator.unwrap_or_default()) & self.operator.is_some();
        let may = token | operator;
        let found = store.get(&self.set(if may { &name.id } else { &name.token })).ok().flatten();
        let (set, _) = found.filter(|_| may)?;
        run::read(&set, &name.id, self.bounds.1, now)
    }
}

/// A trail as JSON.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    /// Milliseconds since 1970.
    began_ms: f64,
    /// From the first call's beginning to the last one's end.
    total_ms: f64,
    dropped: u64,
    totals: &'a Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan<'a>>,
    calls: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Plan<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    adherence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<&'a Divergence>,
}

#[derive(Serialize)]
struct Listed<'a> {
    /// Counted from the run's first call, kept or not.
    n: u64,
    /// Its beginning, since the run's.
    at_ms: f64,
    #[serde(flatten)]
    call: &'a Call,
}

/// The trail as JSON.
pub fn json(tenant: Option<&str>, name: &str, run: &Run) -> String {
    let calls = run.calls.iter().zip(1u64..).map(|(call, n)| Listed {
        n: run.dropped.saturating_add(n),
        at_ms: call.began_us.saturating_sub(run.began_us) as f64 / 1000.0,
        call,
    });
    let plan = (run.adherence.is_some() || run.left.is_some())
        .then_some(Plan { adherence: run.adherence, left: run.left.as_ref() });
    let document = Document {
        v: 1,
        run: name,
        tenant,
        began_ms: run.began_us as f64 / 1000.0,
        total_ms: run.ended_us.saturating_sub(run.began_us) as f64 / 1000.0,
        dropped: run.dropped,
        totals: &run.totals,
        plan,
        calls: calls.collect(),
    };
    serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned())
}
