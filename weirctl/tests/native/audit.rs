//! `weirctl audit verify`: whatever is done to a log of chained records is found.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};
use weir::features::audit::chain::{Chain, Key};
use weir::record::Record;
use weirctl::audit::chains::{Findings, Logs};
use weirctl::audit::keys::Keys;
use weirctl::audit::sealed::Line;

const KEY: &str = "0123456789abcdef";

/// How a record stands in a line.
type Form = fn(&str) -> String;
const FORMS: [(&str, Form); 4] = [
    ("bare", |record| record.to_owned()),
    ("a JSON line", |record| format!("{{\"time\":\"now\",\"path\":\"/{{\\\"v\\\":\",\"record\":{record}}}")),
    ("a string of a JSON line", |record| json!({"a": "{\"v\":", "record": record, "z": 1}).to_string()),
    ("text", |record| format!("[now] \"POST /\" 200 {record} tail")),
];

/// The records of two workers as one log has them: alternating.
fn records(each: u64) -> Vec<String> {
    let key = Key::new(KEY.as_bytes(), "default");
    let mut chains = [Chain::new(1), Chain::new(2)];
    let mut out = Vec::new();
    for n in 0..each {
        for chain in &mut chains {
            let record = Record { call: format!("é-{n}"), tenant: Some("\\\"t\\\"".to_owned()), ..Record::default() };
            let mut json = record.to_json();
            chain.seal(&mut json, &key);
            out.push(json);
        }
    }
    out
}

fn verify(log: &[u8]) -> Findings {
    let mut keys = Keys::default();
    keys.add(KEY).unwrap();
    let mut logs = Logs::new(keys, false);
    logs.next_file();
    log.split_inclusive(|b| *b == b'\n').for_each(|line| logs.line(&Line::of(line)));
    logs.findings()
}

