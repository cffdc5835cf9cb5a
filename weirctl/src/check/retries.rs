//! What retry budgets, circuits and deadlines will do, in words.

use weir::config::values::Match;
use weir::config::values::{Fail, Mode};
use weir::config::values::{Seconds, Thousandths};
use weir::features::retry::config::{Circuit, RefuseWith, Retries, RetryBudget, RetryScope, RetrySource, RetryUnit};
use weir::features::retry::retrier::Retrier;
use weir::settings::Config;

use super::limits::{millis, number};

/// What becomes of retries, a sentence or some each; nothing where nobody looks.
pub fn describe(config: &Config) -> Vec<String> {
    let retrier = Retrier::new(config.retries.as_ref(), &config.retry_budgets, &config.circuits);
    let Some(retries) = &retrier.retries else { return Vec::new() };
    let mut said = vec![told_by(retries)];
    said.extend(deadlines(retries));
    said.extend(config.retry_budgets.iter().map(budget));
    if config.retry_budgets.iter().any(|budget| budget.mode == Mode::Enforce) {
        said.push(
            "Envoy's own retries count too: with plenty left the route's number holds, and what Envoy did is charged at the end; \
             where it is short Envoy may retry once (`x-envoy-max-retries: 1`), where it is out not at all (`0`)."
                .into(),
        );
    }
    said.extend(config.circuits.iter().map(circuit));
    let enforced = |mode: &Mode| *mode == Mode::Enforce;
    let modes = config.retry_budgets.iter().map(|budget| &budget.mode).chain(config.circuits.iter().map(|c| &c.mode));
    if modes.into_iter().any(enforced) || has_deadline(retries) {
        said.push(
            "Refused is, before any limit is asked: with the error of the client's own API, `x-should-retry: false` and, where \
             a time is known, `retry-after`; at the headers if they tell, else at the end of the body."
                .into(),
        );
    }
    said.push(store(&retrier));
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    let by_body = config.retries.as_ref().is_none_or(|retries| retries.sources.contains(&RetrySource::Body));
    for (at, budget) in config.retry_budgets.iter().enumerate() {
        let mut warn = |key: &str, why: String| said.push(format!("retry_budgets[{at}].{key}: {why}"));
        if budget.ratio.milli() == 0 && budget.min_per_second.milli() == 0 {
            warn("ratio", "with min_per_second 0 no retry ever passes.".into());
        }
        if budget.ratio.milli() >= 1000 {
            warn("ratio", "as many retries as first tries, or more, are no bound in an outage.".into());
        }
        scopes(config, &budget.scope).for_each(|why| warn("scope", why));
    }
    for (at, circuit) in config.circuits.iter().enumerate() {
        let mut warn = |key: &str, why: String| said.push(format!("circuits[{at}].{key}: {why}"));
        if circuit.failures.milli() > 1000 {
            warn("failures", "more than all calls cannot fail: it never opens.".into());
        }
        if circuit.failures.milli() == 0 {
            warn("failures", "with 0 one failure opens it, whatever the other calls do.".into());
        }
        scopes(config, &circuit.scope).for_each(|why| warn("scope", why));
    }
    if let Some(retries) = &config.retries {
        if retries.sources.is_empty() && retries.header.is_none() {
            said.push("retries.sources: with none of them, and no header, every call is a first try.".into());
        }
        if has_deadline(retries) && retries.sources.is_empty() && retries.header.is_none() {
            said.push("retries.deadline: only retries are held to it, and there are none.".into());
        }
    }
    let body_alone = by_body && !config.admission.hold_headers;
    if body_alone && config.retry_budgets.iter().any(|budget| budget.mode == Mode::Enforce) {
        said.push(
            "admission.hold_headers: without it the upstream gets the headers of a retry that only its body tells, and sees \
             them break off if it is refused."
                .into(),
        );
    }
    said
}

