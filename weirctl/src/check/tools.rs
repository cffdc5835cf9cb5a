//! What is told of tools, in words.

use weir::features::tools::config::{ToolArguments, Tools};
use weir::settings::Config;

use super::limits::number;
use super::runs::without_run;

/// What becomes of tools; nothing where nobody looks.
pub fn describe(config: &Config) -> Vec<String> {
    let Some(Tools { names, max_names, window_s, keys, arguments }) = &config.tools else { return Vec::new() };
    let named = match &names[..] {
        [] => String::new(),
        names => format!("{}; ", names.join(", ")),
    };
    let others = match max_names {
        0 => "all others are `other`".to_owned(),
        most => format!(
            "{most} {}as they run with success, then `other`",
            if names.is_empty() { "values, " } else { "more, " }
        ),
    };
    vec![
        format!(
            "Tools that models ask for, and those that run over MCP or as `kinds` say, are told apart. Label `tool`: {named}{others}."
        ),
        format!(
            "A tool that was asked for is waited for {} s, {} of them at once; what runs within the same run of the same tenant \
             is matched with it.",
            number(window_s.seconds()),
            number(keys.get().into()),
        ),
        match arguments {
            None => "Of their arguments the record has size and keyed hash.".to_owned(),
            Some(ToolArguments { max_bytes, redact }) => format!(
                "Their arguments stand in the record, cut at {} bytes{}.",
                number(u64::from(*max_bytes)),
                match &redact[..] {
                    [] => String::new(),
                    keys => format!(", with `***` in the place of the values of {}", keys.join(", ")),
                },
            ),
        },
    ]
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let Some(tools) = &config.tools else { return Vec::new() };
    let mut said: Vec<String> = Vec::new();
    if without_run(config, "tools").is_some() {
        said.push("tools: identity.run has no source: no tool that runs is matched with who asked for it.".into());
    }
    if tools.arguments.as_ref().is_some_and(|arguments| arguments.redact.is_empty()) {
        said.push(
            "tools.arguments.redact: it is empty: arguments stand in the record as they are, secrets too.".into(),
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::told::assert_told;
    use super::*;

    #[test]
    fn tools_are_told_in_words_and_what_is_probably_not_meant_is_a_warning() {
        for (config, wanted, warned) in [
            ("{}", &[][..], &[][..]),
            (
                r#"{"tools":{}}"#,
                &["Label `tool`: 50 values, as they run", "waited for 600 s, 8,192 of them", "size and keyed hash"],
                &[],
            ),
            (
                r#"{"tools":{"names":["a","b"],"max_names":0,"arguments":{"redact":["*key*","password"]}}}"#,
                &["Label `tool`: a, b; all others are `other`", "cut at 1,024 bytes", "the values of *key*, password."],
                &[],
            ),
            (
                r#"{"identity":{"run":[]},"tools":{"names":["a"],"arguments":{}}}"#,
                &["Label `tool`: a; 50 more, as", "cut at 1,024 bytes."],
                &["tools: identity.run has no source", "tools.arguments.redact"],
            ),
        ] {
            assert_told((describe, warnings), config, wanted, warned);
        }
    }
}
