//! Sums the rounds up: each ratio is taken within its round, to what plain Envoy did in the same round.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::answer::{Coding, EVENTS, Pace};
use crate::breakdown::Share;
use crate::budget::{self, Line};
use crate::measure::{Counted, Footprint, Measured, Mode, Sample};
use crate::variant::Variant;

/// The least, the middle and the most of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle; the mean of the two in the middle if their number is even.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some numbers; nothing of none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = &sorted[(sorted.len() - 1) / 2..=sorted.len() / 2];
        Some(Self { min, median: middle.iter().sum::<f64>() / middle.len() as f64, max })
    }
}

/// A variant in a mode, over all rounds.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which variant.
    pub variant: Variant,
    /// In which mode.
    pub mode: Mode,
    /// Calls per second.
    pub requests_per_s: Spread,
    /// Events per second.
    pub events_per_s: Spread,
    /// The same, as a ratio to plain.
    pub rate_to_plain: Option<Spread>,
    /// CPU of Envoy in seconds per million events.
    pub cpu_s_per_million_events: Spread,
    /// The same, as a ratio to plain.
    pub cpu_to_plain: Option<Spread>,
    /// The same, as a ratio to the filter that only copies.
    pub cpu_to_copy: Option<Spread>,
    /// CPU of Envoy in µs per call.
    pub cpu_us_per_call: Spread,
    /// The same, less what the same weir without limits takes.
    pub added_us_per_call: Option<Spread>,
    /// How much of its core Envoy used.
    pub core: Spread,
    /// In how many pieces an answer passed the filter.
    pub pieces: Spread,
}

/// What a variant takes beside CPU under load, over all rounds.
#[derive(Debug, Serialize)]
pub struct Beside {
    /// Which variant.
    pub variant: Variant,
    /// Until it was ready, in ms.
    pub start_ms: Spread,
    /// The same, as a ratio to plain.
    pub start_to_plain: Option<Spread>,
    /// The same, as a ratio to the filter that does nothing.
    pub start_to_noop: Option<Spread>,
    /// CPU time until it was ready, in ms.
    pub start_cpu_ms: Spread,
    /// Resident memory after the load, in MB.
    pub rss_mb: Spread,
    /// The same, less plain's.
    pub rss_above_plain_mb: Option<Spread>,
    /// The same, less what the filter that does nothing takes.
    pub rss_above_noop_mb: Option<Spread>,
}

/// The sum of it all.
#[derive(Debug, Serialize)]
pub struct Report {
    /// CPU and rates.
    pub rows: Vec<Row>,
    /// Start and memory.
    pub beside: Vec<Beside>,
    /// Where the time goes.
    pub counted: Vec<Counted>,
    /// What is wanted beside what was measured.
    pub budget: Vec<Line>,
}

impl Report {
    /// Sums up.
    pub fn of(measured: &Measured, variants: &[Variant], modes: &[Mode]) -> Self {
        let pairs = modes.iter().flat_map(|mode| variants.iter().map(|variant| (*mode, *variant)));
        let rows: Vec<Row> = pairs.filter_map(|(mode, variant)| row(measured, mode, variant)).collect();
        let beside: Vec<Beside> = variants.iter().filter_map(|variant| beside(measured, *variant)).collect();
        let budget = budget::lines(&rows, &beside);
        Self { rows, beside, counted: measured.counted.clone(), budget }
    }

    /// The tables for people.
    pub fn tables(&self) -> String {
        let mut out = String::new();
        let mut modes: Vec<Mode> = Vec::new();
        for row in &self.rows {
            if !modes.contains(&row.mode) {
                modes.push(row.mode);
            }
        }
        for mode in modes.iter().copied() {
            let mut table = table(&[
                "variant",
                "requests/s",
                "events/s",
                "CPU s per M events",
                "CPU to plain",
                "CPU to copy",
                "CPU µs per call",
                "added µs per call",
                "rate to plain",
                "core",
                "pieces",
            ]);
            for row in self.rows.iter().filter(|row| row.mode == mode) {
                table.add_row([
                    row.variant.name(),
                    format!("{:.0}", row.requests_per_s.median),
                    format!("{:.0}", row.events_per_s.median),
                    format!("{:.3}", row.cpu_s_per_million_events.median),
                    ratio(row.cpu_to_plain),
                    ratio(row.cpu_to_copy),
                    format!("{:.0}", row.cpu_us_per_call.median),
                    spread(row.added_us_per_call, 1),
                    ratio(row.rate_to_plain),
                    format!("{:.0} %", row.core.median * 100.0),
                    format!("{:.1}", row.pieces.median),
                ]);
            }
            out += &format!("{}\n{}\n\n", title(mode), right(table));
        }
        let mut table = table(&[
            "variant",
            "start ms",
            "to plain",
            "to no-op",
            "CPU ms",
            "RSS MB",
            "above plain MB",
            "above no-op MB",
        ]);
        for row in &self.beside {
            table.add_row([
                row.variant.name(),
                spread(Some(row.start_ms), 0),
                ratio(row.start_to_plain),
                ratio(row.start_to_noop),
                spread(Some(row.start_cpu_ms), 0),
                spread(Some(row.rss_mb), 1),
                spread(row.rss_above_plain_mb, 1),
                spread(row.rss_above_noop_mb, 1),
            ]);
        }
        out += &format!("Start until ready, and resident memory after the load\n{}\n", right(table));
        for mode in modes {
            if let Some(table) = self.where_time_goes(mode) {
                out += &format!("\nWhere a call's time goes, in µs. {}\n{}\n", title(mode), right(table));
            }
        }
        if !self.budget.is_empty() {
            let mut table = table_of_budget(&self.budget);
            table.set_content_arrangement(ContentArrangement::Disabled);
            out += &format!("\nBudget\n{}\n", right(table));
        }
        out
    }

