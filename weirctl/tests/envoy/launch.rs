//! A real Envoy comes, starts, says where it listens, and goes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Launch, Route, binary};

/// Answers every connection's first request with `answer`, in HTTP/1.1.
fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if connection.read(&mut byte).unwrap() == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let asked = format!("{} {}", head.lines().next().unwrap_or_default(), answer);
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{asked}", asked.len());
            connection.write_all(text.as_bytes()).unwrap();
        }
    });
    at
}

fn get(at: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(at).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nx-case: 7\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn it_routes_by_prefix_listens_where_it_says_and_writes_one_line_per_call() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.jsonl");
    let bootstrap = Bootstrap {
        listen: vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()],
        routes: vec![
            Route { rewrite: Some("/a/deeper/".into()), ..Route::prefix("first", "/one/", "a") },
            Route::all("rest", "b"),
        ],
        clusters: vec![Cluster::plain("a", serve("from a")), Cluster::plain("b", serve("from b"))],
        access_log: Some(AccessLog::Json(log.clone())),
        ..Bootstrap::default()
    };
    let envoy = Envoy::start(&bootstrap).unwrap();
    assert_eq!(envoy.listeners().len(), 2);
    assert_ne!(envoy.listeners()[0], envoy.listeners()[1]);
    assert!(get(envoy.listeners()[0], "/one/x").contains("get /a/deeper/x http/1.1 from a"));
    assert!(get(envoy.listeners()[1], "/two").contains("get /two http/1.1 from b"));
    let pid = envoy.pid();
    envoy.stop();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "stop waits for the process");
    let lines: Vec<serde_json::Value> =
        std::fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let facts: Vec<_> = lines.iter().map(|l| (l["route"].as_str(), l["path"].as_str(), l["case"].as_str())).collect();
    assert_eq!(
        facts,
        [(Some("first"), Some("/one/x"), Some("7")), (Some("rest"), Some("/two"), Some("7"))],
        "{lines:?}"
    );
}

#[test]
fn a_bootstrap_that_envoy_refuses_is_an_error_with_the_reason_in_it() {
    let bootstrap = Bootstrap { routes: vec![Route::all("r", "no_such_cluster")], ..Bootstrap::default() };
    let error = Envoy::start(&bootstrap).unwrap_err().to_string();
    assert!(error.contains("no_such_cluster"), "{error}");
}

#[test]
fn an_envoy_goes_with_its_handle() {
    let envoy = Launch::new(&binary::bring().unwrap()).workers(1).start(&Bootstrap::default()).unwrap();
    let process = format!("/proc/{}", envoy.pid());
    assert!(Path::new(&process).exists());
    drop(envoy);
    assert!(!Path::new(&process).exists());
}

#[test]
fn an_envoy_goes_with_a_process_that_was_killed() {
    let path = std::env::temp_dir().join(format!("weir-killed-{}", std::process::id()));
    // This test again, as the process to be killed.
    if let Some(told) = std::env::var_os("WEIR_TEST_TO_BE_KILLED") {
        let envoy = Launch::new(&binary::bring().unwrap()).workers(1).start(&Bootstrap::default()).unwrap();
        std::fs::write(&told, envoy.pid().to_string()).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(600));
        return;
    }
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "launch::an_envoy_goes_with_a_process_that_was_killed"])
        .env("WEIR_TEST_TO_BE_KILLED", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    let wait_for = |what: &mut dyn FnMut() -> bool| {
        while !what() {
            assert!(begun.elapsed().as_secs() < 60, "a minute has passed");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let mut pid = String::new();
    wait_for(&mut || {
        pid = std::fs::read_to_string(&path).unwrap_or_default();
        !pid.is_empty()
    });
    process.kill().unwrap();
    process.wait().unwrap();
    // Who adopts it may take a moment to bury it: a zombie has no command line.
    let command_line = format!("/proc/{pid}/cmdline");
    wait_for(&mut || std::fs::read(&command_line).unwrap_or_default().is_empty());
    std::fs::remove_file(&path).unwrap();
}
