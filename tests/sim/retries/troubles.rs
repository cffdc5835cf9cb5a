//! Clients go away, workers die and configs are loaded while calls are in flight: no budget is lost for good.

use std::rc::Rc;

use serde_json::json;
use weir::settings::Config;
use weir::units::Nanos;
use weir::worker::Worker;

use super::call::{End, Request, Taken};
use super::world::{Phase, Plan, SECOND, World};

/// First tries that make ten retries.
const FIRSTS: usize = 100;
const RETRIES: usize = 10;

fn config(hold: bool) -> String {
    let budget = json!({"name": "upstream", "ratio": 0.1, "min_per_second": 0, "ttl_s": 10});
    json!({"admission": {"hold_headers": hold}, "retry_budgets": [budget]}).to_string()
}

/// How many retries pass after so many first tries, at once.
fn retries_after_first_tries(world: &World, config: &str, now: u64) -> usize {
    let worker = || Rc::new(Worker::new(Config::parse(config.as_bytes()).unwrap()).into());
    let arrive = |action, sdk_retries| Request { action, sdk_retries }.arrive(0, worker(), world, Nanos(now));
    for first in 0..FIRSTS {
        match arrive(1_000_000 + first, 0) {
            Taken::Sent(mut call) => {
                call.attempts = 1;
                call.end(End::Answer(200), world, Nanos(now));
            }
            Taken::Refused(..) => panic!("a first try is never refused"),
        }
    }
    let passes = |retry| match arrive(2_000_000 + retry, 1) {
        Taken::Sent(mut call) => {
            call.attempts = 1;
            call.end(End::Answer(200), world, Nanos(now));
            true
        }
        Taken::Refused(..) => false,
    };
    (0..FIRSTS).filter(|retry| passes(*retry)).count()
}

#[test]
fn whoever_goes_away_or_dies_in_the_middle_a_window_later_the_budget_gives_exactly_what_it_should() {
    let (mut lost, mut aborted, mut refused) = (0, 0, 0);
    for seed in 100..116 {
        let hold = seed % 2 == 0;
        let plan = Plan {
            config: config(hold),
            workers: [2, 4, 8][seed as usize % 3],
            phases: [300, 1000, 20].map(|failing| Phase { seconds: 20, failing }).to_vec(),
            per_second: 50,
            aborts: 20,
            troubles: true,
        };
        let config = plan.config.clone();
        let (_, world) = World::new(plan, seed).run();
        let later = world.now() + 12 * SECOND;
        assert_eq!(retries_after_first_tries(&world, &config, later), RETRIES, "seed {seed}");
        (lost, aborted, refused) =
            (lost + world.lost.get(), aborted + world.aborted.get(), refused + world.refused.get());
    }
    eprintln!("{lost} calls with a dead worker, {aborted} aborted, {refused} refused");
    assert!(lost > 100 && aborted > 1000 && refused > 1000);
}