fn scopes<'a>(config: &'a Config, scope: &'a [RetryScope]) -> impl Iterator<Item = String> + 'a {
    let identity = &config.identity;
    let without = |part: &RetryScope| match part {
        RetryScope::Tenant => identity.tenant.is_empty(),
        RetryScope::User => identity.user.is_empty(),
        RetryScope::Run => identity.run.is_empty(),
        _ => false,
    };
    let none = scope.iter().filter(move |part| without(part));
    none.map(|part| format!("identity.{of} has no source: calls have no {of}.", of = word(*part)))
}

fn told_by(retries: &Retries) -> String {
    let mut by: Vec<String> = retries.sources.iter().map(|source| told(*source).to_owned()).collect();
    by.extend(retries.header.as_ref().map(|header| format!("the request header `{}`", header.as_str())));
    if by.is_empty() {
        return "No call is taken for a retry.".into();
    }
    let window = match retries.sources.contains(&RetrySource::Body) {
        true => format!(
            " A failed request is remembered for {} s, as a keyed hash; {} of them at once.",
            retries.window_s.seconds(),
            number(retries.keys.get().into())
        ),
        false => String::new(),
    };
    format!("A retry is told by: {}.{window}", by.join("; "))
}

fn told(source: RetrySource) -> &'static str {
    match source {
        RetrySource::Stainless => "`x-stainless-retry-count` (OpenAI's and Anthropic's SDKs)",
        RetrySource::Envoy => "`x-envoy-attempt-count` (a proxy in front)",
        RetrySource::AmzSdk => "`amz-sdk-request` (AWS's SDKs)",
        RetrySource::IdempotencyKey => "an `idempotency-key` seen before",
        RetrySource::Body => "the same caller sending the same request after it failed",
    }
}

fn has_deadline(retries: &Retries) -> bool {
    let deadline = &retries.deadline;
    deadline.header.is_some() || deadline.stainless_timeout || deadline.grpc_timeout
}

fn deadlines(retries: &Retries) -> Option<String> {
    let deadline = &retries.deadline;
    let own = deadline.header.as_ref().map(|name| format!("`{}` (milliseconds since 1970)", name.as_str()));
    let stainless = deadline.stainless_timeout.then(|| "`x-stainless-timeout`".to_owned());
    let grpc = deadline.grpc_timeout.then(|| "`grpc-timeout`".to_owned());
    let all: Vec<String> = [own, stainless, grpc].into_iter().flatten().collect();
    (!all.is_empty()).then(|| {
        format!(
            "A retry is refused if half of the recent answers of its model and route took longer than what is left until {}; \
             first tries always pass.",
            all.join(", or ")
        )
    })
}

fn budget(budget: &RetryBudget) -> String {
    let RetryBudget { name, scope, matches, ratio, min_per_second, ttl_s, unit, mode, fail, refuse_with } = budget;
    let (unit, first, of) = match unit {
        RetryUnit::Calls => ("retries", "first tries", "calls"),
        RetryUnit::Tokens => ("tokens of retries", "those of first tries", "tokens"),
    };
    let reserve = min_per_second.milli().saturating_mul(ttl_s.seconds());
    let more = match reserve {
        0 => String::new(),
        reserve => format!(" and {} more {of}", decimal(reserve)),
    };
    let out = match mode {
        Mode::Enforce => format!("A retry beyond it is refused with {}.", with(*refuse_with)),
        Mode::Shadow => "A retry beyond it passes, and the record says that it would have been refused.".into(),
    };
    let unsure = match fail {
        Fail::Open => "passes",
        Fail::Closed => "is refused",
    };
    format!(
        "Retry budget `{}`: {}, in any {} s, {unit} are at most {} % of {first}{more}. {out} What cannot be decided {unsure}.",
        name.as_str(),
        whose(scope, matches),
        seconds(*ttl_s),
        percent(*ratio),
    )
}

fn with(refuse_with: RefuseWith) -> &'static str {
    match refuse_with {
        RefuseWith::LastError => "the status of its own last failure, else of the last under this budget, else 503",
        RefuseWith::TooManyRequests => "429",
        RefuseWith::Unavailable => "503",
    }
}

