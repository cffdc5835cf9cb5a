//! `weirctl limits`: what a limit would have done to traffic that was recorded: its own code, in made-up time.

mod play;
mod trace;

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde::Serialize;

use play::{Limit, Pace, Reserve, play};
use trace::Trace;

/// Arguments of `weirctl limits`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A CSV of calls with the columns TIMESTAMP, ContextTokens and GeneratedTokens, such as Azure's public LLM inference traces.
    pub trace: PathBuf,
    /// The limits to try, in percent of the trace's mean use of tokens.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 80, 100, 120, 150].map(|p| NonZeroU64::MIN.saturating_add(p - 1)))]
    pub limit: Vec<NonZeroU64>,
    /// How long a call may be held, in milliseconds, at most 600,000.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub max_wait_ms: u32,
    /// The `max_tokens` that clients send.
    #[arg(long, default_value_t = 4096)]
    pub max_tokens: u64,
    /// How long an answer's first token takes, in milliseconds.
    #[arg(long, default_value_t = 300)]
    pub first_token_ms: u64,
    /// How long each further token takes, in milliseconds.
    #[arg(long, default_value_t = 20)]
    pub token_ms: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What came of a limit.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The limit, in percent of the mean use.
    pub limit_percent: u64,
    /// In tokens per minute; as much may pass at once.
    pub tokens_per_minute: u64,
    /// What is reserved for an answer.
    pub reserve: &'static str,
    /// Calls in the trace.
    pub calls: u64,
    /// Of those.
    pub refused_percent: f64,
    /// Calls that were held and then passed, of all.
    pub held_percent: f64,
    /// Of the calls that were held and passed, in milliseconds.
    pub wait_p50_ms: u64,
    /// Of the calls that were held and passed, in milliseconds.
    pub wait_p99_ms: u64,
    /// Tokens used, of what the limit gives in the time of the trace.
    pub used_percent: f64,
    /// The most that was used above burst and rate, in any time, in percent of the burst.
    pub over_percent: f64,
}

/// Plays and prints.
///
/// # Errors
/// The trace cannot be read, or is none.
pub fn run(arguments: &Arguments) -> Result<()> {
    let rows = rows(arguments)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table(&rows));
    }
    Ok(())
}

/// Every limit with every kind of reservation.
///
/// # Errors
/// The trace cannot be read, or is none.
pub fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let path = arguments.trace.display();
    let text = std::fs::read_to_string(&arguments.trace).with_context(|| path.to_string())?;
    let trace = Trace::parse(&text).with_context(|| path.to_string())?;
    let pace = Pace { first_token_ms: arguments.first_token_ms, token_ms: arguments.token_ms };
    let mut rows = Vec::new();
    for percent in &arguments.limit {
        let tokens_per_minute = trace.tokens_per_minute().saturating_mul(percent.get()) / 100;
        let limit = Limit { tokens_per_minute: tokens_per_minute.max(1), max_wait_ms: arguments.max_wait_ms };
        for reserve in [Reserve::Learned, Reserve::MaxTokens, Reserve::Nothing] {
            let row = play(&trace, limit, reserve, arguments.max_tokens, pace)?;
            rows.push(Row { limit_percent: percent.get(), ..row });
        }
    }
    Ok(rows)
}

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "limit",
        "tokens/min",
        "reserved for the answer",
        "refused",
        "held",
        "wait p50",
        "wait p99",
        "used",
        "over",
    ]);
    for row in rows {
        let percent = |percent: f64| format!("{percent:.1} %");
        table.add_row([
            format!("{} %", row.limit_percent),
            row.tokens_per_minute.to_string(),
            row.reserve.to_owned(),
            percent(row.refused_percent),
            percent(row.held_percent),
            format!("{} ms", row.wait_p50_ms),
            format!("{} ms", row.wait_p99_ms),
            percent(row.used_percent),
            percent(row.over_percent),
        ]);
    }
    table
}
