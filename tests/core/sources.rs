//! Sources that answers name where the config points, whatever the answer's framing and however it was cut.

use std::rc::Rc;

use serde_json::{Value, json};
use weir::features::trail::trails::Shown;
use weir::port::Headers;
use weir::record::Record;
use weir::settings::Config;
use weir::stream::Stream;
use weir::worker::Worker;

use super::memory::Memory;
use super::support::{every_split, ms, pairs, via_upstream};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const JSON: (&str, &str) = ("content-type", "application/json");
const SSE: (&str, &str) = ("content-type", "text/event-stream");
const MCP: (&str, &str) = ("accept", "application/json, text/event-stream");
const POINTERS: &[&str] = &["/results/*/url", "/matches/*/metadata/source"];
/// A call of no run.
const RUNLESS: &str = "/v1/vector_stores/v/search";

fn worker(pointers: &[&str]) -> Worker {
    let config = json!({
        "identity": {"run": [{"header": "x-run"}]},
        "kinds": [{"match": {"path": "/tools/*"}, "kind": "tool", "name": "lookup"}],
        "audit": {"trail": {"key": "0123456789abcdef", "sources": ["x-source"], "source_pointers": pointers}},
    });
    Worker::new(Config::parse(config.to_string().as_bytes()).unwrap())
}

/// The call's sources in its run's trail, its record, and whether its answer was to be read.
fn play(
    worker: &mut Worker,
    (path, more): (&str, &[(&str, &str)]),
    (status, head): (&str, &[(&str, &str)]),
    pieces: &[&[u8]],
) -> (Vec<String>, Record, bool) {
    let store = Memory::default();
    let mut stream = Stream::new(Rc::clone(&worker.config));
    let run = if path == RUNLESS { "x-none" } else { "x-run" };
    let request = [&[(":method", "POST"), (":path", path), (":authority", "tools"), (run, "r")], more].concat();
    let request = pairs(&request);
    let request = Headers(&request);
    assert!(stream.request_head(request, true, worker, &via_upstream(), &store, ms(0)).reply.is_none());
    let head = [&[(":status", status)], head].concat();
    stream.response_head(Headers(&pairs(&head)), false, worker, ms(1));
    let read = stream.wants_response_body();
    for piece in pieces {
        stream.response_body(piece, false, ms(2));
    }
    stream.response_body(&[], true, ms(3));
    let record = stream.done(worker, &via_upstream(), &store, ms(4)).record;
    let trails = worker.shared.trail.trails().expect("trails are kept");
    let name = trails.name(None, "r");
    let run = trails.look(&name, Shown { token: name.token().as_bytes(), operator: b"" }, &store, ms(5));
    (run.map(|run| run.calls[0].sources.clone()).unwrap_or_default(), record, read)
}

#[cfg(not(target_family = "wasm"))]
fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    to.write_all(text.as_bytes()).unwrap();
    to.finish().unwrap()
}

fn result(result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string()
}