fn circuit(circuit: &Circuit) -> String {
    let Circuit { name, scope, matches, failures, min_calls, window_s, probe_ms, close_after, retry_after_ms, mode } =
        circuit;
    let (least, most) = (u64::from(retry_after_ms.get()) / 2, u64::from(retry_after_ms.get()) * 3 / 2);
    let open = match mode {
        Mode::Enforce => format!(
            "Then all calls are refused with 503 and told to come again after {} to {}",
            millis(least),
            millis(most)
        ),
        Mode::Shadow => "Then all calls pass, and the record says that they would have been refused".into(),
    };
    format!(
        "Circuit `{}`: {}, opens when {} % of at least {} calls in {} s failed (status 500 and above, or broken off). {open}, \
         but for one probe each {}; {} good ones in a row close it.",
        name.as_str(),
        whose(scope, matches),
        percent(*failures),
        number(min_calls.get().into()),
        seconds(*window_s),
        millis(probe_ms.get().into()),
        number(close_after.get().into()),
    )
}

fn whose(scope: &[RetryScope], matches: &Match) -> String {
    let matched = [("model", &matches.model), ("route", &matches.route), ("tenant", &matches.tenant)];
    let which: Vec<String> =
        matched.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_deref()?))).collect();
    let of = if which.is_empty() { String::new() } else { format!(" of {}", which.join(", ")) };
    let parts: Vec<&str> = scope.iter().map(|part| word(*part)).collect();
    match &parts[..] {
        [] => format!("together, all calls{of}"),
        parts => format!("together, the calls{of} of each {}", parts.join(" + ")),
    }
}

fn word(part: RetryScope) -> &'static str {
    match part {
        RetryScope::Tenant => "tenant",
        RetryScope::User => "user",
        RetryScope::Run => "run",
        RetryScope::Model => "model",
        RetryScope::Route => "route",
        RetryScope::Cluster => "cluster",
        RetryScope::Tool => "tool",
    }
}

fn seconds(seconds: Seconds) -> String {
    number(seconds.seconds())
}

/// Thousandths as a number.
fn decimal(thousandths: u64) -> String {
    match thousandths % 1000 {
        0 => number(thousandths / 1000),
        _ => format!("{}", thousandths as f64 / 1000.0),
    }
}

/// Thousandths as a percentage.
fn percent(share: Thousandths) -> String {
    decimal(share.milli().saturating_mul(100))
}

