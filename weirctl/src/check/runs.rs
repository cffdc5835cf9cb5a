//! What kinds are told apart, and what accounts of runs there are, in words.

use weir::features::kind::config::{self as kind, KindMatch, KindRule};
use weir::features::runs::config::Runs;
use weir::settings::Config;

use super::limits::number;

/// What the rules for kinds and the accounts of runs do; nothing where there are none.
pub fn describe(config: &Config) -> Vec<String> {
    let rules = config.kinds.as_deref().unwrap_or_default();
    let mut said: Vec<String> = rules.iter().map(rule).collect();
    if !rules.is_empty() {
        said.push(
            "Of these rules the first that fits counts; what fits none is told by its API, path and headers.".into(),
        );
    }
    let own = kind::own(rules);
    if !own.is_empty() {
        said.push(format!("Kinds of your own words: {}.", own.join(", ")));
    }
    said.extend(config.runs.as_ref().map(accounts));
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    let rules = config.kinds.as_deref().unwrap_or_default();
    for (at, rule) in rules.iter().enumerate() {
        if is_all(&rule.matches) && at + 1 < rules.len() {
            said.push(format!("kinds[{at}].match: it fits every call, so the rules behind it never count."));
        }
        if rule.name.is_some() && rule.kind.as_str() != "tool" {
            said.push(format!("kinds[{at}].name: only of kind `tool` it is a tool's name."));
        }
    }
    if config.runs.is_some() {
        said.extend(without_run(config, "runs"));
        if config.prices.is_empty() {
            said.push("runs: without `prices` accounts have calls and tokens, but no costs.".into());
        }
    }
    said
}

/// Where a section is about runs, and no call is part of any.
pub fn without_run(config: &Config, section: &str) -> Option<String> {
    let none = config.identity.run.is_empty();
    none.then(|| format!("{section}: identity.run has no source: calls have no run, and it does nothing."))
}

fn is_all(matches: &KindMatch) -> bool {
    let KindMatch { route, path, host, method } = matches;
    [route, path, host, method].iter().all(|key| key.is_none())
}

fn rule(rule: &KindRule) -> String {
    let KindRule { matches, kind, name } = rule;
    let KindMatch { route, path, host, method } = matches;
    let keys = [("route", route), ("path", path), ("host", host), ("method", method)];
    let which: Vec<String> =
        keys.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_deref()?))).collect();
    let which = if which.is_empty() { "All calls".to_owned() } else { format!("Calls of {}", which.join(", ")) };
    let name = name.as_ref().map(|name| format!(", and their tool is `{}`", name.as_str()));
    format!("{which} are of kind `{}`{}.", kind.as_str(), name.unwrap_or_default())
}

fn accounts(runs: &Runs) -> String {
    let Runs { max, idle_s, header, outcomes } = runs;
    let outcomes: Vec<String> = outcomes.iter().map(|name| format!("`{}`", name.as_str())).collect();
    let words = match &outcomes[..] {
        [] => "every outcome is `other`".to_owned(),
        some => format!("outcomes are {}, all else is `other`", some.join(", ")),
    };
    format!(
        "Each run of a tenant has an account of its calls, tokens and costs by kind, until a call with the header `{}` ends well \
         ({words}; the upstream does not see it), or {} s without a call; some {} of them at once.",
        header.as_str(),
        number(idle_s.get().into()),
        number(max.get().into()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::told::assert_told;
    use super::*;

    #[test]
    fn kinds_and_runs_are_told_in_words_and_what_is_probably_not_meant_is_a_warning() {
        for (config, wanted, warned) in [
            ("{}", &[][..], &[][..]),
            (
                r#"{"prices":[{"models":["m"],"per_million":{"input":1}}],
                    "kinds":[{"match":{"path":"/crm/*","method":"POST"},"kind":"tool","name":"crm"},{"kind":"billing"}],"runs":{}}"#,
                &[
                    "Calls of path /crm/*, method POST are of kind `tool`, and their tool is `crm`.",
                    "All calls are of kind `billing`.",
                    "the first that fits counts",
                    "Kinds of your own words: billing.",
                    "until a call with the header `x-weir-outcome` ends well (outcomes are `resolved`, `escalated`, `abandoned`, all",
                    "or 3,600 s without a call; some 32,768 of them",
                ],
                &[],
            ),
            (
                r#"{"identity":{"run":[]},"kinds":[{"kind":"own","name":"x"},{"kind":"tool"}],"runs":{"outcomes":[]}}"#,
                &["every outcome is `other`"],
                &["kinds[0].match", "kinds[0].name", "runs: identity.run has no source", "runs: without `prices`"],
            ),
        ] {
            assert_told((describe, warnings), config, wanted, warned);
        }
    }
}
