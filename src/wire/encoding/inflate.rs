//! A raw deflate stream (RFC 1951): what gzip and deflate share.
//!
//! Written here, as a server that flushes each event makes each a block of its own, mostly with the fixed codes: miniz_oxide
//! builds these anew for each, and fills tables for the longest codes where a small block has short ones. That takes three
//! times as long as all that is done here.

mod bits;
mod code;

use std::sync::LazyLock;

use super::Broken;
use super::history::History;
use bits::Bits;
use code::{Code, Gaps};

/// Deflate looks back 32 KiB at most.
const KEEP: usize = 1 << 15;

/// So much is decoded at a time, and no sink is called with more.
const PIECE: usize = 1 << 14;

/// The most that a gzip or deflate stream takes: what is kept and a piece, half as much again while it grows, and two
/// codes.
pub const DEFLATE_MEMORY: usize = (KEEP + PIECE) / 2 * 3 + (8 << 10);

/// The longest match.
const MOST_MATCH: usize = 258;

/// Literals and lengths: 256 bytes, the end of the block, 29 lengths.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;

/// Base and number of further bits of each length, from symbol 257 on.
#[rustfmt::skip]
const LENGTH: [(u16, u32); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5),
    (227, 5), (258, 0),
];

/// The same of each distance.
#[rustfmt::skip]
const DISTANCE: [(u16, u32); DISTANCES] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5), (97, 5),
    (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11),
    (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];

/// In this order the sizes of the code for sizes come.
const SIZE_ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The codes of blocks that bring none.
static FIXED: LazyLock<Codes> = LazyLock::new(|| {
    let size = |symbol| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    };
    let mut codes = Codes::default();
    // They are complete, with two symbols more than there are.
    let _ = codes.literals.build(&std::array::from_fn::<u8, { LITERALS + 2 }, _>(size), Gaps::No);
    let _ = codes.distances.build(&[5; DISTANCES + 2], Gaps::No);
    codes
});

#[derive(Default)]
struct Codes {
    literals: Code,
    distances: Code,
}

#[derive(Default)]
pub struct Inflate {
    state: State,
    /// Bits that came but could not be used yet; fewer than the next symbol takes.
    hold: u64,
    have: u32,
    /// The current block is the last one.
    last: bool,
    /// Those of the current block. While its code sizes are read, the code for sizes is in the place of the distances.
    own: Box<Codes>,
    sizes: Sizes,
    history: History,
}

/// ```text
/// Head ─→ Stored head ─→ Stored ─→ Head …
///   ├───→ Codes (fixed) ─→ Head …
///   └───→ Counts ─→ Size sizes ─→ Sizes ─→ Codes (own) ─→ Head …
/// ```
#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Start,
    Head,
    StoredHead,
    /// Bytes still to come.
    Stored(usize),
    Counts,
    SizeSizes,
    Sizes,
    Codes {
        fixed: bool,
    },
    Done,
}

/// A block's code sizes, as far as they came.
struct Sizes {
    all: [u8; LITERALS + DISTANCES],
    /// How many of them are literals and lengths, and how many distances.
    literals: usize,
    distances: usize,
    /// How many sizes the code for sizes has.
    own: usize,
    /// How many of what is being read came.
    came: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { all: [0; LITERALS + DISTANCES], literals: 0, distances: 0, own: 0, came: 0 }
    }
}

/// Why decoding stops.
enum Stop {
    /// The input is used up.
    Input,
    /// A piece is full.
    Piece,
    /// The stream has ended.
    End,
}

