//! Objectives for the time to first token: which calls they count, and whether a call was good.

use super::config::Slo;
use crate::config::values::{Match, fits};
use crate::record::Ended;
use crate::units::Span;

/// What an objective wants to know of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The models asked for and answering.
    pub models: [Option<&'a str>; 2],
    /// Envoy's route name.
    pub route: Option<&'a str>,
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// Until the first token.
    pub first_token: Option<Span>,
    /// Until the end.
    pub total: Span,
    /// How it ended.
    pub ended: Ended,
    /// The status.
    pub status: Option<u16>,
}

/// Whether a call meets an objective; nothing if it does not count.
///
/// A call with a first token is good if that came in time. One without is bad if the provider failed (5xx, 429, a reset, an
/// error in the stream, an empty answer), or if the client waited longer than the objective allows. A client's own
/// errors (other 4xx), its early leaving, and what the proxy refused do not count.
pub fn verdict(slo: &Slo, call: &Call<'_>) -> Option<bool> {
    let Match { model, route, tenant } = &slo.matches;
    if !(fits(model, &call.models) && fits(route, &[call.route]) && fits(tenant, &[call.tenant])) {
        return None;
    }
    let allowed = Span(slo.first_token_ms.get().saturating_mul(1_000_000));
    match (call.first_token, call.ended) {
        (Some(first), _) => Some(first <= allowed),
        (None, Ended::ClientAbort) => (call.total > allowed).then_some(false),
        (None, Ended::Refused) => None,
        (None, Ended::Error) => {
            let own_fault = call.status.is_some_and(|s| (400..500).contains(&s) && s != 429);
            (!own_fault).then_some(false)
        }
        (None, Ended::UpstreamReset | Ended::Truncated | Ended::Complete) => Some(false),
    }
}
