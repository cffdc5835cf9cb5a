//! The answer that every variant passes on: an OpenAI chat completion of 300 events, laid out as an upstream writes it.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

/// Events in an answer, `[DONE]` among them.
pub const EVENTS: usize = 300;

/// Bytes of an event with content; the last two differ.
const EVENT_BYTES: usize = 200;

/// Bytes of text in one write when events come together.
const COALESCED: usize = 16 * 1024;

/// The tokens that the answer reports: what a filter that reads usage has to find.
pub const INPUT_TOKENS: u64 = 1207;
/// See [`INPUT_TOKENS`].
pub const OUTPUT_TOKENS: u64 = 296;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// One event per write, and none before the client has the one before: one event per callback of a filter.
    Lockstep,
    /// 16 KB of text per write, and none before the client has the one before: 16 KB per callback.
    Coalesced,
    /// 16 KB of text per write, one after the other: what Envoy finds in its socket when it is behind, mostly the whole
    /// answer in one callback or two.
    Burst,
}

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// As it is.
    Plain,
    /// One gzip stream, flushed after each write's text.
    Gzip,
}

/// An answer, ready to be written.
pub struct Answer {
    /// How it is to be written.
    pub pace: Pace,
    /// The body as the client has to see it, chunk framing aside.
    pub body: Vec<u8>,
    /// The writes, with status line and chunk framing.
    pub writes: Vec<Vec<u8>>,
    /// For each write, how much of the body the client has once it has arrived.
    pub ends: Vec<usize>,
}

impl Answer {
    /// Lays an answer out.
    pub fn new(pace: Pace, coding: Coding) -> Self {
        let events = events();
        let texts: Vec<Vec<u8>> = match pace {
            Pace::Lockstep => events.into_iter().map(String::into_bytes).collect(),
            Pace::Coalesced | Pace::Burst => events.concat().as_bytes().chunks(COALESCED).map(<[u8]>::to_vec).collect(),
        };
        let pieces = match coding {
            Coding::Plain => texts,
            Coding::Gzip => gzip(&texts),
        };
        let head = head(coding).into_bytes();
        let last = b"0\r\n\r\n".to_vec();
        let mut writes: Vec<Vec<u8>> = pieces.iter().map(|piece| chunk(piece)).collect();
        let mut ends: Vec<usize> = pieces
            .iter()
            .scan(0, |end, piece| {
                *end += piece.len();
                Some(*end)
            })
            .collect();
        let body = pieces.concat();
        match pace {
            // A server that streams sends its head before it has a token, and the end when there is no more.
            Pace::Lockstep => {
                writes.insert(0, head);
                ends.insert(0, 0);
                writes.push(last);
                ends.push(body.len());
            }
            Pace::Coalesced | Pace::Burst => {
                if let Some(first) = writes.first_mut() {
                    first.splice(0..0, head);
                }
                if let Some(write) = writes.last_mut() {
                    write.extend(last);
                }
            }
        }
        Self { pace, body, writes, ends }
    }
}

fn head(coding: Coding) -> String {
    let encoding = match coding {
        Coding::Plain => "",
        Coding::Gzip => "content-encoding: gzip\r\n",
    };
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{encoding}\
         openai-processing-ms: 212\r\nx-request-id: req_5bd1b3d6c0b84f3f\r\ntransfer-encoding: chunked\r\n\r\n"
    )
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", piece.len()).into_bytes();
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
    out
}

/// Each text as the bytes that a server flushes after it, all of one gzip stream.
fn gzip(texts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    // Writing to memory cannot fail.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut pieces: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| {
            let _ = encoder.write_all(text).and_then(|()| encoder.flush());
            std::mem::take(encoder.get_mut())
        })
        .collect();
    if let (Some(last), Ok(end)) = (pieces.last_mut(), encoder.finish()) {
        last.extend(end);
    }
    pieces
}

/// The events: a role, words, the reason to finish, the usage (`include_usage`: all others carry `"usage":null`), `[DONE]`.
fn events() -> Vec<String> {
    // Words of several lengths, with what must be escaped among them.
    const WORDS: [&str; 12] = [
        " the",
        " stream",
        " of",
        r#" \"tokens\""#,
        ",",
        r"\n\n",
        " gr\u{f6}\u{df}er",
        " than",
        " usage",
        r"\\",
        " once",
        ".",
    ];
    const FIRST: &str = r#""delta":{"role":"assistant"},"finish_reason":null"#;
    const LAST: &str = r#""delta":{},"finish_reason":"stop""#;
    let choice = |inside: &str| format!(r#"[{{"index":0,{inside}}}]"#);
    let mut events = vec![event(&choice(FIRST), "null")];
    for i in 0..EVENTS - 4 {
        let word = WORDS[i % WORDS.len()];
        events.push(event(&choice(&format!(r#""delta":{{"content":"{word}"}},"finish_reason":null"#)), "null"));
    }
    events.push(event(&choice(LAST), "null"));
    let total = INPUT_TOKENS + OUTPUT_TOKENS;
    let usage = format!(
        r#"{{"prompt_tokens":{INPUT_TOKENS},"completion_tokens":{OUTPUT_TOKENS},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":1024}},"completion_tokens_details":{{"reasoning_tokens":0}}}}"#
    );
    events.push(event("[]", &usage));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// An event, filled up to its size the way OpenAI itself does it.
fn event(choices: &str, usage: &str) -> String {
    let mut event = format!(
        r#"data: {{"id":"c-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o","choices":{choices},"usage":{usage}"#
    );
    const FILL: &str = r#","obfuscation":""#;
    const END: &str = "\"}\n\n";
    let room = EVENT_BYTES.saturating_sub(event.len() + FILL.len() + END.len());
    // Writing to a String cannot fail.
    let _ = write!(event, "{FILL}{:x<room$}{END}", "");
    event
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn all() -> impl Iterator<Item = (Pace, Coding, Answer)> {
        [Pace::Lockstep, Pace::Coalesced, Pace::Burst]
            .into_iter()
            .flat_map(|pace| [Coding::Plain, Coding::Gzip].map(|coding| (pace, coding, Answer::new(pace, coding))))
    }

    #[test]
    fn every_answer_holds_the_same_events_however_it_is_written() {
        let text = events().concat();
        assert_eq!(text.matches("\n\n").count(), EVENTS);
        for (pace, coding, answer) in all() {
            let seen = match coding {
                Coding::Plain => String::from_utf8(answer.body).unwrap(),
                Coding::Gzip => {
                    let mut out = String::new();
                    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut out).unwrap();
                    out
                }
            };
            assert_eq!(seen, text, "{pace:?} {coding:?}");
        }
    }

    #[test]
    fn an_event_with_content_has_200_bytes_and_is_json() {
        let events = events();
        assert_eq!(events.len(), EVENTS);
        for event in &events[..EVENTS - 2] {
            assert_eq!(event.len(), EVENT_BYTES, "{event}");
        }
        for event in &events[..EVENTS - 1] {
            let json = event.strip_prefix("data: ").unwrap();
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }

    #[test]
    fn in_lockstep_each_event_has_a_write_of_its_own_between_head_and_end() {
        for (pace, coding, answer) in all() {
            if pace == Pace::Lockstep {
                assert_eq!(answer.writes.len(), EVENTS + 2, "{coding:?}");
                assert!(answer.ends[1..].is_sorted_by(|a, b| a < b || *b == answer.body.len()));
            } else {
                assert_eq!(answer.writes.len(), (EVENTS * EVENT_BYTES).div_ceil(COALESCED), "{coding:?}");
            }
        }
    }
}
