//! Quantiles of times and other numbers, as hdrhistogram keeps them.

use hdrhistogram::Histogram;

/// So many steps make one: a number is known to a thousandth, or to four digits.
const STEPS: f64 = 1000.0;
const DIGITS: u8 = 4;

/// Numbers from zero on.
#[derive(Clone, Debug)]
pub struct Quantiles(Histogram<u64>);

impl Default for Quantiles {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("up to five digits there is one"))
    }
}

impl Quantiles {
    /// One more; what is below zero counts as zero.
    pub fn record(&mut self, number: f64) {
        // It grows as it has to.
        self.0.record((number * STEPS).round() as u64).expect("any number has its place");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The number that this share of them does not exceed (nearest rank); zero of none.
    pub fn at(&self, share: f64) -> f64 {
        let number = self.0.value_at_quantile(share);
        // The middle of those that are not told apart.
        self.0.median_equivalent(number).min(self.0.max()) as f64 / STEPS
    }
}

impl FromIterator<f64> for Quantiles {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut all = Self::default();
        numbers.into_iter().for_each(|number| all.record(number));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_sorted_lists_to_four_digits() {
        let mut rng = fastrand::Rng::with_seed(7);
        for most in [1.0f64, 50.0, 3e3, 1e7] {
            let mut numbers: Vec<f64> = (0..999).map(|_| rng.f64() * most).collect();
            let kept: Quantiles = numbers.iter().copied().collect();
            numbers.sort_by(f64::total_cmp);
            for share in [0.01f64, 0.5, 0.9, 0.99, 1.0] {
                let exact = numbers[((999.0 * share).ceil() as usize).max(1) - 1];
                let near = (kept.at(share) - exact).abs() <= (exact / 1e4).max(0.001);
                assert!(near, "{share} of {most}: {} for {exact}", kept.at(share));
            }
        }
    }

    #[test]
    fn of_none_there_is_none_and_small_whole_numbers_are_themselves() {
        assert_eq!((Quantiles::default().at(0.5), Quantiles::default().count()), (0.0, 0));
        let kept: Quantiles = [0.0, 12.0, -1.0, 3.0].into_iter().collect();
        assert_eq!([0.5, 0.75, 1.0].map(|share| kept.at(share)), [0.0, 3.0, 12.0]);
        assert_eq!(kept.count(), 4);
    }
}
