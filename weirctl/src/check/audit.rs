//! What callers are told, what is sealed, and what is kept of runs, in words.

use weir::features::trail::config::{HandOut, Trail};
use weir::features::trail::trails::Trails;
use weir::settings::Audit;
use weir::settings::Config;

use super::limits::number;
use super::runs::without_run;

/// What the section does; nothing where it is empty.
pub fn describe(config: &Config) -> Vec<String> {
    let Audit { headers, trailers, sse_comment, chain, trail } = &config.audit;
    let told = [
        (*headers, "Every answer's head names its call, run, model, tightest limit and retry (`x-weir-call`, …)."),
        (
            *trailers,
            "Every answer's trailers say how it ended, and its tokens, cost and time to first token (`x-weir-ended`, …).",
        ),
        (
            *sse_comment,
            "The same stands behind the last event of streams of OpenAI's, Anthropic's and Cohere's APIs, as a comment.",
        ),
    ];
    let mut said: Vec<String> = told.iter().filter(|(on, _)| *on).map(|(_, words)| (*words).to_owned()).collect();
    said.extend(chain.as_ref().map(|chain| {
        let key = chain.key_id.as_str();
        format!(
            "Each record is sealed with the key `{key}` and holds on to the one before: see `weirctl audit verify`."
        )
    }));
    said.extend(trail.iter().flat_map(kept));
    said
}

/// Whether any answer gets headers or trailers.
pub fn is_told(config: &Config) -> bool {
    let Audit { headers, trailers, trail, .. } = &config.audit;
    *headers || *trailers || trail.is_some()
}

fn kept(trail: &Trail) -> Vec<String> {
    let Trail {
        path,
        tokens,
        operator_key,
        operator_header,
        sources,
        source_pointers,
        runs,
        records,
        forget_after_s,
        ..
    } = trail;
    let who = match tokens {
        HandOut::Start => "the calls that begin a run get its token",
        HandOut::Always => "every call of a run gets its token",
    };
    let operator = match operator_key {
        Some(_) => format!("; an operator shows the key in `{}`", operator_header.as_str()),
        None => String::new(),
    };
    let mut said = vec![
        format!(
            "The trail of a run is read at `{}{{run}}`, by its tenant with its token: {who}{operator}.",
            path.as_str()
        ),
        format!(
            "Kept are the last {} calls of some {} runs, each until it is idle for {} s, in at most {} bytes.",
            number(records.get().into()),
            number(runs.get().into()),
            number(forget_after_s.get().into()),
            number(Trails::max_bytes(trail) as u64),
        ),
    ];
    let headers = sources.iter().map(|header| format!("the header `{}`", header.as_str()));
    let pointers = source_pointers.iter().map(|pointer| format!("`{}`", String::from(pointer.clone())));
    let sources: Vec<String> = headers.chain(pointers).collect();
    if !sources.is_empty() {
        said.push(format!("A call's sources are what its answer has in {}.", sources.join(", ")));
    }
    if !source_pointers.is_empty() {
        said.push("Answers of calls of kind `tool`, `retrieval` and `rerank` are read for them; no other.".into());
    }
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    let Some(trail) = &config.audit.trail else { return said };
    said.extend(without_run(config, "audit.trail"));
    if config.identity.tenant.is_empty() {
        said.push(
            "audit.trail: identity.tenant has no source: who knows a run's token reads it, whoever it is.".into(),
        );
    }
    let key = trail.key.as_bytes();
    let same = |what: &str, other: Option<&[u8]>| {
        (other == Some(key)).then(|| format!("audit.trail.key: it is {what} too: who has one has both."))
    };
    said.extend(same("audit.trail.operator_key", trail.operator_key.as_ref().map(|key| key.as_bytes())));
    said.extend(same("audit.chain.key", config.audit.chain.as_ref().map(|chain| chain.key.as_bytes())));
    said
}

#[cfg(test)]
mod tests {
    use super::super::told::assert_told;
    use super::*;

    #[test]
    fn the_audit_is_told_in_words_and_what_is_probably_not_meant_is_a_warning() {
        for (config, wanted, warned) in [
            ("{}", &[][..], &[][..]),
            (
                r#"{"audit":{"headers":true,"trailers":true,"sse_comment":true,"chain":{"key":"0123456789abcdef","key_id":"2026-11"}}}"#,
                &["names its call", "trailers say how it ended", "as a comment", "sealed with the key `2026-11`"],
                &[],
            ),
            (
                r#"{"identity":{"tenant":[{"header":"x-t"}]},"audit":{"trail":{"key":"0123456789abcdef"}}}"#,
                &[
                    "read at `/.weir/runs/{run}`, by its tenant with its token: the calls that begin a run get its token.",
                    "the last 64 calls of some 1,000 runs, each until it is idle for 3,600 s, in at most 21,274,000 bytes",
                ],
                &[],
            ),
            (
                r#"{"identity":{"run":[]},"audit":{"chain":{"key":"0123456789abcdef"},"trail":{"key":"0123456789abcdef",
                    "operator_key":"0123456789abcdef","tokens":"always","sources":["x-s"],"source_pointers":["/r/*/url"]}}}"#,
                &[
                    "every call of a run gets its token; an operator shows the key in `x-weir-operator-key`.",
                    "what its answer has in the header `x-s`, `/r/*/url`.",
                    "`retrieval` and `rerank` are read for them",
                ],
                &[
                    "audit.trail: identity.run has no source",
                    "audit.trail: identity.tenant has no source",
                    "it is audit.trail.operator_key too",
                    "it is audit.chain.key too",
                ],
            ),
        ] {
            let text = assert_told((describe, warnings), config, wanted, warned);
            assert!(!text.contains("0123456789abcdef"), "no key is told");
        }
    }
}
