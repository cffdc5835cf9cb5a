//! Who is calling, from every source; and that no secret gets out.

use weir::config::identity::Source;
use weir::port::Headers;
use weir::settings::Config;
use weir::signals::identity::find;

use super::support::{Call, Known, pairs};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn sources(json: &str) -> Vec<Source> {
    Config::parse(format!(r#"{{"identity":{{"user":{json}}}}}"#).as_bytes()).unwrap().identity.user.clone()
}

#[test]
fn the_first_source_that_has_a_value_wins() {
    let trace = "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01";
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (r#"[{"header":"X-User"}]"#, &[("x-user", " ann ")], Some("ann")),
        (r#"[{"header":"x-user"},{"header":"x-other"}]"#, &[("x-user", ""), ("x-other", "bob")], Some("bob")),
        (r#"[{"header":"x-user"}]"#, &[], None),
        (r#"["trace_id"]"#, &[("traceparent", trace)], Some("0af7651916cd43dd8448eb211c80319c")),
        (r#"["trace_id"]"#, &[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")], None),
        (r#"["trace_id"]"#, &[("traceparent", "garbage")], None),
        (r#"[{"baggage":"run"}]"#, &[("baggage", "a=1, run = 7 ;p=2,run=8")], Some("7")),
        (r#"[{"baggage":"run"}]"#, &[("baggage", ",,=;run;xrun=1")], None),
        (r#"[{"header":"x"}]"#, &[("x", "a\u{7}b\u{1b}[0m")], Some("a_b_[0m")),
    ];
    for (json, headers, expected) in cases {
        let found = find(&sources(json), Headers(&pairs(headers)), &Known(Vec::new()));
        assert_eq!(found.as_deref(), *expected, "{json} {headers:?}");
    }
}

#[test]
fn envoy_knows_claims_and_certificates() {
    let known = Known(vec![
        (&["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "jwt", "sub"], b"ann".to_vec()),
        (&["connection", "uri_san_peer_certificate"], b"spiffe://x/ns/a".to_vec()),
    ]);
    let headers = Headers(&[]);
    assert_eq!(
        find(&sources(r#"[{"jwt_claim":{"payload":"jwt","claim":"sub"}}]"#), headers, &known).as_deref(),
        Some("ann")
    );
    assert_eq!(
        find(&sources(r#"[{"jwt_claim":{"payload":"jwt","claim":"x"}},"mtls_peer"]"#), headers, &known).as_deref(),
        Some("spiffe://x/ns/a")
    );
    let known = Known(vec![(&["connection", "subject_peer_certificate"], b"CN=a".to_vec())]);
    assert_eq!(find(&sources(r#"["mtls_peer"]"#), headers, &known).as_deref(), Some("CN=a"));
}

#[test]
fn an_api_key_is_the_same_identity_wherever_it_stands_and_another_under_another_salt() {
    let with = |salt: &str, header: (&str, &str)| {
        find(
            &sources(&format!(r#"[{{"api_key_hash":{{"salt":"{salt}"}}}}]"#)),
            Headers(&pairs(&[header])),
            &Known(Vec::new()),
        )
    };
    let hash = with("pepper-1", ("authorization", "Bearer sk-secret"));
    assert_eq!(hash.as_deref().map(str::len), Some(16));
    for header in [
        ("authorization", "bearer  sk-secret"),
        ("x-api-key", "sk-secret"),
        ("api-key", "sk-secret"),
        ("x-goog-api-key", "sk-secret"),
    ] {
        assert_eq!(with("pepper-1", header), hash, "{header:?}");
    }
    assert_ne!(with("pepper-2", ("x-api-key", "sk-secret")), hash);
    assert_ne!(with("pepper-1", ("x-api-key", "sk-other")), hash);
    assert_eq!(with("pepper-1", ("authorization", "Basic xyz")), None);
    assert_eq!(with("pepper-1", ("authorization", "Bearer ")), None);
}

#[test]
fn no_key_prompt_or_answer_reaches_the_record() {
    let call = Call {
        request: r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"PROMPT-SECRET"}],"user":"PROMPT-SECRET"}"#.to_owned(),
        request_headers: vec![("authorization", "Bearer KEY-SECRET"), ("x-api-key", "KEY-SECRET"), ("cookie", "KEY-SECRET")],
        config: r#"{"identity":{"tenant":[{"api_key_hash":{"salt":"SALT-SECRET"}}]}}"#,
        ..Call::default()
    };
    for answer in [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ANSWER-SECRET\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"error\":{\"message\":\"you sent ANSWER-SECRET\",\"type\":\"t\"}}\n\n",
        "data: {\"error\":\"you sent ANSWER-SECRET\"}\n\n",
    ] {
        let record = call.answered([answer.as_bytes()]).record();
        assert_eq!(record.tenant.as_deref().map(str::len), Some(16));
        let (json, debug) = (record.to_json(), format!("{:?}", Config::parse(call.config.as_bytes())));
        assert!(!json.contains("SECRET"), "{json}");
        assert!(!debug.contains("SECRET"), "{debug}");
    }
}

#[test]
fn a_run_is_found_in_an_mcp_message_where_no_header_names_one() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let message = |meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"f","arguments":{{}},"_meta":{meta}}}}}"#
        )
    };
    let mcp = vec![("accept", "application/json, text/event-stream")];
    let header =
        [mcp.clone(), vec![("traceparent", "00-11111111111111111111111111111111-b7ad6b7169203331-01")]].concat();
    let baggage = r#"{"identity":{"run":[{"baggage":"session"}]}}"#;
    for (name, config, headers, request, run) in [
        (
            "a trace",
            "{}",
            mcp.clone(),
            message(&format!(r#"{{"traceparent":"{TRACE}"}}"#)),
            Some("0af7651916cd43dd8448eb211c80319c"),
        ),
        (
            "a header says it first",
            "{}",
            header,
            message(&format!(r#"{{"traceparent":"{TRACE}"}}"#)),
            Some("11111111111111111111111111111111"),
        ),
        ("baggage", baggage, mcp.clone(), message(r#"{"baggage":"a=b,session=s-1"}"#), Some("s-1")),
        (
            "a batch",
            "{}",
            mcp.clone(),
            format!("[{}]", message(&format!(r#"{{"traceparent":"{TRACE}"}}"#))),
            Some("0af7651916cd43dd8448eb211c80319c"),
        ),
        ("nothing", "{}", mcp.clone(), message("{}"), None),
        ("nonsense", "{}", mcp, message(r#"{"traceparent":"x"}"#), None),
        ("no MCP", "{}", vec![], message(&format!(r#"{{"traceparent":"{TRACE}"}}"#)), None),
    ] {
        let call =
            super::support::Call { path: "/mcp", request, request_headers: headers, config, ..Default::default() };
        assert_eq!(call.record().run.as_deref(), run, "{name}");
    }
}
