//! What a decision about a fair share costs natively, copies of the value included, beside a bucket that nobody shares. All
//! have turns, round after round, and the best round of each counts. `cargo bench --bench share [-- --quick]`

use std::env;
use std::hint::black_box;
use std::time::Instant;

use weir::features::limits::share::{Bucket, Rate, SHARERS, SIZE, Verdict};
use weir::units::{Nanos, Span};

const SECOND: u64 = 1_000_000_000;
const START: Nanos = Nanos(1_000_000 * SECOND);
const CALL: u64 = 1_500_000;

/// 480,000 tokens per minute.
fn rate() -> Rate {
    Rate::new(480_000_000, Span(60 * SECOND), 480_000_000)
}

fn over(bytes: &mut [u8; SIZE]) -> Bucket<'_> {
    Bucket::over(bytes).expect("a value of its size")
}

/// A bucket that all these have used, the later ones more, and sharer 0 most of all, until it was refused.
fn used(sharers: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for sharer in 1..sharers {
        over(&mut bytes).take(&rate(), sharer, 100_000 + 7_000 * sharer, START);
    }
    while let Verdict::Granted { .. } = over(&mut bytes).take(&rate(), 0, CALL, START) {}
    bytes
}

struct Case {
    name: &'static str,
    value: [u8; SIZE],
    run: fn(&mut [u8; SIZE], u64),
}

fn cases() -> Vec<Case> {
    let many = SHARERS as u64;
    let mut tail = used(many);
    over(&mut tail).settle(&rate(), 5, 480_000_000, START, 0, START);
    vec![
        Case {
            name: "take, alone",
            value: [0; SIZE],
            run: |v, _| {
                black_box(over(v).take(&rate(), 1, CALL, START));
            },
        },
        Case {
            name: "take, 256 sharers, plenty there",
            value: tail,
            run: |v, _| {
                black_box(over(v).take(&rate(), 255, CALL, START));
            },
        },
        Case {
            name: "take, 256 sharers, inside under pressure",
            value: used(many),
            run: |v, _| {
                black_box(over(v).take(&rate(), 200, CALL, START));
            },
        },
        Case {
            name: "take, 256 sharers, over its share",
            value: used(many),
            run: |v, _| {
                black_box(over(v).take(&rate(), 0, CALL, START));
            },
        },
        Case {
            name: "take, 256 sharers, a newcomer",
            value: used(many),
            run: |v, i| {
                black_box(over(v).take(&rate(), 1000 + i, CALL, START));
            },
        },
        Case {
            name: "take, 256 sharers, uses fade",
            value: used(many),
            run: |v, _| {
                black_box(over(v).take(&rate(), 200, CALL, Nanos(START.0 + 3 * SECOND)));
            },
        },
        Case {
            name: "settle, 256 sharers",
            value: used(many),
            run: |v, _| over(v).settle(&rate(), 200, 2 * CALL, START, CALL, Nanos(START.0 + SECOND)),
        },
    ]
}

fn main() {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    // `cargo test --benches` runs this too, without `--bench`.
    let (rounds, turns) = if given("--quick") || !given("--bench") { (1, 10) } else { (50, 2_000) };
    let cases = cases();
    let mut best = vec![f64::INFINITY; cases.len() + 1];
    for _ in 0..rounds {
        for (case, best) in cases.iter().zip(&mut best) {
            *best = best.min(time(turns, |i| {
                let mut value = *black_box(&case.value);
                (case.run)(&mut value, i);
                black_box(&value);
            }));
        }
        let copy = time(turns, |_| {
            black_box(*black_box(&cases[0].value));
        });
        best[cases.len()] = best[cases.len()].min(copy);
    }
    println!("ns per decision, with the copy of the value");
    for (name, ns) in cases.iter().map(|case| case.name).chain(["the copy alone"]).zip(best) {
        println!("{name:<45}{ns:>8.0}");
    }
}

fn time(turns: u64, mut turn: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for i in 0..turns {
        turn(i);
    }
    start.elapsed().as_nanos() as f64 / turns as f64
}
