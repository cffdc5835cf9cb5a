//! What the gaps between a stream's tokens cost, kept in buckets of our own and by hdrhistogram. All have turns, round after round, and
//! the best of each counts: rounds are short enough for a moment in which nothing else runs.
//!
//! ```text
//! cargo bench --bench gaps                                                          # natively
//! CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings benches/gaps/wasi.mjs" \
//!     cargo bench --bench gaps --no-default-features --target wasm32-wasip1         # as Wasm, in Node's V8
//! ```

mod hdr;

use std::hint::black_box;
use std::time::Instant;

use weir::signals::gaps::Gaps;
use weir::units::Span;

/// Tokens of a stream, less one.
const GAPS: usize = 300;
const ROUNDS: usize = 2_000;
const STREAMS: usize = 10;

/// What all have.
trait Kept: Default {
    fn add(&mut self, gap: Span);
    fn quantile(&self, share: f64) -> Span;
}

impl Kept for Gaps {
    fn add(&mut self, gap: Span) {
        Self::add(self, gap, 1);
    }

    fn quantile(&self, share: f64) -> Span {
        Self::quantile(self, share)
    }
}

impl<const LOW_US: u64> Kept for hdr::Gaps<LOW_US> {
    fn add(&mut self, gap: Span) {
        Self::add(self, gap, 1);
    }

    fn quantile(&self, share: f64) -> Span {
        Self::quantile(self, share)
    }
}

/// Around 30 ms, with a stall here and there, and tokens that come at once.
fn gaps() -> Vec<Span> {
    let mut seed = 88_172_645_463_325_252u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let gap = |n: u64| match n % 17 {
        0 => 400_000_000,
        1..4 => 0,
        _ => 15_000_000 + n % 30_000_000,
    };
    (0..GAPS).map(|_| Span(gap(next()))).collect()
}

/// The least time of [`STREAMS`] runs, per run, in ns.
fn timed(least: &mut f64, mut run: impl FnMut()) {
    let began = Instant::now();
    for _ in 0..STREAMS {
        run();
    }
    *least = least.min(began.elapsed().as_nanos() as f64 / STREAMS as f64);
}

/// What of a stream takes how long: its gaps, each; its beginning; its end.
#[derive(Clone, Copy)]
struct Times {
    gap: f64,
    begin: f64,
    end: f64,
}

impl Times {
    const NONE: Self = Self { gap: f64::MAX, begin: f64::MAX, end: f64::MAX };

    fn round<K: Kept>(&mut self, gaps: &[Span]) {
        let mut whole = f64::MAX;
        timed(&mut whole, || {
            let mut kept = K::default();
            gaps.iter().for_each(|gap| kept.add(black_box(*gap)));
            black_box(&mut kept);
        });
        timed(&mut self.begin, || {
            black_box(&mut K::default());
        });
        self.gap = self.gap.min((whole - self.begin) / GAPS as f64);
        let mut kept = K::default();
        gaps.iter().for_each(|gap| kept.add(*gap));
        timed(&mut self.end, || {
            black_box((kept.quantile(black_box(0.5)), kept.quantile(black_box(0.99))));
        });
    }
}

fn main() {
    let gaps = gaps();
    let mut all = [Times::NONE; 3];
    for _ in 0..ROUNDS {
        all[0].round::<Gaps>(&gaps);
        all[1].round::<hdr::Gaps<1000>>(&gaps);
        all[2].round::<hdr::Gaps<64>>(&gaps);
    }
    println!("ns                    own buckets   hdrhistogram from 1 ms   from 64 µs");
    for (what, of) in [
        ("a gap", (|t| t.gap) as fn(&Times) -> f64),
        ("beginning and drop", |t| t.begin),
        ("p50 and p99", |t| t.end),
        ("a stream of 301", |t| t.begin + t.end + GAPS as f64 * t.gap),
    ] {
        let [own, ms, us] = all.each_ref().map(of);
        println!("{what:20} {own:12.1} {ms:14.1} ({:.2} times) {us:10.1} ({:.2} times)", ms / own, us / own);
    }
    let bytes = [hdr::Gaps::<1000>::default().bytes(), hdr::Gaps::<64>::default().bytes()];
    println!("bytes                     4,360 {:>14} {:>22}", bytes[0], bytes[1]);
}
