//! The gaps between tokens against the sorted list of them.

use proptest::prelude::*;
use weir::metrics::INTER_TOKEN_MS;
use weir::signals::gaps::Gaps;
use weir::units::Span;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

proptest! {
    #[test]
    fn quantiles_are_those_of_the_sorted_list_within_one_part_in_64(
        gaps in prop::collection::vec(prop_oneof![Just(0u64), 0u64..100, 0u64..100_000, 0u64..600_000_000], 1..300),
        share in 0.0f64..=1.0,
    ) {
        let mut kept = Gaps::default();
        for us in &gaps {
            kept.add(Span(us * 1000), 1);
        }
        let mut sorted = gaps.clone();
        sorted.sort_unstable();
        let rank = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
        let (exact, got) = (sorted[rank - 1] as f64, kept.quantile(share).as_us() as f64);
        prop_assert!((exact - got).abs() <= exact / 64.0 + 0.5, "{exact} {got}");
        prop_assert_eq!(kept.max().as_us(), *sorted.last().unwrap());
        prop_assert_eq!(kept.sum().as_us(), gaps.iter().sum::<u64>());
    }

    #[test]
    fn buckets_count_all_gaps_up_to_their_bound(gaps in prop::collection::vec(0u64..700_000_000, 0..200)) {
        let mut kept = Gaps::default();
        for us in &gaps {
            kept.add(Span(us * 1000), 1);
        }
        let naive = INTER_TOKEN_MS.iter().map(|ms| gaps.iter().filter(|us| **us <= ms * 1000).count() as u64);
        let expected: Vec<u64> = naive.chain([gaps.len() as u64]).collect();
        prop_assert_eq!(kept.cumulative().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn many_equal_gaps_count_as_many() {
    let (mut one_by_one, mut at_once) = (Gaps::default(), Gaps::default());
    for _ in 0..1000 {
        one_by_one.add(Span(7_000_000), 1);
    }
    at_once.add(Span(7_000_000), 1000);
    assert_eq!(one_by_one.quantile(0.5), at_once.quantile(0.5));
    assert_eq!(at_once.count(), 1000);
    assert_eq!(at_once.cumulative().last(), Some(1000));
}
