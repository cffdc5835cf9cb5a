//! What the storm is made of: users at a human pace, and one run that fans out, all on one limit.
//!
//! Life goes faster here: the limit is whole again within a tenth of the time that the storm lasts, where a minute is usual.

use std::time::Duration;

use fastrand::Rng;

/// Users, each with a name of its own.
pub const USERS: usize = 99;
/// Callers of the run; all have one name.
pub const CALLERS: usize = 47;
/// The name of the run's user.
pub const AGENT: &str = "agent";

/// What flows into the limit, in tokens per second: some eighty calls.
pub const RATE: u64 = 32_000;
/// What users and the run take of that on the mean: 62 % together.
const USERS_PART: f64 = 0.40;
const RUN_PART: f64 = 0.22;

/// Mean tokens of a call, the spread of their logarithm, and the most.
const MEAN: f64 = 400.0;
const SPREAD: f64 = 0.7;
const MOST: f64 = 4.0 * MEAN;
/// One part in so many of a call's tokens is its answer.
const ANSWER: u64 = 8;

/// The bucket fills in this part of the time, and the run comes after that part.
const FILLS: f64 = 0.1;
const RUN_COMES: f64 = 0.25;

/// Everything that happens, decided before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long it lasts.
    pub lasts: Duration,
    /// The most that the limit gives at once, in tokens.
    pub burst: u64,
    /// Each user's calls, and how long it thinks before each.
    pub users: Vec<Vec<(Duration, Call)>>,
    /// When the run begins.
    pub run_at: Duration,
    /// Each caller's calls, one after the other.
    pub callers: Vec<Vec<Call>>,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, the same for all attempts.
    pub number: u32,
    /// Tokens of its prompt.
    pub input: u64,
    /// Tokens of its answer.
    pub output: u64,
}

impl Plan {
    /// A storm that lasts so long; the same one for the same seed.
    pub fn new(lasts: Duration, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let seconds = lasts.as_secs_f64();
        let all = RATE as f64 * seconds;
        let mut number = 0;
        let mut call = |rng: &mut Rng| {
            number += 1;
            let tokens = size(rng);
            Call { number, input: tokens - tokens / ANSWER, output: tokens / ANSWER }
        };
        let think = USERS as f64 * MEAN / (RATE as f64 * USERS_PART);
        let users = (0..USERS).map(|_| {
            let mut at = 0.0;
            let mut calls = Vec::new();
            while at < seconds {
                let pause = exponential(&mut rng, think);
                at += pause;
                calls.push((Duration::from_secs_f64(pause), call(&mut rng)));
            }
            calls
        });
        let users = users.collect();
        let mut callers = vec![Vec::new(); CALLERS];
        let mut left = all * RUN_PART;
        for caller in (0..CALLERS).cycle() {
            if left <= 0.0 {
                break;
            }
            let call = call(&mut rng);
            left -= (call.input + call.output) as f64;
            callers[caller].push(call);
        }
        Self { lasts, burst: (all * FILLS) as u64, users, run_at: lasts.mul_f64(RUN_COMES), callers }
    }

    /// How long a user thinks between two calls, on the mean.
    pub fn mean_pause(&self) -> Duration {
        let pauses: Vec<Duration> = self.users.iter().flatten().map(|(pause, _)| *pause).collect();
        pauses.iter().sum::<Duration>() / pauses.len().max(1) as u32
    }
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// Tokens of a call: log-normal, as those of real calls nearly are.
fn size(rng: &mut Rng) -> u64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    let tokens = MEAN * (SPREAD * normal - SPREAD * SPREAD / 2.0).exp();
    tokens.clamp(ANSWER as f64 * 4.0, MOST) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_the_run_take_62_percent_together_and_bursts_are_many_calls_deep() {
        for (seconds, seed) in [(24, 1), (24, 2), (8, 3)] {
            let plan = Plan::new(Duration::from_secs(seconds), seed);
            assert_eq!((plan.users.len(), plan.callers.len()), (USERS, CALLERS));
            let tokens = |call: &Call| (call.input + call.output) as f64;
            let mut of_users = 0.0;
            for user in &plan.users {
                let mut at = Duration::ZERO;
                for (pause, call) in user {
                    at += *pause;
                    of_users += if at < plan.lasts { tokens(call) } else { 0.0 };
                }
            }
            let of_run: f64 = plan.callers.iter().flatten().map(tokens).sum();
            let all = RATE as f64 * seconds as f64;
            let parts = [of_users / all, of_run / all];
            assert!((0.34..0.46).contains(&parts[0]) && (0.22..0.24).contains(&parts[1]), "{parts:?}");
            assert!(of_run > 2.0 * plan.burst as f64, "the run takes more than there is at once");
            assert!(plan.burst as f64 / 8.0 > MOST, "no call is too large to be sure of its place: {}", plan.burst);
        }
    }
}
