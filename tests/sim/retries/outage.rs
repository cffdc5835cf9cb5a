//! An outage, with a budget and without: how much the upstream is asked, what users see, and when all is well again.

use serde_json::json;

use super::world::{Action, Phase, Plan, SECOND, World};

/// The budget's window.
const WINDOW: u64 = 10;
/// What begins so long before a phase's end is not counted: it may end in the next one.
const MARGIN: u64 = 25;

const PHASES: [Phase; 7] = [
    Phase { seconds: 60, failing: 0 },
    Phase { seconds: 85, failing: 1000 },
    Phase { seconds: 85, failing: 500 },
    Phase { seconds: 85, failing: 20 },
    Phase { seconds: 60, failing: 0 },
    // Once more, for the way back.
    Phase { seconds: 30, failing: 1000 },
    Phase { seconds: 60, failing: 0 },
];
const LAST: usize = PHASES.len() - 1;

/// Envoy gives up at the latest after four attempts of 30 ms and pauses of up to 25, 75 and 175.
const GIVES_UP_MS: u64 = 4 * 30 + 25 + 75 + 175;

/// Rows of the table: their name, the phase, and the seconds of it in which calls reach the upstream and users begin.
const ROWS: [(&str, usize, u64, u64); 7] = [
    ("well", 0, 0, 60 - MARGIN),
    ("all fails: the first window", 1, 0, WINDOW),
    ("all fails", 1, WINDOW, 85 - MARGIN),
    ("half fails", 2, WINDOW, 85 - MARGIN),
    ("2 % fails: the first window", 3, 0, WINDOW),
    ("2 % fails", 3, WINDOW, 85 - MARGIN),
    ("well again", 4, WINDOW, 60 - MARGIN),
];
const ALL_AT_FIRST: usize = 1;
const ALL: usize = 2;
const FEW: usize = 5;
const AGAIN: usize = 6;

/// What a row has, over all seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    actions: u64,
    calls: u64,
    well: u64,
}

impl Seen {
    fn per_action(self) -> f64 {
        self.calls as f64 / self.actions as f64
    }

    fn success(self) -> f64 {
        self.well as f64 / self.actions as f64
    }
}

#[derive(Debug, Default)]
struct Side {
    rows: [Seen; ROWS.len()],
    /// All calls and all actions.
    all: Seen,
    /// From when the upstream was well until a user saw the last failure, in seconds: the longest of all seeds.
    back_after: f64,
    races: u64,
}

impl Side {
    fn add(&mut self, actions: &[Action], world: &World) {
        let sent = world.sent.borrow();
        for (seen, (name, phase, from, to)) in self.rows.iter_mut().zip(ROWS) {
            let (begin, end) = world.phase(phase);
            let (from, to) = (begin + from * SECOND, begin + to * SECOND);
            seen.calls += sent.iter().filter(|at| (from..to).contains(*at)).count() as u64;
            for action in actions.iter().filter(|action| (from..to).contains(&action.began)) {
                assert!(action.ended < end, "{name}: what is counted ends in its phase");
                seen.actions += 1;
                seen.well += u64::from(action.well);
            }
        }
        self.all.actions += actions.len() as u64;
        self.all.calls += sent.len() as u64;
        let (well_at, _) = world.phase(LAST);
        let failures = actions.iter().filter(|action| !action.well && action.ended > well_at);
        let last = failures.map(|action| action.ended).max().unwrap_or(well_at);
        self.back_after = self.back_after.max((last - well_at) as f64 / SECOND as f64);
        self.races += world.memory.lost();
    }
}

fn play(config: &str, per_second: u64, seeds: std::ops::Range<u64>) -> Side {
    let mut side = Side::default();
    for seed in seeds {
        let plan = Plan {
            config: config.to_owned(),
            workers: [1, 2, 4, 8][seed as usize % 4],
            phases: PHASES.to_vec(),
            per_second,
            aborts: 0,
            troubles: false,
        };
        let (actions, world) = World::new(plan, seed).run();
        side.add(&actions, &world);
    }
    side
}

fn with_and_without(per_second: u64, hold: bool, seeds: std::ops::Range<u64>) -> [Side; 2] {
    let with = json!({
        "admission": {"hold_headers": hold},
        "retry_budgets": [{"name": "upstream", "ratio": 0.1, "min_per_second": 0, "ttl_s": WINDOW}],
    });
    let sides = [json!({}), with].map(|config| play(&config.to_string(), per_second, seeds.clone()));
    let [without, with] = &sides;
    eprintln!(
        "\n{per_second} users a second, {} seeds, headers held: {hold}; {} lost races",
        seeds.count(),
        with.races
    );
    eprintln!("| the upstream | calls per user action: without | with | actions that went well: without | with |");
    eprintln!("|---|--:|--:|--:|--:|");
    for ((name, ..), (a, b)) in ROWS.iter().zip(without.rows.iter().zip(&with.rows)) {
        let well = [a, b].map(|seen| 100.0 * seen.success());
        let calls = [a, b].map(|seen| seen.per_action());
        eprintln!(
            "| {name} ({}) | {:.2} | {:.3} | {:.2} % | {:.2} % |",
            b.actions, calls[0], calls[1], well[0], well[1]
        );
    }
    let [a, b] = [without, with].map(|side| side.all.per_action());
    eprintln!("| all in all | {a:.2} | {b:.3} | | |");
    let [a, b] = [without, with].map(|side| side.back_after);
    eprintln!("back to full service: {a:.1} s without, {b:.1} s with (the longest of all seeds)");
    sides
}

#[test]
fn in_an_outage_the_upstream_is_asked_a_tenth_more_and_users_lose_nothing_when_little_fails() {
    for (per_second, hold, seeds) in [(20, false, 0..4), (20, true, 4..8), (100, false, 8..10), (100, true, 10..12)] {
        let sides = with_and_without(per_second, hold, seeds.clone());
        let [without, with] = &sides;
        assert!(without.rows[ALL].per_action() > 35.0, "three times three times four: {without:?}");
        assert_eq!(without.rows[ALL].success(), 0.0);
        assert!(with.rows[ALL].per_action() <= 1.1, "{with:?}");
        // The start: as long as there is plenty and no call has ended, Envoy retries without asking, what comes in the time that
        // it takes to give up. It becomes a debt, which the windows after it pay.
        let [first, rest] = [ALL_AT_FIRST, ALL].map(|row| with.rows[row]);
        let unasked = 3 * seeds.clone().count() as u64 * per_second * GIVES_UP_MS / 1000;
        assert!(first.calls as f64 <= 1.1 * first.actions as f64 + unasked as f64, "{with:?}");
        assert!((first.calls + rest.calls) as f64 <= 1.1 * (first.actions + rest.actions) as f64, "{with:?}");
        assert!(with.rows[FEW].success() >= without.rows[FEW].success(), "{sides:?}");
        assert!(with.all.per_action() <= 1.1, "all phases together: {with:?}");
        assert_eq!((with.rows[AGAIN].per_action(), with.rows[AGAIN].success()), (1.0, 1.0));
        assert!(with.back_after < 10.0, "{with:?}");
    }
}
