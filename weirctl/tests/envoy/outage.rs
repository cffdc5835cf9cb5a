//! An upstream fails, and three layers try again: Envoy's route (three retries), the real OpenAI SDK (two) and an agent's loop
//! (three tries), up to 36 calls for one that a user wanted. With weir's retry budget and without.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::clients;
use crate::support::failing::Bench;
use crate::support::http::eventually;
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, wasm};

/// Users that want something in a second, whatever becomes of the others.
const PER_SECOND: u32 = 20;

/// The Python that makes the calls.
struct Users {
    python: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// What became of one user's wish.
struct Action {
    /// Seconds since the epoch.
    began: f64,
    ended: f64,
    well: bool,
    raised: Vec<String>,
}

impl Users {
    fn start(mut script: Command, url: &str) -> Self {
        let mut python = script.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (python.stdin.take().unwrap(), BufReader::new(python.stdout.take().unwrap()));
        Self { python, to, from }
    }

    fn begin(&mut self, name: &str, actions: u32) {
        writeln!(self.to, "{}", json!({"name": name, "actions": actions, "per_second": PER_SECOND})).unwrap();
    }

    fn ended(&mut self) -> Vec<Action> {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        let actions: Vec<(f64, f64, bool, Vec<String>)> = serde_json::from_str(&line).expect("one line per phase");
        actions.into_iter().map(|(began, ended, well, raised)| Action { began, ended, well, raised }).collect()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

/// A stretch of time with so much failing, and how many users want something in it.
struct Phase {
    name: &'static str,
    /// In thousandths.
    failing: u32,
    actions: u32,
}

const PHASES: [Phase; 6] = [
    Phase { name: "well", failing: 0, actions: 40 },
    // Until the budget that was earned before is used up.
    Phase { name: "all fails: the first 2 s", failing: 1000, actions: 40 },
    Phase { name: "all fails", failing: 1000, actions: 140 },
    Phase { name: "half fails", failing: 500, actions: 120 },
    // A window starts with what the one before it left.
    Phase { name: "2 % fails: the first 4 s", failing: 20, actions: 80 },
    Phase { name: "2 % fails", failing: 20, actions: 240 },
];
// Where they stand.
const ALL: usize = 2;
const HALF: usize = 3;
const FEW: usize = 5;

/// In the end all fails once more, and the upstream gets well while users ask.
const DOWN: Duration = Duration::from_secs(2);
const AND_WELL: u32 = 120;

/// Of a phase: calls that reached the upstream per user action, and the part of actions that went well.
#[derive(Clone, Copy, Debug)]
struct Seen {
    per_action: f64,
    well: f64,
}

/// What was seen in one Envoy.
#[derive(Debug)]
struct Side {
    phases: Vec<Seen>,
    /// From when the upstream was well to when a user saw the last failure, in seconds.
    back_after: f64,
    refused_at_first: u64,
}

fn live(script: Command, config: &Value) -> Side {
    let bench = Bench::start(config, 3, None);
    let mut users = Users::start(script, &bench.url());
    let mut side = Side { phases: Vec::new(), back_after: 0.0, refused_at_first: 0 };
    let refused = |bench: &Bench| bench.attempts().get("refused").copied().unwrap_or(0);
    for phase in &PHASES {
        bench.faults[0].fail(phase.failing);
        let before = bench.faults[0].asked();
        users.begin(phase.name, phase.actions);
        let actions = users.ended();
        assert_eq!(actions.len(), phase.actions as usize);
        let well = actions.iter().filter(|action| action.well).count();
        let strange = actions.iter().flat_map(|action| &action.raised).find(|raised| *raised != "InternalServerError");
        assert_eq!(strange, None, "{}", phase.name);
        let per = |count: f64| count / f64::from(phase.actions);
        let asked = bench.faults[0].asked() - before;
        side.phases.push(Seen { per_action: per(asked as f64), well: per(well as f64) });
        if phase.failing == 1000 && side.refused_at_first == 0 {
            side.refused_at_first = refused(&bench);
        }
    }
    bench.faults[0].fail(1000);
    users.begin("well again", AND_WELL);
    std::thread::sleep(DOWN);
    bench.faults[0].fail(0);
    let well_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let actions = users.ended();
    let last = actions.iter().filter(|action| !action.well).map(|action| action.ended).fold(well_at, f64::max);
    side.back_after = last - well_at;
    // However long it takes those who were at it: who comes when the upstream is well again sees no failure.
    let after = actions.iter().filter(|action| action.began > well_at);
    let failed = after.filter(|action| !action.well).map(|action| action.began - well_at).collect::<Vec<_>>();
    assert!(failed.is_empty(), "so many seconds after it was well: {failed:?}");
    // What weir counted is what the upstream saw.
    eventually("all attempts in the stats", || {
        let of = bench.attempts();
        let sent: u64 = of.iter().filter(|(outcome, _)| *outcome != "refused").map(|(_, count)| count).sum();
        (sent == bench.faults[0].asked()).then_some(())
    });
    side
}

#[test]
fn in_an_outage_the_upstream_gets_a_tenth_more_calls_and_not_36_times_as_many() {
    let (Some(one), Some(other)) = (clients::python("outage.py"), clients::python("outage.py")) else { return };
    wasm::build().unwrap();
    let budget = json!({"retry_budgets": [{"name": "upstream", "ratio": 0.1, "min_per_second": 0}]});
    // Without a budget weir counts all the same.
    let both = std::thread::scope(|scope| {
        let sides = [(one, json!({"retries": {}})), (other, budget)];
        let running = sides.map(|(script, config)| scope.spawn(move || live(script, &config)));
        running.map(|side| side.join().unwrap())
    });
    let [without, with] = &both;
    eprintln!("| the upstream | calls per user action: without | with | actions that went well: without | with |");
    eprintln!("|---|--:|--:|--:|--:|");
    for (phase, (without, with)) in PHASES.iter().zip(without.phases.iter().zip(&with.phases)) {
        let Phase { name, actions, .. } = phase;
        let well = [without, with].map(|seen| 100.0 * seen.well);
        let calls = [without, with].map(|seen| seen.per_action);
        let [a, b] = calls;
        eprintln!("| {name} ({actions} actions) | {a:.2} | {b:.3} | {:.1} % | {:.1} % |", well[0], well[1]);
    }
    let [a, b] = both.each_ref().map(|side| side.back_after);
    eprintln!("last failure that a user saw, after the upstream was well: {a:.2} s without, {b:.2} s with");
    assert_eq!(without.phases[ALL].per_action, 36.0, "three times three times four");
    assert!(with.refused_at_first > 0, "the budget is out before it is measured");
    assert_eq!(without.refused_at_first, 0);
    assert!(with.phases[ALL].per_action <= 1.1, "{with:?}");
    // A phase may begin with what the window before it left; all of them together may not.
    assert!(with.phases[HALF].per_action <= 1.15, "{with:?}");
    let actions: u32 = PHASES.iter().map(|phase| phase.actions).sum();
    let calls: f64 =
        PHASES.iter().zip(&with.phases).map(|(phase, seen)| f64::from(phase.actions) * seen.per_action).sum();
    assert!(calls <= 1.1 * f64::from(actions), "{with:?}");
    // One in a hundred is what noise of so few actions may be.
    assert!(with.phases[FEW].well >= without.phases[FEW].well - 0.01, "{both:?}");
}

#[test]
fn sdks_stop_when_a_retry_is_refused() {
    let Some(mut script) = clients::python("stops.py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.jsonl");
    let budget = |tenant: &str, refuse_with: &str| json!({"name": tenant, "match": {"tenant": tenant}, "ratio": 0, "min_per_second": 0, "refuse_with": refuse_with});
    let config = json!({
        "identity": {"tenant": [{"header": "x-tenant"}]},
        // The same words come again and again here, and each is to be a first try.
        "retries": {"sources": ["stainless"]},
        "retry_budgets": [budget("held", "last_error"), budget("limited", "too_many_requests")],
    });
    let bench = Bench::start(&config, 0, Some(AccessLog::Json(log.clone())));
    bench.faults[0].fail(1000);
    let run = script.arg(bench.url()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told = String::from_utf8(run.stdout).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 15);
    // The SDKs try three times where nobody stops them, and twice where the second is refused.
    let (free, stopped) = (3, 2);
    let lines = eventually("all lines of the log", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= 5 * (free + 2 * stopped)).then_some(lines)
    });
    for call in &told {
        let (name, tenant) = (call["call"].as_str().unwrap(), call["tenant"].as_str().unwrap());
        let case = format!("{name} {tenant}");
        let codes: Vec<_> = lines.iter().filter(|line| line["case"] == *case).map(|line| &line["code"]).collect();
        let (wanted, raised) = match tenant {
            "free" => (vec![503; free], "InternalServerError"),
            "held" => (vec![503; stopped], "InternalServerError"),
            _ => (vec![503, 429], "RateLimitError"),
        };
        assert_eq!(codes, wanted, "{case}");
        assert!(call["raised"].as_array().unwrap().contains(&json!(raised)), "{call}");
        let by_weir = call["says"].as_str().unwrap().contains("retry budget is used up");
        assert_eq!(by_weir, tenant != "free", "{call}");
    }
    assert_eq!(bench.faults[0].asked(), 5 * (3 + 1 + 1), "no refused retry reaches the upstream");
}
