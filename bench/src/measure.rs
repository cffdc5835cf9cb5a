//! Measures: variants in turns, round after round, each round with Envoys started anew.

use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tempfile::TempDir;
use weirctl::envoy::{Envoy, Launch};

use crate::answer::{Answer, Coding, Pace};
use crate::breakdown::{self, Breakdown, Sums};
use crate::load::{Load, Served};
use crate::machine::{self, Cores};
use crate::variant::{Parts, Variant};

/// How an answer is written and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mode {
    /// Written how.
    pub pace: Pace,
    /// Encoded how.
    pub coding: Coding,
}

/// All of them.
pub const MODES: [Mode; 5] = [
    Mode { pace: Pace::Lockstep, coding: Coding::Plain },
    Mode { pace: Pace::Coalesced, coding: Coding::Plain },
    Mode { pace: Pace::Burst, coding: Coding::Plain },
    Mode { pace: Pace::Lockstep, coding: Coding::Gzip },
    Mode { pace: Pace::Coalesced, coding: Coding::Gzip },
];

/// Between two looks whether an Envoy serves.
const POLL: Duration = Duration::from_millis(2);

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each variant's Envoy is started anew.
    pub rounds: usize,
    /// Load in each mode before it counts, so that V8 has compiled what is hot.
    pub warm_up: Duration,
    /// How many turns each variant has in each mode of a round.
    pub turns: usize,
    /// How long a turn lasts: short, so that what else goes on at the machine meets all variants alike.
    pub turn: Duration,
    /// Streams at once.
    pub streams: usize,
}

/// What one variant did in one mode in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Which variant.
    pub variant: Variant,
    /// In which mode.
    pub mode: Mode,
    /// In which round.
    pub round: usize,
    /// Calls per second.
    pub requests_per_s: f64,
    /// Events per second.
    pub events_per_s: f64,
    /// CPU time of the Envoy process per event, in µs: seconds per million events.
    pub cpu_us_per_event: f64,
    /// How much of its core Envoy used.
    pub core: f64,
    /// In how many pieces an answer passed the filter.
    pub pieces: f64,
}

/// What one Envoy took for itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Footprint {
    /// Which variant.
    pub variant: Variant,
    /// In which round.
    pub round: usize,
    /// From its start until it is ready and listens, in ms (to within 2 ms).
    pub start_ms: f64,
    /// CPU time until then, in ms.
    pub start_cpu_ms: f64,
    /// Resident memory when it was ready, in MB (10^6 bytes).
    pub rss_ready_mb: f64,
    /// Resident memory after the load.
    pub rss_mb: f64,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Measured {
    /// Under load.
    pub samples: Vec<Sample>,
    /// Beside it.
    pub footprints: Vec<Footprint>,
    /// Where the time of Wasm filters goes.
    pub counted: Vec<Counted>,
}

/// Where the time of a variant goes in a mode.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// Which variant.
    pub variant: Variant,
    /// In which mode.
    pub mode: Mode,
    /// And where.
    pub breakdown: Breakdown,
}

/// Measures the variants: in each round all are started, and then have turns in every mode.
///
/// # Errors
/// An Envoy does not start, an answer is not what the upstream wrote, or a filter did not do its work.
pub fn measure(plan: Plan, variants: &[Variant], modes: &[Mode], parts: &Parts, binary: &Path) -> Result<Measured> {
    let cores = Cores::pick()?;
    if !cores.apart() {
        eprintln!("There is one core only: Envoy shares it with the load, and rates mean little.");
    }
    let answers: Vec<(Mode, Answer)> = modes.iter().map(|mode| (*mode, Answer::new(mode.pace, mode.coding))).collect();
    let mut measured = Measured::default();
    for round in 0..plan.rounds {
        eprint!("\rround {} of {} …", round + 1, plan.rounds);
        let mut load = Load::new()?;
        let mut subjects = Vec::new();
        for variant in variants {
            subjects
                .push(Subject::start(*variant, round, &load, parts, binary, &cores).with_context(|| variant.name())?);
        }
        cores.bind_load()?;
        for (mode, answer) in &answers {
            let mut tried = vec![Tried::default(); subjects.len()];
            for turn in 0..=plan.turns {
                for (subject, tried) in subjects.iter_mut().zip(&mut tried) {
                    // The first one is to warm up.
                    let time = if turn == 0 { plan.warm_up } else { plan.turn };
                    let this = subject.drive(&mut load, *mode, answer, plan.streams, time);
                    let this = this.with_context(|| subject.variant.name())?;
                    if turn > 0 {
                        *tried += this;
                    }
                }
            }
            measured.samples.extend(
                subjects.iter().zip(&tried).map(|(subject, tried)| tried.sample(subject.variant, *mode, round)),
            );
        }
        cores.free_load()?;
        for subject in subjects {
            let variant = subject.variant;
            measured.footprints.push(subject.end().with_context(|| variant.name())?);
        }
    }
    let counting = TempDir::with_prefix("weir-bench-")?;
    let parts = breakdown::parts(parts, counting.path())?;
    for variant in variants.iter().copied().filter(|variant| variant.is_wasm() && !variant.is_against()) {
        eprint!("\r{:40}\rcounting {} …", "", variant.name());
        let counted = count(variant, &plan, &answers, &parts, binary, &cores).with_context(|| variant.name())?;
        measured.counted.extend(counted);
    }
    eprint!("\r{:40}\r", "");
    Ok(measured)
}

