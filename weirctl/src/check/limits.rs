//! What limits will do, in words.

use weir::config::values::{Fail, Mode};
use weir::features::limits::config::{
    Admission, Limit, OnExceeded, OnFull, Per, Scope, Share, Sharer, Unit, Weigh, Weight, Without,
};
use weir::features::limits::limiter::Limiter;
use weir::settings::Config;

/// What the limits do, a sentence or some each; nothing where there are none.
pub fn describe(config: &Config) -> Vec<String> {
    if config.limits.is_empty() {
        return Vec::new();
    }
    let mut said: Vec<String> = config.limits.iter().map(|limit| told(limit, &config.admission)).collect();
    said.push(
        "A call is counted by all limits that fit it, or by none: if one refuses, the others get back what they gave."
            .into(),
    );
    said.push(
        "Refused is: status 429 with the error of the client's own API, `retry-after` and `retry-after-ms`, what is left of \
         the limit (`ratelimit`, `x-ratelimit-…`), and the limit's name in `x-weir-limit`."
            .into(),
    );
    said.push(match config.admission.headers {
        true => "Answers of calls that passed say what is left of the limit that is nearest to its end.".into(),
        false => "Answers of calls that passed say nothing of limits.".to_owned(),
    });
    if config.limits.iter().any(|limit| limit.max_wait_ms.ms() > 0) {
        said.push(format!(
            "Each worker keeps at most {} calls waiting; further ones are refused.",
            number(config.admission.max_waiting.into())
        ));
    }
    said.push(store(config));
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    for (at, limit) in config.limits.iter().enumerate() {
        let mut warn = |key: &str, why: String| said.push(format!("limits[{at}].{key}: {why}"));
        let parts = limit.scope.iter().copied().chain(limit.share.map(|share| part(share.of)));
        for (part, sources) in parts.filter_map(|part| Some((part, sources(config, part)?))) {
            if sources == 0 && limit.without != Without::Refuse {
                let of = word(part);
                warn("scope", format!("identity.{of} has no source: calls have no {of}."));
            }
        }
        let headers_suffice = !needs_body(limit).any();
        if !headers_suffice && !config.admission.hold_headers && limit.mode == Mode::Enforce {
            warn(
                "scope",
                "without admission.hold_headers the upstream gets the headers of calls that are refused, and sees them \
                 break off."
                    .into(),
            );
        }
        if limit.share.is_some() && limit.scope.contains(&Scope::User) {
            warn("share", "the scope has `user`: each key is one user's, and there is nobody to share it with.".into());
        }
    }
    said
}

/// What of a limit only the body tells.
#[derive(Clone, Copy, Default)]
struct Needs {
    model: bool,
    tool: bool,
}

impl Needs {
    fn any(self) -> bool {
        self.model || self.tool
    }
}

fn needs_body(limit: &Limit) -> Needs {
    Needs {
        model: limit.scope.contains(&Scope::Model) || limit.matches.model.is_some(),
        tool: limit.scope.contains(&Scope::Tool),
    }
}