fn log(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

#[test]
fn a_log_as_it_was_written_is_fine() {
    for (name, form) in FORMS {
        let lines: Vec<_> = records(6).iter().map(|record| form(record)).collect();
        let findings = verify(&log(&lines));
        assert!(findings.is_fine(), "{name}: {findings:?}");
        assert_eq!((findings.records(), findings.chains.len(), findings.unsealed), (12, 2, 0), "{name}");
    }
}

#[test]
fn any_flipped_bit_is_found() {
    for (name, form) in FORMS {
        let records = records(3);
        let lines: Vec<_> = records.iter().map(|record| form(record)).collect();
        let log = log(&lines);
        let mut at = 0;
        for (line, record) in lines.iter().zip(&records) {
            // The record's own bytes; of a log of nothing else, the line feed too.
            let (start, len) = match name {
                "bare" => (0, line.len() + 1),
                "a string of a JSON line" => {
                    let inside = serde_json::to_string(record).unwrap();
                    (line.find(&inside).unwrap(), inside.len())
                }
                _ => (line.find(record.as_str()).unwrap(), record.len()),
            };
            for byte in at + start..at + start + len {
                for bit in if name == "bare" { 0..8 } else { 4..6 } {
                    let mut flipped = log.clone();
                    flipped[byte] ^= 1 << bit;
                    let findings = verify(&flipped);
                    assert!(!findings.is_fine(), "{name}: byte {byte}, bit {bit} of {}", String::from_utf8_lossy(&log));
                }
            }
            at += line.len() + 1;
        }
    }
}

#[test]
fn lines_that_are_dropped_swapped_or_repeated_are_found_and_named() {
    for (name, form) in FORMS {
        let lines: Vec<_> = records(5).iter().map(|record| form(record)).collect();
        let chain = |findings: &Findings, of: usize| findings.chains[of % 2].clone();
        for at in 0..lines.len() {
            let (of, seq) = (at % 2, (at / 2) as u64);
            let mut dropped = lines.clone();
            dropped.remove(at);
            let findings = verify(&log(&dropped));
            // Nothing in a chain says that it goes on.
            assert_eq!(findings.is_fine(), seq == 4, "{name}: without {at}");
            if seq < 4 {
                // Whose first record is gone comes second.
                let found = findings.chains.iter().find(|chain| !chain.missing.is_empty()).unwrap();
                assert_eq!(found.missing, [(seq, seq)], "{name}: without {at}");
                assert_eq!(found.unproven.len(), 1);
            }
            for to in 0..=lines.len() {
                let mut repeated = lines.clone();
                repeated.insert(to, lines[at].clone());
                let findings = verify(&log(&repeated));
                let found = findings.chains.iter().find(|chain| !chain.repeated.is_empty());
                let found = found.unwrap_or_else(|| panic!("{name}: {at} again at {to}: {findings:?}"));
                assert_eq!((found.repeated[0].seq, found.changed.len()), (seq, 0), "{name}: {at} again at {to}");
            }
            for other in (at + 2..lines.len()).step_by(2) {
                let mut swapped = lines.clone();
                swapped.swap(at, other);
                let findings = verify(&log(&swapped));
                let found = chain(&findings, of);
                let found = if found.out_of_order.is_empty() { chain(&findings, of + 1) } else { found };
                assert!(!found.out_of_order.is_empty(), "{name}: {at} and {other} swapped");
                assert!(found.missing.is_empty() && found.changed.is_empty(), "{name}: all are there, as they were");
            }
        }
    }
}

#[test]
fn a_chain_of_which_nothing_is_left_is_missed_if_a_later_one_of_its_process_is_there() {
    let key = Key::new(KEY.as_bytes(), "default");
    let first = |worker: u64| {
        let mut json = Record::default().to_json();
        Chain::new(worker).seal(&mut json, &key);
        json
    };
    for (there, lost) in [
        (&[0x1_0001, 0x1_0002][..], &[][..]),
        (&[0x1_0002, 0x1_0001], &[]),
        (&[0x1_0002], &[(0x1_0001, 0x1_0001)]),
        (&[0x1_0001, 0x1_0005, 0x1_0003], &[(0x1_0002, 0x1_0002), (0x1_0004, 0x1_0004)]),
        (&[0x1_0001, 0x2_0004], &[(0x2_0001, 0x2_0003)]),
        // Those that nobody could count are none of any process.
        (&[0x1_0000, 0x2_0000, !0xffff], &[]),
    ] {
        let lines: Vec<_> = there.iter().map(|worker| first(*worker)).collect();
        let findings = verify(&log(&lines));
        let found: Vec<_> = findings.lost.iter().map(|lost| (lost.from, lost.to)).collect();
        assert_eq!((&found[..], findings.is_fine()), (lost, lost.is_empty()), "{there:x?}");
    }
}

#[test]
fn another_key_proves_nothing_and_workers_may_interleave_in_any_way() {
    let lines = records(4);
    let mut keys = Keys::default();
    keys.add("fedcba9876543210").unwrap();
    let mut logs = Logs::new(keys, false);
    lines.iter().for_each(|line| logs.line(&Line::of(line.as_bytes())));
    assert!(logs.findings().chains.iter().all(|chain| chain.changed.len() == 4));
    let mut apart = lines.clone();
    apart.sort_by_key(|line| line.contains("0000000000000002"));
    assert_ne!(apart, lines);
    assert!(verify(&log(&apart)).is_fine());
}

#[test]
fn the_command_says_what_is_wrong_and_its_exit_code_does_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &[u8]| std::fs::File::create(path(name)).unwrap().write_all(text).unwrap();
    let lines = records(5);
    write("old.log", &log(&lines[..4]));
    write("new.log", &log(&lines[4..]));
    write(
        "bad.log",
        &log(&lines[4..]).iter().enumerate().map(|(i, b)| if i == 40 { b ^ 1 } else { *b }).collect::<Vec<_>>(),
    );
    write("keys", format!("2026-11 {}\n\ndefault {KEY}\n", "x".repeat(32)).as_bytes());
    write("weir.json", json!({"audit": {"chain": {"key": KEY}}}).to_string().as_bytes());
    write("none", b"");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
        let output = command.args(["audit", "verify"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (old, new, bad) = (path("old.log"), path("new.log"), path("bad.log"));
    for keys in [path("keys"), path("weir.json")] {
        let (code, out, _) = run(&[&old, &new, "--key-file", &keys]);
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("10 records in 2 chains: every record is there"), "{out}");
    }
    let keys = path("keys");
    let (code, out, _) = run(&[&old, &bad, "--key-file", &keys]);
    assert_eq!(code, Some(1));
    assert!(out.contains(&format!("0000000000000001: 2 was changed ({bad}:1)")), "{out}");
    let second: Vec<_> = lines.iter().filter(|line| line.contains("0000000000000002")).cloned().collect();
    write("second.log", &log(&second));
    let (code, out, _) = run(&[&path("second.log"), "--key-file", &keys]);
    assert!(code == Some(1) && out.contains("0000000000000001: the whole chain is missing"), "{out}");
    let (code, out, _) = run(&[&new, "--key-file", &keys]);
    assert!(code == Some(1) && out.contains("0000000000000001: 0 to 1 are missing"), "{out}");
    let (code, out, _) = run(&[&new, "--key-file", &keys, "--partial", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["fine"], &found["records"]), (Some(0), &json!(true), &json!(6)), "{out}");
    assert_eq!(found["chains"][0]["unproven"][0]["seq"], 2);
    let gzipped = |text: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    // Two members, as a rotation that appends makes them.
    write("old.log.gz", &[gzipped(&log(&lines[..2])), gzipped(&log(&lines[2..4]))].concat());
    let (code, out, _) = run(&[&path("old.log.gz"), &new, "--key-file", &keys]);
    assert!(code == Some(0) && out.contains("10 records in 2 chains: every record is there"), "{out}");
    // Cut in the middle of its last record, before anything of its seal.
    let cut = log(&lines[..4]);
    write("cut.log", &cut[..cut.len() - lines[3].len() + 20]);
    let (code, out, _) = run(&[&path("cut.log"), "--key-file", &keys]);
    assert!(code == Some(1) && out.contains("cut.log:4: a record that was damaged"), "{out}");
    write("other.log", b"GET / 200\n{\"v\":1,\"call\":\"never sealed\"}\n");
    for other in [path("other.log"), path("none")] {
        let (code, out, _) = run(&[&other, "--key-file", &keys]);
        assert!(code == Some(1) && out.contains("nothing that could be verified"), "{out}");
        let (code, out, _) = run(&[&other, &old, &new, "--key-file", &keys]);
        assert!(code == Some(0) && out.contains("10 records"), "beside others it is no harm: {out}");
    }
    let (code, _, error) = run(&[&new, "--key-file", &path("none")]);
    assert!(code != Some(0) && error.contains("no key"), "{error}");
}

/// How long it takes: `cargo test --release --package weirctl --test native audit -- --ignored --nocapture`.
#[test]
#[ignore = "makes a million records"]
fn a_million_records_are_verified_and_one_that_is_missing_among_them_is_named() {
    let mut lines = records(500_000);
    let missing: Value = serde_json::from_str(&lines.remove(700_001)).unwrap();
    let (file, keys) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), log(&lines)).unwrap();
    std::fs::write(keys.path(), format!("default {KEY}\n")).unwrap();
    let began = std::time::Instant::now();
    let run = Command::new(env!("CARGO_BIN_EXE_weirctl"))
        .args(["audit", "verify"])
        .arg(file.path())
        .arg("--key-file")
        .arg(keys.path())
        .output()
        .unwrap();
    let bytes = std::fs::metadata(file.path()).unwrap().len();
    println!("{} records of {} bytes in all: {:.1?}", lines.len(), bytes, began.elapsed());
    let said = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(1));
    let (worker, seq) = (missing["chain"]["worker"].as_str().unwrap(), &missing["chain"]["seq"]);
    assert!(said.contains(&format!("{worker}: {seq} is missing")), "{said}");
}
