//! `weirctl demo`: weir in a real Envoy, with some hundred calls driven through it, and what Envoy then knows of them; or
//! another scenario.

mod drive;
mod figures;
mod outage;
mod plan;
mod storm;
mod tables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, WeirFilter, binary, wasm};
use crate::prometheus::{self, Sample};
use crate::stop;
use crate::upstream::{Options, Upstream};
use figures::Figures;
use plan::Plan;

/// How many calls run at once.
const AT_ONCE: usize = 24;

/// Longest wait until Envoy has counted and logged the last call.
const SETTLE: Duration = Duration::from_secs(10);

/// Between two looks at Envoy's stats.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of `weirctl demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What happens.
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// How many calls to drive; for `formats`.
    #[arg(long, default_value_t = 400)]
    calls: usize,
    /// How long it lasts; for `storm` and `outage`.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,
    /// Another seed, other calls.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave it running afterwards, and print what to try with curl.
    #[arg(long)]
    keep: bool,
    /// Print the tables as JSON.
    #[arg(long)]
    json: bool,
    /// Where Envoy listens; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What a demo shows.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Scenario {
    /// Calls in all formats, with everything that goes wrong in real life, and what is then known of them.
    #[default]
    Formats,
    /// 99 users and a run that fans out over 47 callers on one limit, divided fairly and not.
    Storm,
    /// An upstream that fails, under three layers that try again, with a retry budget and without.
    Outage,
}

/// Runs the demo.
///
/// # Errors
/// The filter does not build, Envoy cannot be brought or started, or the calls do not get through to it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.scenario {
        Scenario::Formats => formats(arguments),
        Scenario::Storm => storm::run(arguments),
        Scenario::Outage => outage::run(arguments),
    }
}

fn formats(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = stop::signal(&runtime);
    let demo = match Demo::start(arguments.listen)? {
        demo if stop.raised() => return Ok(demo.interrupted()),
        demo => demo,
    };
    let plan = Plan::new(arguments.calls, arguments.seed);
    let bar = bar(plan.calls.len() as u64);
    let driven = runtime.block_on(async {
        tokio::select! {
            driven = drive::drive(&plan, demo.envoy.address(), AT_ONCE, || bar.inc(1)) => Some(driven),
            () = stop.wait() => None,
        }
    });
    bar.finish_and_clear();
    match driven {
        Some(driven) => driven?,
        None => return Ok(demo.interrupted()),
    }
    let figures = demo.settle(plan.calls.len() as u64)?;
    if arguments.json {
        let all = json!({"driven": plan.calls.len(), "figures": figures});
        println!("{all:#}");
    } else {
        print!("{}", tables::text(&figures));
    }
    if arguments.keep {
        demo.tell(arguments.json);
        runtime.block_on(stop.wait());
    }
    Ok(ExitCode::SUCCESS)
}

fn bar(calls: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  driving calls [{bar:40}] {pos}/{len} {elapsed}");
    let bar = ProgressBar::with_draw_target(Some(calls), ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Everything that the demo has started. It ends when this goes, Envoy first.
struct Demo {
    envoy: Envoy,
    upstream: Upstream,
    access_log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Demo {
    fn start(listen: SocketAddr) -> Result<Self> {
        eprintln!("  building weir.wasm …");
        let wasm = wasm::build_aloud()?;
        let envoy = binary::bring()?;
        let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], 0)), Options::default())?;
        let dir = tempfile::Builder::new().prefix("weir-demo-").tempdir()?;
        let access_log = dir.path().join("records.jsonl");
        let bootstrap = bootstrap(listen, &wasm, upstream.address(), &access_log);
        let size = std::fs::metadata(&wasm)?.len() / 1024;
        let started = Instant::now();
        let envoy = Launch::new(&envoy).keep_in(dir.path()).start(&bootstrap)?;
        let took = started.elapsed().as_millis();
        eprintln!("  Envoy {} serves with weir.wasm ({size} KiB) in it after {took} ms", binary::VERSION);
        Ok(Self { envoy, upstream, access_log, _dir: dir })
    }

    /// Waits until Envoy has counted and logged all calls, and reads what it says.
    fn settle(&self, calls: u64) -> Result<Figures> {
        let begun = Instant::now();
        loop {
            let stats = self.stats()?;
            let figures = Figures::read(&stats, &self.records()?);
            // Histograms are merged later than counters are seen.
            let merged = stats.iter().filter(|s| s.name == "weir_call_ms_count").map(|s| s.value as u64).sum::<u64>();
            let all = figures.in_stats >= calls && merged >= calls && figures.in_access_log >= calls;
            if all || begun.elapsed() > SETTLE {
                return Ok(figures);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn stats(&self) -> Result<Vec<Sample>> {
        let text = self.envoy.admin().get("/stats/prometheus?filter=weir_")?;
        Ok(prometheus::parse(&text))
    }

    fn records(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.access_log).context("Envoy's access log")?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn tell(&self, json: bool) {
        let at = self.envoy.address();
        let text = format!(
            "\nStill running; Ctrl-C ends it. Try:\n  \
             curl -N http://{at}/openai/v1/chat/completions -H 'x-tenant: you' -d '{{\"model\":\"gpt-4o-mini\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"What is a weir?\"}}]}}'\n  \
             curl -N http://{at}/anthropic/v1/messages -H 'x-tenant: you' -H 'x-demo: stall=2000' -d '{{\"model\":\"claude-haiku-4-5\",\"stream\":true,\"max_tokens\":50,\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n  \
             curl -N 'http://{at}/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse' -d '{{\"contents\":[{{\"parts\":[{{\"text\":\"hi\"}}]}}]}}'\n  \
             tail -n 1 -f {}\n  \
             curl -s 'http://{}/stats/prometheus?filter=weir_'\n\
             Envoy's admin interface: http://{}  The upstream behind it: http://{}\n",
            self.access_log.display(),
            self.envoy.admin().address,
            self.envoy.admin().address,
            self.upstream.address(),
        );
        // Standard output is for the JSON alone.
        if json { eprintln!("{text}") } else { println!("{text}") }
    }

    /// The exit code of what was ended by Ctrl-C.
    fn interrupted(&self) -> ExitCode {
        eprintln!("  interrupted");
        ExitCode::from(stop::INTERRUPTED)
    }
}

fn bootstrap(listen: SocketAddr, wasm: &Path, upstream: SocketAddr, access_log: &Path) -> Bootstrap {
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}]},
        // Named here, these have a label of their own from their first call on, whatever becomes of it.
        "labels": {"tenants": plan::TENANTS.map(|(tenant, _)| tenant)},
        "slo": [
            {"name": "fast-model", "match": {"model": "gpt-4o-mini*"}, "first_token_ms": 400, "objective": 0.95},
            {"name": "everything", "first_token_ms": 3000, "objective": 0.99},
        ],
    });
    let route = |(name, host): &(&str, &str)| Route {
        rewrite: Some("/".into()),
        host: Some((*host).into()),
        ..Route::prefix(name, &format!("/{name}/"), name)
    };
    Bootstrap {
        listen: vec![listen],
        filters: vec![WeirFilter::new(wasm).config(&config).to_json()],
        routes: plan::ROUTES.iter().map(route).collect(),
        clusters: plan::ROUTES.iter().map(|(name, _)| Cluster::plain(name, upstream)).collect(),
        access_log: Some(AccessLog::Records(access_log.to_owned())),
        ..Bootstrap::default()
    }
}
