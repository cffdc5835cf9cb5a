//! Lifelike bodies, encoded as servers do.

use std::io::Write;

/// A coding and how hard its encoder tries.
#[derive(Clone, Copy, Debug)]
pub enum Coding {
    Gzip(u32),
    Zlib(u32),
    RawDeflate(u32),
    /// Quality and window bits.
    Br(u32, u32),
    /// Level, and whether there is a checksum.
    Zstd(i32, bool),
}

/// One of each kind.
pub const CODINGS: &[Coding] = &[
    Coding::Gzip(6),
    Coding::Zlib(6),
    Coding::RawDeflate(1),
    Coding::Br(5, 22),
    Coding::Br(11, 18),
    Coding::Zstd(3, true),
    Coding::Zstd(19, false),
];

impl Coding {
    /// What `content-encoding` says.
    pub fn header(self) -> &'static [u8] {
        match self {
            Self::Gzip(_) => b"gzip",
            Self::Zlib(_) | Self::RawDeflate(_) => b"deflate",
            Self::Br(..) => b"br",
            Self::Zstd(..) => b"zstd",
        }
    }

    /// Encodes pieces, with a flush behind each, and the end as a piece of its own.
    pub fn flushed(self, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let level = |level| flate2::Compression::new(level);
        match self {
            Self::Gzip(l) => run(
                flate2::write::GzEncoder::new(Vec::new(), level(l)),
                pieces,
                |e| std::mem::take(e.get_mut()),
                |e| e.finish().unwrap(),
            ),
            Self::Zlib(l) => run(
                flate2::write::ZlibEncoder::new(Vec::new(), level(l)),
                pieces,
                |e| std::mem::take(e.get_mut()),
                |e| e.finish().unwrap(),
            ),
            Self::RawDeflate(l) => run(
                flate2::write::DeflateEncoder::new(Vec::new(), level(l)),
                pieces,
                |e| std::mem::take(e.get_mut()),
                |e| e.finish().unwrap(),
            ),
            Self::Br(quality, window) => run(
                brotli::CompressorWriter::new(Vec::new(), 4096, quality, window),
                pieces,
                |e| std::mem::take(e.get_mut()),
                |e| e.into_inner(),
            ),
            Self::Zstd(l, checksum) => {
                let mut encoder = zstd::Encoder::new(Vec::new(), l).unwrap();
                encoder.include_checksum(checksum).unwrap();
                run(encoder, pieces, |e| std::mem::take(e.get_mut()), |e| e.finish().unwrap())
            }
        }
    }

    /// Encodes a body in one go, without a flush.
    pub fn whole(self, body: &[u8]) -> Vec<u8> {
        if let Self::Zstd(level, checksum) = self {
            let mut encoder = zstd::bulk::Compressor::new(level).unwrap();
            encoder.include_checksum(checksum).unwrap();
            return encoder.compress(body).unwrap();
        }
        if let Self::Br(quality, window) = self {
            let params = brotli::enc::BrotliEncoderParams {
                quality: quality as i32,
                lgwin: window as i32,
                size_hint: body.len(),
                ..Default::default()
            };
            let mut encoded = Vec::new();
            brotli::BrotliCompress(&mut &body[..], &mut encoded, &params).unwrap();
            return encoded;
        }
        let mut unflushed = self.flushed(&[]);
        if !body.is_empty() {
            let pieces: Vec<_> = body.chunks(60_000).map(<[u8]>::to_vec).collect();
            unflushed = self.flushed(&pieces);
        }
        unflushed.concat()
    }
}

fn run<E: Write>(
    mut encoder: E,
    pieces: &[Vec<u8>],
    take: impl Fn(&mut E) -> Vec<u8>,
    finish: impl FnOnce(E) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut encoded = Vec::new();
    for piece in pieces {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
        encoded.push(take(&mut encoder));
    }
    encoded.push(finish(encoder));
    encoded
}

/// Events of a chat completion.
pub fn events(count: usize) -> Vec<Vec<u8>> {
    const WORDS: &[&str] = &["The", " quick", " bröwn", " fox", " jumps", " over", " 13", " lazy", "\\n\\n", " dogs"];
    let mut seed = 7u64;
    (0..count)
        .map(|_| {
            let word = WORDS[(random(&mut seed) % WORDS.len() as u64) as usize];
            format!(
                "data: {{\"id\":\"chatcmpl-B{:x}\",\"object\":\"chat.completion.chunk\",\"created\":1763900000,\"model\":\
                 \"gpt-4o-2024-08-06\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"finish_reason\":\
                 null}}],\"obfuscation\":\"{:x}\"}}\n\n",
                random(&mut seed) % 3,
                random(&mut seed)
            )
            .into_bytes()
        })
        .collect()
}

/// A number that looks random (xorshift64*); the seed must not be zero.
pub fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_F491_4F6C_DD1D)
}
