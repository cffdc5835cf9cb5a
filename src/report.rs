//! What a call leaves behind: values, no IO.

use crate::call::finished::Finished;
use crate::metrics::{Counts, Id, Series};
use crate::record::{Ended, Record, Usage};
use crate::shared::Events;
use crate::signals::timing::Timing;
use crate::units::Span;
use crate::wire::body::Unread;

/// The end of a call.
#[derive(Debug)]
pub struct Report {
    /// For the access log.
    pub record: Record,
    /// For the metrics.
    pub counts: Counts,
    /// Tokens to charge to limits that others keep; nothing where the config does not ask for it.
    pub charge: Option<u64>,
}

/// Counts what every call has. `tokens` are those that its time per output token divides by.
pub fn count(counts: &mut Counts, call: &Finished<'_>, timing: &Timing, (stream, tokens, unread): (bool, u64, Unread)) {
    counts.add(Series { id: Id::Calls, value: call.ended.number() }, 1);
    counts.add(Id::Call, call.total.round_ms());
    let usage = call.usage;
    let kinds = [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning];
    for (value, count) in (0..).zip(kinds) {
        if let Some(count) = count.filter(|count| *count > 0) {
            counts.add(Series { id: Id::Tokens, value }, count);
        }
    }
    let mut ms = |id: Id, span: Option<Span>| span.into_iter().for_each(|span| counts.add(id, span.round_ms()));
    ms(Id::FirstByte, timing.first_byte());
    if stream {
        ms(Id::FirstToken, timing.first_token());
        ms(Id::FirstText, timing.first_text());
        if let Some(span) = timing.per_output_token(tokens, call.now) {
            counts.add(Id::TimePerOutputToken, span.as_us());
        }
        if timing.stalls() > 0 {
            counts.add(Id::Stalls, timing.stalls());
        }
    }
    if let Some(gaps) = timing.gaps() {
        for (value, count) in (0..).zip(gaps.cumulative()).filter(|(_, count)| *count > 0) {
            counts.add(Series { id: Id::InterTokenBucket, value }, count);
        }
        counts.add(Id::InterTokenSum, gaps.sum().round_ms());
        counts.add(Id::InterTokenCount, gaps.count());
    }
    if timing.first_token().is_none() && call.known.subject.asked.api.generates() {
        counts.add(Series { id: Id::NoFirstToken, value: no_first_token(call.ended) }, 1);
    }
    let Unread { oversize, json, crc, frame, encoding, format, request } = unread;
    for (value, count) in
        (0..).zip([oversize, json, crc, frame, encoding, format, request]).filter(|(_, count)| *count > 0)
    {
        counts.add(Series { id: Id::Unread, value }, count);
    }
}

/// Counts what was seen of the store that workers share.
pub fn count_store(counts: &mut Counts, events: Events) {
    let Events { contended, full, taken_over, failed } = events;
    for (value, count) in (0..).zip([contended, full, taken_over, failed]).filter(|(_, count)| *count > 0) {
        counts.sample(Series { id: Id::Store, value }, [0; 4], count.into());
    }
}

/// What a call is charged: what its record says, so that the sum over an access log is the sum that was charged.
pub fn charge(usage: &Usage) -> u64 {
    usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0))
}

/// As in the table of metrics.
fn no_first_token(ended: Ended) -> u8 {
    match ended {
        Ended::ClientAbort => 0,
        Ended::UpstreamReset => 1,
        Ended::Refused => 2,
        Ended::Error => 3,
        Ended::Truncated => 4,
        Ended::Complete => 5,
    }
}
