//! What calls cost: which price counts, exact sums, one rounding, and what was wasted.

use proptest::prelude::*;
use serde_json::{Value, json};
use weir::call::waste::Waste;
use weir::features::cost::config::Price;
use weir::features::cost::price::{self, Priced, Taken};
use weir::record::{Cost, Ended, Usage, UsageSource};
use weir::settings::Config;
use weir::units::Span;

use weir::worker::Worker;

use super::support::{Call, Known};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn prices(list: Value) -> Result<Vec<Price>, String> {
    Config::parse(json!({"prices": list}).to_string().as_bytes()).map(|config| config.prices)
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { source: UsageSource::Reported, input: Some(input), output: Some(output), ..Usage::default() }
}

fn taken(usage: &Usage) -> Taken<'_> {
    Taken { usage, before: None, tier: None, answered: true, time: Some(Span(0)) }
}

#[test]
fn an_amount_of_dollars_is_read_digit_by_digit_or_refused() {
    let read = |json: &str| {
        let config = format!(r#"{{"prices":[{{"models":["m"],"per_call":{json}}}]}}"#);
        Config::parse(config.as_bytes()).map(|config| config.prices[0].per_call.unwrap().nanos())
    };
    for (json, nanos) in [
        ("0", 0),
        ("2.5", 2_500_000_000),
        ("\"2.50\"", 2_500_000_000),
        ("0.000000001", 1),
        ("1e-9", 1),
        ("1.5e-8", 15),
        ("0.144375", 144_375_000),
        ("3.00", 3_000_000_000),
        ("1000000", 1_000_000_000_000_000),
        ("\"999999.999999999\"", 999_999_999_999_999),
        ("999999.999999999", 999_999_999_999_999),
        ("0.1", 100_000_000),
        ("0.300000000", 300_000_000),
    ] {
        assert_eq!(read(json), Ok(nanos), "{json}");
    }
    for (json, reason) in [
        ("-1", "expected an amount of dollars"),
        ("-0.5", "not an amount of dollars"),
        ("1000000.1", "not an amount"),
        ("1e7", "not an amount"),
        ("1e300", "not an amount"),
        ("0.0000000001", "not an amount"),
        ("1e-300", "not an amount"),
        ("100000.1234567891", "more than 15 digits"),
        ("\"\"", "not an amount"),
        ("\".5\"", "not an amount"),
        ("\"5.\"", "not an amount"),
        ("\"1e3\"", "not an amount"),
        ("\"+1\"", "not an amount"),
        ("\"1_000\"", "not an amount"),
        ("\"٣\"", "not an amount"),
        ("true", "invalid type: boolean"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.starts_with("prices[0].per_call: ") && error.contains(reason), "{json}: {error}");
    }
}

#[test]
fn what_is_wrong_with_a_price_is_named_by_its_path() {
    for (price, path, reason) in [
        (json!({}), "", "neither `models` nor `match`"),
        (json!({"models": ["m"]}), "", "nothing has a price"),
        (json!({"models": [""], "per_call": 1}), "", "1 to 256 bytes"),
        (json!({"models": "m", "per_call": 1}), ".models", "expected a list"),
        (json!({"models": vec!["m"; 33], "per_call": 1}), "", "more than 32"),
        (json!({"models": ["m"], "per_milion": {}}), ".per_milion", "unknown field"),
        (json!({"models": ["m"], "per_million": {"inputs": 1}}), ".per_million.inputs", "unknown field"),
        (json!({"models": ["m"], "per_million": {"input": "x"}}), ".per_million.input", "not an amount"),
        (json!({"models": ["m"], "per_call": 1, "cases": [{}]}), "", "a case wants"),
        (json!({"models": ["m"], "cases": [{"tier": "a"}]}), "", "a case wants"),
        (json!({"models": ["m"], "cases": [{"above": -1}]}), ".cases[0].above", "whole number"),
        (json!({"match": {"verb": "x"}, "per_call": 1}), ".match.verb", "unknown field"),
    ] {
        let error = prices(json!([{"models": ["x"], "per_call": 1}, price])).unwrap_err();
        assert!(error.starts_with(&format!("prices[1]{path}: ")) && error.contains(reason), "{price}: {error}");
    }
    let many = vec![json!({"models": ["m"], "per_call": 1}); 257];
    assert_eq!(prices(json!(many)).unwrap_err(), "prices: 257 of them, at most 256");
}

#[test]
fn of_several_prices_the_most_specific_one_counts() {
    let list = prices(json!([
        {"models": ["*"], "per_call": 1},
        {"models": ["gpt-4*", "gpt-4o*"], "per_call": 2},
        {"models": ["gpt-4o"], "per_call": 3},
        {"models": ["*anthropic.claude-*-v1:0"], "per_call": 4},
        {"models": ["gpt-4o*"], "match": {"host": "eu.*"}, "per_call": 5},
        {"match": {"kind": "tool"}, "per_call": 6},
        {"match": {"kind": "tool", "tool": "search"}, "per_call": 7},
        {"models": ["gpt-5", "gpt-5"], "per_call": 8},
        {"models": ["gpt-5"], "per_call": 9},
        {"match": {"path": "/v1/rerank*", "route": "r"}, "per_call": 10},
        {"models": ["a*b*a"], "per_call": 11},
    ]))
    .unwrap();
    let base = Priced::default();
    let asked = |model| Priced { asked: Some(model), ..base };
    for (call, wanted) in [
        (asked("mistral"), Some(1)),
        (asked("gpt-4-turbo"), Some(2)),
        (asked("gpt-4o-mini"), Some(2)),
        (asked("gpt-4o"), Some(3)),
        (Priced { answered: Some("gpt-4o-2024-08-06"), ..asked("gpt-4o") }, Some(3)),
        (Priced { answered: Some("gpt-5"), ..asked("gpt-4o") }, Some(8)),
        (Priced { answered: Some("gpt-4o"), ..asked("my-deployment") }, Some(3)),
        (asked("us.anthropic.claude-sonnet-4-5-v1:0"), Some(4)),
        (asked("us.anthropic.claude-sonnet-4-5-v2:0"), Some(1)),
        (Priced { host: Some("eu.api"), ..asked("gpt-4o") }, Some(5)),
        (asked("gpt-5"), Some(8)),
        (Priced { kind: Some("tool"), ..base }, Some(6)),
        (Priced { kind: Some("tool"), tool: Some("search"), ..base }, Some(7)),
        (Priced { kind: Some("tool"), tool: Some("searches"), ..base }, Some(6)),
        (Priced { path: Some("/v1/rerank"), route: Some("r"), ..base }, Some(10)),
        (Priced { path: Some("/v1/rerank"), ..base }, None),
        (asked("aba"), Some(11)),
        (asked("ab-ba"), Some(11)),
        (asked("ab"), Some(1)),
        (base, None),
    ] {
        let price = price::price_of(&list, &call).map(|price| price.per_call.unwrap().nanos() / 1_000_000_000);
        assert_eq!(price, wanted, "{call:?}");
    }
}

#[test]
fn each_kind_of_token_has_its_rate_and_each_rate_its_substitute() {
    let all = json!({
        "input": 1, "output": 10, "cache_read": 2, "cache_write": 3, "cache_write_1h": 4, "reasoning": 20, "audio_input": 5,
        "audio_output": 50
    });
    let full = Usage {
        cache_read: Some(10_000),
        cache_write: Some(5_000),
        cache_write_1h: Some(2_000),
        reasoning: Some(300),
        input_audio: Some(1_000),
        output_audio: Some(100),
        ..usage(20_000, 1_000)
    };
    let kinds = |rates: Value| {
        let list = prices(json!([{"models": ["m"], "per_million": rates}])).unwrap();
        let Cost { total, input, output, cache_read, cache_write, reasoning, .. } = price::of(&list[0], &taken(&full));
        assert_eq!(total, input + output + cache_read + cache_write + reasoning);
        // In thousandths of a dollar for a thousand tokens.
        [input, output, cache_read, cache_write, reasoning].map(|nanos| nanos / 1000)
    };
    // 4000 fresh and 1000 heard; 600 plain and 100 spoken; 10000; 3000 and 2000; 300.
    assert_eq!(kinds(all), [4_000 + 5_000, 6_000 + 5_000, 20_000, 9_000 + 8_000, 6_000]);
    assert_eq!(kinds(json!({"input": 1, "output": 10})), [5_000, 7_000, 10_000, 5_000, 3_000]);
    assert_eq!(kinds(json!({"input": 1, "cache_write": 3})), [5_000, 0, 10_000, 15_000, 0]);
    assert_eq!(kinds(json!({"output": 10})), [0, 7_000, 0, 0, 3_000]);
}

#[test]
fn the_most_specific_case_that_holds_and_has_a_rate_gives_it() {
    let list = prices(json!([{"models": ["m"], "per_million": {"input": 1, "output": 2, "cache_read": 3}, "cases": [
        {"above": 100, "per_million": {"input": 10, "output": 20}},
        {"above": 200, "per_million": {"input": 11}},
        {"tier": "priority", "per_million": {"input": 100}},
        {"tier": "priority", "above": 100, "per_million": {"output": 200}},
    ]}]))
    .unwrap();
    for (input, tier, rates) in [
        (100, None, [1, 2]),
        (101, None, [10, 20]),
        (201, None, [11, 20]),
        (100, Some("default"), [1, 2]),
        (100, Some("priority"), [100, 2]),
        (101, Some("priority"), [100, 200]),
        (201, Some("flex"), [11, 20]),
    ] {
        let used = usage(input, 7);
        let cost = price::of(&list[0], &Taken { tier, ..taken(&used) });
        assert_eq!([cost.input, cost.output], [input * rates[0] * 1000, 7 * rates[1] * 1000], "{input} {tier:?}");
    }
}

#[test]
fn calls_and_seconds_are_paid_where_they_were_had() {
    let list = prices(json!([{"match": {"kind": "tool"}, "per_call": "0.005", "per_second": "0.000000003"}])).unwrap();
    let none = Usage::default();
    for (answered, time, total) in [
        (true, Some(1_500_000_000), 5_000_000 + 5),
        (true, Some(1_499_999_999), 5_000_000 + 4),
        (true, None, 5_000_000),
        (false, Some(2_000_000_000), 6),
        (false, None, 0),
    ] {
        let cost =
            price::of(&list[0], &Taken { usage: &none, before: None, tier: None, answered, time: time.map(Span) });
        assert_eq!(cost, Cost { total, ..Cost::default() });
    }
}

proptest! {
    /// Against the definition, in plain words: the exact sum, rounded half up; parts that add up, none off by a whole unit.
    #[test]
    fn sums_are_exact_and_parts_add_up(
        counts in prop::array::uniform4(0u64..3_000_000),
        rates in prop::array::uniform4(0u64..30_000_000_000),
    ) {
        let [fresh, read, plain, reasoned] = counts;
        let [input, cache_read, output, reasoning] = rates.map(|rate| format!("{}.{:09}", rate / 1_000_000_000, rate % 1_000_000_000));
        let list = prices(json!([{"models": ["m"], "per_million": {
            "input": input, "cache_read": cache_read, "output": output, "reasoning": reasoning
        }}])).unwrap();
        let used = Usage { cache_read: Some(read), reasoning: Some(reasoned), ..usage(fresh + read, plain + reasoned) };
        let cost = price::of(&list[0], &taken(&used));
        let exact: Vec<u128> = counts.iter().zip(rates).map(|(n, rate)| u128::from(*n) * u128::from(rate)).collect();
        let total: u128 = exact.iter().sum();
        prop_assert_eq!(u128::from(cost.total), (total + 500_000) / 1_000_000);
        prop_assert_eq!(cost.total, cost.input + cost.output + cost.cache_read + cost.reasoning);
        for (part, exact) in [cost.input, cost.cache_read, cost.output, cost.reasoning].iter().zip(&exact) {
            prop_assert!((u128::from(*part) * 1_000_000).abs_diff(*exact) <= 1_000_000);
        }
    }

    /// Whatever a provider says, nothing overflows and no token is paid twice.
    #[test]
    fn nonsense_costs_no_more_than_all_tokens_at_the_highest_rate(counts in prop::array::uniform8(any::<Option<u64>>())) {
        let [input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio, output_audio] = counts;
        let used = Usage {
            source: UsageSource::Reported, input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio,
            output_audio, total: None, billed: None,
        };
        let list = prices(json!([{"models": ["m"], "per_million": {
            "input": 1, "output": 1, "cache_read": 1, "cache_write": 1, "cache_write_1h": 1, "reasoning": 1, "audio_input": 1,
            "audio_output": 1
        }}])).unwrap();
        let tokens = u128::from(input.unwrap_or(0)) + u128::from(output.unwrap_or(0));
        let total = u64::try_from(tokens * 1000).unwrap_or(u64::MAX);
        prop_assert_eq!(price::of(&list[0], &taken(&used)).total, total);
    }
}

#[test]
fn what_bought_nothing_has_a_reason() {
    for (ended, here, again, repeats, waste) in [
        (Ended::Complete, false, false, false, None),
        (Ended::Complete, false, true, false, None),
        (Ended::Complete, false, true, true, Some("duplicated")),
        (Ended::ClientAbort, false, true, true, Some("cancelled")),
        (Ended::Error, false, false, false, Some("failed")),
        (Ended::Truncated, false, false, false, Some("failed")),
        (Ended::UpstreamReset, false, true, false, Some("retried")),
        (Ended::Refused, false, false, false, Some("refused")),
        (Ended::Truncated, true, true, false, Some("refused")),
    ] {
        assert_eq!(
            Waste::of(ended, here, again, repeats).map(Waste::word),
            waste,
            "{ended:?} {here} {again} {repeats}"
        );
    }
}

const PRICED: &str = r#"{"prices":[{"models":["m"],"per_million":{"input":2.5,"cache_read":1.25,"output":10,"reasoning":20},
    "cases":[{"tier":"priority","per_million":{"input":5}}]}]}"#;

