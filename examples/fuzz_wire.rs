//! Throws damaged streams at the decoders and at the event stream reader, and says how many.
//!
//! ```text
//! cargo run --release --example fuzz_wire -- 1000000 [seed [gzip|deflate|br|zstd|event-stream]]
//! ```
//! Checked for each input: no panic, the same result whole and in pieces, no more memory and no more output than is
//! documented, and the same bytes as another decoder where both read it to the end (but for br, whose decoder is not our
//! own). A failure prints the input and stops.

#[cfg(not(target_family = "wasm"))]
#[allow(dead_code)]
#[path = "../tests/support/counting.rs"]
mod counting;
#[cfg(not(target_family = "wasm"))]
#[allow(dead_code)]
#[path = "../tests/support/streams.rs"]
mod streams;

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(1_000_000, |n| n.parse().expect("a number of inputs"));
    let seed: u64 = arguments.next().map_or(1, |n| n.parse().expect("a seed"));
    fuzz::run(count, seed.max(1), arguments.next().as_deref());
}

#[cfg(not(target_family = "wasm"))]
mod fuzz {
    use std::io::Read;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::counting;
    use super::streams::{Coding, events, random};
    use weir::wire::encoding::{BOMB_FREE, BOMB_RATIO, BR_MEMORY, Broken, DEFLATE_MEMORY, Decoder, ZSTD_MEMORY};
    use weir::wire::event_stream::EventStream;

    #[global_allocator]
    static ALLOCATOR: counting::Counting = counting::Counting;

    /// Inputs with a cap of this size meet it often.
    const EVENT_CAP: usize = 600;

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Kind {
        Gzip,
        Deflate,
        Br,
        Zstd,
        EventStream,
    }

    impl Kind {
        const ALL: [Kind; 5] = [Kind::Gzip, Kind::Deflate, Kind::Br, Kind::Zstd, Kind::EventStream];

        fn name(self) -> &'static str {
            match self {
                Kind::Gzip => "gzip",
                Kind::Deflate => "deflate",
                Kind::Br => "br",
                Kind::Zstd => "zstd",
                Kind::EventStream => "event-stream",
            }
        }

