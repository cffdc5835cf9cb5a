//! An HTTP/1.1 client that sends what it is told and keeps every byte that it gets.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::raw::{self, Gate};

/// Longer than anything takes, on a busy machine too; what waits longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: Vec<u8>,
    /// The statuses of interim answers before it.
    pub interim: Vec<u16>,
    /// The body, without its chunked coding.
    pub body: Vec<u8>,
    /// Trailer lines.
    pub trailers: String,
    /// Whether it came to its end.
    pub whole: bool,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        raw::header(&String::from_utf8_lossy(&self.head), name)
    }
}

/// A connection.
pub struct Client {
    reader: BufReader<TcpStream>,
    /// Told of the head and of each piece of a body that comes.
    pub gate: Option<Gate>,
    /// Whether bodies are kept or only counted away.
    pub keep: bool,
}

impl Client {
    pub fn connect(at: SocketAddr) -> Self {
        let socket = TcpStream::connect(at).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::with_capacity(1 << 16, socket), gate: None, keep: true }
    }

    /// Writes; what the other side no longer takes is its own business.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// Breaks the connection.
    pub fn reset(self) {
        raw::reset(self.reader.get_ref());
    }

    /// The next answer, to a request with this method.
    pub fn answer(&mut self, method: &str) -> Answer {
        let mut answer = Answer::default();
        answer.whole = self.read(method, &mut answer).is_some();
        answer
    }

    /// So many bytes as they come.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The head of an answer, and no more.
    pub fn head(&mut self) -> Answer {
        let mut answer = Answer::default();
        self.read_head(&mut answer);
        answer
    }

    /// Reads on in the chunked body of an answer whose head has come, until so many of its bytes have.
    pub fn chunks(&mut self, bytes: usize) {
        let mut body = Vec::new();
        while body.len() < bytes {
            let mut line = Vec::new();
            self.line(&mut line).unwrap();
            let size = u64::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            assert!(size > 0, "the body ends after {} bytes", body.len());
            self.body(size, &mut body).unwrap();
            self.line(&mut line).unwrap();
        }
    }

    fn read_head(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            answer.head.clear();
            while !answer.head.ends_with(b"\r\n\r\n") {
                self.line(&mut answer.head)?;
            }
            answer.status = std::str::from_utf8(answer.head.get(9..12)?).ok()?.parse().ok()?;
            match answer.status {
                101 | 200.. => {
                    if let Some(gate) = &self.gate {
                        gate.head();
                    }
                    return Some(());
                }
                interim => answer.interim.push(interim),
            }
        }
    }

    fn read(&mut self, method: &str, answer: &mut Answer) -> Option<()> {
        self.read_head(answer)?;
        if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
            return Some(());
        }
        if let Some(length) = answer.header("content-length") {
            return self.body(length.parse().ok()?, &mut answer.body);
        }
        if answer.header("transfer-encoding").is_none() {
            // The connection's end is the body's.
            let read = self.reader.read_to_end(&mut answer.body);
            return read.ok().map(|_| ());
        }
        loop {
            let mut line = Vec::new();
            self.line(&mut line)?;
            let size = u64::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            if size == 0 {
                let mut trailers = Vec::new();
                while trailers != b"\r\n" && !trailers.ends_with(b"\r\n\r\n") {
                    self.line(&mut trailers)?;
                }
                answer.trailers = String::from_utf8_lossy(&trailers).into_owned();
                return Some(());
            }
            self.body(size, &mut answer.body)?;
            self.line(&mut line)?;
        }
    }

    fn line(&mut self, into: &mut Vec<u8>) -> Option<()> {
        let read = settled(self.reader.read_until(b'\n', into))?;
        (read > 0).then_some(())
    }

    fn body(&mut self, mut left: u64, into: &mut Vec<u8>) -> Option<()> {
        while left > 0 {
            let piece = settled(self.reader.fill_buf())?;
            let now = piece.len().min(left as usize);
            if now == 0 {
                return None;
            }
            if self.keep {
                into.extend_from_slice(&piece[..now]);
            }
            self.reader.consume(now);
            left -= now as u64;
            if let Some(gate) = &self.gate {
                gate.add(now);
            }
        }
        Some(())
    }
}

/// A broken connection is a result, one that hangs is not.
fn settled<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came within {PATIENCE:?}"),
        result => result.ok(),
    }
}

/// A POST with this body and these header lines, as bytes.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: llm.test\r\n{lines}content-length: {length}\r\n\r\n");
    if headers.iter().any(|(name, _)| *name == "host") {
        request = request.replacen("host: llm.test\r\n", "", 1);
    }
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}
