//! One call of the simulation, played through [`Stream`] as the shell plays it.

use std::rc::Rc;

use weir::call::gate::{Gate, Watched};
use weir::port::{Headers, Properties};
use weir::record::Record;
use weir::settings::Config;
use weir::shared::Store;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

use crate::dice::Dice;

/// How a call ends, if no limit ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    /// The client goes away in the middle of the answer.
    Abort,
    /// The upstream answers with an error.
    Error,
    /// The upstream breaks off before its answer.
    Reset,
}

/// What a call is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub tenant: u64,
    pub user: u64,
    pub run: u64,
    pub parent: u64,
    pub depth: u64,
    pub body: String,
    /// What the upstream will report.
    pub input: u64,
    pub output: u64,
    pub pieces: u64,
    pub end: End,
    /// How many times its client looks at a call that waits before it goes away.
    pub patience: u64,
}

impl Plan {
    pub fn new(dice: &mut Dice) -> Self {
        let model = dice.below(2);
        let prompt = "word ".repeat(dice.below(400) as usize + 1);
        let most = if dice.chance(30) { format!(r#""max_tokens":{},"#, dice.below(300) + 1) } else { String::new() };
        let body = format!(
            r#"{{"model":"m{model}",{most}"stream":true,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
        );
        Self {
            tenant: dice.below(3),
            user: dice.below(6),
            run: dice.below(9),
            parent: dice.below(3),
            depth: dice.below(5),
            input: body.len() as u64 / 4 * (70 + dice.below(60)) / 100,
            output: if dice.chance(10) { 1500 } else { 20 + dice.below(200) },
            pieces: 1 + dice.below(6),
            end: match dice.below(100) {
                0..60 => End::Complete,
                60..80 => End::Abort,
                80..90 => End::Error,
                _ => End::Reset,
            },
            patience: if dice.chance(30) { dice.below(4) } else { u64::MAX },
            body,
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Body,
    /// It was asked and waits; `last` says after which of the two.
    Held {
        last: bool,
        until: Option<Nanos>,
    },
    Answer(u64),
    Over,
}

/// What a step of a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Something,
    /// The upstream hears of it from now on.
    Sent,
    /// Nothing is left to be done but to end it.
    Over,
}

pub struct Call {
    pub plan: Plan,
    pub began: Nanos,
    /// When it was given its place.
    pub asked: Nanos,
    /// When that was due.
    pub due: Nanos,
    placed: bool,
    pub sent: bool,
    pub refused: bool,
    /// It stands in the books as in flight.
    pub counted: bool,
    stream: Stream,
    phase: Phase,
}

struct Seen(bool);

impl Properties for Seen {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["upstream", "address"] if self.0 => Some(b"10.0.0.1:443".to_vec()),
            ["xds", "route_name"] => Some(b"llm".to_vec()),
            _ => None,
        }
    }
}

impl Call {
    pub fn new(config: &Rc<Config>, plan: Plan, now: Nanos) -> Self {
        let stream = Stream::new(Rc::clone(config));
        Self {
            plan,
            began: now,
            asked: now,
            due: now,
            placed: false,
            sent: false,
            refused: false,
            counted: false,
            stream,
            phase: Phase::Head,
        }
    }

    /// Whether a step would do anything.
    pub fn has_turn(&self, now: Nanos) -> bool {
        !matches!(self.phase, Phase::Held { until: Some(until), .. } if until > now)
    }

    pub fn step(&mut self, worker: &mut Worker, store: &dyn Store, now: Nanos) -> Did {
        match self.phase {
            Phase::Head => {
                self.head(worker, store, now);
                if self.stream.holds_headers(worker) {
                    self.phase = Phase::Body;
                    return Did::Something;
                }
                self.ask(false, worker, store, now)
            }
            Phase::Body => {
                let half = self.plan.body.len() / 2;
                let (front, back) = self.plan.body.as_bytes().split_at(half);
                self.stream.request_body(front, false, now);
                self.stream.request_body(back, true, now);
                self.ask(true, worker, store, now)
            }
            Phase::Held { .. } if self.plan.patience == 0 => Did::Over,
            Phase::Held { last, .. } => {
                self.plan.patience = self.plan.patience.saturating_sub(1);
                self.ask(last, worker, store, now)
            }
            Phase::Answer(piece) => self.answer(piece, worker, store, now),
            Phase::Over => Did::Over,
        }
    }

