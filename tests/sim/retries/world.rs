//! The world of one simulation: a queue of events in made-up time.
//!
//! ```text
//! wish ──► agent's loop, 3 tries ──► SDK, 2 retries ──► Envoy's route, 3 retries ──► upstream
//!          same words again,         x-stainless-        x-envoy-max-retries           fails so many of
//!          no header                 retry-count         holds them                    a thousand
//! ```

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use weir::settings::Config;
use weir::shared::{Broken, Put, Store};
use weir::units::Nanos;
use weir::worker::Worker;

use super::call::{Call, End, Request, Taken};
use crate::dice::Dice;
use crate::memory::Memory;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;
/// When it begins: clocks do not begin at zero.
pub const START: u64 = 1_000_000 * SECOND;

/// Tries of the agent's loop, and retries of the SDK for each.
const AGENT_TRIES: u64 = 3;
const SDK_RETRIES: u64 = 2;
/// How often others come in between while a worker works, one inside the other; and how far ahead those may lie.
const DEEPEST: u32 = 3;
const AT_ONCE: u64 = 2 * MS;

/// A stretch of time in which the upstream fails so many of a thousand calls.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub seconds: u64,
    pub failing: u64,
}

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    pub config: String,
    pub workers: usize,
    pub phases: Vec<Phase>,
    /// Users that want something in a second, whatever becomes of the others.
    pub per_second: u64,
    /// Of a hundred requests, those whose client goes away.
    pub aborts: u64,
    /// Whether workers die, and configs are loaded anew, while calls are in flight.
    pub troubles: bool,
}

/// What one user wants, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    pub began: u64,
    pub ended: u64,
    pub well: bool,
    agent: u64,
    sdk: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A user wants something.
    Wish,
    /// A client asks, for this action.
    Ask(usize),
    /// Envoy sends an attempt of this call.
    Attempt(u64),
    /// The upstream has answered it: whether it failed.
    Answer(u64, bool),
    /// A worker dies with all that it knew.
    Death,
    /// A config is loaded: new calls meet a new worker.
    Reload,
}

pub struct World {
    plan: Plan,
    pub memory: Memory,
    dice: RefCell<Dice>,
    now: Cell<u64>,
    depth: Cell<u32>,
    sites: RefCell<Vec<Rc<RefCell<Worker>>>>,
    queue: RefCell<BinaryHeap<Reverse<(u64, u64, Event)>>>,
    number: Cell<u64>,
    calls: RefCell<BTreeMap<u64, Call>>,
    actions: RefCell<Vec<Action>>,
    /// When an attempt reached the upstream, each.
    pub sent: RefCell<Vec<u64>>,
    /// Requests that weir answered itself.
    pub refused: Cell<u64>,
    /// Calls that a dead worker took with it.
    pub lost: Cell<u64>,
    pub aborted: Cell<u64>,
}

/// Between a worker's read and its write, other workers may do something.
impl Store for World {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        let value = self.memory.get(key);
        if self.depth.get() < DEEPEST && self.dice.borrow_mut().chance(5) {
            self.depth.set(self.depth.get() + 1);
            self.step(self.now.get() + AT_ONCE);
            self.depth.set(self.depth.get() - 1);
        }
        value
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        self.memory.set(key, value, cas)
    }
}

fn worker(config: &str) -> Rc<RefCell<Worker>> {
    Rc::new(RefCell::new(Worker::new(Config::parse(config.as_bytes()).unwrap())))
}

impl World {
    pub fn new(plan: Plan, seed: u64) -> Self {
        let sites = (0..plan.workers).map(|_| worker(&plan.config)).collect();
        let world = Self {
            memory: Memory::default(),
            dice: RefCell::new(Dice(seed)),
            now: Cell::new(START),
            depth: Cell::new(0),
            sites: RefCell::new(sites),
            queue: RefCell::default(),
            number: Cell::new(0),
            calls: RefCell::default(),
            actions: RefCell::default(),
            sent: RefCell::default(),
            refused: Cell::new(0),
            lost: Cell::new(0),
            aborted: Cell::new(0),
            plan,
        };
        world.push(0, Event::Wish);
        if world.plan.troubles {
            world.push(world.roll(5 * SECOND), Event::Death);
            world.push(world.roll(5 * SECOND), Event::Reload);
        }
        world
    }

    /// Plays until the last wish has ended; gives what became of all of them.
    pub fn run(self) -> (Vec<Action>, Self) {
        while self.step(u64::MAX) {}
        assert!(self.calls.borrow().is_empty(), "a call never ends");
        (self.actions.take(), self)
    }

    /// When the phase begins, and the one behind it.
    pub fn phase(&self, number: usize) -> (u64, u64) {
        let until = |n: usize| START + self.plan.phases[..n].iter().map(|phase| phase.seconds * SECOND).sum::<u64>();
        (until(number), until(number + 1))
    }

    pub fn now(&self) -> u64 {
        self.now.get()
    }

    fn roll(&self, end: u64) -> u64 {
        self.dice.borrow_mut().below(end)
    }

    /// So much, give or take a half.
    fn about(&self, span: u64) -> u64 {
        span / 2 + self.roll(span)
    }

    fn push(&self, after: u64, event: Event) {
        self.number.set(self.number.get() + 1);
        self.queue.borrow_mut().push(Reverse((self.now.get() + after, self.number.get(), event)));
    }

    fn is_over(&self) -> bool {
        self.now.get() >= self.phase(self.plan.phases.len() - 1).1
    }