#[test]
fn the_record_says_what_a_call_cost() {
    let answer = |tier: &str, done: &str| {
        format!(
            "data: {{\"id\":\"c\",\"model\":\"m-2\",\"service_tier\":\"{tier}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}},\"finish_reason\":\"stop\"}}]}}\n\ndata: {{\"id\":\"c\",\"choices\":[],\"usage\":{{\"prompt_tokens\":1001,\"completion_tokens\":7,\"prompt_tokens_details\":{{\"cached_tokens\":1000}},\"completion_tokens_details\":{{\"reasoning_tokens\":2}}}}}}\n\n{done}"
        )
    };
    let whole = |tier: &str, done: &str, config: &'static str| {
        Call { config, ..Call::default() }.answered([answer(tier, done).as_bytes()]).facts()
    };
    let done = "data: [DONE]\n\n";
    let cost = whole("default", done, PRICED);
    let parts =
        json!({"total": 1_342_500, "input": 2_500, "output": 50_000, "cache_read": 1_250_000, "reasoning": 40_000});
    assert_eq!((&cost["cost"], &cost["service_tier"], &cost["kind"]), (&parts, &json!("default"), &json!("model")));
    assert_eq!(whole("priority", done, PRICED)["cost"]["input"], 5_000);
    assert_eq!(whole("default", done, "{}")["cost"], Value::Null, "no prices");
    assert_eq!(
        whole("default", done, r#"{"prices":[{"models":["n"],"per_call":1}]}"#)["cost"],
        Value::Null,
        "no price"
    );
    let cut =
        Call { config: PRICED, ends: false, ..Call::default() }.answered([answer("default", "").as_bytes()]).facts();
    assert_eq!(cut["cost"]["waste"], cut["cost"]["total"]);
    assert_eq!(cut["cost"]["waste_reason"], "cancelled", "{cut}");
}

