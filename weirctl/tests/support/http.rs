//! One small HTTP call, blocking.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Posts JSON and gives status and body.
///
/// # Panics
/// If nobody answers.
pub fn post(at: SocketAddr, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.post(format!("http://{at}{path}")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
}

/// Gets a path and gives status and body.
///
/// # Panics
/// If nobody answers.
pub fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.get(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().unwrap_or_else(|error| panic!("{path}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
}

/// A streamed OpenAI chat call.
pub fn chat(model: &str) -> Value {
    json!({"model": model, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Say something."}]})
}

/// Longer than anything takes, on a busy machine too; what takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until it is there, patiently.
///
/// # Panics
/// If it does not come.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
