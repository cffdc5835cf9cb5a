//! What the filter writes to the host's log, over a fake host (see `fake_host`): little, short, and nothing of anyone's.

use crate::fake_host::{Fault, headers, vm};

/// Stands wherever a client may put something.
const SECRET: &str = "hunter2hunter2hunter2";
/// Longest message, in bytes, as `abi/README.md` has it.
const LONGEST: usize = 1024;

#[test]
fn a_host_that_fails_many_calls_gets_ten_lines_a_second_and_no_word_of_theirs() {
    const LIMITED: &str = r#"{"identity":{"tenant":[{"header":"x-tenant"}],"user":[{"api_key_hash":{"salt":"some salt"}}]},
        "limits":[{"name":"calls","unit":"calls","scope":["tenant"],"rate":{"limit":1000,"per":"second"}}]}"#;
    for function in ["proxy_get_shared_data", "proxy_set_shared_data", "proxy_set_property", "proxy_define_metric"] {
        vm(|vm| {
            assert!(vm.configure(LIMITED), "{:?}", vm.logged());
            vm.fail(Some(Fault::Always(function, 10)));
            for _ in 0..200 {
                let http = vm.exchange();
                let head = [
                    (":method", "POST"),
                    (":path", "/v1/chat/completions"),
                    (":authority", "llm"),
                    ("authorization", SECRET),
                    ("x-tenant", SECRET),
                ];
                http.request_headers(headers(&head), false);
                http.request_body(format!(r#"{{"model":"m","messages":[{{"content":"{SECRET}"}}]}}"#).as_bytes(), true);
                http.response_headers(headers(&[(":status", "200"), ("content-type", "application/json")]), false);
                http.response_body(format!(r#"{{"model":"m","choices":[{{"message":"{SECRET}"}}]}}"#).as_bytes(), true);
                http.log();
            }
            let log = vm.logged();
            assert!((1..=10).contains(&log.len()), "{function}: {} lines", log.len());
            assert_eq!(log.iter().find(|line| line.contains(SECRET)), None, "{function}");
            vm.pass_ms(1_000);
            vm.exchange().log();
            let log = vm.logged();
            assert!(function == "proxy_define_metric" || log.is_empty() || log[0].contains("were left out"), "{log:?}");
        });
    }
}

#[test]
fn a_reason_for_a_refused_config_is_cut_and_has_no_key_in_it() {
    vm(|vm| {
        assert!(!vm.configure(format!(r#"{{"{}":1}}"#, "x".repeat(100_000))));
        let log = vm.logged();
        assert!(matches!(&log[..], [line] if line.len() <= LONGEST && line.starts_with("weir: bad configuration: ")));
        vm.pass_ms(1_000);
        for config in [
            r#"{"audit":{"chain":{"key":["hunter2hunter2hunter2"]}}}"#,
            r#"{"audit":{"chain":{"key":"hunter2hunter2hunter2","kei_id":1}}}"#,
            r#"{"audit":{"chain":"hunter2hunter2hunter2"}}"#,
            r#"{"audit":{"chain":{"key":"hunter2hunter2hunter2"}}"#,
        ] {
            assert!(!vm.configure(config), "{config}");
            let log = vm.logged();
            assert!(matches!(&log[..], [line] if !line.contains(SECRET)), "{config}: {log:?}");
        }
    });
}