fn told(limit: &Limit, admission: &Admission) -> String {
    let what = [
        Some(format!("Limit `{}`: {}", limit.name.as_str(), amount(limit))),
        weights(limit),
        limit.share.map(shared),
        Some(wait(limit)),
        Some(place(limit, admission)),
        exceeded(limit),
        without(limit),
        Some(unsure(limit)),
    ];
    what.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Whose calls, and how much of what.
fn amount(limit: &Limit) -> String {
    let whose = whose(limit);
    // As much of what is counted.
    let of = |amount: u64| match limit.unit {
        Unit::Tokens => format!("{} tokens", number(amount)),
        Unit::Calls => format!("{} calls", number(amount)),
        Unit::Cost => format!("${}", amount as f64 / 1e6),
    };
    if let Some(rate) = limit.rate {
        let (most, per) = (u64::from(rate.limit), per(rate.per));
        let burst = rate.burst.map_or(most, u64::from);
        return format!("{whose} may use {} per {per}, {} at once.", of(most), of(burst));
    }
    if let Some(budget) = limit.budget {
        let tree = if budget.from_parent { " Runs that it starts draw from it too." } else { "" };
        let (most, idle) = (of(u64::from(budget.limit)), number(budget.idle_s.get()));
        return format!("{whose} may use {most} in all; forgotten {idle} s after the last call.{tree}");
    }
    if let Some(calls) = limit.concurrency {
        return format!("{whose} may have {} calls in flight at once.", number(calls.get()));
    }
    let tree = limit.tree.unwrap_or(weir::features::limits::config::Tree { max_depth: None, max_fanout: None });
    let depth = tree.max_depth.map(|depth| format!("no call is deeper than {depth} below the first"));
    let fanout =
        tree.max_fanout.map(|most| format!("no call has more than {} others in flight below it", number(most.get())));
    let both: Vec<String> = depth.into_iter().chain(fanout).collect();
    format!("in the tree of calls of {}, {}.", whose.trim_start_matches("together, "), both.join(", and "))
}

fn whose(limit: &Limit) -> String {
    let matches = &limit.matches;
    let matched = [("model", &matches.model), ("route", &matches.route), ("tenant", &matches.tenant)];
    let which: Vec<String> =
        matched.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_deref()?))).collect();
    let of = if which.is_empty() { String::new() } else { format!(" of {}", which.join(", ")) };
    let parts: Vec<&str> = limit.scope.iter().map(|part| word(*part)).collect();
    match &parts[..] {
        [] => format!("together, all calls{of}"),
        parts => format!("together, the calls{of} of each {}", parts.join(" + ")),
    }
}

fn weights(limit: &Limit) -> Option<String> {
    let Weigh { input, cache_read, cache_write, output, reasoning } = limit.weigh;
    let plain = Weigh::default();
    let same = (input, output) == (plain.input, plain.output) && cache_read.or(cache_write).or(reasoning).is_none();
    if !counts_tokens(limit) || same {
        return None;
    }
    let factor = |weight: Weight| match limit.unit {
        Unit::Cost => format!("${}", f64::from(weight)),
        _ => f64::from(weight).to_string(),
    };
    let all = [
        ("of the prompt", Some(input)),
        ("read from a cache", cache_read),
        ("written to a cache", cache_write),
        ("of the answer", Some(output)),
        ("of reasoning", reasoning),
    ];
    let all: Vec<String> =
        all.iter().filter_map(|(kind, weight)| Some(format!("{kind} {}", factor((*weight)?)))).collect();
    let counts = if limit.unit == Unit::Cost { "A million tokens cost" } else { "A token counts" };
    Some(format!("{counts}: {}.", all.join(", ")))
}

/// Whether it counts tokens, or what they cost.
fn counts_tokens(limit: &Limit) -> bool {
    limit.unit != Unit::Calls && (limit.rate.is_some() || limit.budget.is_some())
}

fn shared(Share { of }: Share) -> String {
    let of = word(part(of));
    format!(
        "It is divided among {of}s: under pressure those above their max-min fair share are refused first, and no {of} inside it \
         is refused for another; what one does not use is lent."
    )
}

fn wait(limit: &Limit) -> String {
    let refused = match limit.mode {
        Mode::Enforce => "it is refused",
        Mode::Shadow => "the record says that it would have been refused, and it passes",
    };
    match limit.max_wait_ms.ms() {
        0 => format!("A call that does not fit does not wait: {refused}."),
        ms => {
            format!("A call that does not fit is held for up to {}; if its turn does not come, {refused}.", millis(ms))
        }
    }
}

/// When it is decided, and why then.
fn place(limit: &Limit, admission: &Admission) -> String {
    let tokens = counts_tokens(limit);
    let Needs { model, tool } = needs_body(limit);
    let why = match (model, tool) {
        (true, true) => "only the body tells the model and the tool",
        (true, false) => "only the body tells the model, but for APIs that have it in the path",
        (false, true) => "only the body tells the tool",
        (false, false) => "no more is wanted",
    };
    if admission.hold_headers {
        let most = number(admission.max_held_bytes.into());
        return format!(
            "Decided at the end of the body, with the headers held until then, so the upstream never hears of a refused call \
             (a body of more than {most} bytes: by what is known then)."
        );
    }
    match (model || tool, tokens) {
        (true, _) => format!("Decided at the end of the body, as {why}; the upstream has the headers by then."),
        (false, true) => format!(
            "Decided at the headers, by the length of the body, before the upstream hears of the call ({why}); corrected at \
             the end of the body."
        ),
        (false, false) => format!("Decided at the headers, before the upstream hears of the call ({why})."),
    }
}