#[test]
fn what_no_upstream_was_asked_for_costs_nothing_whatever_it_says() {
    let answer = br#"{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1001,"completion_tokens":7}}"#;
    let config = r#"{"prices":[{"models":["m"],"per_million":{"input":2.5,"output":10},"per_call":1,"per_second":1}]}"#;
    let direct = Known(vec![(&["response", "code_details"], b"direct_response".to_vec())]);
    let json = vec![("content-type", "application/json")];
    for pieces in [vec![&answer[..]], vec![&br#"{"choices":[{"message":{"content":"Hello there"}}]}"#[..]], vec![]] {
        let call = Call { config, response_headers: json.clone(), ..Call::default() }.answered(pieces);
        let cost = call.play_on(&mut Worker::new(Config::parse(config.as_bytes()).unwrap()), &direct).0.record.cost;
        assert_eq!(cost, Some(Cost::default()));
    }
}

#[test]
fn what_was_compacted_before_an_answer_is_paid_and_another_models_advice_is_not() {
    let config = r#"{"prices":[{"models":["c"],"per_million":{"input":"3","output":"15","cache_read":"0.3","cache_write":"4"},
        "cases":[{"above":1000,"per_million":{"input":"6"}}]}]}"#;
    let part = |kind: &str| {
        json!({"type": kind, "input_tokens": 2000, "output_tokens": 10, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 0}})
    };
    let (message, compaction, mut advice) = (part("message"), part("compaction"), part("advisor_message"));
    advice["model"] = json!("another");
    let (plain, compacted) = (220 * 3000 + 8 * 15_000, 2000 * 6000 + 10 * 15_000 + 100 * 300 + 50 * 4000);
    for (what, iterations, total) in [
        ("no iterations", json!(null), plain),
        ("one's own", json!([message]), plain),
        ("another model's", json!([message, advice, message]), plain),
        ("a compaction", json!([compaction, message]), plain + compacted),
        ("two", json!([compaction, compaction, advice]), plain + 2 * compacted),
    ] {
        let usage =
            json!({"iterations": iterations, "input_tokens": 220, "output_tokens": 8, "cache_read_input_tokens": 0});
        let whole = json!({"id": "m", "type": "message", "model": "c", "content": [{"type": "text", "text": "Hi"}],
            "stop_reason": "end_turn", "usage": usage});
        let json_head = vec![("content-type", "application/json")];
        let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
        let start = json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 220, "iterations": iterations}}});
        let stream = format!("data: {start}\n\ndata: {delta}\n\ndata: {{\"type\":\"message_stop\"}}\n\n");
        let call = Call { path: "/v1/messages", config, ..Call::default() };
        for facts in [
            Call { response_headers: json_head, request: "{}".to_owned(), ..call.clone() }
                .answered([whole.to_string().as_bytes()])
                .facts(),
            call.answered([stream.as_bytes()]).facts(),
        ] {
            assert_eq!(
                (&facts["cost"]["total"], &facts["usage"]["input"]),
                (&json!(total), &json!(220)),
                "{what}: {facts}"
            );
        }
    }
}