        fn most_memory(self) -> usize {
            match self {
                Kind::Gzip | Kind::Deflate => DEFLATE_MEMORY,
                Kind::Br => BR_MEMORY,
                Kind::Zstd => ZSTD_MEMORY,
                Kind::EventStream => EVENT_CAP / 2 * 3,
            }
        }
    }

    #[derive(Default)]
    struct Tally {
        inputs: u64,
        read: u64,
        bytes_out: u64,
        peak: isize,
        stricter: u64,
        laxer: u64,
        /// Reused.
        buffers: (Vec<u8>, Vec<u8>),
    }

    pub fn run(count: u64, seed: u64, only: Option<&str>) {
        let mut seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let corpus: Vec<(Kind, Vec<Vec<u8>>)> = Kind::ALL
            .iter()
            .filter(|kind| only.is_none_or(|only| only == kind.name()))
            .map(|kind| (*kind, valid(*kind)))
            .collect();
        assert!(!corpus.is_empty(), "no such kind");
        let mut tallies: Vec<Tally> = corpus.iter().map(|_| Tally::default()).collect();
        let mut input = Vec::new();
        for round in 0..count {
            let which = (round % corpus.len() as u64) as usize;
            let (kind, streams) = &corpus[which];
            damage(streams, &mut seed, &mut input);
            let cuts = seed;
            let checked = catch_unwind(AssertUnwindSafe(|| check(*kind, &input, cuts, &mut tallies[which])));
            if let Err(why) = checked.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                eprintln!("{} {why}\ncuts from {cuts}, input {input:02x?}", kind.name());
                std::process::exit(1);
            }
            if round % (count / 20).max(1) == 0 {
                eprintln!("{round} of {count}");
            }
        }
        for ((kind, _), tally) in corpus.iter().zip(&tallies) {
            println!(
                "{:12} {} inputs, {} read to their end, {} MB out, most memory {} of {}",
                kind.name(),
                tally.inputs,
                tally.read,
                tally.bytes_out >> 20,
                tally.peak,
                kind.most_memory()
            );
            if !matches!(kind, Kind::Br | Kind::EventStream) {
                println!("{:12} against the reference: {} stricter, {} laxer", "", tally.stricter, tally.laxer);
            }
        }
    }

    /// Small valid streams of many shapes: small, so that few changes reach every part of them.
    fn valid(kind: Kind) -> Vec<Vec<u8>> {
        let mut seed = 5;
        let noise: Vec<u8> = (0..200).map(|_| random(&mut seed) as u8).collect();
        let digits: Vec<u8> = (0..3000).map(|_| b'0' + (random(&mut seed) % 10) as u8).collect();
        let bodies: Vec<Vec<Vec<u8>>> = vec![
            vec![],
            vec![b"x".to_vec()],
            events(1),
            events(6),
            vec![events(30).concat()],
            vec![b"a".repeat(3000)],
            vec![noise.clone(), noise],
            vec![digits],
            vec![b"The quick brown fox. the Quick of the and something THE something about information".to_vec()],
        ];
        let codings: Vec<Coding> = match kind {
            Kind::Gzip => vec![Coding::Gzip(1), Coding::Gzip(9), Coding::Gzip(0)],
            Kind::Deflate => vec![Coding::Zlib(6), Coding::RawDeflate(9), Coding::RawDeflate(0)],
            Kind::Br => {
                [(0, 16), (2, 18), (5, 22), (9, 24), (10, 16), (11, 22)].map(|(q, w)| Coding::Br(q, w)).to_vec()
            }
            Kind::Zstd => [-5, 1, 3, 7, 13, 19, 22]
                .iter()
                .flat_map(|l| [Coding::Zstd(*l, false), Coding::Zstd(*l, true)])
                .collect(),
            Kind::EventStream => {
                return (0..10usize).map(|n| (0..n).flat_map(|i| frame(n * 70 * (i % 3), i)).collect()).collect();
            }
        };
        let both = |coding: Coding, body: &Vec<Vec<u8>>| [coding.whole(&body.concat()), coding.flushed(body).concat()];
        codings.iter().flat_map(|coding| bodies.iter().flat_map(|body| both(*coding, body))).collect()
    }

    fn frame(size: usize, number: usize) -> Vec<u8> {
        use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
        let headers = vec![
            Header::new(":event-type", HeaderValue::String(format!("kind{number}").into())),
            Header::new("n", HeaderValue::Int32(number as i32)),
        ];
        let mut bytes = Vec::new();
        let message = Message::new_from_parts(headers, vec![b'p'; size]);
        aws_smithy_eventstream::frame::write_message_to(&message, &mut bytes).expect("a frame");
        bytes
    }

    /// A stream with some bytes changed, or put together from two.
    fn damage(streams: &[Vec<u8>], seed: &mut u64, input: &mut Vec<u8>) {
        let mut pick = |below: usize| (random(seed) >> 16) as usize % below.max(1);
        input.clear();
        input.extend_from_slice(&streams[pick(streams.len())]);
        for _ in 0..pick(5) {
            let at = pick(input.len());
            match pick(8) {
                _ if input.is_empty() => input.extend_from_slice(&streams[pick(streams.len())]),
                0 | 1 => input[at] ^= 1 << pick(8),
                2 => input[at] = [0, 1, 0x7F, 0x80, 0xFF][pick(5)],
                3 => input[at] = pick(256) as u8,
                4 => input.truncate(at),
                5 => drop(input.drain(at..(at + 1 + pick(20)).min(input.len()))),
                6 => {
                    let from = pick(input.len());
                    let piece = input[from..(from + 1 + pick(40)).min(input.len())].to_vec();
                    input.splice(at..at, piece);
                }
                _ => {
                    let other = &streams[pick(streams.len())];
                    let from = pick(other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from.min(other.len())..]);
                }
            }
        }
        // Right CRCs let a damaged frame come further.
        if pick(4) == 0 {
            repair_frame(input);
        }
    }

    fn repair_frame(input: &mut [u8]) {
        let crc = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            crc.sum().to_be_bytes()
        };
        let Some((head, _)) = input.split_first_chunk_mut::<12>() else { return };
        let prelude = crc(&head[..8]);
        head[8..].copy_from_slice(&prelude);
        let total = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if let Some((message, end)) = input.get_mut(..total).and_then(|frame| frame.split_last_chunk_mut::<4>()) {
            *end = crc(message);
        }
    }

    fn check(kind: Kind, input: &[u8], cuts: u64, tally: &mut Tally) -> Result<(), String> {
        tally.inputs += 1;
        if kind == Kind::EventStream {
            check_frames(input, cuts, tally)
        } else {
            check_coding(kind, input, cuts, tally)
        }
    }

    /// The input in up to five pieces.
    fn pieces(input: &[u8], mut cuts: u64) -> Vec<&[u8]> {
        let mut pieces = Vec::with_capacity(5);
        let mut left = input;
        for _ in 0..4 {
            let (piece, rest) = left.split_at(random(&mut cuts) as usize % (left.len() + 1));
            pieces.push(piece);
            left = rest;
        }
        pieces.push(left);
        pieces
    }

    struct Decoded {
        bytes: Vec<u8>,
        finished: bool,
        broken: Option<Broken>,
        memory: isize,
    }

    /// Decodes into `bytes`, which has room for all that may come: what grows while it is measured is the decoder's.
    fn decode(kind: Kind, pieces: &[&[u8]], mut bytes: Vec<u8>) -> Decoded {
        bytes.clear();
        bytes.reserve(BOMB_FREE as usize + (1 << 20));
        let mut broken = None;
        let before = counting::start();
        let mut decoder = Decoder::for_encoding(kind.name().as_bytes()).expect("known").expect("not identity");
        for piece in pieces {
            if let Err(why) = decoder.push(piece, &mut |decoded| bytes.extend_from_slice(decoded)) {
                broken = Some(why);
            }
        }
        Decoded { memory: counting::peak() - before, finished: decoder.finished(), bytes, broken }
    }

    fn check_coding(kind: Kind, input: &[u8], cuts: u64, tally: &mut Tally) -> Result<(), String> {
        let whole = decode(kind, &[input], std::mem::take(&mut tally.buffers.0));
        let cut = decode(kind, &pieces(input, cuts), std::mem::take(&mut tally.buffers.1));
        let result = judge(kind, input, &whole, &cut, tally);
        tally.buffers = (whole.bytes, cut.bytes);
        result
    }

    fn judge(kind: Kind, input: &[u8], whole: &Decoded, cut: &Decoded, tally: &mut Tally) -> Result<(), String> {
        tally.read += u64::from(whole.finished);
        tally.bytes_out += whole.bytes.len() as u64;
        let memory = whole.memory.max(cut.memory);
        tally.peak = tally.peak.max(memory);
        if memory > kind.most_memory() as isize {
            return Err(format!("took {memory} bytes"));
        }
        if whole.bytes.len() as u64 > BOMB_FREE + BOMB_RATIO * input.len() as u64 {
            return Err(format!("gave {} bytes", whole.bytes.len()));
        }
        // A bomb may go off earlier in pieces: what is still to come does not count for it yet.
        let bomb = cut.broken == Some(Broken::Bomb);
        if !bomb && (whole.finished, whole.broken) != (cut.finished, cut.broken) {
            let (a, b) = ((whole.finished, whole.broken), (cut.finished, cut.broken));
            return Err(format!("ends as {a:?} whole, as {b:?} in pieces"));
        }
        let both = whole.bytes.len().min(cut.bytes.len());
        let same_length = whole.bytes.len() == cut.bytes.len();
        if whole.bytes[..both] != cut.bytes[..both] || (cut.broken.is_none() && !same_length) {
            return Err("gives other bytes in pieces".to_owned());
        }
        compare(kind, input, whole, tally)
    }

    /// PendingCalls a reference decoder.
    ///
    /// The one of zstd, with a window of 8 MiB at most, is laxer with damaged streams: its fast loops do not ask whether a
    /// Huffman stream was used up, and an empty last block skips its look at the content size. It is stricter about
    /// declared windows, which here count only when used. The one of gzip and deflate, miniz_oxide, takes codes that zlib
    /// refuses, and zeros for what is looked for before the beginning; it refuses what follows a gzip member. None of them
    /// says that a cut stream is cut, so only what breaks counts as stricter.
    fn compare(kind: Kind, input: &[u8], ours: &Decoded, tally: &mut Tally) -> Result<(), String> {
        let mut theirs = Vec::new();
        let mut read = |reader: &mut dyn Read| reader.take(BOMB_FREE * 2).read_to_end(&mut theirs).is_ok();
        let accepted = !input.is_empty()
            && match kind {
                Kind::Zstd => {
                    let mut reader = zstd::stream::read::Decoder::with_buffer(input).map_err(|e| e.to_string())?;
                    reader.window_log_max(23).map_err(|e| e.to_string())?;
                    read(&mut reader)
                }
                Kind::Gzip => read(&mut flate2::bufread::MultiGzDecoder::new(input)),
                Kind::Deflate if is_zlib(input) => read(&mut flate2::bufread::ZlibDecoder::new(input)),
                Kind::Deflate => read(&mut flate2::bufread::DeflateDecoder::new(input)),
                // The decoder of brotli is what is used here.
                Kind::Br | Kind::EventStream => return Ok(()),
            };
        match (accepted, ours.finished) {
            (true, true) if theirs != ours.bytes => return Err("gives other bytes than the reference".to_owned()),
            (true, false) if !matches!(ours.broken, None | Some(Broken::Bomb)) => tally.stricter += 1,
            (false, true) => tally.laxer += 1,
            _ => {}
        }
        Ok(())
    }

    fn is_zlib(input: &[u8]) -> bool {
        input.first_chunk::<2>().is_some_and(|head| {
            head[0] & 15 == 8 && head[0] < 0x80 && head[1] & 0x20 == 0 && u16::from_be_bytes(*head) % 31 == 0
        })
    }

    fn check_frames(input: &[u8], cuts: u64, tally: &mut Tally) -> Result<(), String> {
        // What was seen, as a number: the order and the bytes count.
        let read = |pieces: &[&[u8]]| {
            let before = counting::start();
            let mut stream = EventStream::new(EVENT_CAP);
            let (mut seen, mut good) = (0xCBF2_9CE4_8422_2325u64, 0u64);
            for piece in pieces {
                stream.push(piece, &mut |frame| {
                    let mut mix = |bytes: &[u8]| {
                        for byte in bytes {
                            seen = (seen ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
                        }
                        seen = seen.rotate_left(5) ^ bytes.len() as u64;
                    };
                    match frame {
                        Ok(frame) => {
                            good += 1;
                            mix(frame.event_type);
                            mix(frame.payload);
                        }
                        Err(why) => mix(&[why as u8]),
                    }
                });
            }
            (seen, good, stream.at_boundary(), counting::peak() - before)
        };
        let (whole, cut) = (read(&[input]), read(&pieces(input, cuts)));
        tally.read += u64::from(whole.2 && whole.1 > 0);
        tally.peak = tally.peak.max(cut.3).max(whole.3);
        if (whole.0, whole.1, whole.2) != (cut.0, cut.1, cut.2) {
            return Err("reads other frames in pieces".to_owned());
        }
        if cut.3 > Kind::EventStream.most_memory() as isize || (whole.2 && whole.3 > 0) {
            return Err(format!("took {} bytes whole, {} in pieces", whole.3, cut.3));
        }
        Ok(())
    }
}
