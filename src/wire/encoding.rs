//! `content-encoding`: what the client gets compressed, read on a copy.
//!
//! Bytes go in as they come, cut anywhere; decoded bytes come out as soon as the coding allows, so an event that the
//! server flushed is read when it arrives. Nothing here panics, and hostile input is bounded three ways:
//! - **Memory.** Each coding has a most, below; it is taken as the stream needs it.
//! - **Time.** The cost is linear in input and output, and [`BOMB_RATIO`] ties the output to the input.
//! - **After an error** a decoder has freed its memory and only repeats the error.
//!
//! Steps that run once per piece or block are `#[inline(never)]`: Envoy compiles every function at its start, and what that
//! takes of memory goes with the largest.
//!
//! | coding | most memory per stream | usual for 100 KB of events |
//! |---|---|---|
//! | gzip, deflate | [`DEFLATE_MEMORY`] | 0.06 MB |
//! | br | [`BR_MEMORY`] | 0.2 MB |
//! | zstd | [`ZSTD_MEMORY`] | 0.3 MB |

mod br;
mod deflate;
mod gzip;
mod history;
mod inflate;
mod zstd;

pub use br::BR_MEMORY;
pub use inflate::DEFLATE_MEMORY;
pub use zstd::ZSTD_MEMORY;

/// Decoded bytes that any body may have, however small it came: 8 MiB.
///
/// A bomb below that costs some 10 ms of one worker, once per call.
pub const BOMB_FREE: u64 = 8 << 20;

/// Decoded bytes allowed per byte that came in, beyond [`BOMB_FREE`].
///
/// Events of one stream repeat each other and compress 5 to 50 times. Deflate can reach 1,032, zstd 32,768, brotli more
/// than a million; at 100 a byte from the network cannot cost more than some 0.1 µs of CPU here.
pub const BOMB_RATIO: u64 = 100;

/// Why a body is read no further. What was delivered before stays true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The bytes are not what the coding says.
    Format,
    /// A checksum is wrong.
    Checksum,
    /// The stream needs more memory than it may have, or more than there is.
    Memory,
    /// Much more comes out than went in: beyond [`BOMB_FREE`] and [`BOMB_RATIO`].
    Bomb,
}

/// A `content-encoding` that is not read: an unknown one, or several on top of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

/// Decodes one body.
pub struct Decoder {
    coding: Coding,
    /// How many decoded bytes are still allowed.
    allowed: u64,
}

enum Coding {
    Gzip(gzip::Gzip),
    Deflate(deflate::Deflate),
    Br(br::Br),
    Zstd(Box<zstd::Zstd>),
    Broken(Broken),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let coding: &dyn std::fmt::Debug = match &self.coding {
            Coding::Gzip(_) => &"gzip",
            Coding::Deflate(_) => &"deflate",
            Coding::Br(_) => &"br",
            Coding::Zstd(_) => &"zstd",
            Coding::Broken(why) => why,
        };
        f.debug_struct("Decoder").field("coding", coding).field("allowed", &self.allowed).finish()
    }
}

impl Decoder {
    /// The decoder for a `content-encoding` header; `None` where the body is plain (`identity`, or an empty value).
    ///
    /// # Errors
    /// [`Unsupported`], for codings that are unknown or more than one.
    pub fn for_encoding(header_value: &[u8]) -> Result<Option<Self>, Unsupported> {
        let mut found = None;
        for name in header_value.split(|b| *b == b',') {
            let name = name.trim_ascii();
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            if name.is_empty() || is(b"identity") {
                continue;
            }
            let coding = if is(b"gzip") || is(b"x-gzip") {
                Coding::Gzip(gzip::Gzip::default())
            } else if is(b"deflate") {
                Coding::Deflate(deflate::Deflate::default())
            } else if is(b"br") {
                Coding::Br(br::Br::default())
            } else if is(b"zstd") {
                Coding::Zstd(Box::default())
            } else {
                return Err(Unsupported);
            };
            if found.replace(coding).is_some() {
                return Err(Unsupported);
            }
        }
        Ok(found.map(|coding| Self { coding, allowed: BOMB_FREE }))
    }

    /// Takes the next piece of the body and hands what it decodes to `sink`, in one or more pieces.
    ///
    /// # Errors
    /// Why the body can be read no further; from then on every push gives the same error.
    pub fn push(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        self.allowed = self.allowed.saturating_add(BOMB_RATIO.saturating_mul(input.len() as u64));
        let mut out = Out { sink, allowed: &mut self.allowed };
        let result = match &mut self.coding {
            Coding::Gzip(gzip) => gzip.push(input, &mut out),
            Coding::Deflate(deflate) => deflate.push(input, &mut out),
            Coding::Br(br) => br.push(input, &mut out),
            Coding::Zstd(zstd) => zstd.push(input, &mut out),
            Coding::Broken(why) => Err(*why),
        };
        if let Err(why) = result {
            self.coding = Coding::Broken(why);
        }
        result
    }

    /// Whether what came so far is complete: if the body ends here, it was not cut.
    pub fn finished(&self) -> bool {
        match &self.coding {
            Coding::Gzip(gzip) => gzip.finished(),
            Coding::Deflate(deflate) => deflate.finished(),
            Coding::Br(br) => br.finished(),
            Coding::Zstd(zstd) => zstd.finished(),
            Coding::Broken(_) => false,
        }
    }
}

/// Where decoded bytes go, and how many still may.
struct Out<'a> {
    sink: &'a mut dyn FnMut(&[u8]),
    allowed: &'a mut u64,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        *self.allowed = self.allowed.checked_sub(bytes.len() as u64).ok_or(Broken::Bomb)?;
        if !bytes.is_empty() {
            (self.sink)(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_header_names_a_decoder_in_any_case_and_spacing() {
        let table: &[(&[u8], &str)] = &[
            (b"gzip", "gzip"),
            (b"x-gzip", "gzip"),
            (b" GZip\t", "gzip"),
            (b"deflate", "deflate"),
            (b"br", "br"),
            (b"BR", "br"),
            (b"zstd", "zstd"),
            (b"identity, gzip", "gzip"),
            (b"gzip,", "gzip"),
            (b"", "plain"),
            (b"  ", "plain"),
            (b"identity", "plain"),
            (b"Identity, identity", "plain"),
            (b"gzip, br", "unsupported"),
            (b"gzip, gzip", "unsupported"),
            (b"compress", "unsupported"),
            (b"gzip;q=1", "unsupported"),
            (b"gzi", "unsupported"),
            (b"\xff\xfe", "unsupported"),
        ];
        for (value, expected) in table {
            let got = match Decoder::for_encoding(value) {
                Err(Unsupported) => "unsupported",
                Ok(None) => "plain",
                Ok(Some(Decoder { coding: Coding::Gzip(_), .. })) => "gzip",
                Ok(Some(Decoder { coding: Coding::Deflate(_), .. })) => "deflate",
                Ok(Some(Decoder { coding: Coding::Br(_), .. })) => "br",
                Ok(Some(Decoder { coding: Coding::Zstd(_), .. })) => "zstd",
                Ok(Some(Decoder { coding: Coding::Broken(_), .. })) => "broken",
            };
            assert_eq!(got, *expected, "{:?}", String::from_utf8_lossy(value));
        }
    }
}
