//! Plan adherence on recorded runs of an agent: with a successful trial of a task as the plan, how well does low adherence of
//! its other trials tell that they fail?

use std::collections::BTreeMap;
use std::io::Read;

use crate::support::{root, skipped};
use flate2::read::GzDecoder;
use serde_json::Value;
use weir::features::plan::align::Done;
use weir::features::plan::plans::Course;
use weir::features::plan::syntax::Plan;

struct Trial {
    tools: Vec<String>,
    solved: bool,
}

/// Trials by task, in their order.
fn trials() -> Option<BTreeMap<u64, BTreeMap<u64, Trial>>> {
    let path = root().join("../shared/trajectories/tau_bench.steps.jsonl.gz");
    let Ok(packed) = std::fs::File::open(&path) else {
        skipped("adherence on recorded runs", "there is no ../shared/trajectories");
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let mut tasks: BTreeMap<u64, BTreeMap<u64, Trial>> = BTreeMap::new();
    for line in text.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| step[key].as_u64().unwrap();
        let trial = tasks
            .entry(number("task_id"))
            .or_default()
            .entry(number("trial"))
            .or_insert_with(|| Trial { tools: Vec::new(), solved: step["reward"].as_f64().unwrap() >= 1.0 });
        // A call that failed is no step, as in the filter.
        if step["role"] == "tool" && step["is_error"] == false {
            trial.tools.push(step["name"].as_str().unwrap().to_owned());
        }
    }
    Some(tasks)
}

fn adherence(plan: &[String], tools: &[String]) -> Option<u8> {
    let text = plan.join(">");
    let plan = Plan::read(&text).ok()?;
    let mut course = Course::start(&plan);
    for tool in tools {
        course.step(&plan, &Done { tool: Some(tool), ..Done::default() });
    }
    Some(course.whole(&plan))
}

/// The share of pairs of a failed and a solved trial in which the failed one has less; half of those that are equal.
fn auc(scores: &[(u8, bool)]) -> f64 {
    let of = |wanted: bool| scores.iter().filter(move |(_, solved)| *solved == wanted).map(|(score, _)| *score);
    let mut sum = 0.0;
    for failed in of(false) {
        for solved in of(true) {
            sum += if failed < solved {
                1.0
            } else if failed == solved {
                0.5
            } else {
                0.0
            };
        }
    }
    sum / (of(true).count() * of(false).count()) as f64
}

#[test]
fn a_perfect_predictor_has_an_auc_of_one_and_none_at_all_a_half() {
    assert_eq!(auc(&[(10, false), (20, true), (30, true)]), 1.0);
    assert_eq!(auc(&[(10, true), (20, false)]), 0.0);
    assert_eq!(auc(&[(10, true), (10, false)]), 0.5);
}

#[test]
fn low_adherence_to_a_solved_trial_and_failure() {
    let Some(tasks) = trials() else { return };
    let (mut scores, mut left, mut no_plan) = (Vec::new(), 0, 0);
    for trials in tasks.values() {
        let Some((chosen, plan)) = trials.iter().find(|(_, trial)| trial.solved && !trial.tools.is_empty()) else {
            no_plan += 1;
            continue;
        };
        for (_, trial) in trials.iter().filter(|(number, _)| *number != chosen) {
            match adherence(&plan.tools, &trial.tools) {
                Some(adherence) => scores.push((adherence, trial.solved)),
                None => left += 1,
            }
        }
    }
    let mean = |wanted: bool| {
        let of: Vec<u32> = scores.iter().filter(|(_, solved)| *solved == wanted).map(|(a, _)| u32::from(*a)).collect();
        (of.len(), f64::from(of.iter().sum::<u32>()) / of.len() as f64)
    };
    let ((solved, high), (failed, low)) = (mean(true), mean(false));
    let told = format!(
        "{} tasks, {no_plan} of them without a solved trial; {solved} other trials solved, mean adherence {high:.1}; {failed} failed, \
         mean {low:.1}; AUC {:.3}",
        tasks.len(),
        auc(&scores)
    );
    eprintln!("{told}; {left} plans too large");
    assert!(solved > 10 && failed > 10 && left == 0);
    let page = std::fs::read_to_string(root().join("docs/plan.md")).unwrap();
    assert!(page.replace('\n', " ").contains(&told), "docs/plan.md has other figures: {told}");
}
