//! A client's side of a stream: it asks, and compares each byte of the answer with what the upstream wrote.

use anyhow::{Result, bail, ensure};

use super::chunked::Chunked;
use crate::answer::Answer;

/// Names the client's stream to the upstream, through Envoy.
pub const STREAM: &str = "x-bench-stream";

const QUESTION: &str = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"max_tokens":512,"temperature":0.7,"messages":[{"role":"system","content":"You are a careful assistant. Answer in short sentences, and say so where you do not know."},{"role":"user","content":"How does one count the tokens of a stream without reading each event?"}]}"#;

/// The request of a stream.
pub fn request(stream: usize) -> Vec<u8> {
    let length = QUESTION.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer sk-bench-0123456789abcdef\r\n\
         x-tenant: acme\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
         user-agent: OpenAI/Python 3.54.0\r\naccept: application/json\r\n{STREAM}: {stream}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{QUESTION}"
    )
    .into_bytes()
}

/// What a client has of an answer.
#[derive(Debug, Default)]
pub struct Client {
    head: Vec<u8>,
    headed: bool,
    chunked: Chunked,
    seen: usize,
    arrived: usize,
}

impl Client {
    /// Takes what came.
    ///
    /// # Errors
    /// It is not the answer.
    pub fn read(&mut self, bytes: &[u8], answer: &Answer) -> Result<()> {
        let body = if self.headed {
            self.chunked.read(bytes, |part| compare(&mut self.seen, part, &answer.body))
        } else {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(length) = head_length(&self.head)? else { return Ok(()) };
            self.headed = true;
            let rest = bytes.get(length - before..).unwrap_or_default();
            self.chunked.read(rest, |part| compare(&mut self.seen, part, &answer.body))
        };
        body?;
        while self.headed && answer.ends.get(self.arrived).is_some_and(|end| *end <= self.seen) {
            self.arrived += 1;
        }
        ensure!(!self.is_done() || self.seen == answer.body.len(), "an answer ended after {} bytes", self.seen);
        Ok(())
    }

    /// How many of the upstream's writes have arrived.
    pub fn arrived(&self) -> usize {
        self.arrived
    }

    /// How many chunks the answer came in so far: Envoy makes one of each piece that has passed its filters.
    pub fn chunks(&self) -> u64 {
        self.chunked.chunks()
    }

    /// Whether the answer has ended.
    pub fn is_done(&self) -> bool {
        self.chunked.is_done()
    }
}

fn compare(seen: &mut usize, part: &[u8], body: &[u8]) -> Result<()> {
    let wanted = body.get(*seen..*seen + part.len());
    ensure!(
        wanted == Some(part),
        "the answer differs from what the upstream wrote, after {seen} bytes of {}",
        body.len()
    );
    *seen += part.len();
    Ok(())
}

/// The length of a response's head, once it is whole.
fn head_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    match response.code {
        Some(200) => Ok(Some(length)),
        code => bail!("Envoy answered {code:?}: {}", String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Coding, Pace};

    #[test]
    fn an_answer_is_read_in_any_pieces_and_a_changed_byte_is_seen() {
        for (pace, coding) in [(Pace::Lockstep, Coding::Gzip), (Pace::Coalesced, Coding::Plain)] {
            let answer = Answer::new(pace, coding);
            let mut wire = answer.writes.concat();
            for size in [1, 7, 1000, wire.len()] {
                let mut client = Client::default();
                for piece in wire.chunks(size) {
                    assert!(!client.is_done());
                    client.read(piece, &answer).unwrap();
                }
                assert!(client.is_done());
                assert_eq!(client.arrived(), answer.writes.len());
            }
            // A byte of the body, well behind the head.
            let middle = wire.len() / 2;
            wire[middle] ^= 1;
            assert!(Client::default().read(&wire, &answer).is_err(), "{pace:?}");
        }
    }

    #[test]
    fn a_write_has_arrived_when_its_last_byte_has() {
        let answer = Answer::new(Pace::Lockstep, Coding::Plain);
        let mut client = Client::default();
        for (i, write) in answer.writes.iter().enumerate() {
            let (most, last) = write.split_at(write.len() - 3);
            client.read(most, &answer).unwrap();
            assert!(client.arrived() <= i.max(1) || i + 1 == answer.writes.len(), "{i}");
            client.read(last, &answer).unwrap();
            assert!(client.arrived() > i);
        }
        assert!(client.is_done());
    }
}
