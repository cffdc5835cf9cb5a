//! The demo's tables, for people.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::figures::{Figures, Row, ended_values};

const LEGEND: &str = "\
Times in ms, medians where nothing else is said. TTFT: to the first token; text: to the first visible text; ITL: between
tokens; TPOT: per output token. Tokens: cached are part of in, think (reasoning) of out. abort: the client went away;
reset: the upstream did; cut: it ended before its format's end; refused: no upstream heard of it. other: a model
that no call with success had named by then.
";

/// All tables as text.
pub fn text(figures: &Figures) -> String {
    let mut out = String::new();
    for (label, rows) in [("model", &figures.models), ("route", &figures.routes), ("tenant", &figures.tenants)] {
        out.push_str(&table(label, rows, &figures.total).to_string());
        out.push('\n');
    }
    out.push_str(LEGEND);
    for slo in &figures.slo {
        let all = (slo.good + slo.bad).max(1);
        let share = 100.0 * slo.good as f64 / all as f64;
        out.push_str(&format!(
            "Objective {}: {} of {} calls in time ({share:.1} %).\n",
            slo.name,
            slo.good,
            slo.good + slo.bad
        ));
    }
    if let Some(us) = figures.filter_p50_us {
        out.push_str(&format!("The filter's own time: {us:.0} µs per call (median). Stalls: {}.\n", figures.stalls));
    }
    let tokens = |kind| figures.tokens_in_access_log.get(kind).copied().unwrap_or_default();
    out.push_str(&format!(
        "Read back from Envoy: {} calls in its stats; {} records in its access log, with {} tokens in and {} out.\n",
        figures.in_stats,
        figures.in_access_log,
        tokens("input"),
        tokens("output"),
    ));
    if let Some(record) = figures.samples.first() {
        out.push_str(&format!("One of them: {record}\n"));
    }
    out
}

/// A line around the headings and one at the end, nothing between rows and columns.
pub(super) const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Longest name in a table; longer ones lose their middle.
const LONGEST: usize = 30;

fn table(label: &str, rows: &[Row], total: &Row) -> Table {
    // Ways to end that nobody went take no room.
    let ways: Vec<&str> = ended_values().filter(|way| total.ended.contains_key(*way)).collect();
    let mut table = Table::new();
    table.load_style(LINES);
    let fixed = ["calls", "TTFT", "p99", "text", "ITL", "p99", "TPOT", "in", "cached", "out", "think"];
    let headings = [label].into_iter().chain(fixed).chain(ways.iter().map(|way| word(way)));
    let right = |cell: Cell| cell.set_alignment(CellAlignment::Right);
    table.set_header(
        headings.enumerate().map(|(i, text)| if i == 0 { Cell::new(text) } else { right(Cell::new(text)) }),
    );
    for row in rows.iter().chain([total]) {
        let count =
            |counts: &BTreeMap<String, u64>, key: &str| Cell::new(counts.get(key).map_or("·".into(), u64::to_string));
        let tokens = |kind: &str| count(&row.tokens, kind);
        let figures = [
            Cell::new(row.calls),
            time(row.first_token_p50_ms),
            time(row.first_token_p99_ms),
            time(row.first_text_p50_ms),
            time(row.inter_token_p50_ms),
            time(row.inter_token_p99_ms),
            time(row.tpot_p50_ms),
            tokens("input"),
            tokens("cache_read"),
            tokens("output"),
            tokens("reasoning"),
        ];
        let ended = ways.iter().map(|way| count(&row.ended, way));
        table.add_row([Cell::new(short(&row.name))].into_iter().chain(figures.into_iter().chain(ended).map(right)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table
}

fn short(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LONGEST {
        return name.into();
    }
    let (front, back) = (LONGEST * 2 / 3, LONGEST - LONGEST * 2 / 3 - 1);
    letters[..front].iter().chain(['…'].iter()).chain(&letters[letters.len() - back..]).collect()
}

fn time(ms: Option<f64>) -> Cell {
    Cell::new(match ms {
        None => "·".into(),
        Some(ms) if ms < 100.0 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
    })
}

/// A way to end, with few letters.
fn word(ended: &str) -> &str {
    match ended {
        "complete" => "ok",
        "client_abort" => "abort",
        "upstream_reset" => "reset",
        "truncated" => "cut",
        other => other,
    }
}
