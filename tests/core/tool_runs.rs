//! Tools that run: MCP over HTTP at every split, plain HTTP tools, and who asked for them.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir::features::tools::pending::{Asked, Call, PendingCalls, Who};
use weir::metrics::Id;
use weir::report::Report;
use weir::settings::Config;
use weir::units::Nanos;

use super::memory::Memory;
use super::support::{counted, every_split, ms};
use super::tools::{Exchange, hash_of, worker};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ON: &str = r#"{"tools":{},"identity":{"tenant":[{"header":"x-tenant"}],"run":[{"header":"x-run"}]}}"#;
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";
const MCP: &[(&str, &str)] = &[("accept", "application/json, text/event-stream"), ("content-type", JSON)];

fn mcp<'a>(request: Vec<&'a [u8]>, content_type: &'a str, answer: Vec<&'a [u8]>) -> Exchange<'a> {
    Exchange { path: "/mcp", head: MCP.to_vec(), request, content_type, answer, ..Exchange::default() }
}

fn runs(report: &Report) -> Value {
    serde_json::to_value(&report.record.tool_runs).unwrap()
}

/// A run as the record has it, without its time.
fn run(name: &str, outcome: &str, arguments: &str, result_bytes: usize) -> Value {
    json!({"name": name, "outcome": outcome, "bytes": arguments.len(), "hash": hash_of(arguments), "result_bytes": result_bytes})
}

fn without_times(mut runs: Value) -> Value {
    for run in runs.as_array_mut().unwrap() {
        run.as_object_mut().unwrap().remove("ms");
    }
    runs
}

struct Case {
    name: &'static str,
    request: &'static str,
    content_type: &'static str,
    answer: String,
    expected: Value,
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"weather","arguments":{"city": "Paris \u00e9"}}}"#;
const ARGUMENTS: &str = r#"{"city":"Paris é"}"#;
const CONTENT: &str = r#"[{"type":"text","text":"sunny ] } \" "}]"#;

