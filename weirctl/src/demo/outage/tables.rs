//! The outage's table, for people: without a budget and with one, side by side.

use comfy_table::{Cell, CellAlignment, Table};

use super::super::tables::LINES;
use super::figures::{Figures, Phase};
use super::plan::{AGENT_TRIES, PER_SECOND, RATIO, ROUTE_RETRIES, SDK_RETRIES};

/// Both sides as text: without a budget, and with one.
pub fn text(sides: &[Figures; 2]) -> String {
    let most = AGENT_TRIES * (1 + SDK_RETRIES) * (1 + ROUTE_RETRIES);
    let [off, on] = sides;
    let mut out = format!(
        "{PER_SECOND} users a second want something. Their agents try {AGENT_TRIES} times, over an SDK that retries {SDK_RETRIES} times, over an \
         Envoy\nthat retries {ROUTE_RETRIES} times: up to {most} calls for one. The budget: {RATIO} retries per first try.\n\n",
    );
    out.push_str(&table(off, on).to_string());
    out.push('\n');
    out.push_str("A user belongs to the phase that he asked in, a call to the one that it ended in.\n");
    // From one call, an empty column, to the most there may be, on a scale of powers.
    let plot = |figures: &Figures| -> String {
        figures.over_time.iter().map(|value| column(*value, f64::from(most))).collect()
    };
    out.push_str(&format!("attempts per first try, off │{}│\n                         on │{}│\n", plot(off), plot(on)));
    out.push_str(&format!(
        "Read back: {} and {} attempts in Envoy's stats, {} and {} calls that the upstream saw.\n",
        off.total.sent, on.total.sent, off.total.upstream, on.total.upstream,
    ));
    out
}

fn table(off: &Figures, on: &Figures) -> Table {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(LINES);
    let head = ["users", "sent", "per first try", "got it", "sent", "refused", "per first try", "got it"];
    table.set_header([Cell::new("budget: off │ on")].into_iter().chain(head.map(|name| right(name.into()))));
    let part = |phase: &Phase| format!("{:.0} %", 100.0 * phase.well as f64 / phase.actions.max(1) as f64);
    for (off, on) in off.phases.iter().zip(&on.phases) {
        let cells = [
            on.actions.to_string(),
            off.counts.sent.to_string(),
            format!("{:.1}", off.attempts_per_first_try),
            part(off),
            on.counts.sent.to_string(),
            on.counts.refused.to_string(),
            format!("{:.2}", on.attempts_per_first_try),
            part(on),
        ];
        table.add_row([Cell::new(on.name)].into_iter().chain(cells.map(right)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn column(value: Option<f64>, most: f64) -> char {
    const HEIGHTS: [char; 9] = ['_', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    match value {
        None => ' ',
        // A tenth more than one is still as good as one.
        Some(value) if value < 1.15 => HEIGHTS[0],
        Some(value) => HEIGHTS[((value.ln() / most.ln() * 8.0).round() as usize).clamp(1, 8)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_flat_where_little_is_repeated_and_whole_where_all_is() {
        let columns = [None, Some(1.0), Some(1.1), Some(1.3), Some(6.0), Some(36.0), Some(80.0)];
        assert_eq!(columns.map(|value| column(value, 36.0)), [' ', '_', '_', '▁', '▄', '█', '█']);
    }
}
