//! What it costs to seal a record: natively, and as Wasm, where it is what a call takes longer under a config that seals.

use serde_json::Value;
use weir::features::audit::chain::{Chain, Key};

use super::{Case, Plan, least, time, wasm};

const KEY: &str = "0123456789abcdef";

/// Measures and prints it, for the records of this case.
pub fn measure(plan: Plan, case: &Case<'_>) {
    let sealed = format!(r#"{{"audit":{{"chain":{{"key":"{KEY}"}}}}}}"#);
    let Some(results) = wasm(plan, &[(case, "{}"), (case, &sealed)]) else { return };
    let [plain, sealed] = [0, 1].map(|at| &results[at]);
    let record = plain["record"].as_str().expect("a record");
    assert!(sealed["record"].as_str().is_some_and(|record| record.contains("\"mac\":\"")), "it is sealed");
    let took = |result: &Value| result["call"].as_f64().expect("a time");
    let (key, mut chain) = (Key::new(KEY.as_bytes(), "default"), Chain::new(1));
    let texts = || vec![record.to_owned(); 1000];
    let rounds = (0..plan.rounds).map(|_| {
        let mut texts = texts();
        time(1, || texts.iter_mut().for_each(|text| chain.seal(text, &key))) / texts.len() as f64
    });
    let (native, wasm) = (least(&rounds.collect::<Vec<_>>()), took(sealed) - took(plain));
    println!(
        "\nsealing a record of {} bytes: {:.2} µs natively, {:.2} µs in V8 ({:.1} times as much), of a call's {:.1}",
        record.len(),
        native / 1e3,
        wasm / 1e3,
        wasm / native,
        took(sealed) / 1e3,
    );
}
