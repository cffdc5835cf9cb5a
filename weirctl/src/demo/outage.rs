//! `weirctl demo --scenario outage`: an upstream fails, and agents, their SDK and Envoy try again; in one Envoy held by a retry
//! budget, in another only counted, with the same users at the same time.

mod drive;
mod figures;
mod plan;
mod tables;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{LOOK, SETTLE};
use crate::envoy::{Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};
use crate::prometheus;
use crate::stop;
use crate::upstream::faults::Faults;
use crate::upstream::{Options, Upstream};
use drive::Users;
use figures::{Counts, Figures};
use plan::{PHASES, RATIO, ROUTE_RETRIES, WINDOW_S};

/// What the upstream tells who calls to wait.
const RETRY_AFTER_MS: u32 = 20;

/// Envoy's own bound on its retries, three at once in a cluster, is out of the way: where more traffic is, it is raised.
const RETRIES_AT_ONCE: u32 = 10_000;

/// A point of what is shown over time.
const SLOT: Duration = Duration::from_millis(500);

/// Runs the outage for so long.
///
/// # Errors
/// The filter does not build, an Envoy cannot be brought or started, or the calls do not get through to it.
pub fn run(arguments: &super::Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = stop::signal(&runtime);
    let mut outage = Outage::start(arguments)?;
    let all = Duration::from_secs(arguments.seconds.into());
    let phase = Arc::new(AtomicUsize::new(0));
    let drive = |side: &Side| drive::drive(all, side.envoy.address(), Arc::clone(&phase), Arc::clone(&side.users));
    let driven = outage.sides.each_ref().map(|side| runtime.spawn(drive(side)));
    let bars = Bars::new(&outage.sides);
    let begun = Instant::now();
    let mut ends = plan::lasts(all).into_iter().scan(Duration::ZERO, |end, lasts| {
        *end += lasts;
        Some(*end)
    });
    let mut end = Duration::ZERO;
    let mut begins = PHASES.iter().enumerate();
    while !driven.iter().all(|side| side.is_finished()) && !stop.raised() {
        let passed = begun.elapsed();
        if passed >= end
            && let Some((at, next)) = begins.next()
        {
            end = ends.next().unwrap_or(all);
            phase.store(at, Ordering::Relaxed);
            bars.time.set_message(next.name);
            for side in &mut outage.sides {
                side.faults.fail(next.failing);
                side.begins.push(side.counts()?);
            }
        }
        for (side, bar) in outage.sides.iter_mut().zip(&bars.sides) {
            side.look(passed)?;
            bar.set_message(side.told());
        }
        bars.time.set_position((100.0 * passed.as_secs_f64() / all.as_secs_f64()) as u64);
        std::thread::sleep(LOOK);
    }
    bars.clear();
    if stop.raised() {
        eprintln!("  interrupted");
        return Ok(ExitCode::from(stop::INTERRUPTED));
    }
    for side in driven {
        runtime.block_on(side)??;
    }
    let sides = [outage.sides[0].settle()?, outage.sides[1].settle()?];
    if arguments.json {
        let [off, on] = &sides;
        println!("{:#}", json!({"ratio": RATIO, "budget_off": off, "budget_on": on}));
    } else {
        print!("{}", tables::text(&sides));
    }
    if arguments.keep {
        outage.tell(arguments.json);
        runtime.block_on(stop.wait());
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that the outage has started. It ends when this goes.
struct Outage {
    /// Without a budget, and with one.
    sides: [Side; 2],
}

impl Outage {
    fn start(arguments: &super::Arguments) -> Result<Self> {
        eprintln!("  building weir.wasm …");
        let wasm = wasm::build_aloud()?;
        let binary = binary::bring()?;
        let start = |name: &'static str, listen: SocketAddr, config: &Value| -> Result<Side> {
            let faults = Arc::new(Faults::new(RETRY_AFTER_MS));
            let options = Options {
                seed: arguments.seed,
                at_once: true,
                faults: Some(Arc::clone(&faults)),
                ..Options::default()
            };
            let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], 0)), options)?;
            let envoy = Launch::new(&binary).start(&bootstrap(listen, &wasm, upstream.address(), config))?;
            Ok(Side { name, envoy, upstream, faults, users: Arc::default(), begins: Vec::new(), looks: Vec::new() })
        };
        let listen = arguments.listen;
        // The one with a budget is where the caller wants it; the other one at any free port.
        let off = start("budget off", SocketAddr::new(listen.ip(), 0), &json!({"retries": {}}))?;
        let budget = json!({"name": "upstream", "ratio": RATIO, "min_per_second": 0, "ttl_s": WINDOW_S});
        let on = start("budget on", listen, &json!({"retry_budgets": [budget]}))?;
        eprintln!("  two Envoys {} serve with weir.wasm in them, each with an upstream of its own", binary::VERSION);
        Ok(Self { sides: [off, on] })
    }

    fn tell(&self, json: bool) {
        // So that there is something to see.
        let mut text = String::from("\nStill running, and the upstreams fail again; Ctrl-C ends it. Try twice:\n");
        for side in &self.sides {
            side.faults.fail(1000);
            let (at, admin) = (side.envoy.address(), side.envoy.admin().address);
            text.push_str(&format!(
                "  {}:\n    \
                 curl -i http://{at}/v1/chat/completions -d '{{\"model\":\"gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n    \
                 curl -s 'http://{admin}/stats/prometheus?filter=weir_attempts'\n    \
                 the upstream behind it: http://{}\n",
                side.name,
                side.upstream.address(),
            ));
        }
        // Standard output is for the JSON alone.
        if json { eprintln!("{text}") } else { println!("{text}") }
    }
}