fn cases() -> Vec<Case> {
    let result =
        |id: &str, more: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":{CONTENT}{more}}}}}"#);
    let ok = run("weather", "ok", ARGUMENTS, CONTENT.len());
    let noise = concat!(
        ": comment\n\n",
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sampling/createMessage\",\"params\":{\"name\":\"no\"}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n\n",
        "data: \n\n",
    );
    let case = |name, request, content_type, answer, expected| Case { name, request, content_type, answer, expected };
    vec![
        case("as JSON", CALL, JSON, result("1", ""), json!([ok])),
        case(
            "as SSE, between notifications and a request of the server's with the same id",
            CALL,
            SSE,
            format!("{noise}event: message\nid: 7\ndata: {}\n\n{noise}", result("1", "")),
            json!([ok]),
        ),
        case(
            "an error that the tool tells of, and structured content",
            CALL,
            JSON,
            result("1", r#","isError":true,"structuredContent":{"a":1},"_meta":{"b":"c"}"#),
            json!([run("weather", "error", ARGUMENTS, CONTENT.len() + r#"{"a":1}"#.len())]),
        ),
        case("isError false", CALL, JSON, result("1", r#","isError":false"#), json!([ok])),
        case(
            "an error of the protocol",
            CALL,
            JSON,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool"}}"#.to_owned(),
            json!([run("weather", "failed", ARGUMENTS, 0)]),
        ),
        case("an answer to something else", CALL, JSON, result("2", ""), json!([run("weather", "failed", ARGUMENTS, 0)])),
        case("a text is no number", CALL, JSON, result("\"1\"", ""), json!([run("weather", "failed", ARGUMENTS, 0)])),
        case("nothing", CALL, JSON, String::new(), json!([run("weather", "failed", ARGUMENTS, 0)])),
        case(
            "the server wants to know more first: nothing ran",
            CALL,
            JSON,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{}}}"#.to_owned(),
            json!([]),
        ),
        case(
            "a batch, answered in another order, with a notification, a ping and a broken one in it",
            r#"[{"id":"a","params":{"arguments":{},"name":"f"},"method":"tools/call"},
                {"method":"notifications/x"},{"id":5,"method":"ping"},{"id":6,"method":"tools/call","params":{}},
                {"method":"tools/call","params":{"name":"notified"}},
                {"id":"b","method":"tools/call","params":{"name":"g"}}]"#,
            JSON,
            r#"[{"id":"b","result":{"content":[]}},{"id":5,"result":{}},{"result":{"content":[],"isError":true},"id":"a"}]"#.to_owned(),
            json!([run("f", "error", "{}", 2), run("g", "ok", "{}", 2)]),
        ),
        case(
            "a batch, answered by events",
            r#"[{"id":1,"method":"tools/call","params":{"name":"f"}},{"id":2,"method":"tools/call","params":{"name":"g"}}]"#,
            SSE,
            "data: {\"id\":2,\"result\":{\"content\":\"\\u00e9x\"}}\n\ndata: {\"id\":1,\"error\":{}}\n\n".to_owned(),
            json!([run("f", "failed", "{}", 0), run("g", "ok", "{}", 3)]),
        ),
        case("no tool", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, JSON, result("1", ""), json!([])),
        case("an answer of the client's", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, JSON, String::new(), json!([])),
    ]
}

/// How many tools that ran were asked for, and how many that were asked for did not run.
#[derive(Clone, Debug, Default, PartialEq)]
struct Matched {
    matched: u64,
    unasked: u64,
    never_run: u64,
}

fn matched(report: &Report) -> Matched {
    let of = |value| counted(report, Id::ToolMatched).iter().filter(|(own, ..)| *own == value).map(|(.., n)| n).sum();
    Matched { matched: of(0), unasked: of(1), never_run: of(2) }
}

#[test]
fn mcp_calls_are_told_however_request_and_answer_are_cut() {
    for case in cases() {
        let mut cuts: Vec<(Vec<&[u8]>, Vec<&[u8]>)> = Vec::new();
        cuts.extend(every_split(case.request.as_bytes()).map(|request| (request, vec![case.answer.as_bytes()])));
        cuts.extend(every_split(case.answer.as_bytes()).map(|answer| (vec![case.request.as_bytes()], answer)));
        for (request, answer) in cuts {
            let exchange = mcp(request, case.content_type, answer);
            let report = exchange.play(&mut worker(ON), &Memory::default());
            assert_eq!(without_times(runs(&report)), case.expected, "{}", case.name);
            assert_eq!((report.record.api, report.record.usage.input), ("other", None));
        }
    }
}

#[test]
fn without_the_section_and_for_what_is_no_mcp_nothing_is_read() {
    let answer = cases().remove(0).answer;
    for (config, head, runs_expected) in [
        ("{}", MCP.to_vec(), 0),
        (ON, vec![("accept", "application/json")], 1),
        (ON, vec![], 1),
        (ON, vec![("mcp-session-id", "s")], 1),
        (ON, MCP.to_vec(), 1),
    ] {
        let exchange = Exchange { head, ..mcp(vec![CALL.as_bytes()], JSON, vec![answer.as_bytes()]) };
        let record = exchange.play(&mut worker(config), &Memory::default()).record;
        assert_eq!((record.tool_runs.len(), record.unread), (runs_expected, 0));
    }
}

#[test]
fn what_is_broken_is_counted_and_its_run_failed() {
    for (request, content_type, answer, unread, outcomes) in [
        (CALL, JSON, r#"{"id":1,"result":{"content":["#, 1, vec!["failed"]),
        (CALL, JSON, r#"{"id":1,"result":{]"#, 1, vec!["failed"]),
        (CALL, SSE, "data: {\"id\":1,\"res}\n\ndata: {\"id\":1,\"result\":{}}\n\n", 1, vec!["ok"]),
        (CALL, JSON, "Bad gateway", 1, vec!["failed"]),
        (r#"{"id":1,"method":"tools/call","params":{"name":"f""#, JSON, "{}", 1, vec![]),
        ("hello", JSON, "{}", 0, vec![]),
    ] {
        let report = mcp(vec![request.as_bytes()], content_type, vec![answer.as_bytes()])
            .play(&mut worker(ON), &Memory::default());
        let seen: Vec<_> = report.record.tool_runs.iter().map(|run| run.outcome).collect();
        assert_eq!((report.record.unread, seen), (unread, outcomes), "{request} {answer}");
    }
}

#[test]
fn results_of_any_size_are_read_and_what_breaks_beyond_the_cap_is_an_answer_that_nobody_read() {
    let large = "x".repeat(3 << 20);
    let message = format!(r#"{{"id":1,"result":{{"content":["{large}"],"isError":true}}}}"#);
    let pieces: Vec<&[u8]> = message.as_bytes().chunks(10_000).collect();
    let report = mcp(vec![CALL.as_bytes()], JSON, pieces).play(&mut worker(ON), &Memory::default());
    assert_eq!(without_times(runs(&report)), json!([run("weather", "error", ARGUMENTS, large.len() + 4)]));

    let event = format!("data: {message}\n\n");
    let report = mcp(vec![CALL.as_bytes()], SSE, vec![event.as_bytes()]).play(&mut worker(ON), &Memory::default());
    assert_eq!(without_times(runs(&report)), json!([run("weather", "error", ARGUMENTS, large.len() + 4)]));
    assert_eq!(report.record.unread, 0);

    let event = format!("data: {large}\n\n");
    let report = mcp(vec![CALL.as_bytes()], SSE, vec![event.as_bytes()]).play(&mut worker(ON), &Memory::default());
    assert_eq!(without_times(runs(&report)), json!([run("weather", "unread", ARGUMENTS, 0)]));
    assert_eq!(report.record.unread, 1);
}

#[test]
fn a_batch_without_end_is_bounded() {
    let calls: Vec<_> =
        (0..1000).map(|id| json!({"id": id, "method": "tools/call", "params": {"name": "f"}})).collect();
    let request = Value::from(calls).to_string();
    let report = mcp(vec![request.as_bytes()], JSON, vec![b"[]"]).play(&mut worker(ON), &Memory::default());
    assert_eq!(report.record.tool_runs.len(), 64);
}

#[test]
fn only_what_answered_with_success_takes_a_place_among_the_labels() {
    let mut worker = worker(r#"{"tools":{"names":["known"],"max_names":1}}"#);
    let mut label = |name: &str, answer: &str| {
        let request = format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
        let report = mcp(vec![request.as_bytes()], JSON, vec![answer.as_bytes()]).play(&mut worker, &Memory::default());
        let (outcome, [tool, ..], _) = counted(&report, Id::ToolCalls)[0];
        (worker.shared.tools.label.value(tool).to_owned(), outcome)
    };
    let (ok, error) = (r#"{"id":1,"result":{}}"#, r#"{"id":1,"result":{"isError":true}}"#);
    for (name, answer, expected) in [
        ("made-up", error, ("other", 1)),
        ("made-up", "", ("other", 2)),
        ("known", "", ("known", 2)),
        ("first", ok, ("first", 0)),
        ("first", error, ("first", 1)),
        ("second", ok, ("other", 0)),
    ] {
        assert_eq!(label(name, answer), (expected.0.to_owned(), expected.1), "{name}");
    }
}

#[test]
fn plain_http_tools_run_once_per_call_and_their_status_says_how() {
    let config = r#"{"tools":{},"kinds":[{"match":{"path":"/tools/search*"},"kind":"tool","name":"search"},{"match":{"path":"/tools/*"},"kind":"tool"},{"match":{"path":"/db"},"kind":"retrieval","name":"db"}]}"#;
    for (path, status, ends, expected) in [
        ("/tools/search?q=1", "200", true, Some("ok")),
        ("/tools/search", "404", true, Some("error")),
        ("/tools/search", "503", true, Some("error")),
        ("/tools/search", "200", false, Some("failed")),
        ("/tools/other", "200", true, None),
        ("/db", "200", true, None),
    ] {
        let exchange = Exchange { path, status, ends, content_type: JSON, answer: vec![b"{}"], ..Exchange::default() };
        let record = exchange.play(&mut worker(config), &Memory::default()).record;
        let seen = record.tool_runs.first().map(|run| (run.name.as_str(), run.outcome, run.ms.is_some()));
        assert_eq!(seen, expected.map(|outcome| ("search", outcome, true)), "{path} {status}");
    }
}

/// A model's answer that asks for a tool.
fn asking(name: &str, id: &str, arguments: &str) -> String {
    let tool = json!({"index": 0, "id": id, "function": {"name": name, "arguments": arguments}});
    let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": [tool]}, "finish_reason": "tool_calls"}]});
    format!("data: {chunk}\n\ndata: [DONE]\n\n")
}

#[test]
fn a_run_finds_who_asked_for_it_over_workers_and_only_in_its_own_run_and_tenant() {
    let store = Memory::default();
    let head = vec![("x-tenant", "t"), ("x-run", "r"), ("x-request-id", "call-1")];
    let answer = asking("mcp__geo__weather", "call_a", r#"{ "city": "Paris é" }"#);
    let model = Exchange { head, answer: vec![answer.as_bytes()], ..Exchange::default() };
    let report = model.play(&mut worker(ON), &store);
    assert_eq!(matched(&report), Matched::default());

    let ok = cases().remove(0).answer;
    let ran = |more: &[(&'static str, &'static str)], request: &str, answer: &str| {
        let head = [MCP, more].concat();
        let exchange = Exchange { head, ..mcp(vec![request.as_bytes()], JSON, vec![answer.as_bytes()]) };
        // Another worker.
        let report = exchange.play(&mut worker(ON), &store);
        let run = report.record.tool_runs[0].clone();
        (run.asked_by, run.id, matched(&report))
    };
    let unasked = (None, None, Matched { unasked: 1, ..Matched::default() });
    let by = (Some("call-1".to_owned()), Some("call_a".to_owned()));
    for other in
        [vec![("x-tenant", "t"), ("x-run", "s")], vec![("x-tenant", "u"), ("x-run", "r")], vec![("x-run", "r")]]
    {
        assert_eq!(ran(&other, CALL, &ok), unasked, "{other:?}");
    }
    let own = [("x-tenant", "t"), ("x-run", "r")];
    let other_arguments = CALL.replace("Paris", "Rome");
    assert_eq!(ran(&own, &other_arguments, &ok), unasked);
    // Without a run nobody can know.
    assert_eq!(ran(&[("x-tenant", "t")], CALL, &ok), (None, None, Matched::default()));
    // What failed may be tried again.
    assert_eq!(ran(&own, CALL, ""), (by.0.clone(), by.1.clone(), Matched::default()));
    assert_eq!(ran(&own, CALL, &ok), (by.0, by.1, Matched { matched: 1, ..Matched::default() }));
    assert_eq!(ran(&own, CALL, &ok), unasked);
}

#[test]
fn the_models_id_for_a_call_finds_it_whatever_its_arguments_are() {
    let store = Memory::default();
    let head = vec![("x-run", "r"), ("x-request-id", "call-1")];
    let mut model = worker(ON);
    for id in ["toolu_1", "toolu_2"] {
        let answer = asking("weather", id, "{}");
        Exchange { head: head.clone(), answer: vec![answer.as_bytes()], ..Exchange::default() }
            .play(&mut model, &store);
    }
    let request = r#"{"id":1,"method":"tools/call","params":{"_meta":{"claudecode/toolUseId":"toolu_2"},"name":"weather","arguments":{"changed":1}}}"#;
    let exchange = Exchange {
        head: [MCP, &[("x-run", "r")]].concat(),
        ..mcp(vec![request.as_bytes()], JSON, vec![br#"{"id":1,"result":{}}"#])
    };
    let report = exchange.play(&mut worker(ON), &store);
    assert_eq!(report.record.tool_runs[0].id.as_deref(), Some("toolu_2"));
    assert_eq!(matched(&report), Matched { matched: 1, ..Matched::default() });
}

#[test]
fn what_was_asked_for_and_has_not_run_in_time_is_counted_when_its_place_is_next_used() {
    let store = Memory::default();
    let head = vec![("x-run", "r"), ("x-request-id", "call-1")];
    let mut seen = Vec::new();
    for at in [0, 599_000, 700_000, 2_000_000] {
        let answer = asking("weather", "a", "{}");
        let exchange =
            Exchange { head: head.clone(), answer: vec![answer.as_bytes()], at: ms(at), ..Exchange::default() };
        seen.push(matched(&exchange.play(&mut worker(ON), &store)).never_run);
    }
    assert_eq!(seen, [0, 0, 1, 2]);
}

#[test]
fn a_store_that_does_not_answer_matches_nothing_and_breaks_nothing() {
    let store = Memory::default();
    store.broken.store(true, Ordering::Relaxed);
    let ok = cases().remove(0).answer;
    let exchange =
        Exchange { head: [MCP, &[("x-run", "r")]].concat(), ..mcp(vec![CALL.as_bytes()], JSON, vec![ok.as_bytes()]) };
    let report = exchange.play(&mut worker(ON), &store);
    assert_eq!((report.record.tool_runs[0].outcome, matched(&report)), ("ok", Matched::default()));
    assert_eq!(report.record.tool_runs[0].hash, None);
}

fn asks(keys: u32) -> PendingCalls {
    let config = Config::parse(format!(r#"{{"tools":{{"keys":{keys},"window_s":10}}}}"#).as_bytes()).unwrap();
    PendingCalls::new(config.tools.as_ref().unwrap())
}

/// What happens to a run: something is asked for, or runs, some seconds later.
#[derive(Clone, Debug)]
struct Step {
    later: u64,
    run: u8,
    tool: u8,
    asks: bool,
}

proptest! {
    #[test]
    fn every_ask_is_matched_or_never_run_once_as_a_list_of_them_says(
        steps in prop::collection::vec((0u64..4, 0u8..3, 0u8..3, any::<bool>()).prop_map(|(later, run, tool, asks)| Step { later, run, tool, asks }), 1..30)
    ) {
        let (store, asks) = (Memory::default(), asks(8));
        let mut naive: Vec<(u64, u8, u8, String)> = Vec::new();
        let mut now = 1;
        for (number, step) in steps.iter().enumerate() {
            now += step.later;
            let at = Nanos(now * 1_000_000_000);
            let run = format!("run-{}", step.run);
            let who = Who { tenant: None, run: &run };
            let id = format!("id-{number}");
            let call = Call { name: "t", id: Some(&id), hash: Some(step.tool.into()) };
            let before = naive.len();
            // One set has them all.
            naive.retain(|(asked, ..)| now - asked < 10);
            let expired = (before - naive.len()) as u64;
            if step.asks {
                let by = format!("by-{number}");
                let seen = asks.ask(&store, 7, who, (&by, &[call]), at);
                prop_assert_eq!(seen.never_run, expired);
                naive.push((now, step.run, step.tool, by));
            } else {
                let call = Call { id: None, ..call };
                let (found, seen) = asks.ran(&store, 7, who, &[(true, call)], at);
                prop_assert_eq!(seen.never_run, expired);
                let expected = naive.iter().position(|(_, run, tool, _)| (*run, *tool) == (step.run, step.tool));
                let expected = expected.map(|at| naive.remove(at));
                let found = found.unwrap().remove(0);
                prop_assert_eq!(found.is_some(), expected.is_some());
                if let (Some(Asked { by, id }), Some((asked, run, tool, expected))) = (found, expected) {
                    // Of those asked for in the same second any may be first.
                    let same = naive.iter().any(|other| (other.0, other.1, other.2) == (asked, run, tool));
                    prop_assert!(by == expected || same);
                    prop_assert!(id.is_some());
                }
            }
        }
    }

    #[test]
    fn no_bytes_are_too_much_for_mcp(
        request in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), r#"[{}\[\]":,a-z1\\ ]{0,60}"#.prop_map(String::into_bytes)],
        answer in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), r#"(data: )?[{}\[\]":,idresult1\\ \n]{0,60}"#.prop_map(String::into_bytes)],
        sse in any::<bool>(),
    ) {
        let content_type = if sse { SSE } else { JSON };
        let whole = |request: Vec<&[u8]>, answer: Vec<&[u8]>| {
            let report = mcp(request, content_type, answer).play(&mut worker(ON), &Memory::default());
            (without_times(runs(&report)), report.record.unread)
        };
        prop_assert_eq!(
            whole(request.chunks(1).collect(), answer.chunks(1).collect()),
            whole(vec![&request], vec![&answer])
        );
        whole(vec![CALL.as_bytes()], vec![&answer]);
    }
}

#[test]
fn a_full_set_forgets_the_oldest_and_says_so() {
    let (store, asks) = (Memory::default(), asks(8));
    let who = Who { tenant: Some("t"), run: "r" };
    let mut full = 0;
    for number in 0..40u64 {
        let call = Call { name: "t", id: None, hash: Some(number) };
        full += asks.ask(&store, 7, who, ("by", &[call]), Nanos(number + 1)).store.full;
    }
    assert_eq!(full, 8);
    let call = |number| (true, Call { name: "t", id: None, hash: Some(number) });
    let (found, _) = asks.ran(&store, 7, who, &[call(7), call(8), call(39)], Nanos(50));
    let found: Vec<bool> = found.unwrap().iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, true]);
    assert_eq!(store.size(), (1, 32 * 144));
}