    fn row(&self, mode: Mode, variant: Variant) -> Option<&Row> {
        self.rows.iter().find(|row| row.mode == mode && row.variant == variant)
    }

    /// Own code and calls of the host as they were counted; the rest is what CPU the variants' Envoys took.
    fn where_time_goes(&self, mode: Mode) -> Option<Table> {
        let counted: Vec<&Counted> = self.counted.iter().filter(|counted| counted.mode == mode).collect();
        let names: Vec<String> = counted.iter().map(|counted| counted.variant.name()).collect();
        let mut table = table(&[]);
        table.set_header(["per call".to_owned()].into_iter().chain(names));
        if counted.is_empty() {
            return None;
        }
        let cpu = |variant| self.row(mode, variant).map(|row| row.cpu_us_per_call.median);
        let plain = cpu(Variant::Plain);
        let wasm = plain.and_then(|plain| Some(cpu(Variant::WasmNoop)? - plain));
        let log = cpu(Variant::Weir).and_then(|with| Some(with - cpu(Variant::WeirNoLog)?));
        let us = |us: Option<f64>| us.map_or(String::new(), |us| format!("{us:.1}"));
        let mut add = |name: &str, cell: &dyn Fn(&Counted) -> String| {
            let cells = counted.iter().map(|counted| cell(counted));
            table.add_row([name.to_owned()].into_iter().chain(cells));
        };
        let share = |share: &Share| match share.count {
            ..0.01 => String::new(),
            count => format!("{count:.1} x {:.2} = {:.1}", share.us / count, share.us),
        };
        let sum = |shares: &[Share]| shares.iter().map(|share| share.us).sum::<f64>();
        let logged = |variant: Variant| log.filter(|_| variant.logs());
        add("plain Envoy", &|_| us(plain));
        add("Wasm at all: the no-op's", &|_| us(wasm));
        for (title, part) in [("own code", OWN), ("host", HOST)] {
            add(&format!("{title}, in all"), &|counted| us(Some(sum(part(counted)))));
            let mut names: Vec<&str> = Vec::new();
            for share in counted.iter().flat_map(|counted| part(counted)) {
                if !names.contains(&share.name.as_str()) && share.us >= LEAST_US {
                    names.push(&share.name);
                }
            }
            for name in names {
                add(&format!("- {name}"), &|counted| {
                    part(counted).iter().find(|share| share.name == name).map_or(String::new(), share)
                });
            }
        }
        add("access log", &|counted| us(logged(counted.variant)));
        add("the rest: colder caches, what the host frees later", &|counted| {
            let known = sum(OWN(counted)) + sum(HOST(counted)) + logged(counted.variant).unwrap_or(0.0);
            us(cpu(counted.variant).and_then(|cpu| Some(cpu - plain? - wasm? - known)))
        });
        add("CPU of Envoy", &|counted| us(cpu(counted.variant)));
        Some(table)
    }
}

/// Shares that take less are left out of tables, though not out of sums.
const LEAST_US: f64 = 0.05;

const OWN: fn(&Counted) -> &[Share] = |counted| &counted.breakdown.own;
const HOST: fn(&Counted) -> &[Share] = |counted| &counted.breakdown.host;

fn table_of_budget(budget: &[Line]) -> Table {
    let mut table = table(&["figure", "at most", "measured", "met"]);
    for Line { figure, most, measured } in budget {
        let met = if measured.median <= *most { "yes" } else { "no" };
        table.add_row([figure.clone(), format!("{most}"), spread(Some(*measured), 2), met.to_owned()]);
    }
    table
}

