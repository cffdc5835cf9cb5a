//! Sums the rounds up: each ratio is taken within its round, to what plain Envoy did in the same round.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::answer::{Coding, EVENTS, Pace};
use crate::measure::{Footprint, Measured, Mode, Sample};
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
    /// CPU time until it was ready, in ms.
    pub start_cpu_ms: Spread,
    /// Resident memory after the load, in MB.
    pub rss_mb: Spread,
    /// The same, less plain's.
    pub rss_above_plain_mb: Option<Spread>,
    /// The same, as a ratio to plain.
    pub rss_to_plain: Option<Spread>,
}

/// The sum of it all.
#[derive(Debug, Serialize)]
pub struct Report {
    /// CPU and rates.
    pub rows: Vec<Row>,
    /// Start and memory.
    pub beside: Vec<Beside>,
}

impl Report {
    /// Sums up.
    pub fn of(measured: &Measured, variants: &[Variant], modes: &[Mode]) -> Self {
        let pairs = modes.iter().flat_map(|mode| variants.iter().map(|variant| (*mode, *variant)));
        Self {
            rows: pairs.filter_map(|(mode, variant)| row(measured, mode, variant)).collect(),
            beside: variants.iter().filter_map(|variant| beside(measured, *variant)).collect(),
        }
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
        for mode in modes {
            let mut table = table(&[
                "variant",
                "requests/s",
                "events/s",
                "CPU s per M events",
                "CPU to plain",
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
                    format!("{:.0}", row.cpu_us_per_call.median),
                    spread(row.added_us_per_call, 1),
                    ratio(row.rate_to_plain),
                    format!("{:.0} %", row.core.median * 100.0),
                    format!("{:.1}", row.pieces.median),
                ]);
            }
            out += &format!("{}\n{}\n\n", title(mode), right(table));
        }
        let mut table =
            table(&["variant", "start ms", "start to plain", "CPU ms", "RSS MB", "above plain MB", "RSS to plain"]);
        for row in &self.beside {
            table.add_row([
                row.variant.name(),
                spread(Some(row.start_ms), 0),
                ratio(row.start_to_plain),
                spread(Some(row.start_cpu_ms), 0),
                spread(Some(row.rss_mb), 1),
                spread(row.rss_above_plain_mb, 1),
                ratio(row.rss_to_plain),
            ]);
        }
        out + &format!("Start until ready, and resident memory after the load\n{}\n", right(table))
    }
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
    let to_plain = |value: fn(&Sample) -> f64| {
        Spread::of(of(variant).filter_map(|sample| {
            let plain = of(Variant::Plain).find(|plain| plain.round == sample.round)?;
            Some(value(sample) / value(plain))
        }))
    };
    Some(Row {
        variant,
        mode,
        requests_per_s: all(|s| s.requests_per_s)?,
        events_per_s: all(|s| s.events_per_s)?,
        rate_to_plain: to_plain(|s| s.events_per_s),
        cpu_s_per_million_events: all(|s| s.cpu_us_per_event)?,
        cpu_to_plain: to_plain(|s| s.cpu_us_per_event),
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
    let with_plain = |value: fn(&Footprint) -> f64, join: fn(f64, f64) -> f64| {
        Spread::of(of(variant).filter_map(|footprint| {
            let plain = of(Variant::Plain).find(|plain| plain.round == footprint.round)?;
            Some(join(value(footprint), value(plain)))
        }))
    };
    Some(Beside {
        variant,
        start_ms: all(|f| f.start_ms)?,
        start_cpu_ms: all(|f| f.start_cpu_ms)?,
        start_to_plain: with_plain(|f| f.start_ms, |a, b| a / b),
        rss_mb: all(|f| f.rss_mb)?,
        rss_above_plain_mb: with_plain(|f| f.rss_mb, |a, b| a - b),
        rss_to_plain: with_plain(|f| f.rss_mb, |a, b| a / b),
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
        let measured = Measured { samples, footprints: Vec::new() };
        let report = Report::of(&measured, &[Variant::Plain, Variant::Weir, Variant::WeirLimits], &[mode]);
        let ratios: Vec<_> = report.rows.iter().take(2).map(|row| row.cpu_to_plain).collect();
        assert_eq!(ratios, [1.0, 1.2].map(|r| Some(Spread { min: r, median: r, max: r })));
        assert_eq!(report.rows[1].cpu_s_per_million_events.median, 18.0);
        let added = report.rows[2].added_us_per_call.unwrap();
        assert_eq!([added.min, added.max].map(f64::round), [30.0, 90.0]);
        assert_eq!(report.rows[1].added_us_per_call, None);
    }
}
