//! `weirctl demo --scenario storm`: many users at a human pace and one run that fans out, on one limit; in one Envoy
//! divided fairly, in another not, with the same calls at the same time.

mod drive;
mod figures;
mod plan;
mod tables;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{LOOK, SETTLE};
use crate::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};
use crate::prometheus::{self, Sample};
use crate::stop::{self, Stop};
use crate::upstream::{Options, Upstream};
use figures::{Figures, Line, SLOTS};
use plan::{Plan, RATE};

/// How long a call may wait for the limit, in ms.
const MAX_WAIT_MS: u32 = 200;

/// Runs the storm for so long.
///
/// # Errors
/// The filter does not build, an Envoy cannot be brought or started, or the calls do not get through to it.
pub fn run(arguments: &super::Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = stop::signal(&runtime);
    let plan = Arc::new(Plan::new(Duration::from_secs(arguments.seconds.into()), arguments.seed));
    let mut storm = Storm::start(arguments.listen, &plan)?;
    let driven: Vec<_> = storm
        .sides
        .iter()
        .map(|side| runtime.spawn(drive::drive(Arc::clone(&plan), side.envoy.address(), Arc::clone(&side.made))))
        .collect();
    let bars = Bars::new(&storm.sides);
    let begun = Instant::now();
    while !driven.iter().all(|side| side.is_finished()) && !stop.raised() {
        std::thread::sleep(LOOK);
        let passed = begun.elapsed().as_secs_f64() / plan.lasts.as_secs_f64();
        for (side, bar) in storm.sides.iter_mut().zip(&bars.sides) {
            side.look(passed)?;
            bar.set_message(side.told());
        }
        bars.time.set_position((passed * 100.0) as u64);
    }
    bars.clear();
    if stop.raised() {
        eprintln!("  interrupted");
        return Ok(ExitCode::from(stop::INTERRUPTED));
    }
    for side in driven {
        runtime.block_on(side)??;
    }
    let sides = [storm.sides[0].settle(&plan)?, storm.sides[1].settle(&plan)?];
    if arguments.json {
        let [off, on] = &sides;
        println!("{:#}", json!({"burst": plan.burst, "rate_per_s": RATE, "share_off": off, "share_on": on}));
    } else {
        print!("{}", tables::text(&plan, &sides, &storm.sides.each_ref().map(Side::left_over_time)));
    }
    if arguments.keep {
        storm.tell(arguments.json);
        wait(&runtime, &stop);
    }
    Ok(ExitCode::SUCCESS)
}

fn wait(runtime: &tokio::runtime::Runtime, stop: &Stop) {
    runtime.block_on(stop.wait());
}

/// Everything that the storm has started. It ends when this goes, the Envoys first.
struct Storm {
    /// Without a share, and with one.
    sides: [Side; 2],
    _upstream: Upstream,
    _dir: tempfile::TempDir,
}

impl Storm {
    fn start(listen: SocketAddr, plan: &Plan) -> Result<Self> {
        eprintln!("  building weir.wasm …");
        let wasm = wasm::build_aloud()?;
        let binary = binary::bring()?;
        let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], 0)), Options::default())?;
        let dir = tempfile::Builder::new().prefix("weir-storm-").tempdir()?;
        let start = |name: &'static str, listen: SocketAddr, share: bool| -> Result<Side> {
            let dir = dir.path().join(name);
            std::fs::create_dir(&dir)?;
            let log = dir.join("calls.jsonl");
            let bootstrap = bootstrap(listen, &wasm, upstream.address(), &log, plan, share);
            let envoy = Launch::new(&binary).keep_in(&dir).start(&bootstrap)?;
            let tail = Tail::new(File::open(&log).with_context(|| log.display().to_string())?);
            Ok(Side { name, envoy, log, tail, made: Arc::default(), lines: Vec::new(), left: Vec::new() })
        };
        // The one with a share is where the caller wants it; the other one at any free port.
        let off = start("share off", SocketAddr::new(listen.ip(), 0), false)?;
        let on = start("share on", listen, true)?;
        eprintln!("  two Envoys {} serve with weir.wasm in them, with two workers each", binary::VERSION);
        Ok(Self { sides: [off, on], _upstream: upstream, _dir: dir })
    }

    fn tell(&self, json: bool) {
        let mut text = String::from("\nStill running; Ctrl-C ends it. Try:\n");
        for side in &self.sides {
            let (at, admin) = (side.envoy.address(), side.envoy.admin().address);
            text.push_str(&format!(
                "  {}:\n    \
                 curl -i http://{at}/v1/chat/completions -H 'x-user: you' -d '{{\"model\":\"gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n    \
                 curl -s 'http://{admin}/stats/prometheus?filter=weir_limit'\n    \
                 tail -n 1 -f '{}'\n",
                side.name,
                side.log.display(),
            ));
        }
        // Standard output is for the JSON alone.
        if json { eprintln!("{text}") } else { println!("{text}") }
    }
}

