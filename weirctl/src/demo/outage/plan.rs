//! What the outage is made of: how much of the upstream's calls fails when, and how often users want something.

use std::time::Duration;

/// Users that want something in a second, whatever becomes of the others.
pub const PER_SECOND: u32 = 20;
/// Tries of an agent's loop.
pub const AGENT_TRIES: u32 = 3;
/// Retries of the SDK below it.
pub const SDK_RETRIES: u32 = 2;
/// Retries of Envoy's route below that.
pub const ROUTE_RETRIES: u32 = 3;
/// The budget's retries per first try.
pub const RATIO: f64 = 0.1;
/// The budget's window. Life goes faster here: ten seconds are usual.
pub const WINDOW_S: u32 = 3;

/// A stretch of time with so much failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// In thousandths.
    pub failing: u32,
    /// In hundredths of the whole time.
    part: u32,
}

/// What happens, in its order.
pub const PHASES: [Phase; 5] = [
    Phase { name: "well", failing: 0, part: 15 },
    Phase { name: "all fails", failing: 1000, part: 35 },
    Phase { name: "half fails", failing: 500, part: 20 },
    Phase { name: "2 % fails", failing: 20, part: 15 },
    Phase { name: "well again", failing: 0, part: 15 },
];

/// How long each phase lasts, if all is to last so long.
pub fn lasts(all: Duration) -> [Duration; PHASES.len()] {
    PHASES.map(|phase| all * phase.part / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_take_all_the_time_there_is() {
        for seconds in [5, 20, 600] {
            let all = Duration::from_secs(seconds);
            assert_eq!(lasts(all).iter().sum::<Duration>(), all);
        }
    }
}
