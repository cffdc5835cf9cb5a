//! What reading an answer costs, by dialect: weir's core natively, and the whole filter as Wasm under Node's V8, beside
//! the two parsers that one would write first. All have turns on the same answers, round after round, and the best round
//! of each counts. `cargo bench --bench dialects [-- --quick]`

mod naive;
mod sealing;
mod streams;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};
use weir::port::{Headers, Properties};
use weir::record::Record;
use weir::settings::Config;
use weir::shared::NullStore;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

use streams::{Answer, INPUT, OUTPUT, WORDS};

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    /// Answers in one turn.
    answers: usize,
    /// The same under Node, in seconds.
    seconds: f64,
}

fn main() {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    // `cargo test --benches` runs this too, without `--bench`: once through is enough to see that it works.
    let plan = match given("--quick") || !given("--bench") {
        true => Plan { rounds: 1, answers: 1, seconds: 0.0 },
        false => Plan { rounds: 40, answers: 5, seconds: 0.02 },
    };
    let answers = streams::all();
    let cases: Vec<Case> =
        [true, false].iter().flat_map(|lockstep| answers.iter().map(|a| Case::new(a, *lockstep))).collect();
    let native: Vec<Native> = cases.iter().map(|case| case.measure(plan)).collect();
    let wasm = bodies(plan, &cases);
    println!("ns per event; in brackets the ratio to typed serde\n");
    println!("{:<32}{:>16}{:>10}{:>14}{:>22}", "", "serde_json Value", "typed", "weir", "weir.wasm in V8");
    for (i, (case, native)) in cases.iter().zip(&native).enumerate() {
        let Native { value, typed, weir } = native;
        let ratio = |ns: f64| format!("{ns:.0} ({:.2})", ns / typed);
        let wasm = wasm.as_ref().and_then(|all| all.get(i)).map_or("no node".to_owned(), |ns| ratio(*ns));
        println!("{:<32}{:>16}{:>10.0}{:>14}{:>22}", case.name(), ratio(*value), typed, ratio(*weir), wasm);
    }
    // In few pieces the rest of a call is least in the way.
    if let Some(case) = cases.last() {
        sealing::measure(plan, case);
    }
}

/// An answer in pieces.
struct Case<'a> {
    answer: &'a Answer,
    lockstep: bool,
    pieces: Vec<Vec<u8>>,
}

/// Nanoseconds per event.
struct Native {
    value: f64,
    typed: f64,
    weir: f64,
}

impl<'a> Case<'a> {
    fn new(answer: &'a Answer, lockstep: bool) -> Self {
        Self { answer, lockstep, pieces: answer.pieces(lockstep) }
    }

    fn name(&self) -> String {
        format!("{} {}", self.answer.name, if self.lockstep { "lockstep" } else { "16 KB" })
    }

    fn measure(&self, plan: Plan) -> Native {
        let Answer { name, framing, events, .. } = self.answer;
        let mut worker = Worker::new(Config::default());
        let (mut value, mut typed, mut weir) = (Vec::new(), Vec::new(), Vec::new());
        let per_event = |ns: f64| ns / (plan.answers * events.len()) as f64;
        for _ in 0..plan.rounds {
            value.push(per_event(time(plan.answers, || found(name, naive::value(*framing, &self.pieces)))));
            typed.push(per_event(time(plan.answers, || found(name, naive::typed(name, *framing, &self.pieces)))));
            weir.push(per_event((0..plan.answers).map(|_| self.weir(&mut worker)).sum()));
        }
        Native { value: least(&value), typed: least(&typed), weir: least(&weir) }
    }

    fn request(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            (":method", "POST"),
            (":path", self.answer.path),
            (":authority", "localhost"),
            ("content-type", "application/json"),
        ]
    }

    fn response(&self) -> Vec<(&'static str, &'static str)> {
        vec![(":status", "200"), ("content-type", self.answer.content_type)]
    }

    /// A whole call through the core; gives the nanoseconds that the answer's body took.
    fn weir(&self, worker: &mut Worker) -> f64 {
        let mut stream = Stream::new(Rc::clone(&worker.config));
        let mut clock = (0..).step_by(1_000_000).map(Nanos);
        let mut now = || clock.next().unwrap_or_default();
        headers(&self.request(), |head| {
            stream.request_head(head, false, worker, &Upstream, &NullStore, now());
        });
        stream.request_body(self.answer.request.as_bytes(), true, now());
        headers(&self.response(), |head| {
            stream.response_head(head, false, worker, now());
        });
        let took = time(1, || {
            for piece in &self.pieces {
                stream.response_body(piece, false, now());
            }
        });
        stream.response_body(&[], true, now());
        check(self.answer.name, &json_of(&stream.done(worker, &Upstream, &NullStore, now()).record));
        took
    }
}

