//! The storm's tables, for people: without a share and with one, side by side.

use comfy_table::{Cell, CellAlignment, Table};

use super::super::tables::LINES;
use super::figures::{Figures, SLOTS};
use super::plan::{CALLERS, Plan, RATE, USERS};

/// Both sides as text: without a share, and with one.
pub fn text(plan: &Plan, sides: &[Figures; 2], left: &[Vec<f64>; 2]) -> String {
    let mut out = format!(
        "{USERS} users, one call each every {:.1} s; after {:.0} of {:.0} s one run that fans out over {CALLERS} callers. One limit for all:\n\
         {RATE} tokens/s, {} at once. Life is some {:.0} times as slow.\n",
        plan.mean_pause().as_secs_f64(),
        plan.run_at.as_secs_f64(),
        plan.lasts.as_secs_f64(),
        plan.burst,
        60.0 * RATE as f64 / plan.burst as f64,
    );
    out.push_str(&table(sides).to_string());
    out.push('\n');
    let most = |of: fn(&Figures) -> &[u64]| sides.iter().flat_map(of).copied().max().unwrap_or(0) as f64;
    let plots: [(&str, fn(&Figures) -> &[u64]); 2] = [
        ("users' 429s", |figures| &figures.users_refused_over_time),
        ("calls of the run", |figures| &figures.run_calls_over_time),
    ];
    for (name, of) in plots {
        let lines = sides.each_ref().map(|side| plot(of(side).iter().map(|n| *n as f64), most(of)));
        plotted(&mut out, name, &lines);
    }
    let lines = left.each_ref().map(|left| plot(left.iter().copied(), plan.burst as f64));
    plotted(&mut out, "left of the limit", &lines);
    let [off, on] = sides;
    out.push_str(&format!(
        "Read back from Envoy: {} and {} lines in its access logs, {} and {} calls in its stats.\n",
        off.in_access_log,
        on.in_access_log,
        off.counted(),
        on.counted(),
    ));
    out
}

/// A row of the table: its name, and its value for a side.
type Row = (&'static str, fn(&Figures) -> String);

const ROWS: [Row; 9] = [
    ("users' calls", |f| f.users_calls.to_string()),
    ("users' 429s", |f| f.users_refused.to_string()),
    ("users who got one", |f| f.users_hit.to_string()),
    ("users' wait, p50", |f| format!("{:.0} ms", f.users_wait_p50_ms)),
    ("users' wait, p99", |f| format!("{:.0} ms", f.users_wait_p99_ms)),
    ("the run's calls", |f| format!("{} in {:.1} s", f.run_calls, f.run_took_s)),
    ("the run's part of what was granted", |f| format!("{:.1} %", 100.0 * f.run_part)),
    ("use of the limit", |f| format!("{:.1} %", 100.0 * f.utilisation)),
    ("Jain's index of fair shares", |f| format!("{:.4}", f.jain)),
];

fn table(sides: &[Figures; 2]) -> Table {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(LINES);
    table.set_header([Cell::new(""), right("share off".into()), right("share: {of: user}".into())]);
    for (name, of) in ROWS {
        table.add_row([Cell::new(name)].into_iter().chain(sides.iter().map(|side| right(of(side)))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn plotted(out: &mut String, name: &str, [off, on]: &[String; 2]) {
    out.push_str(&format!("{name:<18} off │{off}│\n{:18}  on │{on}│\n", ""));
}

/// A column per value, as high as the value is to the most there is.
fn plot(values: impl Iterator<Item = f64>, most: f64) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: f64| match value / most.max(1.0) {
        part if part <= 0.0 => 0,
        // What is there at all is seen.
        part => ((part * 8.0).round() as usize).clamp(1, 8),
    };
    let columns: String = values.map(|value| HEIGHTS[height(value)]).collect();
    format!("{columns:SLOTS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_the_most_as_a_whole_column_and_the_least_as_one_that_is_seen() {
        assert_eq!(plot([0.0, 0.1, 50.0, 100.0].into_iter(), 100.0).trim_end(), " ▁▄█");
        assert_eq!(plot([0.0; 3].into_iter(), 0.0).trim_end(), "");
    }
}