fn bootstrap(listen: SocketAddr, wasm: &Path, upstream: SocketAddr, config: &Value) -> Bootstrap {
    Bootstrap {
        listen: vec![listen],
        filters: vec![WeirFilter::new(wasm).config(config).to_json()],
        routes: vec![Route { retries: ROUTE_RETRIES, ..Route::all("all", "upstream") }],
        clusters: vec![Cluster { retries_at_once: Some(RETRIES_AT_ONCE), ..Cluster::plain("upstream", upstream) }],
        ..Bootstrap::default()
    }
}

/// One Envoy with its upstream, and what is known of its calls so far.
struct Side {
    name: &'static str,
    envoy: Envoy,
    upstream: Upstream,
    faults: Arc<Faults>,
    users: Arc<Users>,
    /// What was counted when each phase began.
    begins: Vec<Counts>,
    /// What was counted, and when.
    looks: Vec<(Duration, Counts)>,
}

impl Side {
    fn counts(&self) -> Result<Counts> {
        let text = self.envoy.admin().get("/stats/prometheus?filter=weir_attempts")?;
        Ok(Counts::read(&prometheus::parse(&text), self.faults.asked()))
    }

    fn look(&mut self, passed: Duration) -> Result<()> {
        let counts = self.counts()?;
        self.looks.push((passed, counts));
        Ok(())
    }

    /// What is known so far, in a line: attempts per first try of late.
    fn told(&self) -> String {
        let now = self.looks.last().map(|(_, counts)| *counts).unwrap_or_default();
        let before = self.looks.iter().rev().nth(4).map(|(_, counts)| *counts).unwrap_or_default();
        let late = now.since(&before);
        format!(
            "{:<10}  attempts per first try: {:>5.2}   sent: {:>6}   refused: {:>5}   the upstream saw: {:>6}",
            self.name,
            late.amplification(),
            now.sent,
            now.refused,
            now.upstream,
        )
    }

    /// Waits until Envoy has counted all that the upstream saw, and reads what it says.
    fn settle(&mut self) -> Result<Figures> {
        let begun = Instant::now();
        loop {
            let counts = self.counts()?;
            if counts.sent >= self.faults.asked() || begun.elapsed() > SETTLE {
                return Ok(Figures::new(&self.begins, counts, &self.users[..], self.over_time()));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn over_time(&self) -> Vec<Option<f64>> {
        let mut before = Counts::default();
        let mut points = Vec::new();
        let mut next = SLOT;
        for (passed, counts) in &self.looks {
            if *passed >= next {
                let came = counts.since(&before);
                points.push((came.first > 0).then(|| came.amplification()));
                (before, next) = (*counts, *passed + SLOT);
            }
        }
        points
    }
}

/// The time that has passed, and a line for each side.
struct Bars {
    all: MultiProgress,
    time: ProgressBar,
    sides: Vec<ProgressBar>,
}

impl Bars {
    fn new(sides: &[Side]) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = |bar: ProgressBar, template: &str| match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        };
        let time = all.add(style(ProgressBar::new(100), "  the outage    [{bar:40}] {elapsed} {msg}"));
        let line = |side: &Side| all.add(style(ProgressBar::new_spinner(), "  {msg}").with_message(side.told()));
        let sides = sides.iter().map(line).collect();
        Self { all, time, sides }
    }

    fn clear(&self) {
        // What is drawn to no terminal cannot be cleared, and need not be.
        let _ = self.all.clear();
    }
}