fn bootstrap(listen: SocketAddr, wasm: &Path, upstream: SocketAddr, log: &Path, plan: &Plan, share: bool) -> Bootstrap {
    let mut limit = json!({
        "name": "everyone",
        "rate": {"limit": RATE, "per": "second", "burst": plan.burst},
        "max_wait_ms": MAX_WAIT_MS,
    });
    if share {
        limit["share"] = json!({"of": "user"});
    }
    let config = json!({"identity": {"user": [{"header": "x-user"}]}, "limits": [limit]});
    Bootstrap {
        listen: vec![listen],
        filters: vec![WeirFilter::new(wasm).config(&config).to_json()],
        routes: vec![Route::all("all", "upstream")],
        clusters: vec![Cluster::plain("upstream", upstream)],
        access_log: Some(AccessLog::Json(log.to_owned())),
        ..Bootstrap::default()
    }
}

/// One Envoy, and what is known of its calls so far.
struct Side {
    name: &'static str,
    envoy: Envoy,
    log: PathBuf,
    tail: Tail,
    /// Answers that the clients had.
    made: Arc<AtomicU64>,
    lines: Vec<Line>,
    /// What was left of the limit, and after which part of the storm.
    left: Vec<(f64, f64)>,
}

impl Side {
    /// Reads what is new, after this part of the storm.
    fn look(&mut self, passed: f64) -> Result<()> {
        self.lines.extend(self.tail.new_lines()?.iter().filter_map(|line| Line::read(line)));
        let stats = self.stats()?;
        let left = stats.iter().find(|sample| sample.name == "weir_limit_remaining");
        self.left.extend(left.map(|sample| (passed, sample.value)));
        Ok(())
    }

    fn stats(&self) -> Result<Vec<Sample>> {
        Ok(prometheus::parse(&self.envoy.admin().get("/stats/prometheus?filter=weir_limit")?))
    }

    /// What is known so far, in a line.
    fn told(&self) -> String {
        let figures = Figures::read(&self.lines, &[], 0);
        format!(
            "{:<9}  users: {:>4} calls, {:>3} refused   run: {:>4} calls   left of the limit: {:>6.0}",
            self.name,
            figures.users_calls,
            figures.users_refused,
            figures.run_calls,
            self.left.last().map_or(0.0, |(_, left)| *left),
        )
    }

    /// Waits until Envoy has counted and logged all calls, and reads what it says.
    fn settle(&mut self, plan: &Plan) -> Result<Figures> {
        let begun = Instant::now();
        loop {
            self.lines.extend(self.tail.new_lines()?.iter().filter_map(|line| Line::read(line)));
            let figures = Figures::read(&self.lines, &self.stats()?, plan.burst);
            let made = self.made.load(Ordering::Relaxed);
            let all = figures.in_access_log >= made && figures.counted() >= made;
            if all || begun.elapsed() > SETTLE {
                return Ok(figures);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What was left, a value for each part of the storm: the least that was seen in it, or what was seen before.
    fn left_over_time(&self) -> Vec<f64> {
        let mut before = 0.0;
        let slot = |at: usize| {
            let seen = self.left.iter().filter(|(passed, _)| (*passed * SLOTS as f64) as usize == at);
            let least = seen.map(|(_, left)| *left).reduce(f64::min);
            before = least.unwrap_or(before);
            before
        };
        (0..SLOTS).map(slot).collect()
    }
}

/// Reads a file that grows, line by line.
struct Tail {
    file: File,
    /// The beginning of a line whose end is not there yet.
    rest: String,
}

impl Tail {
    fn new(file: File) -> Self {
        Self { file, rest: String::new() }
    }

    fn new_lines(&mut self) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).context("Envoy's access log")?;
        // Envoy writes ASCII here: what is none stands escaped in JSON.
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        Ok(std::mem::replace(&mut self.rest, rest).lines().map(str::to_owned).collect())
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
        let time = all.add(style(ProgressBar::new(100), "  the storm     [{bar:40}] {elapsed}"));
        let line = |side: &Side| all.add(style(ProgressBar::new_spinner(), "  {msg}").with_message(side.told()));
        let sides = sides.iter().map(line).collect();
        Self { all, time, sides }
    }

    fn clear(&self) {
        // What is drawn to no terminal cannot be cleared, and need not be.
        let _ = self.all.clear();
    }
}
