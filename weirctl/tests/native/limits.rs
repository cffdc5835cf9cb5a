//! `weirctl limits`: a made-up trace, and a real one where it stands beside the project.

use std::fmt::Write;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{root, skipped};
use serde_json::Value;
use weirctl::limits::{Arguments, Row, rows, table};

fn arguments(trace: PathBuf, limits: &[u64]) -> Arguments {
    let limit = limits.iter().map(|percent| NonZeroU64::new(*percent).unwrap()).collect();
    Arguments { trace, limit, max_wait_ms: 5000, max_tokens: 4096, first_token_ms: 300, token_ms: 20, json: false }
}

/// Twenty minutes of a call of 1000 tokens every half second, and every minute forty calls at once.
fn made_up() -> String {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    let mut line = |at: u64, output: u64| {
        let (minute, second, half) = (at / 120, at / 2 % 60, at % 2 * 5);
        writeln!(text, "2024-02-29 12:{minute:02}:{second:02}.{half},{},{output}", 1000 - output).unwrap();
    };
    for at in 0..2400 {
        line(at, 20 + at * 7 % 160);
        if at % 120 == 60 {
            (0..40).for_each(|n| line(at, 20 + n * 4));
        }
    }
    text
}

fn by_reservation(rows: &[Row]) -> impl Iterator<Item = [&Row; 3]> {
    rows.chunks(3).map(|three| [&three[0], &three[1], &three[2]])
}

#[test]
fn a_learned_size_refuses_fewer_than_max_tokens_and_is_exceeded_by_less_than_no_reservation() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.csv");
    std::fs::write(&trace, made_up()).unwrap();
    let rows = rows(&arguments(trace.clone(), &[50, 80, 100, 300])).unwrap();
    eprintln!("{}", table(&rows));
    assert_eq!(rows.len(), 12);
    for [learned, max_tokens, none] in by_reservation(&rows) {
        let percent = learned.limit_percent;
        assert_eq!([learned.calls, max_tokens.calls, none.calls], [3200; 3]);
        assert!(learned.wait_p99_ms <= 5000 && max_tokens.wait_p99_ms <= 5000);
        assert_eq!(max_tokens.over_percent, 0.0, "{percent}");
        if percent < 100 {
            assert!(learned.refused_percent < max_tokens.refused_percent, "{percent}");
            // What comes can be divided as it likes: nearly all there is, is used.
            assert!((95.0..=101.0).contains(&learned.used_percent), "{percent}: {}", learned.used_percent);
            assert!(learned.over_percent < 2.0 && none.over_percent > learned.over_percent, "{percent}");
        }
        if percent == 300 {
            assert_eq!((learned.refused_percent, learned.held_percent, learned.over_percent), (0.0, 0.0, 0.0));
        }
    }
    let path = trace.to_str().unwrap();
    let command =
        |more: &[&str]| Command::new(env!("CARGO_BIN_EXE_weirctl")).args(["limits", path]).args(more).output().unwrap();
    let told: Value = serde_json::from_slice(&command(&["--limit", "50,80", "--json"]).stdout).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 6);
    assert_eq!(told[0]["refused_percent"], serde_json::to_value(rows[0].refused_percent).unwrap());
    assert!(String::from_utf8(command(&[]).stdout).unwrap().contains("| 150 % "));
    assert!(!command(&["--limit", "0"]).status.success());
    std::fs::write(&trace, "nothing\n").unwrap();
    let told = command(&[]);
    assert!(!told.status.success());
    assert!(String::from_utf8(told.stderr).unwrap().contains("trace.csv: line 1: not the columns"));
}

#[test]
fn on_recorded_traffic_learned_sizes_hold_the_limit_and_refuse_least() {
    let trace = root().join("../shared/traces/AzureLLMInferenceTrace_code_2023.csv");
    if !trace.is_file() {
        return skipped("the recorded trace", "there is no ../shared/traces");
    }
    let rows = rows(&arguments(trace, &[50, 80, 100, 120, 150])).unwrap();
    eprintln!("{}", table(&rows));
    for [learned, max_tokens, none] in by_reservation(&rows) {
        assert_eq!(learned.calls, 8819);
        assert!(learned.refused_percent < max_tokens.refused_percent && learned.refused_percent < none.refused_percent);
        assert!(learned.over_percent < 3.0 && max_tokens.over_percent == 0.0 && none.over_percent > 40.0);
        assert!(learned.used_percent > max_tokens.used_percent);
    }
    let page = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    assert!(page.contains(&table(&rows).to_string()), "docs/limits.md has another table");
}