fn title(mode: Mode) -> String {
    let pace = match mode.pace {
        Pace::Lockstep => "Lockstep: one event per write, the next once the client has it",
        Pace::Coalesced => "Coalesced: 16 KB of text per write, the next once the client has it",
        Pace::Burst => "Burst: 16 KB of text per write, all at once",
    };
    let coding = match mode.coding {
        Coding::Plain => "plain",
        Coding::Gzip => "gzip",
    };
    format!("{pace}; {coding}")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn right(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn ratio(of: Option<Spread>) -> String {
    spread(of, 2)
}

/// The median, and the least and the most behind it.
fn spread(of: Option<Spread>, digits: usize) -> String {
    match of {
        Some(Spread { min, median, max }) => format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
        None => String::new(),
    }
}

fn row(measured: &Measured, mode: Mode, variant: Variant) -> Option<Row> {
    let of = |variant| measured.samples.iter().filter(move |s: &&Sample| s.mode == mode && s.variant == variant);
    let all = |value: fn(&Sample) -> f64| Spread::of(of(variant).map(value));
    let to = |base: Variant, value: fn(&Sample) -> f64| {
        Spread::of(of(variant).filter_map(|sample| {
            let base = of(base).find(|base| base.round == sample.round)?;
            Some(value(sample) / value(base))
        }))
    };
    Some(Row {
        variant,
        mode,
        requests_per_s: all(|s| s.requests_per_s)?,
        events_per_s: all(|s| s.events_per_s)?,
        rate_to_plain: to(Variant::Plain, |s| s.events_per_s),
        cpu_s_per_million_events: all(|s| s.cpu_us_per_event)?,
        cpu_to_plain: to(Variant::Plain, |s| s.cpu_us_per_event),
        cpu_to_copy: to(Variant::WasmCopy, |s| s.cpu_us_per_event),
        cpu_us_per_call: all(per_call)?,
        added_us_per_call: variant.without().and_then(|without| {
            Spread::of(of(variant).filter_map(|sample| {
                let without = of(without).find(|without| without.round == sample.round)?;
                Some(per_call(sample) - per_call(without))
            }))
        }),
        core: all(|s| s.core)?,
        pieces: all(|s| s.pieces)?,
    })
}

fn per_call(sample: &Sample) -> f64 {
    sample.cpu_us_per_event * EVENTS as f64
}

fn beside(measured: &Measured, variant: Variant) -> Option<Beside> {
    let of = |variant| measured.footprints.iter().filter(move |f: &&Footprint| f.variant == variant);
    let all = |value: fn(&Footprint) -> f64| Spread::of(of(variant).map(value));
    let with = |base: Variant, value: fn(&Footprint) -> f64, join: fn(f64, f64) -> f64| {
        Spread::of(of(variant).filter_map(|footprint| {
            let base = of(base).find(|base| base.round == footprint.round)?;
            Some(join(value(footprint), value(base)))
        }))
    };
    Some(Beside {
        variant,
        start_ms: all(|f| f.start_ms)?,
        start_cpu_ms: all(|f| f.start_cpu_ms)?,
        start_to_plain: with(Variant::Plain, |f| f.start_ms, |a, b| a / b),
        start_to_noop: with(Variant::WasmNoop, |f| f.start_ms, |a, b| a / b),
        rss_mb: all(|f| f.rss_mb)?,
        rss_above_plain_mb: with(Variant::Plain, |f| f.rss_mb, |a, b| a - b),
        rss_above_noop_mb: with(Variant::WasmNoop, |f| f.rss_mb, |a, b| a - b),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_the_two() {
        for (numbers, wanted) in [
            (vec![3.0, 1.0, 2.0], Some((1.0, 2.0, 3.0))),
            (vec![4.0, 1.0, 2.0, 3.0], Some((1.0, 2.5, 4.0))),
            (vec![7.0], Some((7.0, 7.0, 7.0))),
            (vec![], None),
        ] {
            assert_eq!(Spread::of(numbers).map(|s| (s.min, s.median, s.max)), wanted);
        }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let mode = Mode { pace: Pace::Lockstep, coding: Coding::Plain };
        let sample = |variant, round, cpu| Sample {
            variant,
            mode,
            round,
            requests_per_s: 1.0,
            events_per_s: 300.0,
            cpu_us_per_event: cpu,
            core: 1.0,
            pieces: 300.0,
        };
        // The second round ran at half the speed.
        let samples = vec![
            sample(Variant::Plain, 0, 10.0),
            sample(Variant::Weir, 0, 12.0),
            sample(Variant::Plain, 1, 20.0),
            sample(Variant::Weir, 1, 24.0),
        ];
        let limits = [sample(Variant::WeirLimits, 0, 12.1), sample(Variant::WeirLimits, 1, 24.3)];
        let samples = samples.into_iter().chain(limits).collect();
        let measured = Measured { samples, ..Measured::default() };
        let report = Report::of(&measured, &[Variant::Plain, Variant::Weir, Variant::WeirLimits], &[mode]);
        let ratios: Vec<_> = report.rows.iter().take(2).map(|row| row.cpu_to_plain).collect();
        assert_eq!(ratios, [1.0, 1.2].map(|r| Some(Spread { min: r, median: r, max: r })));
        assert_eq!(report.rows[1].cpu_s_per_million_events.median, 18.0);
        let added = report.rows[2].added_us_per_call.unwrap();
        assert_eq!([added.min, added.max].map(f64::round), [30.0, 90.0]);
        assert_eq!(report.rows[1].added_us_per_call, None);
    }
}
