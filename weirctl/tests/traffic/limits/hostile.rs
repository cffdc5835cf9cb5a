//! Nobody can break limits from outside, nor make them take more memory than they are given.

use serde_json::json;

use super::super::client::{Client, post};
use super::super::rig::{CHAT, Rig, Setup};
use super::{ASK, answer, both, call, identity, with};

/// So many made-up tenants; 100,000 take half a minute, so they are asked for by this variable.
fn made_up() -> usize {
    std::env::var("WEIR_TENANTS").map_or(20_000, |n| n.parse().expect("WEIR_TENANTS is a number"))
}

#[test]
fn identities_may_be_any_bytes_of_any_length() {
    let limits = json!([
        {"name": "tpm", "scope": ["tenant", "user", "run"], "unit": "calls", "rate": {"limit": 1, "per": "day"}},
        {"name": "places", "scope": ["tenant"], "concurrency": 2},
        {"name": "tree", "tree": {"max_depth": 3, "max_fanout": 10}},
    ]);
    let long = "x".repeat(64 << 10);
    let values: [&[u8]; 8] = [
        long.as_bytes(),
        b"\xff\xfe\x80",
        b"a\tb",
        "größe 水".as_bytes(),
        b"../../etc",
        b";tenant=b;limit=c",
        b"\"},{\"",
        b"%00%",
    ];
    for rig in both(&limits) {
        for header in ["x-tenant", "x-user", "x-run", "baggage", "x-request-id", "accept"] {
            for (n, value) in values.iter().enumerate() {
                let statuses = [0, 1].map(|again| {
                    let case = format!("{header} {n} {again}");
                    rig.upstream.on(&case, answer());
                    let own = format!("{header} {n}");
                    let who = if header == "x-run" { ("x-user", own.as_str()) } else { ("x-run", own.as_str()) };
                    let mut request = post(CHAT, &[("x-case", &case), who, ("x-odd", "@@")], ASK);
                    let at = memchr(&request, b"x-odd: @@");
                    request.splice(at..at + 9, [header.as_bytes(), b": ", value].concat());
                    let mut client = rig.connect();
                    client.send(&request);
                    client.answer("POST").status
                });
                assert_eq!(statuses, [200, 429], "{header} {n}: {}", rig.envoy.log());
            }
        }
        rig.is_healthy_after("odd identities");
    }
}

fn memchr(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

/// Many calls, each of another tenant and user; how many were refused.
fn flood(rig: &Rig, from: usize, count: usize, at_once: usize) -> usize {
    rig.upstream.on("flood", answer());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|part| {
                let mut client: Client = rig.connect();
                scope.spawn(move || {
                    let mut refused = 0;
                    let numbers: Vec<usize> = (from..from + count).skip(part).step_by(4).collect();
                    // Envoy closes a connection whose requests come before the answers to those it refused.
                    for batch in numbers.chunks(at_once) {
                        let mut requests = Vec::new();
                        for n in batch {
                            let name = format!("made-up-{n}");
                            requests.extend(post(
                                CHAT,
                                &[("x-case", "flood"), ("x-tenant", &name), ("x-user", &name)],
                                ASK,
                            ));
                        }
                        client.send(&requests);
                        for _ in batch {
                            let answer = client.answer("POST");
                            assert!(answer.whole && matches!(answer.status, 200 | 429), "{answer:?}");
                            refused += usize::from(answer.status == 429);
                        }
                    }
                    refused
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn made_up_tenants_take_no_more_memory_than_the_table_has() {
    for (on_full, at_once) in [("allow", 50), ("refuse", 1)] {
        let limits = json!([
            {"name": "tpm", "scope": ["tenant"], "on_full": on_full, "rate": {"limit": 1000, "per": "day"}},
            {"name": "budget", "scope": ["user"], "on_full": on_full, "budget": {"limit": 1000}},
        ]);
        // Refused with their body at hand, HTTP/1.1 clients keep their connection.
        let hold_headers = true;
        let admission = json!({"keys": 1024, "hold_headers": hold_headers});
        let rig = with(limits, admission, Setup { workers: 2, hold_headers, ..Setup::default() });
        let warm = made_up() / 4;
        flood(&rig, 0, warm, at_once);
        let memory = rig.rss();
        let refused = flood(&rig, warm, made_up() - warm, at_once);
        let grown = (rig.rss() as i64 - memory as i64) / 1024;
        println!("{} made-up tenants, on_full {on_full}: {refused} refused, {grown} MB more", made_up());
        assert!(grown < 8, "{grown} MB");
        let all = made_up() - warm;
        // A call that one limit has no place for gives back the place that another had.
        let wanted = if on_full == "allow" { 0..=0 } else { all * 99 / 100..=all };
        assert!(wanted.contains(&refused), "the table is full by now: {refused}");
        let stats = rig.envoy.admin().get("/stats?filter=weir_store").unwrap();
        assert!(stats.contains("event=full"), "{stats}");
        rig.has_no_failed_vm("made-up tenants");
    }
}

#[test]
fn a_config_of_many_limits_that_nobody_meets_costs_nobody_anything() {
    let limits: Vec<_> = (0..32)
        .map(|n| json!({"name": format!("l{n}"), "scope": ["tenant"], "match": {"tenant": format!("nobody-{n}")}, "rate": {"limit": 1, "per": "day"}}))
        .collect();
    let weir = json!({"identity": identity(), "limits": limits});
    let rig = Rig::with(Setup { weir: Some(weir), ..Setup::default() });
    assert_eq!(call(&rig, "free", &[("x-tenant", "a")], ASK, answer()).status, 200);
    assert_eq!(rig.record("free")["limits"].as_array().map_or(0, Vec::len), 0);
    let all = call(&rig, "many", &[("x-tenant", "nobody-7")], ASK, answer());
    assert_eq!((all.status, rig.record("many")["limits"].as_array().unwrap().len()), (200, 1));
}
