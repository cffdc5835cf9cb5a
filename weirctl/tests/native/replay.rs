//! Replaying recorded answers: body files and HARs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The records that `weirctl replay --json` prints of these files.
fn records(arguments: &[&str], files: &[(&str, &[u8])]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    let output = run(&["--json"], arguments, paths.iter().map(|p| p.as_path()));
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run<'a>(first: &[&str], arguments: &[&str], files: impl Iterator<Item = &'a Path>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    command.arg("replay").args(first).args(arguments).args(files);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const CHAT: &[u8] = b"data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
const CLAUDE: &[u8] = br#"{"id":"msg","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}"#;

#[test]
fn a_bodys_api_is_told_from_its_own_words() {
    let gemini = br#"[{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":6}}]"#;
    let ollama = b"{\"model\":\"l\",\"message\":{\"content\":\"a\"},\"done\":false}\n{\"model\":\"l\",\"done\":true,\"prompt_eval_count\":7,\"eval_count\":8}\n";
    let files: [(&str, &[u8]); 4] =
        [("chat.sse", CHAT), ("claude.json", CLAUDE), ("gemini.json", gemini), ("ollama.ndjson", ollama)];
    let facts: Vec<_> = records(&[], &files)
        .iter()
        .map(|r| (r["api"].clone(), r["usage"]["input"].clone(), r["usage"]["output"].clone(), r["ended"].clone()))
        .collect();
    let expected = [
        ("openai.chat_completions", 1, 2),
        ("anthropic.messages", 3, 4),
        ("gemini.generate_content", 5, 6),
        ("ollama.chat", 7, 8),
    ];
    assert_eq!(
        facts,
        expected.map(|(api, input, output)| (json!(api), json!(input), json!(output), json!("complete")))
    );
}

#[test]
fn what_is_said_on_the_command_line_counts() {
    let records = records(&["--path", "/v1/models", "--status", "404"], &[("chat.sse", CHAT)]);
    assert_eq!(
        (&records[0]["api"], &records[0]["status"], &records[0]["ended"]),
        (&json!("other"), &json!(404), &json!("error"))
    );
}

#[test]
fn every_exchange_of_a_har_is_played_with_its_own_times() {
    let entry = |url: &str, body: &[u8], kind: &str| {
        json!({
            "request": {"method": "POST", "url": url, "headers": [{"name": "X-Tenant", "value": "acme"}], "postData": {"text": "{\"model\":\"asked\",\"stream\":true}"}},
            "response": {"status": 200, "headers": [{"name": "Content-Encoding", "value": "br"}], "content": {"mimeType": kind, "text": String::from_utf8_lossy(body)}},
            "timings": {"send": 1, "wait": 200, "receive": 300},
        })
    };
    let har = json!({"log": {"entries": [
        entry("https://api.openai.com/v1/chat/completions", CHAT, "text/event-stream"),
        entry("https://api.anthropic.com/v1/messages?beta=true", CLAUDE, "application/json"),
    ]}});
    let config = br#"{"identity":{"tenant":[{"header":"x-tenant"}]}}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.json");
    std::fs::write(&path, config).unwrap();
    let records = records(&["--config", path.to_str().unwrap()], &[("calls.har", har.to_string().as_bytes())]);
    let facts: Vec<_> = records
        .iter()
        .map(|r| json!([r["provider"], r["request_model"], r["tenant"], r["usage"]["output"], r["time"]["total_ms"]]))
        .collect();
    assert_eq!(facts, [json!(["openai", "asked", "acme", 2, 501.0]), json!(["anthropic", "asked", "acme", 4, 501.0])]);
}

#[test]
fn people_get_a_table_and_are_told_what_is_no_har() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answer.sse");
    std::fs::write(&path, CHAT).unwrap();
    let table = run(&[], &[], std::iter::once(path.as_path()));
    assert!(
        table.contains("answer.sse") && table.contains("openai.chat_completions") && table.contains("complete"),
        "{table}"
    );
    let path = folder.path().join("broken.har");
    std::fs::write(&path, "{}").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weirctl")).arg("replay").arg(&path).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("is no HAR"));
}

#[test]
fn what_is_no_answer_at_all_is_said_to_be_none() {
    for (name, body) in [("text", &b"hello, world"[..]), ("nothing", b""), ("bytes", &[0xff, 0xfe, 7])] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer");
        std::fs::write(&file, body).unwrap();
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_weirctl")).arg("replay").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("nothing of the answer could be read"), "{name}: {said}");
    }
}
