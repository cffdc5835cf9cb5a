//! Bodies in every content coding, cut in every way.

use std::io::Write;

/// The content codings that are read.
pub const CODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];

/// Compresses parts, each flushed so that its reader can read all of it. What comes out are parts again.
pub fn encode(coding: &str, parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match coding {
        "identity" => parts.to_vec(),
        "gzip" => {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            squeeze(encoder, parts, |e| e.get_mut(), |e| e.finish().unwrap())
        }
        "deflate" => {
            let encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            squeeze(encoder, parts, |e| e.get_mut(), |e| e.finish().unwrap())
        }
        "br" => {
            let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            squeeze(encoder, parts, |e| e.get_mut(), |e| e.into_inner())
        }
        "zstd" => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            squeeze(encoder, parts, |e| e.get_mut(), |e| e.finish().unwrap())
        }
        other => panic!("no coding {other}"),
    }
}

fn squeeze<W: Write>(
    mut encoder: W,
    parts: &[Vec<u8>],
    out: fn(&mut W) -> &mut Vec<u8>,
    finish: fn(W) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut squeezed = Vec::new();
    for part in parts {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
        squeezed.push(std::mem::take(out(&mut encoder)));
    }
    squeezed.push(finish(encoder));
    squeezed.retain(|part| !part.is_empty());
    squeezed
}

/// A way to cut a body.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// As the upstream flushed it.
    Events,
    /// Pieces of this size.
    Every(usize),
    /// Pieces of 1 to 40 bytes, from this seed.
    Random(u64),
}

impl Cut {
    pub fn pieces(self, parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let whole = parts.concat();
        match self {
            Cut::Events => parts.to_vec(),
            Cut::Every(size) => whole.chunks(size).map(<[u8]>::to_vec).collect(),
            Cut::Random(seed) => {
                let mut random = fastrand::Rng::with_seed(seed);
                let (mut rest, mut pieces) = (&whole[..], Vec::new());
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(random.usize(1..=40).min(rest.len()));
                    pieces.push(piece.to_vec());
                    rest = behind;
                }
                pieces
            }
        }
    }
}
