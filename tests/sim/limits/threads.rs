//! Workers as real threads, each with a VM of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use weir::settings::Config;
use weir::units::Nanos;
use weir::worker::Worker;

use super::books::{Books, Line, SECOND, START, config};
use super::call::{Call, Did, Plan};
use crate::dice::Dice;
use crate::memory::Memory;

/// As the shell has it.
const RENEW: u64 = 20 * SECOND;

/// What ends a thread in the middle of its work.
struct Death;

struct World {
    config: Value,
    memory: Memory,
    books: Mutex<Books>,
    now: AtomicU64,
    /// When each worker last renewed its leases; at the end of time for those that are done.
    renewed: Vec<AtomicU64>,
}

impl World {
    fn pass(&self, dice: &mut Dice) -> Nanos {
        // A thread that waits for a core must not miss a generation: much time passes only where all have kept up.
        let now = self.now.load(Ordering::SeqCst);
        let kept_up = self.renewed.iter().all(|renewed| now.saturating_sub(renewed.load(Ordering::SeqCst)) < RENEW);
        let much = kept_up && dice.below(300) == 0;
        let passes = if much { RENEW } else { dice.below(20_000_000) * dice.below(2) };
        Nanos(self.now.fetch_add(passes, Ordering::SeqCst) + passes)
    }

    /// One worker's life: so many calls, or until it dies.
    fn work(&self, own: usize, dice: &mut Dice, left: &mut u64, calls: &mut Vec<Call>, deaths: bool) {
        let mut worker = Worker::new(Config::parse(self.config.to_string().as_bytes()).unwrap());
        while *left > 0 || !calls.is_empty() {
            let now = self.pass(dice);
            if now.0.saturating_sub(self.renewed[own].load(Ordering::SeqCst)) >= RENEW {
                calls.iter_mut().for_each(|call| call.renew(&worker, &self.memory, now));
                self.renewed[own].store(now.0, Ordering::SeqCst);
            }
            if *left > 0 && (calls.is_empty() || dice.chance(30)) {
                *left -= 1;
                calls.push(Call::new(&worker.config, Plan::new(dice), now));
            }
            let at = dice.below(calls.len() as u64) as usize;
            if !calls[at].has_turn(now) {
                continue;
            }
            let did = calls[at].step(&mut worker, &self.memory, now);
            if deaths && dice.below(300) == 0 {
                resume_unwind(Box::new(Death));
            }
            match did {
                Did::Something => {}
                Did::Sent => self.books.lock().unwrap().sent(&mut calls[at]),
                Did::Over => {
                    let call = calls.swap_remove(at);
                    self.books.lock().unwrap().leaves(&call);
                    let (plan, began, asked, due) = (call.plan.clone(), call.began, call.asked, call.due);
                    let (sent, refused) = (call.sent, call.refused);
                    let record = call.end(&mut worker, &self.memory, now);
                    let ended = Nanos(self.now.load(Ordering::SeqCst));
                    self.books.lock().unwrap().lines.push(Line {
                        plan,
                        record,
                        began,
                        asked,
                        due,
                        ended,
                        sent,
                        refused,
                    });
                }
            }
        }
    }
}

fn race(seed: u64, workers: u64, deaths: bool) -> (usize, u64, u64) {
    let (config, memory) = (config(&mut Dice(seed)), Memory::default());
    let books = Mutex::new(Books::open(&config, &memory));
    let renewed = (0..workers).map(|_| AtomicU64::new(START)).collect();
    let world = World { config, memory, books, now: AtomicU64::new(START), renewed };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let world = &world;
            scope.spawn(move || {
                let (mut dice, mut left) = (Dice(seed << 8 | worker), 600 / workers);
                while left > 0 {
                    let mut calls = Vec::new();
                    let life = || world.work(worker as usize, &mut dice, &mut left, &mut calls, deaths);
                    let Err(end) = catch_unwind(AssertUnwindSafe(life)) else { break };
                    if !end.is::<Death>() {
                        resume_unwind(end);
                    }
                    let mut books = world.books.lock().unwrap();
                    calls.iter().for_each(|call| books.leaves(call));
                    books.lost += calls.len() as u64;
                }
                world.renewed[worker as usize].store(u64::MAX, Ordering::SeqCst);
            });
        }
    });
    let books = world.books.into_inner().unwrap();
    books.close(&world.memory, Nanos(world.now.into_inner()));
    (books.lines.len(), books.lost, world.memory.lost())
}

#[test]
fn threads_that_race_leave_books_that_add_up_even_if_some_of_them_panic() {
    let (mut calls, mut lost, mut contended) = (0, 0, 0);
    for seed in 0..30 {
        for workers in [2, 4, 8] {
            let (c, l, r) = race(seed, workers, seed % 2 == 1);
            (calls, lost, contended) = (calls + c, lost + l, contended + r);
        }
    }
    eprintln!("90 races of 2, 4 and 8 threads: {calls} calls, {lost} with a dead thread, {contended} lost races");
    assert!(calls > 10_000 && lost > 100);
}
