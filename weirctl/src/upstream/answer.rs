//! A whole HTTP answer with its times: what the formats make, and what the server plays.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value;

use super::script::Script;
use super::steer::{Encoding, End, Steer};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How long after the part before it, or after the headers.
    pub after: Duration,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What comes after the last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The body's end.
    End,
    /// A broken connection.
    Reset,
    /// Nothing, ever.
    Hang,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// How long after the request the headers go out.
    pub head_after: Duration,
    /// The body.
    pub parts: Vec<Part>,
    /// Its end.
    pub last: Last,
    /// Whether each part is written for itself even where no time lies between them.
    pub apart: bool,
}

impl Answer {
    /// A JSON document, whole, after the time that the script takes.
    pub fn json(script: &Script, value: &Value) -> Self {
        let mut answer = Self::document(200, value);
        answer.head_after = script.prefill + script.decode();
        match script.end {
            End::Complete => {}
            // Here the formats answer with an error document; one that breaks off never gets its second half.
            End::Error | End::Cut | End::Reset | End::Hang => {
                answer.headers.retain(|(name, _)| *name != "content-length");
                let bytes = &mut answer.parts[0].bytes;
                bytes.truncate(bytes.len() / 2);
                answer.last = match script.end {
                    End::Reset => Last::Reset,
                    End::Hang => Last::Hang,
                    _ => Last::End,
                };
            }
        }
        answer
    }

    /// A JSON document at once.
    pub fn document(status: u16, value: &Value) -> Self {
        let text = value.to_string();
        Self {
            status,
            headers: vec![("content-type", "application/json".into()), ("content-length", text.len().to_string())],
            head_after: Duration::ZERO,
            parts: vec![Part { after: Duration::ZERO, bytes: text.into() }],
            last: Last::End,
            apart: false,
        }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// All of the body.
    pub fn body(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|part| part.bytes.iter().copied()).collect()
    }

    /// Compresses and cuts the body as the caller wants it.
    pub fn steered(mut self, steer: &Steer) -> Self {
        if let Some(encoding) = steer.encoding {
            self.compress(encoding);
        }
        if let Some(size) = steer.chunk {
            self.apart = true;
            let cut = |part: Part| {
                let mut rest = part.bytes;
                let mut after = part.after;
                std::iter::from_fn(move || {
                    let bytes = (!rest.is_empty()).then(|| rest.split_to(size.min(rest.len())))?;
                    Some(Part { after: std::mem::take(&mut after), bytes })
                })
            };
            self.parts = self.parts.into_iter().flat_map(cut).collect();
        }
        self
    }

    fn compress(&mut self, encoding: Encoding) {
        let name = match encoding {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        };
        self.headers.retain(|(name, _)| *name != "content-length");
        self.headers.push(("content-encoding", name.into()));
        let parts = std::mem::take(&mut self.parts);
        self.parts = match encoding {
            Encoding::Gzip => {
                squeeze(parts, GzEncoder::new(Vec::new(), Compression::default()), |e| e.get_mut(), |e| e.finish())
            }
            Encoding::Deflate => {
                squeeze(parts, ZlibEncoder::new(Vec::new(), Compression::default()), |e| e.get_mut(), |e| e.finish())
            }
        };
    }
}

/// Compresses part by part, each flushed so that its reader can read all of it.
fn squeeze<W: Write>(
    parts: Vec<Part>,
    mut encoder: W,
    out: fn(&mut W) -> &mut Vec<u8>,
    finish: fn(W) -> std::io::Result<Vec<u8>>,
) -> Vec<Part> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let mut squeezed: Vec<Part> = parts
        .into_iter()
        .map(|part| {
            encoder.write_all(&part.bytes).expect(IN_MEMORY);
            encoder.flush().expect(IN_MEMORY);
            Part { after: part.after, bytes: std::mem::take(out(&mut encoder)).into() }
        })
        .collect();
    squeezed.push(Part { after: Duration::ZERO, bytes: finish(encoder).expect(IN_MEMORY).into() });
    squeezed
}

/// A streamed answer in the making.
#[derive(Debug)]
pub struct Reel {
    answer: Answer,
    wait: Duration,
}

impl Reel {
    /// A stream of this type whose headers go out after a while.
    pub fn new(content_type: &str, head_after: Duration) -> Self {
        let answer = Answer {
            status: 200,
            headers: vec![("content-type", content_type.into())],
            head_after,
            parts: Vec::new(),
            last: Last::End,
            apart: false,
        };
        Self { answer, wait: Duration::ZERO }
    }

    /// Lets time pass before the next event.
    pub fn wait(&mut self, time: Duration) {
        self.wait += time;
    }

    /// Sends an event.
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        let after = std::mem::take(&mut self.wait);
        self.answer.parts.push(Part { after, bytes: bytes.into() });
    }

    /// Server-sent events with nothing but data.
    pub fn data(&mut self, value: &Value) {
        self.send(format!("data: {value}\n\n"));
    }

    /// A server-sent event with a name.
    pub fn event(&mut self, name: &str, value: &Value) {
        self.send(format!("event: {name}\ndata: {value}\n\n"));
    }

    /// A line of JSON.
    pub fn line(&mut self, value: &Value) {
        self.send(format!("{value}\n"));
    }

    /// The answer, with the end that the script wants.
    pub fn end(mut self, script: &Script) -> Answer {
        self.answer.last = match script.end {
            End::Reset => Last::Reset,
            End::Hang => Last::Hang,
            End::Complete | End::Error | End::Cut => Last::End,
        };
        self.answer
    }
}