fn exceeded(limit: &Limit) -> Option<String> {
    match limit.on_exceeded {
        OnExceeded::Finish => None,
        OnExceeded::Warn => Some("A stream that uses up what is left goes on, and the record says so.".into()),
        OnExceeded::Cut => Some(
            "A stream that uses up what is left is cut with the error event of its API, and the upstream's work is cancelled."
                .into(),
        ),
    }
}

fn without(limit: &Limit) -> Option<String> {
    let parts: Vec<&str> = limit.scope.iter().filter(|part| **part != Scope::Tool).map(|part| word(*part)).collect();
    if parts.is_empty() {
        return None;
    }
    let none = format!("Calls without a {}", parts.join(" or "));
    Some(match limit.without {
        Without::Share => format!("{none} are counted together."),
        Without::Skip => format!("{none} are not counted."),
        Without::Refuse => format!("{none} cannot be decided."),
    })
}

fn unsure(limit: &Limit) -> String {
    let fail = match limit.fail {
        Fail::Open => "passes",
        Fail::Closed => "is refused",
    };
    let full = match limit.on_full {
        OnFull::Allow => "passes, uncounted",
        OnFull::Refuse => "is refused",
    };
    format!("What cannot be decided {fail}; a new key that finds the store full {full}.")
}

/// Where the state lies, and how large it can become.
fn store(config: &Config) -> String {
    let [rates, shared, totals] = Limiter::new(&config.limits, &config.admission).max_bytes();
    let keys = config.admission.keys.get();
    let parts = [
        (rates, format!("rates of some {} keys", number(keys.into()))),
        (shared, "shared rates of some thousand keys".to_owned()),
        (totals, format!("budgets and calls in flight of some {} keys", number(keys.into()))),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{:.1} MB for {what}", *bytes as f64 / 1e6))
        .collect();
    match &parts[..] {
        [] => "Nothing is kept between calls.".into(),
        parts => format!(
            "All workers of an Envoy share the state, in Envoy's memory; whatever the number of keys it takes at most {}.",
            parts.join(", ")
        ),
    }
}

fn word(part: Scope) -> &'static str {
    match part {
        Scope::Tenant => "tenant",
        Scope::User => "user",
        Scope::Run => "run",
        Scope::Model => "model",
        Scope::Route => "route",
        Scope::Tool => "tool",
    }
}

fn part(of: Sharer) -> Scope {
    match of {
        Sharer::Tenant => Scope::Tenant,
        Sharer::User => Scope::User,
        Sharer::Run => Scope::Run,
    }
}

/// How many sources an identity has.
fn sources(config: &Config, part: Scope) -> Option<usize> {
    let identity = &config.identity;
    match part {
        Scope::Tenant => Some(identity.tenant.len()),
        Scope::User => Some(identity.user.len()),
        Scope::Run => Some(identity.run.len()),
        Scope::Model | Scope::Route | Scope::Tool => None,
    }
}

fn per(per: Per) -> &'static str {
    match per {
        Per::Second => "second",
        Per::Minute => "minute",
        Per::Hour => "hour",
        Per::Day => "day",
    }
}

pub(super) fn millis(ms: u64) -> String {
    match ms % 1000 {
        0 => format!("{} s", number(ms / 1000)),
        _ => format!("{} ms", number(ms)),
    }
}

