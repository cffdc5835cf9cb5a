//! How many messages of a level may pass.

/// So many messages of a level pass in each [`WINDOW_NS`]: enough to see what happens, too few to fill a disk.
pub(crate) const PER_WINDOW: u32 = 10;
/// A second.
pub(crate) const WINDOW_NS: u64 = 1_000_000_000;

/// The messages of one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    began: u64,
    passed: u32,
    left_out: u64,
}

impl Flood {
    pub(crate) const fn new() -> Self {
        Self { began: 0, passed: 0, left_out: 0 }
    }

    /// A message comes. If it may pass: how many before it did not, since the last one that did.
    pub(crate) fn passes(&mut self, now: u64) -> Option<u64> {
        // A clock that goes back begins a window too, so that none lasts longer than it should.
        if now.wrapping_sub(self.began) >= WINDOW_NS {
            (self.began, self.passed) = (now, 0);
        }
        if self.passed >= PER_WINDOW {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.passed = self.passed.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_as_many_pass_as_are_allowed_and_the_next_one_says_how_many_did_not() {
        let mut flood = Flood::new();
        let start = 7 * WINDOW_NS;
        for at in 0..PER_WINDOW {
            assert_eq!(flood.passes(start + u64::from(at)), Some(0));
        }
        for at in 0..1_000 {
            assert_eq!(flood.passes(start + 100 + at), None);
        }
        assert_eq!(flood.passes(start + WINDOW_NS), Some(1_000));
        assert_eq!(flood.passes(start + WINDOW_NS), Some(0));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_lets_no_flood_pass() {
        let mut flood = Flood::new();
        assert_eq!((0..1_000).filter(|_| flood.passes(0).is_some()).count(), PER_WINDOW as usize);
        let mut flood = Flood::new();
        assert!(flood.passes(WINDOW_NS * 9).is_some());
        assert_eq!((0..1_000).filter(|_| flood.passes(5).is_some()).count(), PER_WINDOW as usize);
    }
}