/// A proxy that knows nothing but that an upstream was there: a call without one was refused, and has nothing to read.
struct Upstream;

impl Properties for Upstream {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        (path == ["upstream", "address"]).then(|| b"192.0.2.1:443".to_vec())
    }
}

fn headers(pairs: &[(&str, &str)], hand: impl FnOnce(Headers<'_>)) {
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    hand(Headers(&pairs));
}

fn json_of(record: &Record) -> Value {
    serde_json::from_str(&record.to_json()).unwrap_or_default()
}

/// Whether a parser found what is there.
fn found(name: &str, (text, output): naive::Found) {
    assert!(text > WORDS, "{name}: {text} bytes of text");
    assert_eq!(output, OUTPUT, "{name}");
}

/// Whether a record has what is there.
fn check(name: &str, record: &Value) {
    assert_eq!(record["api"], json!(name));
    assert_eq!(record["usage"]["input"], json!(INPUT), "{name}: {record}");
    assert_eq!(record["usage"]["output"], json!(OUTPUT), "{name}: {record}");
    assert_eq!(record["unread"], json!(0), "{name}: {record}");
}

fn time(times: usize, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        work();
    }
    begin.elapsed().as_nanos() as f64
}

/// The least of the rounds: what else the machine does only adds to it.
fn least(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The same as Wasm: nanoseconds of the body per event, the calls of the host among them. Nothing where there is no Node.
fn bodies(plan: Plan, cases: &[Case<'_>]) -> Option<Vec<f64>> {
    let results = wasm(plan, &cases.iter().map(|case| (case, "{}")).collect::<Vec<_>>())?;
    let per_event = |(case, result): (&Case<'_>, &Value)| {
        check(case.answer.name, &serde_json::from_str(result["record"].as_str()?).ok()?);
        Some(result["body"].as_f64()? / case.answer.events.len() as f64)
    };
    Some(cases.iter().zip(&results).map(|pair| per_event(pair).expect("a result for each case")).collect())
}

/// What wasm.mjs says of each case under its config.
fn wasm(plan: Plan, cases: &[(&Case<'_>, &str)]) -> Option<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/dialects/wasm.mjs");
    let mut node = match Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(node) => node,
        Err(error) => {
            eprintln!("node does not start ({error}): the .wasm is left out");
            return None;
        }
    };
    let hex = |piece: &Vec<u8>| piece.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let tasks: Vec<Value> = cases
        .iter()
        .map(|(case, config)| {
            json!({
                "config": config,
                "request": case.request(),
                "body": case.answer.request,
                "response": case.response(),
                "pieces": case.pieces.iter().map(hex).collect::<Vec<_>>(),
            })
        })
        .collect();
    let task = json!({
        "wasm": build(), "seconds": plan.seconds, "rounds": plan.rounds, "cases": tasks,
    });
    let mut stdin = node.stdin.take().expect("stdin is a pipe");
    stdin.write_all(task.to_string().as_bytes()).expect("node reads its task");
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "node failed");
    Some(serde_json::from_slice(&output.stdout).expect("node prints JSON"))
}

/// The filter: the one that `WEIR_WASM` names, else a release build made now.
fn build() -> PathBuf {
    if let Some(path) = env::var_os("WEIR_WASM") {
        return path.into();
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--target", "wasm32-wasip1", "--package", "weir", "--lib"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the filter does not build");
    // This binary stands in target/release/deps.
    let target = env::current_exe().expect("this binary has a path");
    let target = target.ancestors().nth(3).expect("it stands in the target directory");
    target.join("wasm32-wasip1/release/weir.wasm")
}
