//! What is reserved for an answer is the mean of what such calls wrote.

use weir::signals::size::{Keys, PRIOR, Sample, SizeEstimator};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn wrote(output: u64) -> Sample {
    Sample { output, input: None }
}

fn keys<'a>(
    tenant: impl Into<Option<&'a str>>,
    model: impl Into<Option<&'a str>>,
    route: impl Into<Option<&'a str>>,
) -> Keys {
    Keys::of(tenant.into(), model.into(), route.into())
}

#[test]
fn who_is_not_known_yet_is_taken_for_his_model_then_his_route_then_for_all() {
    let mut learned = SizeEstimator::default();
    assert_eq!(learned.output(keys("a", "m", "r")), PRIOR);
    learned.observe(keys("a", "m", "r"), wrote(100));
    learned.observe(keys("b", "m", "r"), wrote(300));
    learned.observe(keys("b", "n", "s"), wrote(2000));
    for (who, tokens) in [
        (keys("a", "m", "r"), 100),
        (keys("b", "m", "r"), 300),
        (keys("c", "m", "r"), 200),
        (keys("b", "other", "s"), 2000),
        (keys("c", "other", "t"), 800),
        (keys(None, None, None), 800),
    ] {
        assert_eq!(learned.output(who), tokens, "{who:?}");
    }
}

#[test]
fn the_first_calls_count_alike_and_later_it_follows_the_newest() {
    let (mut learned, who) = (SizeEstimator::default(), keys("a", "m", "r"));
    for (output, mean) in [(10, 10), (20, 15), (60, 30), (30, 30)] {
        learned.observe(who, wrote(output));
        assert_eq!(learned.output(who), mean);
    }
    for _ in 0..200 {
        learned.observe(who, wrote(500));
    }
    assert_eq!(learned.output(who), 500);
    for _ in 0..100 {
        learned.observe(who, wrote(7));
    }
    assert!((7..=9).contains(&learned.output(who)));
}

#[test]
fn over_many_calls_what_is_expected_is_what_is_written() {
    let (mut learned, who) = (SizeEstimator::default(), keys("a", "m", "r"));
    let (mut expected, mut written) = (0, 0);
    for n in 0..20_000u64 {
        // Nine short answers, one long.
        let output = if n % 10 == 7 { 4000 } else { 20 + n % 13 };
        expected += learned.output(who);
        written += output;
        learned.observe(who, wrote(output));
    }
    let off = expected.abs_diff(written) as f64 / written as f64;
    assert!(off < 0.01, "{expected} for {written}");
}

#[test]
fn of_any_number_of_callers_the_frequent_ones_are_remembered_in_fixed_memory() {
    let (mut learned, often) = (SizeEstimator::default(), keys("often", "m", "r"));
    for n in 0..50_000u64 {
        learned.observe(often, wrote(77));
        let (tenant, model, route) = (n.to_string(), format!("m{n}"), format!("r{n}"));
        learned.observe(keys(&*tenant, &*model, &*route), wrote(3000));
        if n > 50 {
            assert_eq!(learned.output(often), 77, "after {n}");
        }
    }
}

#[test]
fn numbers_out_of_all_bounds_leave_a_number_that_is_one() {
    let (mut learned, who) = (SizeEstimator::default(), keys(None, "m", None));
    learned.observe(who, Sample { output: u64::MAX, input: Some((u64::MAX, 0)) });
    assert!(learned.output(who) <= 1 << 32);
    assert_eq!(learned.input(who, 1000), None, "nothing was announced");
    learned.observe(who, Sample { output: 0, input: Some((u64::MAX, 1)) });
    assert!(learned.input(who, u64::MAX).is_some());
}

#[test]
fn a_prompt_is_taken_for_as_dense_as_those_before() {
    let (mut learned, who) = (SizeEstimator::default(), keys(None, "m", None));
    learned.observe(who, wrote(5));
    assert_eq!(learned.input(who, 4000), None);
    learned.observe(who, Sample { output: 5, input: Some((1000, 8000)) });
    assert_eq!((learned.input(who, 4000), learned.input(who, 0)), (Some(500), Some(0)));
}
