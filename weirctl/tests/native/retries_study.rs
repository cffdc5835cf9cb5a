//! How often recorded calls, none of which is a retry, would pass for one: the false positives of the source `body`.

use std::collections::HashMap;
use std::io::Read;

use crate::support::{root, skipped};
use flate2::read::GzDecoder;
use serde_json::Value;
use weir::features::retry::fingerprint::Fingerprint;
use weir::features::retry::retrier::{Held, Retrier};
use weir::features::retry::seen::Seen;
use weir::settings::Config;
use weir::shared::{Change, NullStore};
use weir::units::Nanos;

/// The lines of a file beside the project; nothing, said loudly, where it is not.
fn lines(file: &str) -> Option<Vec<Value>> {
    let path = root().join("../shared").join(file);
    let Ok(packed) = std::fs::File::open(&path) else {
        skipped("false positives of retries", &format!("there is no ../shared/{file}"));
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn print(path: &str, body: &str) -> u64 {
    let mut print = Fingerprint::new(1, &[b"one caller", b"POST", path.as_bytes()], false);
    print.push(body.as_bytes());
    print.value()
}

/// Of calls in their order: how many repeat an earlier one whose status the predicate takes for a failure.
fn repeated(calls: &[(u64, u64)], failed: impl Fn(u64) -> bool) -> usize {
    let mut last = HashMap::new();
    let repeats = calls.iter().filter(|(print, status)| last.insert(*print, *status).is_some_and(&failed));
    repeats.count()
}

#[test]
fn no_first_try_of_the_recorded_runs_passes_for_a_retry() {
    let Some(calls) = lines("corpus/interactions.jsonl.gz") else { return };
    let mut runs: HashMap<String, Vec<&Value>> = HashMap::new();
    // Where a body was cut for the recording, different ones may look the same.
    for call in calls.iter().filter(|call| call["request_body_elided"] == false && call["method"] == "POST") {
        runs.entry(format!("{}:{}", call["source_repo"], call["path"])).or_default().push(call);
    }
    let (mut all, mut taken, mut same) = (0, 0, 0);
    for run in runs.values_mut() {
        run.sort_by_key(|call| call["index"].as_u64());
        let of = |call: &&Value| {
            let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
            (print(&text("url_path"), &text("request_body")), call["status"].as_u64().unwrap_or(0))
        };
        let calls: Vec<_> = run.iter().map(of).collect();
        all += calls.len();
        taken += repeated(&calls, |status| status >= 400);
        same += repeated(&calls, |_| true);
    }
    let runs = runs.values().filter(|run| run.len() > 1).count();
    eprintln!(
        "{taken} of {all} recorded calls ({runs} runs of several) would pass for a retry; {same} ({:.1} %) if every call before \
         had failed",
        100.0 * same as f64 / all as f64
    );
    assert!(all > 1000);
    // Retries that were recorded as such are none of the wrongly taken: there is no failed call before a like one.
    assert_eq!(taken, 0);
}

#[test]
fn a_step_of_an_agent_seldom_repeats_an_earlier_one() {
    let Some(steps) = lines("trajectories/tau_bench.steps.jsonl.gz") else { return };
    let mut runs: HashMap<(u64, u64), Vec<&Value>> = HashMap::new();
    for step in &steps {
        runs.entry((step["task_id"].as_u64().unwrap(), step["trial"].as_u64().unwrap())).or_default().push(step);
    }
    let (mut models, mut model_repeats) = (0, 0);
    let (mut tools, mut tool_repeats, mut after_error) = (0, 0, 0);
    for run in runs.values() {
        // A call of the model carries all steps before it: each is longer than the last, so none is like another.
        let mut context = String::new();
        let mut calls = Vec::new();
        let mut asked: Vec<(u64, u64)> = Vec::new();
        let mut pending: HashMap<String, u64> = HashMap::new();
        for step in run {
            if step["role"] == "assistant" {
                calls.push((print("/v1/chat/completions", &context), 500));
                for call in step["tool_calls"].as_array().into_iter().flatten() {
                    let hash = print("/mcp", &format!("{} {}", call["name"], call["arguments"]));
                    pending.insert(call["id"].as_str().unwrap_or_default().to_owned(), hash);
                }
            }
            if step["role"] == "tool" {
                let id = step["tool_call_id"].as_str().unwrap_or_default();
                let status = if step["is_error"] == true { 500 } else { 200 };
                asked.extend(pending.remove(id).map(|hash| (hash, status)));
            }
            context.push_str(&step.to_string());
        }
        models += calls.len();
        model_repeats += repeated(&calls, |status| status >= 400);
        tools += asked.len();
        tool_repeats += repeated(&asked, |_| true);
        after_error += repeated(&asked, |status| status >= 400);
    }
    eprintln!(
        "{model_repeats} of {models} calls of the model would pass for a retry, had all before failed; of {tools} calls of tools \
         {tool_repeats} ({:.1} %) repeat an earlier one, {after_error} ({:.1} %) one that had failed",
        100.0 * tool_repeats as f64 / tools as f64,
        100.0 * after_error as f64 / tools as f64
    );
    assert!(models > 500 && tools > 300);
    assert_eq!(model_repeats, 0);
    assert!(after_error * 100 <= tools, "more than one in a hundred");
}

#[test]
fn what_the_page_shows_is_a_good_config() {
    let page = std::fs::read_to_string(root().join("docs/retries.md")).unwrap();
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let Config { retries, retry_budgets, circuits, .. } = Config::parse(example.as_bytes()).unwrap();
    let mut retrier = Retrier::new(retries.as_ref(), &retry_budgets, &circuits);
    assert!(retrier.enabled() && retrier.budgets.len() == 1 && retrier.circuits.len() == 1);
    // Where nobody answers, nobody is remembered.
    assert_eq!(retrier.salt(&NullStore, Nanos(1)), None);
    let mut seen: Option<Seen> = None;
    retrier.with_seen(1, &mut Held::default(), &NullStore, Nanos(1), &mut |entry| {
        seen = *entry;
        Change::Keep
    });
    assert!(seen.is_none());
}