#[test]
fn caches_that_stay_an_hour_and_sound_are_told_apart() {
    let anthropic = r#"{"id":"m1","type":"message","model":"c","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":5,"service_tier":"standard"}}"#;
    let openai = r#"{"id":"c1","model":"m","service_tier":"flex","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":90,"completion_tokens":80,"prompt_tokens_details":{"audio_tokens":40},"completion_tokens_details":{"audio_tokens":50}}}"#;
    let gemini = |kind: &str, tiers: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Hi"}}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":90,"cachedContentTokenCount":30,"candidatesTokenCount":80,"promptTokensDetails":[{{"modality":"TEXT","tokenCount":50}},{{"tokenCount":40,"modality":{kind}}}],"cacheTokensDetails":[{{"modality":{kind},"tokenCount":15}},{{"modality":"TEXT","tokenCount":15}}],"candidatesTokensDetails":[{{"modality":{kind},"tokenCount":50}},{{"modality":"TEXT","tokenCount":30}}],{tiers}}},"modelVersion":"m"}}"#
        )
    };
    let (gemini, vertex) =
        (gemini("\"AUDIO\"", r#""serviceTier":"standard""#), gemini("4", r#""trafficType":"ON_DEMAND_PRIORITY""#));
    let video = gemini.replace("AUDIO", "VIDEO");
    let interaction = r#"data: {"event_type":"interaction.completed","interaction":{"id":"i","model":"m","status":"completed","usage":{"total_input_tokens":11,"input_tokens_by_modality":[{"modality":"audio","tokens":9},{"modality":"text","tokens":2}],"total_output_tokens":5}}}"#;
    let bedrock = |details: &str| {
        format!(
            r#"{{"output":{{"message":{{"content":[{{"text":"Hi"}}]}}}},"stopReason":"end_turn","serviceTier":{{"type":"flex"}},"usage":{{"cacheDetails":[{details}],"cacheWriteInputTokens":300,"inputTokens":10,"outputTokens":5}}}}"#
        )
    };
    let hour = bedrock(r#"{"inputTokens":200,"ttl":"1h"},{"ttl":"5m","inputTokens":100}"#);
    let minutes = bedrock(r#"{"inputTokens":300,"ttl":"5m"}"#);
    let json = vec![("content-type", "application/json")];
    let (generate, converse) = ("/v1beta/models/m:generateContent", "/model/m/converse");
    let tier = |tier: &str| json!(tier);
    let (some, none) = (|count: u64| json!(count), Value::Null);
    for (path, answer, key, wanted, tier) in [
        ("/v1/messages", anthropic, "cache_write_1h", some(200), tier("standard")),
        ("/v1/chat/completions", openai, "input_audio", some(40), tier("flex")),
        ("/v1/chat/completions", openai, "output_audio", some(50), tier("flex")),
        (generate, &gemini, "input_audio", some(25), tier("standard")),
        (generate, &gemini, "output_audio", some(50), tier("standard")),
        (generate, &vertex, "input_audio", some(25), tier("ON_DEMAND_PRIORITY")),
        (generate, &video, "input_audio", none.clone(), tier("standard")),
        ("/v1beta/interactions", interaction, "input_audio", some(9), none.clone()),
        (converse, &hour, "cache_write_1h", some(200), tier("flex")),
        (converse, &hour, "cache_write", some(300), tier("flex")),
        (converse, &minutes, "cache_write_1h", none.clone(), tier("flex")),
    ] {
        let facts =
            Call { path, response_headers: json.clone(), ..Call::default() }.answered([answer.as_bytes()]).facts();
        assert_eq!((&facts["usage"][key], &facts["service_tier"]), (&wanted, &tier), "{answer}: {facts}");
    }
}