/// With a comma between thousands.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let comma = |(at, digit): (usize, char)| {
        let between = at > 0 && (digits.len() - at).is_multiple_of(3);
        between.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(limits: &str) -> (String, Vec<String>) {
        let config = format!(r#"{{"identity":{{"tenant":[{{"header":"x-t"}}]}},{limits}}}"#);
        let config = Config::parse(config.as_bytes()).unwrap();
        (describe(&config).join("\n"), warnings(&config))
    }

    #[test]
    fn a_limit_is_told_in_words() {
        for (limits, wanted) in [
            (
                r#""limits":[{"name":"tpm","scope":["tenant"],"rate":{"limit":1200000,"per":"minute","burst":50000}}]"#,
                &[
                    "Limit `tpm`: together, the calls of each tenant may use 1,200,000 tokens per minute, 50,000 tokens at once.",
                    "does not wait: it is refused.",
                    "Decided at the headers, by the length of the body, before the upstream hears of the call",
                    "corrected at the end of the body.",
                    "Calls without a tenant are counted together.",
                    "What cannot be decided passes; a new key that finds the store full passes, uncounted.",
                    "0.5 MB for rates of some 32,768 keys.",
                ][..],
            ),
            (
                r#""limits":[{"name":"m","scope":["tenant","model"],"match":{"route":"chat*"},"rate":{"limit":9,"per":"second"},
                    "weigh":{"cache_read":0.1,"output":4},"share":{"of":"run"},"max_wait_ms":1500,"mode":"shadow","fail":"closed"}]"#,
                &[
                    "together, the calls of route chat* of each tenant + model may use 9 tokens per second, 9 tokens at once.",
                    "A token counts: of the prompt 1, read from a cache 0.1, of the answer 4.",
                    "It is divided among runs: under pressure",
                    "held for up to 1,500 ms; if its turn does not come, the record says that it would have been refused",
                    "Decided at the end of the body, as only the body tells the model, but for APIs that have it in the path; the \
                     upstream has the headers by then.",
                    "What cannot be decided is refused;",
                    "Each worker keeps at most 1,000 calls waiting",
                    "for shared rates",
                ],
            ),
            (
                r#""admission":{"hold_headers":true},
                    "limits":[{"name":"b","scope":["run"],"budget":{"limit":5000000,"from_parent":true},"on_exceeded":"cut"},
                    {"name":"c","scope":["tool"],"concurrency":8,"max_wait_ms":2000,"without":"skip","on_full":"refuse"}]"#,
                &[
                    "the calls of each run may use 5,000,000 tokens in all; forgotten 3,600 s after the last call. Runs that it \
                     starts draw from it too.",
                    "with the headers held until then, so the upstream never hears of a refused call (a body of more than 524,288",
                    "is cut with the error event of its API",
                    "together, the calls of each tool may have 8 calls in flight at once.",
                    "held for up to 2 s;",
                    "a new key that finds the store full is refused.",
                    "for budgets and calls in flight",
                ],
            ),
            (
                r#""limits":[{"name":"money","unit":"cost","match":{"model":"gpt-4o*"},"weigh":{"input":2.5,"output":10},
                    "budget":{"limit":12500000},"scope":["tenant"]}]"#,
                &[
                    "the calls of model gpt-4o* of each tenant may use $12.5 in all",
                    "A million tokens cost: of the prompt $2.5, of the answer $10.",
                ],
            ),
            (
                r#""admission":{"headers":false},"limits":[{"name":"t","tree":{"max_depth":3,"max_fanout":16}}]"#,
                &[
                    "in the tree of calls of all calls, no call is deeper than 3 below the first, and no call has more than 16 others",
                    "Answers of calls that passed say nothing of limits.",
                ],
            ),
        ] {
            let (text, _) = told_of(limits);
            for sentence in wanted {
                assert!(text.contains(sentence), "{sentence}\n{text}");
            }
            assert!(text.contains("Refused is: status 429"), "{text}");
        }
        assert_eq!(told_of(r#""limits":[]"#).0, "");
    }

    #[test]
    fn what_is_probably_not_meant_is_a_warning() {
        for (limits, wanted) in [
            (
                r#""limits":[{"name":"a","scope":["user"],"concurrency":1}]"#,
                &["limits[0].scope: identity.user has no source"][..],
            ),
            (
                r#""limits":[{"name":"a","scope":["model"],"rate":{"limit":1,"per":"second"}}]"#,
                &["limits[0].scope: without admission.hold_headers"],
            ),
            (
                r#""limits":[{"name":"a","scope":["user"],"rate":{"limit":1,"per":"second"},"share":{"of":"user"}}]"#,
                &["identity.user has no source", "identity.user has no source", "nobody to share it with"],
            ),
            (r#""limits":[{"name":"a","scope":["tenant","run"],"concurrency":1}]"#, &[]),
        ] {
            let (_, warned) = told_of(limits);
            assert_eq!(warned.len(), wanted.len(), "{warned:?}");
            for (warning, wanted) in warned.iter().zip(wanted) {
                assert!(warning.contains(wanted), "{wanted}\n{warning}");
            }
        }
    }

    #[test]
    fn thousands_have_commas() {
        for (value, wanted) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), wanted);
        }
    }
}
