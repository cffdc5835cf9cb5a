//! Workers that a seed schedules: everything that happens, happens again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use weir::settings::Config;
use weir::shared::{Broken, Put, Store};
use weir::units::Nanos;
use weir::worker::Worker;

use super::books::{Books, Line, SECOND, START, config};
use super::call::{Call, Did, Plan};
use crate::dice::Dice;
use crate::memory::Memory;

/// How often others come in between while a worker works, one inside the other.
const DEEPEST: u32 = 3;
/// As the shell has it.
const RENEW: u64 = 20 * SECOND;

struct Site {
    worker: Worker,
    calls: Vec<Call>,
    renewed: u64,
}

struct Simulation {
    sites: Vec<RefCell<Site>>,
    memory: Memory,
    books: RefCell<Books>,
    dice: RefCell<Dice>,
    now: Cell<u64>,
    depth: Cell<u32>,
    config: Value,
    /// Calls still to come.
    left: Cell<u64>,
    deaths: bool,
}

/// Between a worker's read and its write, another one may do something.
impl Store for Simulation {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        let value = self.memory.get(key);
        if self.depth.get() < DEEPEST && self.dice.borrow_mut().chance(15) {
            self.depth.set(self.depth.get() + 1);
            self.step();
            self.depth.set(self.depth.get() - 1);
        }
        value
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Put {
        self.memory.set(key, value, cas)
    }
}

impl Simulation {
    fn new(seed: u64, workers: usize, calls: u64, deaths: bool) -> Self {
        let mut dice = Dice(seed);
        let (config, memory) = (config(&mut dice), Memory::default());
        let books = RefCell::new(Books::open(&config, &memory));
        let parsed = || Config::parse(config.to_string().as_bytes()).unwrap();
        let site = |_| RefCell::new(Site { worker: Worker::new(parsed()), calls: Vec::new(), renewed: START });
        let sites = (0..workers).map(site).collect();
        let (now, depth, left) = (Cell::new(START), Cell::new(0), Cell::new(calls));
        Self { sites, memory, books, dice: RefCell::new(dice), now, depth, config, left, deaths }
    }

    fn roll(&self, end: u64) -> u64 {
        self.dice.borrow_mut().below(end)
    }

    /// A worker does something, if it is not in the middle of something else.
    fn step(&self) {
        let site = &self.sites[self.roll(self.sites.len() as u64) as usize];
        let Ok(mut site) = site.try_borrow_mut() else { return };
        // Mostly little time passes; now and then so much that calls outlive their leases' generation.
        let passes = if self.roll(300) == 0 { 15 * SECOND } else { self.roll(20_000_000) };
        let now = self.now.get() + if self.roll(3) == 0 { passes } else { 0 };
        self.now.set(now);
        let (site, now) = (&mut *site, Nanos(now));
        if self.deaths && self.roll(400) == 0 {
            return self.die(site);
        }
        if now.0 - site.renewed > RENEW {
            site.renewed = now.0;
            site.calls.iter_mut().for_each(|call| call.renew(&site.worker, self, now));
        }
        if self.left.get() > 0 && (site.calls.is_empty() || self.roll(3) == 0) {
            self.left.set(self.left.get() - 1);
            let plan = Plan::new(&mut self.dice.borrow_mut());
            site.calls.push(Call::new(&site.worker.config, plan, now));
        }
        if site.calls.is_empty() {
            return;
        }
        let at = self.roll(site.calls.len() as u64) as usize;
        if !site.calls[at].has_turn(now) {
            return;
        }
        match site.calls[at].step(&mut site.worker, self, now) {
            Did::Something => {}
            Did::Sent => self.books.borrow_mut().sent(&mut site.calls[at]),
            Did::Over => self.end(site, at, now),
        }
    }

    fn end(&self, site: &mut Site, at: usize, now: Nanos) {
        let call = site.calls.swap_remove(at);
        self.books.borrow_mut().leaves(&call);
        let (plan, began, asked, due, sent, refused) =
            (call.plan.clone(), call.began, call.asked, call.due, call.sent, call.refused);
        let record = call.end(&mut site.worker, self, now);
        let ended = Nanos(self.now.get());
        self.books.borrow_mut().lines.push(Line { plan, record, began, asked, due, ended, sent, refused });
    }

    /// The worker is gone with all that it knew; another one takes its place.
    fn die(&self, site: &mut Site) {
        let mut books = self.books.borrow_mut();
        for call in site.calls.drain(..) {
            books.leaves(&call);
            books.lost += 1;
        }
        site.worker = Worker::new(Config::parse(self.config.to_string().as_bytes()).unwrap());
    }

    fn run(&self) -> Vec<String> {
        let mut steps = 0u64;
        while self.left.get() > 0 || self.sites.iter().any(|site| !site.borrow().calls.is_empty()) {
            self.step();
            steps += 1;
            assert!(steps < 2_000_000, "a call never ends");
        }
        self.books.borrow().close(&self.memory, Nanos(self.now.get()))
    }
}

fn simulate(seeds: std::ops::Range<u64>, deaths: bool) {
    let (mut seen, mut contended, mut calls, mut lost) = (BTreeMap::<String, u64>::new(), 0, 0, 0);
    for seed in seeds.clone() {
        let workers = [2, 4, 8][seed as usize % 3];
        let simulation = Rc::new(Simulation::new(seed, workers, 300, deaths));
        let told = std::panic::AssertUnwindSafe(|| simulation.run());
        let verdicts = std::panic::catch_unwind(told).unwrap_or_else(|panic| {
            eprintln!("seed {seed}, {workers} workers: {}", simulation.config);
            std::panic::resume_unwind(panic)
        });
        verdicts.into_iter().for_each(|verdict| *seen.entry(verdict).or_default() += 1);
        contended += simulation.memory.lost();
        calls += simulation.books.borrow().lines.len();
        lost += simulation.books.borrow().lost;
    }
    eprintln!("{} runs, {calls} calls, {lost} with a dead worker, {contended} lost races: {seen:?}", seeds.count());
    assert!(contended > 100);
    assert_eq!(lost > 100, deaths);
    for verdict in [
        "ledger pass",
        "ledger refuse",
        "wide refuse",
        "calls refuse",
        "fair refuse",
        "total refuse",
        "tree.depth refuse",
        "tree.fanout refuse",
        "dark shadow",
        "total cut",
        "total warn",
    ] {
        assert!(seen.get(verdict).is_some_and(|n| *n > 0), "{verdict} never happened");
    }
}

#[test]
fn what_was_granted_is_what_was_charged_and_nothing_leaks_however_calls_end_and_workers_race() {
    simulate(0..150, false);
}

#[test]
fn what_dead_workers_held_binds_for_two_generations_and_not_longer() {
    simulate(1000..1150, true);
}