#[test]
fn sources_are_found_where_pointers_lead_however_the_answer_is_cut() {
    let rerank = "/v2/rerank";
    let found = json!({"results": [{"url": "a"}, {"url": "b"}]});
    let (text, event) = (found.to_string(), result(&json!({"structuredContent": found})));
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"results":[{"url":"no"}]}}"#;
    let prose = "See {\"results\": [{\"url\": \"no\"}]}";
    #[rustfmt::skip]
    let mut cases: Vec<(&str, &[&str], (&str, &[(&str, &str)]), &[(&str, &str)], Vec<u8>, &[&str])> = vec![
        ("each element of a list", POINTERS, (rerank, &[]), &[JSON], text.clone().into(), &["a", "b"]),
        ("two pointers, in the order of the answer", POINTERS, (rerank, &[]), &[JSON],
            br#"{"x":[[{"url":"no"}]],"matches":[{"id":1,"values":[0.1,0.2],"metadata":{"text":"no","source":"m"}}],"results":[{"url":"r"}]}"#.into(), &["m", "r"]),
        ("escapes of JSON and of pointers", &["/a~1b/~0c/\u{e9}"], (rerank, &[]), &[JSON],
            br#"{"a\/b":{"~c":{"\u00e9":"caf\u00e9 \ud83d\ude00 \" x"}}}"#.into(), &["caf\u{e9} \u{1f600} \" x"]),
        ("members of an object", &["/docs/*/id"], (rerank, &[]), &[JSON],
            br#"{"docs":{"x":{"id":"d1"},"y":{"id":7},"z":{"id":null},"w":{"id":true},"v":{"id":{"id":"no"}}}}"#.into(), &["d1", "7"]),
        ("one element", &["/1/u", "/0"], (rerank, &[]), &[JSON], br#"[{"u":"no"},{"u":"yes"},{"u":"no"}]"#.into(), &["yes"]),
        ("pointers that are others' beginnings", &["/a", "/a/b", "/*/*"], (rerank, &[]), &[JSON],
            br#"{"a":{"b":"one","c":"two"},"d":["three",["no"]],"e":"no"}"#.into(), &["one", "two", "three"]),
        ("the same source once", POINTERS, (rerank, &[]), &[JSON, ("x-source", "b, h")], text.clone().into(), &["b", "h", "a"]),
        ("a tool by the config's rule", POINTERS, ("/tools/x", &[]), &[JSON], text.clone().into(), &["a", "b"]),
        ("events", POINTERS, (rerank, &[]), &[SSE],
            b"event: x\ndata: {\"results\":[{\"url\":\"a\"}\ndata: ]}\n\ndata: {\"results\":[{\"url\n\ndata: {\"results\":[{\"url\":\"b\"}]}\n\n".into(), &["a", "b"]),
        ("MCP's structured content", POINTERS, ("/mcp", &[MCP]), &[JSON], event.clone().into(), &["a", "b"]),
        ("MCP's texts, which need not be JSON", POINTERS, ("/mcp", &[MCP]), &[JSON],
            result(&json!({"content": [{"type": "text", "text": prose}, {"type": "text", "text": text}, {"type": "image", "data": "{}"}]})).into(), &["a", "b"]),
        ("MCP's both", POINTERS, ("/mcp", &[MCP]), &[JSON],
            result(&json!({"content": [{"text": text}], "structuredContent": found})).into(), &["a", "b"]),
        ("MCP's events", POINTERS, ("/mcp", &[MCP]), &[SSE],
            format!("data: {progress}\n\ndata: {event}\n\n").into(), &["a", "b"]),
        ("MCP's batch", POINTERS, ("/mcp", &[MCP]), &[JSON], format!("[{event},{event}]").into(), &["a", "b"]),
        ("nothing of MCP's own message", &["/id", "/result/isError", "/jsonrpc"], ("/mcp", &[MCP]), &[JSON], event.into(), &[]),
        ("an answer that breaks off", POINTERS, (rerank, &[]), &[JSON], br#"{"results":[{"url":"a"},{"url":"b"#.into(), &["a"]),
        ("a list in the place of a text", POINTERS, (rerank, &[]), &[JSON], br#"{"results":[{"url":["no"]},{"url":"a"}]}"#.into(), &["a"]),
    ];
    #[cfg(not(target_family = "wasm"))]
    cases.push((
        "compressed",
        POINTERS,
        (rerank, &[]),
        &[JSON, ("content-encoding", "gzip")],
        gzip(&json!({"results": [{"url": "a"}]}).to_string()),
        &["a"],
    ));
    for (what, pointers, request, head, answer, expected) in std::mem::take(&mut cases) {
        let mut worker = worker(pointers);
        for pieces in every_split(&answer) {
            let (sources, _, read) = play(&mut worker, request, ("200", head), &pieces);
            assert_eq!(
                sources,
                expected,
                "{what}, in pieces of {:?}",
                pieces.iter().map(|p| p.len()).collect::<Vec<_>>()
            );
            assert!(read, "{what}");
        }
    }
}

#[test]
fn nothing_is_read_that_brings_no_sources_or_of_which_nobody_wants_to_know() {
    let answer = br#"{"results":[{"url":"a"}]}"#;
    #[rustfmt::skip]
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("no pointers", &[], "/v1/collections/c/search", "200"),
        ("an error", POINTERS, "/v1/collections/c/search", "500"),
        ("an empty answer", POINTERS, "/v1/collections/c/search", "204"),
        ("no run", POINTERS, RUNLESS, "200"),
        ("another kind of call", POINTERS, "/v1/traces", "200"),
        ("no kind of call at all", POINTERS, "/index.html", "200"),
    ];
    for (what, pointers, path, status) in cases {
        let (sources, record, read) = play(&mut worker(pointers), (path, &[]), (status, &[JSON]), &[answer]);
        assert_eq!((sources.len(), record.unread, read), (0, 0, false), "{what}");
    }
}

#[test]
fn sources_are_few_and_short_and_what_cannot_be_read_is_counted_once() {
    let long = "\u{20ac}".repeat(200);
    let many: Vec<Value> = (0..100).map(|i| json!({"url": format!("{i} {long}")})).collect();
    let text = json!({"results": many}).to_string();
    let mut worker = worker(POINTERS);
    let (sources, record, _) =
        play(&mut worker, ("/v1/collections/c/search", &[]), ("200", &[JSON]), &[text.as_bytes()]);
    assert!(sources.len() < 16 && sources.iter().all(|source| source.len() <= 64), "what the trail has room for");
    assert_eq!(record.unread, 0);
    #[rustfmt::skip]
    let cases: &[(&str, &[(&str, &str)], &[u8], u64)] = &[
        ("cut JSON", &[JSON], br#"{"results":[{"url":"a"#, 1),
        ("broken JSON", &[JSON], br#"{"results":!}"#, 1),
        ("an unknown coding", &[JSON, ("content-encoding", "x")], b"x", 1),
        ("plain text, which promised nothing", &[("content-type", "text/plain")], b"Sources: none", 0),
        ("nothing", &[JSON], b"", 0),
        ("deep JSON", &[JSON], &[[b'['; 500], [b']'; 500]].concat(), 0),
    ];
    for (what, head, answer, unread) in cases {
        for pieces in every_split(answer) {
            let (_, record, _) = play(&mut worker, ("/v1/collections/c/search", &[]), ("200", head), &pieces);
            assert_eq!(record.unread, *unread, "{what}");
        }
    }
}

#[test]
fn a_pointer_that_is_none_is_refused_by_its_path() {
    let deep = "/x".repeat(13);
    let long = format!("/{}", "x".repeat(255));
    for pointer in ["", "results", "/a~", "/a~2b", &deep, &long] {
        let config = json!({"audit": {"trail": {"key": "0123456789abcdef", "source_pointers": ["/a", pointer]}}});
        let error = Config::parse(config.to_string().as_bytes()).unwrap_err();
        assert!(error.starts_with("audit.trail.source_pointers[1]: "), "{error}");
        assert!(error.contains("is not a JSON pointer"), "{error}");
    }
    let nine = json!({"audit": {"trail": {"key": "0123456789abcdef", "source_pointers": vec!["/a"; 9]}}});
    assert!(Config::parse(nine.to_string().as_bytes()).unwrap_err().contains("at most 8"));
}