    fn head(&mut self, worker: &mut Worker, store: &dyn Store, now: Nanos) {
        let Plan { tenant, user, run, parent, depth, .. } = &self.plan;
        let (tenant, user, run) = (format!("t{tenant}"), format!("u{user}"), format!("r{run}"));
        let baggage = format!("weir.depth={depth},weir.parent=p{parent}");
        let length = self.plan.body.len().to_string();
        let head = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm"),
            ("x-request-id", "some-call"),
            ("x-tenant", &tenant),
            ("x-user", &user),
            ("x-run", &run),
            ("baggage", &baggage),
            ("content-length", &length),
        ];
        let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        self.stream.request_head(Headers(&head), false, worker, &Seen(false), store, now);
    }

    fn ask(&mut self, last: bool, worker: &mut Worker, store: &dyn Store, now: Nanos) -> Did {
        if !self.placed {
            (self.asked, self.due) = (now, now);
        }
        match self.stream.admit(worker, store, last, true, now) {
            Gate::Open if last => {
                self.placed = true;
                self.sent = true;
                self.phase = Phase::Answer(0);
                Did::Sent
            }
            Gate::Open => {
                self.placed = true;
                self.phase = Phase::Body;
                Did::Something
            }
            Gate::Wait { until, .. } => {
                self.placed |= until.is_some();
                self.due = self.due.max(until.unwrap_or(Nanos(0)));
                self.phase = Phase::Held { last, until };
                Did::Something
            }
            Gate::Refuse(answer) => {
                assert_eq!(answer.shaped.status, 429);
                assert!(answer.headers.iter().any(|(name, value)| *name == "x-weir-limit" && !value.is_empty()));
                self.refused = true;
                self.phase = Phase::Over;
                Did::Over
            }
        }
    }

    fn answer(&mut self, piece: u64, worker: &mut Worker, store: &dyn Store, now: Nanos) -> Did {
        let over = |call: &mut Self| {
            call.phase = Phase::Over;
            Did::Over
        };
        let status = if self.plan.end == End::Error { "500" } else { "200" };
        if piece == 0 {
            if self.plan.end == End::Reset {
                return over(self);
            }
            let head = [(":status", status), ("content-type", "text/event-stream")];
            let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            self.stream.response_head(Headers(&head), self.plan.end == End::Error, worker, now);
            if self.plan.end == End::Error {
                return over(self);
            }
        }
        let last = piece == self.plan.pieces;
        let Plan { input, output, pieces, .. } = self.plan;
        let bytes = if last {
            format!(
                "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
                input + output
            )
        } else {
            let text = "word".repeat((output / pieces).max(1) as usize);
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        self.stream.response_body(bytes.as_bytes(), last, now);
        if !last && self.stream.is_watched() {
            match self.stream.watch(bytes.as_bytes(), worker, store, now) {
                Watched::Forward => {}
                Watched::Cut(_) => return over(self),
            }
        }
        let goes_away = self.plan.end == End::Abort && piece * 2 >= pieces;
        if last || goes_away {
            return over(self);
        }
        self.phase = Phase::Answer(piece + 1);
        Did::Something
    }

    pub fn renew(&mut self, worker: &Worker, store: &dyn Store, now: Nanos) {
        self.stream.renew(worker, store, now);
    }

    pub fn end(self, worker: &mut Worker, store: &dyn Store, now: Nanos) -> Record {
        self.stream.done(worker, &Seen(self.sent), store, now).record
    }
}
