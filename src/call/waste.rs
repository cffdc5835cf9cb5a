//! Why what a call took bought nothing.

use crate::record::Ended;

/// Why what a call cost bought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waste {
    /// It failed.
    Failed,
    /// It was a retry, and failed too.
    Retried,
    /// Its client went away.
    Cancelled,
    /// It was refused, or cut by a limit.
    Refused,
    /// It repeated what had not failed.
    Duplicated,
}

impl Waste {
    /// Its word in the record and the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Waste::Failed => "failed",
            Waste::Retried => "retried",
            Waste::Cancelled => "cancelled",
            Waste::Refused => "refused",
            Waste::Duplicated => "duplicated",
        }
    }

    /// What a call bought, by how it ended: `here` it was refused or cut by the proxy, `again` it was a retry, and `repeats` what
    /// had not failed.
    pub fn of(ended: Ended, here: bool, again: bool, repeats: bool) -> Option<Self> {
        match ended {
            _ if here => Some(Waste::Refused),
            Ended::Complete => repeats.then_some(Waste::Duplicated),
            Ended::ClientAbort => Some(Waste::Cancelled),
            Ended::Refused => Some(Waste::Refused),
            Ended::Error | Ended::Truncated | Ended::UpstreamReset if again => Some(Waste::Retried),
            Ended::Error | Ended::Truncated | Ended::UpstreamReset => Some(Waste::Failed),
        }
    }
}
