//! `weirctl check`: what is wrong with a config, by path, or what it will do, in plain sentences.

mod audit;
mod limits;
mod plan;
mod prices;
mod retries;
mod runs;
#[cfg(test)]
mod told;
mod tools;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use weir::config::identity::Source;
use weir::features::slo::config::Slo;
use weir::metrics::series_per_set;
use weir::settings::{Config, LabelBounds};

/// Arguments of `weirctl check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The config, a JSON file; `-` is standard input.
    config: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks and tells. A wrong config is told on standard output too, and the exit code is 1.
///
/// # Errors
/// The file cannot be read.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = text(&arguments.config)?;
    let answer = Config::parse(text.as_bytes());
    let good = answer.is_ok();
    match (answer, arguments.json) {
        (Ok(config), true) => {
            println!("{:#}", json!({"ok": true, "does": describe(&config), "warnings": warnings(&config)}));
        }
        (Ok(config), false) => {
            describe(&config).iter().for_each(|sentence| println!("{sentence}"));
            warnings(&config).iter().for_each(|sentence| println!("Warning: {sentence}"));
        }
        (Err(error), true) => {
            let (path, reason) = placed(&error);
            println!("{:#}", json!({"ok": false, "path": path, "error": reason}));
        }
        (Err(error), false) => {
            let (path, reason) = placed(&error);
            println!("{}: {path}: {reason}", arguments.config.display());
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The text of a config that is right.
///
/// # Errors
/// It cannot be read, or it is wrong: by path and reason.
pub fn read(path: &Path) -> Result<String> {
    let text = text(path)?;
    if let Err(error) = Config::parse(text.as_bytes()) {
        let (place, reason) = placed(&error);
        bail!("{}: {place}: {reason}", path.display());
    }
    Ok(text)
}

/// The path and the reason of an error. What is no JSON at all has no path but the whole.
fn placed(error: &str) -> (&str, &str) {
    match error.split_once(": ") {
        Some(("?", reason)) => (".", reason),
        Some(placed) => placed,
        None => (".", error),
    }
}

fn text(path: &Path) -> Result<String> {
    if path.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("standard input");
    }
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// What a config does, a sentence each.
pub fn describe(config: &Config) -> Vec<String> {
    let identity = &config.identity;
    let mut said = vec![
        who("tenant", &identity.tenant, " It is a label of every metric."),
        who("user", &identity.user, " It stands in the record only."),
        who("run", &identity.run, " It stands in the record only."),
    ];
    let LabelBounds { models, routes, tenants, max_models, max_routes, max_tenants, max_sets } = &config.labels;
    for (label, known, most) in
        [("model", models, max_models), ("route", routes, max_routes), ("tenant", tenants, max_tenants)]
    {
        said.push(bound(label, known, *most));
    }
    said.push(format!(
        "At most {max_sets} combinations of model, route, tenant and api have metrics of their own, up to {} stats each; beyond them \
         only the api is told apart.",
        series_per_set()
    ));
    said.push(match config.usage.inject {
        true => "Streamed OpenAI-like calls are made to report their tokens; the extra chunk is hidden from clients that did \
                 not ask for it."
            .into(),
        false if !config.limits.is_empty() => "No body is changed, but for streams that a limit cuts.".to_owned(),
        false if config.audit.sse_comment => "No body is changed, but for a comment behind streams.".to_owned(),
        false if !config.retry_budgets.is_empty() || audit::is_told(config) => "No body is changed.".to_owned(),
        false => "No request and no answer is changed.".to_owned(),
    });
    said.push(match config.usage.estimate {
        true => "Where a provider reports no tokens they are estimated, and the record says so.".into(),
        false => "Where a provider reports no tokens none are counted.".into(),
    });
    said.push(format!("A gap of more than {} ms between tokens is a stall.", config.timing.stall_ms));
    said.push(format!(
        "An event of more than {} bytes is passed on unread, and counted.",
        config.read.max_event_bytes.bytes()
    ));
    if config.filter_state.tokens {
        said.push(
            "Envoy's other filters find each call's tokens in `wasm.weir.reserve` and `wasm.weir.charge`.".into(),
        );
    }
    said.extend(config.slo.iter().enumerate().map(|(i, slo)| objective(i, slo)));
    said.extend(retries::describe(config));
    said.extend(limits::describe(config));
    said.extend(prices::describe(config));
    said.extend(runs::describe(config));
    said.extend(plan::describe(config));
    said.extend(tools::describe(config));
    said.extend(audit::describe(config));
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    /// From here on Envoy's stats take a noticeable part of its memory and of a scrape.
    const MANY_STATS: usize = 200_000;
    let mut said = Vec::new();
    let mut names = BTreeSet::new();
    for (i, slo) in config.slo.iter().enumerate() {
        let name = name(i, slo);
        if !names.insert(name.clone()) {
            said.push(format!("slo[{i}].name: `{name}` is another objective's too; the two are counted together."));
        }
    }
    let stats = (config.labels.max_sets.get() as usize).saturating_mul(series_per_set());
    if stats > MANY_STATS {
        said.push(format!("labels.max_sets: all in use, they make up to {stats} stats."));
    }
    for (label, known, most) in [
        ("models", &config.labels.models, config.labels.max_models),
        ("routes", &config.labels.routes, config.labels.max_routes),
        ("tenants", &config.labels.tenants, config.labels.max_tenants),
    ] {
        if known.is_empty() && most == 0 {
            said.push(format!("labels.max_{label}: with 0 and an empty labels.{label} all of them are `other`."));
        }
    }
    said.extend(retries::warnings(config));
    said.extend(limits::warnings(config));
    said.extend(prices::warnings(config));
    said.extend(runs::warnings(config));
    said.extend(plan::warnings(config));
    said.extend(tools::warnings(config));
    said.extend(audit::warnings(config));
    said
}

fn who(what: &str, sources: &[Source], where_it_stands: &str) -> String {
    if sources.is_empty() {
        return format!("Calls have no {what}.");
    }
    let sources: Vec<String> = sources.iter().map(source).collect();
    match &sources[..] {
        [only] => format!("The {what} is {only}.{where_it_stands}"),
        many => format!("The {what} is the first of these that is there: {}.{where_it_stands}", many.join("; ")),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Header(name) => format!("the request header `{}`", name.as_str()),
        Source::TraceId => "the trace id of `traceparent`".into(),
        Source::Baggage(key) => format!("`{key}` of the `baggage` header"),
        Source::JwtClaim(jwt) => {
            format!("the claim `{}` of the JWT payload that jwt_authn keeps as `{}`", jwt.claim, jwt.payload)
        }
        Source::MtlsPeer => "the client certificate's URI SAN or subject".into(),
        Source::ApiKeyHash(_) => "a salted hash of the API key".into(),
    }
}

fn bound(label: &str, known: &[String], most: u16) -> String {
    let others = match most {
        0 => "all others are `other`".to_owned(),
        most => format!("{most} more, as successful calls name them, then `other`"),
    };
    match known {
        [] => format!("Label `{label}`: {}.", others.replacen(" more,", " values,", 1)),
        known => format!("Label `{label}`: {}; {others}.", known.join(", ")),
    }
}

fn objective(i: usize, slo: &Slo) -> String {
    let matches = [("model", &slo.matches.model), ("route", &slo.matches.route), ("tenant", &slo.matches.tenant)];
    let which: Vec<String> =
        matches.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_deref()?))).collect();
    let which = if which.is_empty() { "all calls".into() } else { format!("calls of {}", which.join(", ")) };
    // As many digits as it was written with: 0.999 is 99.9 %.
    let share = (slo.objective.share() * 1e8).round() / 1e6;
    format!(
        "Objective `{}`: of {which}, {share} % have their first token within {} ms.",
        name(i, slo),
        slo.first_token_ms
    )
}

fn name(i: usize, slo: &Slo) -> String {
    slo.name.clone().unwrap_or_else(|| format!("slo-{i}"))
}
