//! `weirctl audit verify`: whether the records in access logs are all there, and as they were written.

pub mod chains;
pub mod keys;
pub mod sealed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use chains::{Finding, Findings, Logs};
use keys::Keys;
use sealed::Line;

use crate::access_log;

/// How many findings of a kind are printed one by one.
const MAX_PRINTED: usize = 20;

/// Arguments of `weirctl audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says which records of access logs are missing, changed, repeated or out of order.
    Verify(Verify),
}

/// Arguments of `weirctl audit verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Access logs in the order in which they were written, gzipped or not; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The keys: weir's own config, or lines of a key's id and the key with a blank between; a key alone is `default`.
    #[arg(long, required = true)]
    key_file: Vec<PathBuf>,
    /// The logs begin in the middle: what is missing in front of a chain's first record is no finding.
    #[arg(long)]
    partial: bool,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// Files that cannot be read.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Command::Verify(verify) = &arguments.command;
    let keys = Keys::read(&verify.key_file)?;
    let mut logs = Logs::new(keys, verify.partial);
    let bar = bar(&verify.files);
    for file in &verify.files {
        read(file, &mut logs, &bar).with_context(|| format!("cannot read {}", file.display()))?;
    }
    bar.finish_and_clear();
    let findings = logs.findings();
    if verify.json {
        println!("{}", report(&findings, &verify.files));
    } else {
        print(&findings, &verify.files);
    }
    Ok(if findings.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path, logs: &mut Logs, bar: &ProgressBar) -> Result<()> {
    let mut reader = access_log::open(path, bar)?;
    logs.next_file();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        logs.line(&Line::of(&line));
        line.clear();
    }
    Ok(())
}

fn bar(files: &[PathBuf]) -> ProgressBar {
    let bytes = files.iter().map(|file| std::fs::metadata(file).map_or(0, |file| file.len())).sum();
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("  verifying [{bar:40}] {bytes}/{total_bytes} {elapsed}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn report(findings: &Findings, files: &[PathBuf]) -> Value {
    let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(from, to)| json!([from, to])).collect::<Vec<_>>();
    let found = |found: &[Finding]| {
        let at = |f: &Finding| json!({"seq": f.seq, "file": name(files, f.at.0), "line": f.at.1});
        found.iter().map(at).collect::<Vec<_>>()
    };
    let chains = findings.chains.iter().map(|chain| {
        json!({
            "worker": chain.worker, "first": chain.first, "last": chain.last, "records": chain.records,
            "missing": ranges(&chain.missing), "changed": found(&chain.changed), "repeated": found(&chain.repeated),
            "out_of_order": found(&chain.out_of_order), "unproven": found(&chain.unproven),
            "unknown_key": found(&chain.unknown_key),
        })
    });
    let lost = findings.lost.iter().map(|lost| json!([hex(lost.from), hex(lost.to)]));
    let damaged = findings.damaged.iter().map(|at| json!({"file": name(files, at.0), "line": at.1}));
    json!({
        "fine": findings.is_fine(),
        "records": findings.records(),
        "unsealed": findings.unsealed,
        "lost_chains": lost.collect::<Vec<_>>(),
        "damaged": damaged.collect::<Vec<_>>(),
        "chains": chains.collect::<Vec<_>>(),
    })
}

/// A chain's number as records have it.
fn hex(worker: u64) -> String {
    format!("{worker:016x}")
}

fn name(files: &[PathBuf], at: usize) -> String {
    files.get(at).map_or_else(String::new, |file| file.display().to_string())
}

fn print(findings: &Findings, files: &[PathBuf]) {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "worker",
        "first",
        "last",
        "records",
        "missing",
        "changed",
        "repeated",
        "out of order",
        "unproven",
    ]);
    for chain in &findings.chains {
        let missing =
            chain.missing.iter().fold(0u64, |all, (from, to)| all.saturating_add(to - from).saturating_add(1));
        let counts = [
            chain.first,
            chain.last,
            chain.records,
            missing,
            (chain.changed.len() + chain.unknown_key.len()) as u64,
            chain.repeated.len() as u64,
            chain.out_of_order.len() as u64,
            chain.unproven.len() as u64,
        ];
        table.add_row(std::iter::once(chain.worker.clone()).chain(counts.map(|n| n.to_string())));
    }
    println!("{table}\n");
    for chain in &findings.chains {
        let missing = chain.missing.iter().map(|(from, to)| match from == to {
            true => format!("{}: {from} is missing", chain.worker),
            false => format!("{}: {from} to {to} are missing", chain.worker),
        });
        list(missing);
        for (found, what) in [
            (&chain.changed, "was changed"),
            (&chain.unknown_key, "was sealed with a key that is not given"),
            (&chain.repeated, "is there again"),
            (&chain.out_of_order, "comes too late"),
            (&chain.unproven, "cannot be proven: the one before it is missing"),
        ] {
            let at = |f: &Finding| format!("{}: {} {what} ({}:{})", chain.worker, f.seq, name(files, f.at.0), f.at.1);
            list(found.iter().map(at));
        }
    }
    list(findings.lost.iter().map(|lost| match lost.from == lost.to {
        true => format!("{}: the whole chain is missing", hex(lost.from)),
        false => format!("{} to {}: these whole chains are missing", hex(lost.from), hex(lost.to)),
    }));
    list(findings.damaged.iter().map(|at| format!("{}:{}: a record that was damaged", name(files, at.0), at.1)));
    if findings.unsealed > 0 {
        println!("{} lines without a sealed record", findings.unsealed);
    }
    let verdict = match (findings.is_fine(), findings.records()) {
        (false, 0) if findings.damaged.is_empty() && findings.lost.is_empty() => {
            "there is nothing that could be verified"
        }
        (true, _) => "every record is there and as it was written, up to the last one of each chain",
        (false, _) => "this log is not as it was written",
    };
    println!("{} records in {} chains: {verdict}", findings.records(), findings.chains.len());
}

fn list(lines: impl Iterator<Item = String>) {
    let mut more = 0;
    for (at, line) in lines.enumerate() {
        if at < MAX_PRINTED { println!("{line}") } else { more += 1 }
    }
    if more > 0 {
        println!("… and {more} more like it");
    }
}
