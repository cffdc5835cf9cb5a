//! What kind a call is: by the config's rules, by what it asks, or `other`.

use weir::call::kind::Kind;
use weir::call::subject::{Subject, Wants};
use weir::config::identity::Identity;
use weir::features::kind::kinds::Kinds;
use weir::port::Headers;
use weir::settings::Config;

use super::support::{Call, Known, pairs};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn kind(config: &str, route: Option<&str>, head: &[(&str, &str)]) -> Option<Kind> {
    let pairs = pairs(head);
    let head = Headers(&pairs);
    kinds(config).of(head, &subject(head, route))
}

fn kinds(config: &str) -> Kinds {
    let config = Config::parse(config.as_bytes()).unwrap();
    Kinds::new(config.kinds.as_deref(), config.tells_kinds())
}

fn subject(head: Headers<'_>, route: Option<&str>) -> Subject {
    let subject = Subject::read(head, &Identity::default(), Wants::default(), &Known(Vec::new()));
    Subject { route: route.map(str::to_owned), ..subject }
}

fn word(config: &str, head: &[(&str, &str)]) -> String {
    kind(config, Some("a-route"), head).map_or("nobody looks".to_owned(), |kind| kind.word.to_string())
}

#[test]
fn what_everybody_serves_alike_is_known_without_a_rule() {
    for (path, expected) in [
        ("/v1/chat/completions", "model"),
        ("/v1/messages?beta=true", "model"),
        ("/v1/images/generations", "model"),
        ("/v1/embeddings", "embedding"),
        ("/v1beta/models/gemini-embedding-001:embedContent", "embedding"),
        ("/v2/rerank", "rerank"),
        ("/rerank/", "rerank"),
        ("/v1/projects/p/locations/global/rankingConfigs/default:rank", "rerank"),
        ("/v1/moderations", "guardrail"),
        ("/guardrail/g/version/1/apply", "guardrail"),
        ("/contentsafety/text:analyze?api-version=2024-09-01", "guardrail"),
        ("/v1/vector_stores/vs_1/search", "retrieval"),
        ("/collections/docs/points/search", "retrieval"),
        ("/collections/docs/points/query/groups", "retrieval"),
        ("/v2/vectordb/entities/search", "retrieval"),
        ("/records/namespaces/n/search", "retrieval"),
        ("/indexes('i')/docs/search.post.search", "retrieval"),
        ("/docs/_search?q=x", "retrieval"),
        ("/knowledgebases/K/retrieve", "retrieval"),
        ("/v1/traces", "observability"),
        ("/otel/v1/logs", "observability"),
        ("/api/public/ingestion", "observability"),
        ("/runs/batch", "observability"),
        ("/v1/threads/t/runs", "other"),
        ("/prerank", "other"),
        ("/search", "other"),
        ("/v1/models?after=/rerank", "other"),
        ("/", "other"),
        ("", "other"),
    ] {
        let head = [(":method", "POST"), (":path", path), (":authority", "h")];
        assert_eq!(word(r#"{"kinds":[]}"#, &head), expected, "{path}");
        assert_eq!(word("{}", &head), "nobody looks", "{path}");
    }
}

#[test]
fn mcp_is_a_tool_by_its_headers_unless_it_is_inference() {
    let both = ("accept", "application/json, text/event-stream");
    for (method, path, header, expected) in [
        ("POST", "/anything", both, "tool"),
        ("GET", "/anything", both, "other"),
        ("GET", "/anything", ("mcp-session-id", "s"), "tool"),
        ("DELETE", "/anything", ("mcp-protocol-version", "2025-06-18"), "tool"),
        ("POST", "/anything", ("accept", "text/event-stream"), "other"),
        ("POST", "/v1/chat/completions", both, "model"),
    ] {
        let head = [(":method", method), (":path", path), (":authority", "h"), header];
        assert_eq!(word(r#"{"kinds":[]}"#, &head), expected, "{method} {path} {header:?}");
    }
}

#[test]
fn the_first_rule_whose_every_key_fits_comes_before_what_is_known() {
    let config = r#"{"kinds":[
        {"match": {"route": "a-route", "path": "/both*"}, "kind": "guardrail"},
        {"match": {"path": "/tools/weather"}, "kind": "tool", "name": "weather"},
        {"match": {"path": "/tools/*", "method": "GET"}, "kind": "tool"},
        {"match": {"host": "Search.Internal*"}, "kind": "retrieval"},
        {"match": {"path": "/v1/chat/completions", "host": "judge"}, "kind": "judge"},
        {"match": {"route": "all-of-it"}, "kind": "web_search"}
    ]}"#;
    for (route, method, path, host, expected, name) in [
        (Some("a-route"), "GET", "/both/of", "h", "guardrail", None),
        (Some("another"), "GET", "/both/of", "h", "other", None),
        (None, "GET", "/both/of", "h", "other", None),
        (None, "POST", "/tools/weather?in=Rome", "h", "tool", Some("weather")),
        (None, "GET", "/tools/other", "h", "tool", None),
        (None, "POST", "/tools/other", "h", "other", None),
        (None, "GET", "/x", "search.internal.example:8443", "retrieval", None),
        (None, "POST", "/v1/chat/completions", "JUDGE:80", "judge", None),
        (None, "POST", "/v1/chat/completions", "h", "model", None),
        (None, "GET", "/x", "[::1]:80", "other", None),
        (Some("all-of-it"), "POST", "/v1/embeddings", "h", "web_search", None),
    ] {
        let head = [(":method", method), (":path", path), (":authority", host)];
        let kind = kind(config, route, &head).expect("a kind");
        let seen = (&*kind.word, kind.name.as_deref());
        assert_eq!(seen, (expected, name), "{method} {path} at {host}, {route:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_other_and_fit_no_rule() {
    let kinds = kinds(r#"{"kinds":[{"match":{"path":"/x","host":"h"},"kind":"tool"}]}"#);
    for name in [":path", ":authority", ":method"] {
        let mut pairs: Vec<(&[u8], &[u8])> = vec![(b":method", b"POST"), (b":path", b"/x"), (b":authority", b"h")];
        assert_eq!(&*kinds.of(Headers(&pairs), &subject(Headers(&pairs), None)).unwrap().word, "tool");
        for (n, value) in &mut pairs {
            if *n == name.as_bytes() && name != ":method" {
                *value = b"\xff\xfe/x";
            }
        }
        let seen = kinds.of(Headers(&pairs), &subject(Headers(&pairs), None)).unwrap();
        assert_eq!(&*seen.word, if name == ":method" { "tool" } else { "other" }, "{name}");
    }
}

#[test]
fn every_kind_of_a_config_has_a_number_of_its_own() {
    let rules: Vec<String> = (0..8).map(|i| format!(r#"{{"match":{{"path":"/{i}"}},"kind":"own_{i}"}}"#)).collect();
    let config = format!(r#"{{"kinds":[{}]}}"#, rules.join(","));
    let kinds = kinds(&config);
    assert_eq!(kinds.words().len(), weir::call::kind::SLOTS);
    for i in 0..8 {
        let path = format!("/{i}");
        let seen = kind(&config, None, &[(":method", "GET"), (":path", &path)]).unwrap();
        assert_eq!(*kinds.words()[usize::from(seen.slot)], *seen.word);
        assert_eq!(&*seen.word, format!("own_{i}"));
    }
}

#[test]
fn a_record_has_the_kind_only_where_somebody_wants_to_know() {
    for (config, expected) in [
        ("{}", None),
        (r#"{"kinds":[]}"#, Some("model")),
        (r#"{"runs":{}}"#, Some("model")),
        (r#"{"kinds":[{"match":{"route":"llm"},"kind":"mine"}]}"#, Some("mine")),
    ] {
        assert_eq!(Call { config, ..Call::default() }.record().kind.as_deref(), expected, "{config}");
    }
}
