//! What weir may cost, beside what it was seen to cost in the same run.

use serde::Serialize;

use crate::answer::{Coding, Pace};
use crate::measure::Mode;
use crate::report::{Beside, Row, Spread};
use crate::variant::Variant;

/// One figure of the budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it is.
    pub figure: String,
    /// The most that is wanted.
    pub most: f64,
    /// What was measured.
    pub measured: Spread,
}

/// Start to the no-op's, and memory above the no-op's in MB.
const BESIDE: [(Variant, f64, f64); 2] = [(Variant::WeirObserve, 1.6, 8.0), (Variant::Weir, 2.2, 14.0)];

/// CPU per call to that of the filter that only copies.
const CPU: [(Pace, f64); 2] = [(Pace::Coalesced, 1.5), (Pace::Lockstep, 1.08)];

/// The figures that were measured.
pub fn lines(rows: &[Row], beside: &[Beside]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |figure: String, most: f64, measured: Option<Spread>| {
        lines.extend(measured.map(|measured| Line { figure, most, measured }));
    };
    for (variant, start, memory) in BESIDE {
        let Some(row) = beside.iter().find(|row| row.variant == variant) else { continue };
        let name = variant.name();
        add(format!("{name}: start, to the no-op's"), start, row.start_to_noop);
        add(format!("{name}: memory above the no-op's, MB"), memory, row.rss_above_noop_mb);
    }
    for (variant, _, _) in BESIDE {
        for (pace, most) in CPU {
            let mode = Mode { pace, coding: Coding::Plain };
            let Some(row) = rows.iter().find(|row| row.variant == variant && row.mode == mode) else { continue };
            let pace = format!("{pace:?}").to_lowercase();
            add(format!("{}: CPU per call, {pace}, to the copying filter's", variant.name()), most, row.cpu_to_copy);
        }
    }
    lines
}
