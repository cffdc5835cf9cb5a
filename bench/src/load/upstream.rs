//! The upstream's side of a connection from Envoy: requests come in, writes of the answer are allowed one by one.

use anyhow::{Context, Result};

use super::client::STREAM;

/// What an upstream has to do on a connection.
#[derive(Debug, Default)]
pub struct Upstream {
    request: Vec<u8>,
    /// The write under way, and how much of it is out.
    at: usize,
    out: usize,
    /// Up to which write it may go, that one excluded.
    allowed: usize,
}

impl Upstream {
    /// Takes what came; gives the stream that a whole request names.
    ///
    /// # Errors
    /// It is no request of a client of this load.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        self.request.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = request.parse(&self.request)? else { return Ok(None) };
        let number = |name: &str| -> Result<usize> {
            let header = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
            let value = header.with_context(|| format!("a request without {name}"))?.value;
            Ok(std::str::from_utf8(value)?.parse()?)
        };
        let (length, stream) = (number("content-length")?, number(STREAM)?);
        if self.request.len() < head + length {
            return Ok(None);
        }
        *self = Self::default();
        Ok(Some(stream))
    }

    /// Lets it write up to so many writes in all.
    pub fn allow(&mut self, writes: usize) {
        self.allowed = self.allowed.max(writes);
    }

    /// What is to be written next.
    pub fn next<'a>(&self, writes: &'a [Vec<u8>]) -> Option<&'a [u8]> {
        if self.at >= self.allowed {
            return None;
        }
        writes.get(self.at)?.get(self.out..)
    }

    /// So much of it is out.
    pub fn wrote(&mut self, bytes: usize, writes: &[Vec<u8>]) {
        self.out += bytes;
        if writes.get(self.at).is_some_and(|write| self.out >= write.len()) {
            self.at += 1;
            self.out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::request;
    use super::*;

    #[test]
    fn a_request_is_known_once_its_body_is_there() {
        let bytes = request(17);
        for size in [1, 13, bytes.len()] {
            let mut upstream = Upstream::default();
            let found: Vec<_> = bytes.chunks(size).map(|piece| upstream.read(piece).unwrap()).collect();
            let (last, before) = found.split_last().unwrap();
            assert_eq!(*last, Some(17));
            assert!(before.iter().all(Option::is_none), "{size}");
        }
    }

    #[test]
    fn nothing_is_written_that_is_not_allowed() {
        let writes = [b"ab".to_vec(), b"c".to_vec()];
        let mut upstream = Upstream::default();
        assert_eq!(upstream.next(&writes), None);
        upstream.allow(1);
        assert_eq!(upstream.next(&writes), Some(&b"ab"[..]));
        upstream.wrote(1, &writes);
        assert_eq!(upstream.next(&writes), Some(&b"b"[..]));
        upstream.wrote(1, &writes);
        assert_eq!(upstream.next(&writes), None);
        upstream.allow(5);
        assert_eq!(upstream.next(&writes), Some(&b"c"[..]));
        upstream.wrote(1, &writes);
        assert_eq!(upstream.next(&writes), None);
    }
}
