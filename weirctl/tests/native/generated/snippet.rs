//! The part of an Envoy bootstrap that makes labels and buckets.

use weirctl::envoy::stats;

use crate::support::committed;

/// The line in a bootstrap of `envoy/` behind which the generated part stands.
const MARK: &str = "# Labels and buckets of weir's metrics. From here to the end: generated, as in envoy/stats.yaml.";

/// What stands at the head of the snippet itself.
const HEAD: &str =
    "# For an Envoy bootstrap: makes labels and buckets of what weir counts. Generated from its table of metrics.\n";

#[test]
fn the_snippet_and_every_bootstrap_have_the_tags_and_buckets_of_the_metric_table() {
    let yaml = stats::yaml();
    committed::is("envoy/stats.yaml", &format!("{HEAD}{yaml}"));
    for folder in ["standalone", "limits", "retries", "audit", "otel", "ecds", "global-limits"] {
        committed::ends_with(&format!("envoy/{folder}/envoy.yaml"), MARK, &yaml);
    }
    let in_a_patch: String = yaml.lines().map(|line| format!("        {line}\n")).collect();
    committed::ends_with("envoy/istio/envoyfilter.yaml", "      value:", &in_a_patch);
}