    /// Does what comes next, if it comes until then.
    fn step(&self, until: u64) -> bool {
        let Some(Reverse((at, number, event))) = self.queue.borrow_mut().pop() else { return false };
        if at > until {
            self.queue.borrow_mut().push(Reverse((at, number, event)));
            return false;
        }
        let before = self.now.get();
        self.now.set(at.max(before));
        if !self.happen(event) {
            // The worker is in the middle of something else.
            self.queue.borrow_mut().push(Reverse((at, number, event)));
            self.now.set(before);
        }
        true
    }

    /// False if the worker that it needs is at work.
    fn happen(&self, event: Event) -> bool {
        match event {
            Event::Wish if self.is_over() => {}
            Event::Wish => {
                let now = self.now.get();
                let mut actions = self.actions.borrow_mut();
                actions.push(Action { began: now, ended: 0, well: false, agent: 0, sdk: 0 });
                self.push(0, Event::Ask(actions.len() - 1));
                self.push(self.about(SECOND / self.plan.per_second), Event::Wish);
            }
            Event::Ask(action) => return self.ask(action),
            // Its worker may have died since.
            Event::Attempt(number) | Event::Answer(number, _) if !self.calls.borrow().contains_key(&number) => {}
            Event::Attempt(number) => self.attempt(number),
            Event::Answer(number, failed) => return self.answer(number, failed),
            Event::Death | Event::Reload if self.is_over() => {}
            Event::Death => return self.die(),
            Event::Reload => {
                let site = self.roll(self.plan.workers as u64) as usize;
                self.sites.borrow_mut()[site] = worker(&self.plan.config);
                self.push(self.about(5 * SECOND), Event::Reload);
            }
        }
        true
    }

    fn ask(&self, action: usize) -> bool {
        let site = self.roll(self.plan.workers as u64) as usize;
        let worker = Rc::clone(&self.sites.borrow()[site]);
        if worker.try_borrow_mut().is_err() {
            return false;
        }
        let request = Request { action, sdk_retries: self.actions.borrow()[action].sdk };
        match request.arrive(site, worker, self, Nanos(self.now.get())) {
            Taken::Sent(call) => {
                self.number.set(self.number.get() + 1);
                let number = self.number.get();
                self.calls.borrow_mut().insert(number, *call);
                self.attempt(number);
            }
            Taken::Refused(status, stops) => {
                assert_eq!(status, 503, "the last error's");
                self.refused.set(self.refused.get() + 1);
                self.answered(action, false, !stops);
            }
        }
        true
    }

    fn attempt(&self, number: u64) {
        let now = self.now.get();
        let phase = (0..self.plan.phases.len()).find(|n| now < self.phase(*n).1);
        // The upstream stays as it was last.
        let failing = self.plan.phases[phase.unwrap_or(self.plan.phases.len() - 1)].failing;
        let fails = self.roll(1000) < failing;
        let mut calls = self.calls.borrow_mut();
        let call = calls.get_mut(&number).unwrap();
        call.attempts += 1;
        self.sent.borrow_mut().push(now);
        let takes = if fails { self.about(20 * MS) } else { self.about(200 * MS) };
        self.push(takes, Event::Answer(number, fails));
    }

    fn answer(&self, number: u64, failed: bool) -> bool {
        let mut calls = self.calls.borrow_mut();
        let call = calls.get_mut(&number).unwrap();
        let leaves = self.dice.borrow_mut().chance(self.plan.aborts);
        if failed && call.left > 0 && !leaves {
            call.left -= 1;
            // Envoy waits for up to 25 ms, then 75, then 175.
            let longest = 25 * MS * ((1 << call.attempts) - 1);
            self.push(self.roll(longest), Event::Attempt(number));
            return true;
        }
        if call.worker.try_borrow_mut().is_err() {
            return false;
        }
        let call = calls.remove(&number).unwrap();
        drop(calls);
        let action = call.action;
        let end = match (leaves, failed) {
            (true, _) => End::Abort,
            (false, true) => End::Answer(503),
            (false, false) => End::Answer(200),
        };
        call.end(end, self, Nanos(self.now.get()));
        if leaves {
            self.aborted.set(self.aborted.get() + 1);
            self.actions.borrow_mut()[action].ended = self.now.get();
        } else {
            self.answered(action, !failed, true);
        }
        true
    }

    /// The client has its answer: the SDK goes on, then the agent's loop, then the user knows.
    fn answered(&self, number: usize, well: bool, may_retry: bool) {
        let mut actions = self.actions.borrow_mut();
        let action = &mut actions[number];
        if well || (action.agent + 1 == AGENT_TRIES && (!may_retry || action.sdk == SDK_RETRIES)) {
            (action.ended, action.well) = (self.now.get(), well);
            return;
        }
        let pause = if may_retry && action.sdk < SDK_RETRIES {
            action.sdk += 1;
            (SECOND / 2) << (action.sdk - 1)
        } else {
            (action.agent, action.sdk) = (action.agent + 1, 0);
            action.agent * SECOND / 2
        };
        self.push(self.about(pause), Event::Ask(number));
    }

    fn die(&self) -> bool {
        let site = self.roll(self.plan.workers as u64) as usize;
        if self.calls.borrow().values().any(|call| call.site == site && call.worker.try_borrow_mut().is_err()) {
            return false;
        }
        let (gone, kept) = self.calls.take().into_iter().partition(|(_, call)| call.site == site);
        self.calls.replace(kept);
        let gone: BTreeMap<u64, Call> = gone;
        self.lost.set(self.lost.get() + gone.len() as u64);
        // Their clients see the connection break, and try again.
        gone.values().for_each(|call| self.answered(call.action, false, true));
        self.sites.borrow_mut()[site] = worker(&self.plan.config);
        self.push(self.about(5 * SECOND), Event::Death);
        true
    }
}