/// Drives a variant whose filter counts.
fn count(
    variant: Variant,
    plan: &Plan,
    answers: &[(Mode, Answer)],
    parts: &Parts,
    binary: &Path,
    cores: &Cores,
) -> Result<Vec<Counted>> {
    let mut load = Load::new()?;
    let mut subject = Subject::start(variant, 0, &load, parts, binary, cores)?;
    cores.bind_load()?;
    let mut counted = Vec::new();
    for (mode, answer) in answers {
        subject.drive(&mut load, *mode, answer, plan.streams, plan.warm_up)?;
        let before = Sums::of(&subject.envoy)?;
        subject.drive(&mut load, *mode, answer, plan.streams, plan.turn * u32::try_from(plan.turns)?)?;
        let sums = Sums::of(&subject.envoy)?.since(&before);
        counted.extend(sums.breakdown().map(|breakdown| Counted { variant, mode: *mode, breakdown }));
    }
    cores.free_load()?;
    subject.end()?;
    Ok(counted)
}

/// An Envoy that is measured.
struct Subject {
    variant: Variant,
    envoy: Envoy,
    dir: TempDir,
    served: Vec<(Coding, Served)>,
    /// What is known of it so far.
    footprint: Footprint,
}

impl Subject {
    fn start(variant: Variant, round: usize, load: &Load, parts: &Parts, binary: &Path, cores: &Cores) -> Result<Self> {
        let dir = TempDir::with_prefix("weir-bench-")?;
        let bootstrap = variant.bootstrap(parts, load.address()?, &log(&dir));
        // It starts on all cores, as it would anywhere: V8 compiles on several threads.
        let launch = Launch::new(binary).workers(1).poll(POLL);
        let begin = Instant::now();
        let envoy = launch.start_json(&bootstrap, 1)?;
        let start_ms = begin.elapsed().as_secs_f64() * 1e3;
        let start_cpu_ms = machine::cpu_ns(envoy.pid())? as f64 / 1e6;
        cores.bind_envoy(envoy.pid())?;
        let rss_ready_mb = machine::resident(envoy.pid())? as f64 / 1e6;
        let footprint = Footprint { variant, round, start_ms, start_cpu_ms, rss_ready_mb, rss_mb: 0.0 };
        Ok(Self { variant, envoy, dir, served: Vec::new(), footprint })
    }

    fn drive(&mut self, load: &mut Load, mode: Mode, answer: &Answer, streams: usize, time: Duration) -> Result<Tried> {
        let before = machine::cpu_ns(self.envoy.pid())?;
        let served = load.drive(self.envoy.address(), answer, streams, time)?;
        let used = machine::cpu_ns(self.envoy.pid())?.saturating_sub(before);
        self.served.push((mode.coding, served));
        Ok(Tried { served, cpu: Duration::from_nanos(used) })
    }

    /// Looks whether the filter did its work, and ends Envoy.
    fn end(self) -> Result<Footprint> {
        let Self { variant, envoy, dir, served, footprint } = self;
        let rss_mb = machine::resident(envoy.pid())? as f64 / 1e6;
        variant.check_stats(&envoy, &served)?;
        envoy.stop();
        variant.check_log(&log(&dir), &served)?;
        Ok(Footprint { rss_mb, ..footprint })
    }
}

fn log(dir: &TempDir) -> PathBuf {
    dir.path().join("access.log")
}

/// What an Envoy served, and the CPU time that took.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    served: Served,
    cpu: Duration,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Self) {
        self.served += other.served;
        self.cpu += other.cpu;
    }
}

impl Tried {
    fn sample(&self, variant: Variant, mode: Mode, round: usize) -> Sample {
        let (seconds, cpu) = (self.served.elapsed.as_secs_f64(), self.cpu.as_secs_f64());
        let (calls, events) = (self.served.calls as f64, self.served.events as f64);
        Sample {
            variant,
            mode,
            round,
            requests_per_s: calls / seconds,
            events_per_s: events / seconds,
            cpu_us_per_event: cpu * 1e6 / events,
            core: cpu / seconds,
            pieces: self.served.chunks as f64 / calls,
        }
    }
}
