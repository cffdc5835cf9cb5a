//! The Prometheus rules of `envoy/prometheus`: they load, they fire when they should, and they know every objective.

use std::process::Command;

use crate::support::{root, skipped, yaml};
use serde_json::Value;
use weir::settings::Config;

/// Runs promtool in the rules' folder, if it is installed.
fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool").args(arguments).current_dir(root().join("envoy/prometheus")).output();
    let output = match run {
        Ok(output) => output,
        Err(error) => {
            return skipped(
                &format!("promtool {}", arguments.join(" ")),
                &format!("{error} (Debian's package `prometheus` has it)"),
            );
        }
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
}

#[test]
fn promtool_finds_nothing_wrong_with_rules_and_config() {
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["check", "rules", "objectives.rules.yaml", "weir.rules.yaml"]);
}

#[test]
fn alerts_fire_when_budgets_burn_and_only_then() {
    promtool(&["test", "rules", "weir.test.yaml"]);
}

/// The rules of a file, of all its groups.
fn rules(file: &str) -> Vec<Value> {
    let file = yaml::file(file);
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn the_shipped_objectives_are_those_of_the_shipped_config() {
    let mut config = None;
    yaml::each(&mut yaml::file("envoy/standalone/envoy.yaml"), &mut |value| {
        if value["@type"] == "type.googleapis.com/google.protobuf.StringValue" {
            config = value["value"].as_str().map(|text| Config::parse(text.as_bytes()).unwrap());
        }
    });
    let wanted: Vec<(String, String)> = (config.unwrap().slo.iter())
        .map(|slo| (slo.name.clone().unwrap(), format!("vector({})", slo.objective.share())))
        .collect();
    let found: Vec<(String, String)> = rules("envoy/prometheus/objectives.rules.yaml")
        .iter()
        .map(|rule| (rule["labels"]["slo"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn rules_name_no_metric_that_weir_does_not_have() {
    let ends = ["_bucket", "_sum", "_count"];
    for rule in rules("envoy/prometheus/weir.rules.yaml") {
        let expression = rule["expr"].as_str().unwrap();
        // `weir:…` are the rules' own series, `weir_…` the filter's.
        for (at, _) in expression.match_indices("weir_") {
            let word: String =
                expression[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let known = weir::metrics::METRICS.iter().any(|m| {
                word == m.name || !m.buckets.is_empty() && ends.iter().any(|end| word == format!("{}{end}", m.name))
            });
            assert!(known, "{word} in {expression}");
        }
    }
}
