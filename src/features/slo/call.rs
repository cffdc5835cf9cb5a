//! A call and the objectives that count it.

use std::borrow::Cow;

use super::config::Slo;
use super::verdict::{Call, verdict};
use crate::call::finished::Finished;
use crate::labels;
use crate::metrics::{Counts, Id, Series};
use crate::units::Span;

/// The call is over: which objectives it met, by their places in the config. `streamed` says that its answer came as a stream or
/// was asked to: a call that was never to be streamed has no time to first token, and must not count only where it fails.
pub fn settle(slos: &[Slo], call: &Finished<'_>, (streamed, first_token): (bool, Option<Span>), counts: &mut Counts) {
    if slos.is_empty() || !call.known.subject.asked.api.generates() || !streamed {
        return;
    }
    let subject = call.known.subject;
    let judged = Call {
        models: [call.known.model(), call.facts.model.as_deref()],
        route: subject.route.as_deref(),
        tenant: subject.tenant.as_deref(),
        first_token,
        total: call.total,
        ended: call.ended,
        status: call.status,
    };
    for (at, slo) in (0..).zip(slos) {
        if let Some(good) = verdict(slo, &judged) {
            counts.sample(Series { id: Id::Slo, value: u8::from(!good) }, [at, 0, 0, 0], 1);
        }
    }
}

/// The name of an objective: its own, else its place in the config.
pub fn name(slo: Option<&Slo>, at: u16) -> Cow<'_, str> {
    match slo.and_then(|slo| slo.name.as_deref()) {
        Some(name) => labels::clean(name),
        None => format!("slo-{at}").into(),
    }
}