impl Inflate {
    /// Makes it ready for another stream.
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// Decodes from the front of `input` and takes off it what it used. True at the end of the stream.
    pub fn run(
        &mut self,
        input: &mut &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<bool, Broken> {
        if let State::Start = self.state {
            self.history.start(KEEP, PIECE);
            (self.hold, self.have) = (0, 0);
            self.state = State::Head;
        }
        let mut bits = Bits::new(self.hold, self.have, input);
        let stop = loop {
            self.history.prepare(PIECE)?;
            let before = self.history.len();
            let stop = self.piece(&mut bits, before + PIECE);
            sink(self.history.tail(self.history.len().saturating_sub(before)))?;
            match stop? {
                Stop::Piece => {}
                stop => break stop,
            }
        };
        (self.hold, self.have, *input) = bits.into_parts();
        Ok(matches!(stop, Stop::End))
    }

    /// Decodes until the history holds `full` bytes, which it has room for.
    fn piece(&mut self, bits: &mut Bits<'_>, full: usize) -> Result<Stop, Broken> {
        loop {
            let more = match self.state {
                State::Start | State::Done => return Ok(Stop::End),
                State::Head => self.head(bits)?,
                State::StoredHead => self.stored_head(bits)?,
                State::Stored(left) => {
                    let room = full.saturating_sub(self.history.len());
                    if room == 0 {
                        return Ok(Stop::Piece);
                    }
                    let bytes = bits.bytes(left.min(room));
                    self.history.push(bytes);
                    let left = left.saturating_sub(bytes.len());
                    let came = !bytes.is_empty();
                    if left == 0 {
                        self.block_done(bits);
                    } else {
                        self.state = State::Stored(left);
                    }
                    came || left == 0
                }
                State::Counts => self.counts(bits)?,
                State::SizeSizes => self.size_sizes(bits)?,
                State::Sizes => self.read_sizes(bits)?,
                State::Codes { fixed } => {
                    let codes = if fixed { &FIXED } else { &*self.own };
                    match symbols(codes, bits, &mut self.history, full)? {
                        Stop::End => {
                            self.block_done(bits);
                            true
                        }
                        stop => return Ok(stop),
                    }
                }
            };
            if !more {
                return Ok(Stop::Input);
            }
        }
    }

    fn block_done(&mut self, bits: &mut Bits<'_>) {
        self.state = if self.last {
            bits.align();
            bits.give_back();
            State::Done
        } else {
            State::Head
        };
    }

    // What follows reads a part of a block's head, and says no if its bits have not come.

    fn head(&mut self, bits: &mut Bits<'_>) -> Result<bool, Broken> {
        let Some(head) = bits.take(3) else { return Ok(false) };
        self.last = head & 1 == 1;
        self.state = match head >> 1 {
            0 => {
                bits.align();
                State::StoredHead
            }
            1 => State::Codes { fixed: true },
            2 => State::Counts,
            _ => return Err(Broken::Format),
        };
        Ok(true)
    }

    fn stored_head(&mut self, bits: &mut Bits<'_>) -> Result<bool, Broken> {
        let Some(head) = bits.take(32) else { return Ok(false) };
        let (length, inverse) = (head as u16, (head >> 16) as u16);
        if length != !inverse {
            return Err(Broken::Format);
        }
        bits.give_back();
        self.state = State::Stored(usize::from(length));
        Ok(true)
    }

    fn counts(&mut self, bits: &mut Bits<'_>) -> Result<bool, Broken> {
        let Some(counts) = bits.take(14) else { return Ok(false) };
        let counts = counts as usize;
        self.sizes = Sizes {
            literals: (counts & 31) + 257,
            distances: (counts >> 5 & 31) + 1,
            own: (counts >> 10) + 4,
            ..Sizes::default()
        };
        if self.sizes.literals > LITERALS || self.sizes.distances > DISTANCES {
            return Err(Broken::Format);
        }
        self.state = State::SizeSizes;
        Ok(true)
    }

    fn size_sizes(&mut self, bits: &mut Bits<'_>) -> Result<bool, Broken> {
        for symbol in SIZE_ORDER.iter().take(self.sizes.own).skip(self.sizes.came) {
            let Some(size) = bits.take(3) else { return Ok(false) };
            if let Some(place) = self.sizes.all.get_mut(usize::from(*symbol)) {
                *place = size as u8;
            }
            self.sizes.came += 1;
        }
        let own = self.sizes.all.first_chunk::<19>().ok_or(Broken::Format)?;
        self.own.distances.build(own, Gaps::No)?;
        self.sizes.all = [0; LITERALS + DISTANCES];
        self.sizes.came = 0;
        self.state = State::Sizes;
        Ok(true)
    }

    #[inline(never)]
    fn read_sizes(&mut self, bits: &mut Bits<'_>) -> Result<bool, Broken> {
        let all = self.sizes.literals + self.sizes.distances;
        while self.sizes.came < all {
            bits.refill();
            let Some((symbol, taken)) = bits.find(&self.own.distances, 0)? else { return Ok(false) };
            let (more, least) = match symbol {
                16 => (2, 3),
                17 => (3, 3),
                18 => (7, 11),
                _ => (0, 1),
            };
            let Some(word) = bits.take(taken + more) else { return Ok(false) };
            let times = least + (word >> taken) as usize;
            let size = match symbol {
                // The one before, again.
                16 => {
                    let before = self.sizes.came.checked_sub(1).ok_or(Broken::Format)?;
                    self.sizes.all.get(before).copied().unwrap_or(0)
                }
                17 | 18 => 0,
                size => size as u8,
            };
            let end = self.sizes.came + times;
            if end > all {
                return Err(Broken::Format);
            }
            self.sizes.all.get_mut(self.sizes.came..end).unwrap_or_default().fill(size);
            self.sizes.came = end;
        }
        let (literals, distances) = self.sizes.all.split_at_checked(self.sizes.literals).ok_or(Broken::Format)?;
        // Without an end the block would not have one.
        if literals.get(256) == Some(&0) {
            return Err(Broken::Format);
        }
        self.own.literals.build(literals, Gaps::IfSingle)?;
        self.own.distances.build(distances.get(..self.sizes.distances).unwrap_or_default(), Gaps::IfSingle)?;
        self.state = State::Codes { fixed: false };
        Ok(true)
    }
}

/// Decodes a block's symbols until `full`, its end or that of the input.
#[inline(never)]
fn symbols(codes: &Codes, bits: &mut Bits<'_>, history: &mut History, full: usize) -> Result<Stop, Broken> {
    while history.len().saturating_add(MOST_MATCH) <= full {
        bits.refill();
        let Some((symbol, mut taken)) = bits.find(&codes.literals, 0)? else { return Ok(Stop::Input) };
        if let Ok(byte) = u8::try_from(symbol) {
            bits.skip(taken);
            history.push_one(byte);
            continue;
        }
        if symbol == 256 {
            bits.skip(taken);
            return Ok(Stop::End);
        }
        // A length and its distance take at most 48 bits; they are taken together or not at all.
        let (base, more) = *LENGTH.get(usize::from(symbol) - 257).ok_or(Broken::Format)?;
        let length = usize::from(base) + bits.peek(taken, more);
        taken += more;
        let Some((symbol, size)) = bits.find(&codes.distances, taken)? else { return Ok(Stop::Input) };
        taken += size;
        let (base, more) = *DISTANCE.get(usize::from(symbol)).ok_or(Broken::Format)?;
        let distance = usize::from(base) + bits.peek(taken, more);
        taken += more;
        if !bits.has(taken) {
            return Ok(Stop::Input);
        }
        bits.skip(taken);
        history.repeat(distance, length).map_err(|_| Broken::Format)?;
    }
    Ok(Stop::Piece)
}
