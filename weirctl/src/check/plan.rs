//! Where plans come from and what becomes of calls that are not in them, in words.

use weir::config::values::Match;
use weir::features::plan::config::{Enforce, Plan, PlanAnswer, Pointer};
use weir::settings::Config;

use super::limits::number;
use super::runs::without_run;

/// What plans do; nothing where nobody looks.
pub fn describe(config: &Config) -> Vec<String> {
    let Some(plan) = &config.plan else { return Vec::new() };
    let mut said = vec![sources(plan)];
    said.push(
        "Steps are tools that run, retrievals and reranks, and all else that a plan names; each is told as matched, skipped, \
         unplanned, out_of_order or wrong_target, and how far the run keeps to its plan as adherence in percent."
            .into(),
    );
    said.extend(plan.target_header.as_ref().map(|name| format!("What a step is about, `{}` says.", name.as_str())));
    said.push(match plan.enforce {
        Enforce::Off => "A call that is not in its run's plan passes.".to_owned(),
        Enforce::Warn => {
            "A call that is not in its run's plan passes; its answer says so in `x-weir-plan-warning`.".to_owned()
        }
        Enforce::Refuse => {
            "A call that is unplanned, out of order or on the wrong target is refused: status 403 with the error \
                            of the client's own API, before it is sent. What skips ahead passes."
                .to_owned()
        }
    });
    if plan.headers {
        said.push("Answers to steps say in `x-weir-plan` where they stand.".into());
    }
    said.push(format!(
        "Some {} runs have a plan at once ({:.1} MB of Envoy's memory); one is forgotten {} s after its last step.",
        number(plan.max.get().into()),
        f64::from(plan.max.get()) * 1.3e3 / 1e6,
        number(plan.idle_s.get().into()),
    ));
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let Some(plan) = &config.plan else { return Vec::new() };
    let mut said: Vec<String> = without_run(config, "plan").into_iter().collect();
    if plan.enforce == Enforce::Refuse && !config.admission.hold_headers {
        said.push(
            "plan.enforce: without admission.hold_headers the upstream gets the headers of calls that are refused, and sees \
             them break off."
                .into(),
        );
    }
    if let Some(answer) = &plan.answer {
        if which(answer).is_empty() {
            said.push(
                "plan.answer: without `match` and `header` every answer of a run is read for a plan, and counted as `unread` if \
                 it has none."
                    .into(),
            );
        }
        if answer.matches.tenant.is_some() && config.identity.tenant.is_empty() {
            said.push("plan.answer.match.tenant: identity.tenant has no source: no call has that tenant.".into());
        }
    }
    said
}

fn sources(plan: &Plan) -> String {
    let mut all = vec![format!("the request header `{}`", plan.header.as_str())];
    all.extend(plan.baggage.as_ref().map(|key| format!("`{key}` of the `baggage` header")));
    all.extend(plan.tool.as_ref().map(|tool| {
        format!(
            "the arguments of the tool `{}`, {}, that a model asks for or that runs over MCP",
            tool.name,
            at(&tool.pointer)
        )
    }));
    all.extend(plan.answer.as_ref().map(|answer| {
        let which = which(answer);
        let which =
            if which.is_empty() { "all answers".to_owned() } else { format!("answers to calls {}", which.join(", ")) };
        format!("JSON in the text of {which}, {}", at(&answer.pointer))
    }));
    format!("A run's plan is declared by: {}. The last one counts.", all.join("; "))
}

fn which(answer: &PlanAnswer) -> Vec<String> {
    let PlanAnswer { matches: Match { model, route, tenant }, header, .. } = answer;
    let keys = [("model", model), ("route", route), ("tenant", tenant)];
    let keys = keys.iter().filter_map(|(key, value)| Some(format!("of {key} {}", value.as_deref()?)));
    keys.chain(header.as_ref().map(|name| format!("with the header `{}`", name.as_str()))).collect()
}

fn at(pointer: &Pointer) -> String {
    match String::from(pointer.clone()).as_str() {
        "" => "as a whole".to_owned(),
        some => format!("at `{some}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::assert_told;
    use super::*;

    #[test]
    fn plans_are_told_in_words_and_what_is_probably_not_meant_is_a_warning() {
        for (config, wanted, warned) in [
            ("{}", &[][..], &[][..]),
            (
                r#"{"plan":{}}"#,
                &[
                    "A run's plan is declared by: the request header `x-agent-plan`. The last one counts.",
                    "A call that is not in its run's plan passes.",
                    "Answers to steps say in `x-weir-plan` where they stand.",
                    "Some 4,096 runs have a plan at once (5.3 MB of Envoy's memory); one is forgotten 3,600 s after its last step.",
                ],
                &[],
            ),
            (
                r#"{"admission":{"hold_headers":true},"plan":{"baggage":"agent.plan","tool":{},"target_header":"x-target","enforce":"refuse",
                    "answer":{"match":{"route":"planner"},"header":"x-planner","pointer":""},"headers":false}}"#,
                &[
                    "`agent.plan` of the `baggage` header; the arguments of the tool `submit_plan`, at `/plan`, that a model asks for",
                    "JSON in the text of answers to calls of route planner, with the header `x-planner`, as a whole.",
                    "What a step is about, `x-target` says.",
                    "is refused: status 403",
                ],
                &[],
            ),
            (
                r#"{"identity":{"run":[]},"plan":{"enforce":"refuse","answer":{}}}"#,
                &["JSON in the text of all answers, at `/plan`."],
                &[
                    "plan: identity.run has no source",
                    "plan.enforce: without admission",
                    "plan.answer: without `match`",
                ],
            ),
            (r#"{"plan":{"answer":{"match":{"tenant":"a"}}}}"#, &["of tenant a"], &["plan.answer.match.tenant"]),
        ] {
            assert_told((describe, warnings), config, wanted, warned);
        }
    }
}
