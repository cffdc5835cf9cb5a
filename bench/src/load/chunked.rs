//! Takes HTTP/1.1's chunk framing off a body, wherever it is cut.

use anyhow::{Result, bail, ensure};

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// In a chunk's length, of which so much is read.
    #[default]
    Length,
    /// Between the length and the chunk.
    LengthEnd,
    /// In a chunk.
    Chunk,
    /// Behind a chunk; so many bytes of the line end are seen.
    ChunkEnd(u8),
    /// Behind the chunk of length zero.
    LastEnd(u8),
    /// Behind everything.
    Done,
}

/// A body's framing, as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunked {
    at: At,
    length: usize,
    chunks: u64,
}

impl Chunked {
    /// Hands each stretch of the body in `bytes` to `take`.
    ///
    /// # Errors
    /// Bytes that are no chunk framing (extensions and trailers are not known here), or what `take` says.
    pub fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            self.at = match self.at {
                At::Length if byte == b'\r' => At::LengthEnd,
                At::Length => {
                    let Some(digit) = char::from(byte).to_digit(16) else { bail!("{byte:#x} in a chunk's length") };
                    ensure!(self.length < 1 << 32, "a chunk of over 2^32 bytes");
                    self.length = self.length * 16 + digit as usize;
                    At::Length
                }
                At::LengthEnd if self.length == 0 => At::LastEnd(0),
                At::LengthEnd => {
                    self.chunks += 1;
                    At::Chunk
                }
                At::Chunk => {
                    let (chunk, rest) = bytes.split_at(self.length.min(bytes.len()));
                    take(chunk)?;
                    self.length -= chunk.len();
                    bytes = rest;
                    if self.length == 0 {
                        self.at = At::ChunkEnd(0);
                    }
                    continue;
                }
                At::ChunkEnd(0) => At::ChunkEnd(1),
                At::ChunkEnd(_) => At::Length,
                At::LastEnd(0) => At::LastEnd(1),
                At::LastEnd(_) => At::Done,
                At::Done => bail!("bytes behind the end of a body"),
            };
            bytes = rest;
        }
        Ok(())
    }

    /// How many chunks have begun, the empty one at the end not counted.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMED: &[u8] = b"5\r\nhello\r\n1\r\n,\r\n10\r\n sixteen letters\r\n0\r\n\r\n";

    #[test]
    fn the_body_comes_out_the_same_at_every_split() {
        for split in 0..=FRAMED.len() {
            let (mut chunked, mut body) = (Chunked::default(), Vec::new());
            for part in [&FRAMED[..split], &FRAMED[split..]] {
                chunked
                    .read(part, |bytes| {
                        body.extend_from_slice(bytes);
                        Ok(())
                    })
                    .unwrap();
                assert_eq!(chunked.is_done(), split == FRAMED.len() || part.len() == FRAMED.len() - split, "{split}");
            }
            assert_eq!(body, b"hello, sixteen letters", "{split}");
            assert_eq!(chunked.chunks(), 3, "{split}");
        }
    }

    #[test]
    fn what_is_no_framing_is_refused() {
        for wrong in [&b"x\r\n"[..], b"0\r\n\r\nmore", b"fffffffffffffffffff\r\n"] {
            assert!(Chunked::default().read(wrong, |_| Ok(())).is_err(), "{wrong:?}");
        }
    }
}