/// Where the state lies, and how large it can become.
fn store(retrier: &Retrier) -> String {
    let [budgets, circuits, seen] = retrier.max_bytes();
    let parts = [(seen, "failed requests"), (budgets, "retry budgets"), (circuits, "circuits")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{:.1} MB for {what}", *bytes as f64 / 1e6))
        .collect();
    format!(
        "All workers of an Envoy share what they know of retries, in Envoy's memory; it takes at most {}.",
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(sections: &str) -> (String, Vec<String>) {
        let config = format!(r#"{{"identity":{{"tenant":[{{"header":"x-t"}}]}},{sections}}}"#);
        let config = Config::parse(config.as_bytes()).unwrap();
        (describe(&config).join("\n"), warnings(&config))
    }

    #[test]
    fn what_becomes_of_retries_is_told_in_words() {
        for (sections, wanted, not) in [
            (
                r#""retry_budgets":[{"name":"upstream","ratio":0.1,"min_per_second":0.5}]"#,
                &[
                    "A retry is told by: `x-stainless-retry-count`",
                    "the same caller sending the same request after it failed. A failed request is remembered for 60 s, as a keyed \
                     hash; 32,768 of them at once.",
                    "Retry budget `upstream`: together, the calls of each route + cluster, in any 10 s, retries are at most 10 % of \
                     first tries and 5 more calls.",
                    "refused with the status of its own last failure, else of the last under this budget, else 503. What cannot be \
                     decided passes.",
                    "`x-envoy-max-retries: 1`",
                    "Refused is, before any limit is asked",
                    "MB for failed requests, 1.7 MB for retry budgets.",
                ][..],
                &["Circuit", "half of the recent"][..],
            ),
            (
                r#""retries":{"sources":["stainless"],"header":"x-agent-retry"},
                    "retry_budgets":[{"name":"b","scope":["tenant","tool"],"match":{"model":"gpt*"},"ratio":0.025,"min_per_second":0.01,
                    "ttl_s":60,"unit":"tokens","mode":"shadow","fail":"closed","refuse_with":"too_many_requests"}]"#,
                &[
                    "A retry is told by: `x-stainless-retry-count` (OpenAI's and Anthropic's SDKs); the request header `x-agent-retry`.",
                    "together, the calls of model gpt* of each tenant + tool, in any 60 s, tokens of retries are at most 2.5 % of those \
                     of first tries and 0.6 more tokens. A retry beyond it passes, and the record says",
                    "What cannot be decided is refused.",
                ],
                &["remembered", "Refused is", "x-envoy-max-retries"],
            ),
            (
                r#""circuits":[{"name":"tools","scope":["tool"],"failures":0.25,"min_calls":1500,"probe_ms":500,"retry_after_ms":3000}]"#,
                &[
                    "Circuit `tools`: together, the calls of each tool, opens when 25 % of at least 1,500 calls in 10 s failed",
                    "refused with 503 and told to come again after 1,500 ms to 4,500 ms, but for one probe each 500 ms; 3 good ones in \
                     a row close it.",
                    "MB for circuits.",
                ],
                &["Retry budget"],
            ),
            (
                r#""retries":{"deadline":{"header":"x-request-deadline","stainless_timeout":true,"grpc_timeout":true}},
                    "circuits":[{"name":"c","mode":"shadow"}]"#,
                &[
                    "took longer than what is left until `x-request-deadline` (milliseconds since 1970), or `x-stainless-timeout`, or \
                     `grpc-timeout`; first tries always pass.",
                    "Then all calls pass, and the record says that they would have been refused, but for one probe",
                    "Refused is",
                ],
                &[],
            ),
            (r#""retries":{"sources":[]}"#, &["No call is taken for a retry."], &["Refused is"]),
        ] {
            let (text, _) = told_of(sections);
            for sentence in wanted {
                assert!(text.contains(sentence), "{sentence}\n{text}");
            }
            for sentence in not {
                assert!(!text.contains(sentence), "{sentence}\n{text}");
            }
        }
        assert_eq!(told_of(r#""limits":[]"#).0, "");
    }

    #[test]
    fn what_is_probably_not_meant_is_a_warning() {
        let held = r#""admission":{"hold_headers":true},"#;
        for (sections, wanted) in [
            (r#""retry_budgets":[{"name":"b","ratio":0.1}]"#, &["admission.hold_headers: without it the upstream"][..]),
            (r#""retries":{"sources":["envoy"]},"retry_budgets":[{"name":"b","ratio":0.1}]"#, &[]),
            (&format!(r#"{held}"retry_budgets":[{{"name":"b","ratio":0.1}}]"#), &[]),
            (
                &format!(r#"{held}"retry_budgets":[{{"name":"b","ratio":0,"min_per_second":0}}]"#),
                &["retry_budgets[0].ratio: with min_per_second 0 no retry ever passes."],
            ),
            (
                &format!(r#"{held}"retry_budgets":[{{"name":"b","ratio":1,"scope":["tenant","user"]}}]"#),
                &["retry_budgets[0].ratio: as many", "retry_budgets[0].scope: identity.user has no source"],
            ),
            (
                r#""circuits":[{"name":"a","failures":1.5},{"name":"b","failures":0,"scope":["user"]}]"#,
                &[
                    "circuits[0].failures: more than all",
                    "circuits[1].failures: with 0",
                    "circuits[1].scope: identity.user",
                ],
            ),
            (
                r#""retries":{"sources":[],"deadline":{"grpc_timeout":true}}"#,
                &["retries.sources: with none", "retries.deadline: only retries"],
            ),
        ] {
            let (_, warned) = told_of(sections);
            assert_eq!(warned.len(), wanted.len(), "{sections}: {warned:?}");
            for (warning, wanted) in warned.iter().zip(wanted) {
                assert!(warning.starts_with(wanted), "{wanted}\n{warning}");
            }
        }
    }
}
