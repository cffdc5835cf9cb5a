//! What weir costs in a real Envoy, measured as ratios to the same Envoy without it, in one run (docs/bench.md).

mod answer;
mod breakdown;
mod budget;
mod counting;
mod load;
mod machine;
mod measure;
mod parts;
mod report;
mod variant;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use weirctl::envoy::binary;

use measure::{MODES, Mode, Plan};
use report::Report;
use variant::{Parts, Variant};

/// Runs the same streams through a stock Envoy (one worker, on a core of its own) plain and with one filter at a time,
/// in turns, and prints what each takes of CPU, start and memory, as ratios to plain.
#[derive(Debug, Parser)]
#[command(name = "envoy-bench")]
struct Args {
    /// A few seconds; shows that all variants serve all events, and measures nothing worth reading
    #[arg(long)]
    quick: bool,
    /// Prints JSON: the summary, and every measurement
    #[arg(long)]
    json: bool,
    /// How often each variant's Envoy is started anew
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many turns each variant has in each mode of a round
    #[arg(long, default_value_t = 6)]
    turns: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 0.1)]
    turn: f64,
    /// Streams at once
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Only these variants, plain among them for the ratios
    #[arg(long, value_delimiter = ',')]
    variants: Vec<Variant>,
    /// Only these modes
    #[arg(long, value_delimiter = ',')]
    modes: Vec<ModeName>,
    /// This weir.wasm instead of the workspace's own
    #[arg(long)]
    wasm: Option<PathBuf>,
    /// This weir-observe.wasm instead of the one that stands beside weir.wasm
    #[arg(long)]
    observe: Option<PathBuf>,
    /// Another weir.wasm beside it, as the variants weir_against and weir_limits_against: what did a change bring?
    #[arg(long)]
    against: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    Lockstep,
    Coalesced,
    Burst,
    LockstepGzip,
    CoalescedGzip,
}

impl Args {
    fn plan(&self) -> Plan {
        if self.quick {
            let (warm_up, turn) = (Duration::ZERO, Duration::from_millis(20));
            return Plan { rounds: 1, warm_up, turns: 1, turn, streams: self.streams };
        }
        let turn = Duration::from_secs_f64(self.turn);
        // V8's optimising compiler has seen enough after some hundred answers.
        let warm_up = Duration::from_millis(300);
        Plan { rounds: self.rounds, warm_up, turns: self.turns, turn, streams: self.streams }
    }

    fn variants(&self, parts: &Parts) -> Vec<Variant> {
        let wanted = if self.variants.is_empty() { Variant::value_variants() } else { &self.variants };
        wanted.iter().copied().filter(|v| v.is_there(parts)).collect()
    }

    fn modes(&self) -> Vec<Mode> {
        if self.modes.is_empty() { MODES.to_vec() } else { self.modes.iter().map(|m| MODES[*m as usize]).collect() }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.streams > 0 && args.rounds > 0 && args.turns > 0, "streams, rounds and turns are more than zero");
    ensure!(args.turn > 0.0, "a turn takes more than no time");
    let parts = parts::build(args.wasm.as_deref(), args.observe.as_deref(), args.against.as_deref())?;
    let (binary, variants, modes) = (binary::bring()?, args.variants(&parts), args.modes());
    let measured = measure::measure(args.plan(), &variants, &modes, &parts, &binary)?;
    let report = Report::of(&measured, &variants, &modes);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({"report": report, "measured": measured}))?);
    } else {
        print!("{}", report.tables());
    }
    Ok(())
}
