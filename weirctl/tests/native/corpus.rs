//! The core against recorded calls of many providers, with ground truth, where a corpus stands beside the project.

use crate::support::{root, skipped};
use weirctl::corpus::{Args, check};

#[test]
fn every_recorded_call_is_exact_whole_and_split_but_for_those_whose_reason_is_known() {
    let corpus = root().join("../shared/corpus");
    if !corpus.join("truth.jsonl.gz").is_file() {
        return skipped("the recorded calls", "there is no ../shared/corpus");
    }
    let outcome = check(&Args { corpus, splits: 2, seed: 7, show: 5, json: false }).unwrap();
    let (calls, exact) = outcome.total();
    eprintln!("{exact} of {calls} recorded calls are exact, {} differ for a known reason", outcome.known.len());
    assert_eq!(outcome.billed, 0, "calls that are no inference were counted");
    assert_eq!(exact + outcome.known.len() as u64, calls, "{:#?}", outcome.differing);
}
