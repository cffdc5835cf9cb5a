//! The sequences of a block: copy so many literals, then repeat so many bytes from so far back (RFC 8878, 3.1.1.3.2).

use super::bits::Backward;
use super::fse::Table;
use crate::wire::encoding::Broken;
use crate::wire::encoding::history::History;

/// The three kinds of code have their own tables, which the next block may use again.
#[derive(Default)]
pub struct Sequences {
    literal_lengths: Codes,
    offsets: Codes,
    match_lengths: Codes,
    recent: Recent,
}

#[derive(Default)]
struct Codes {
    table: Table,
    built: Built,
}

/// What a table is now. The predefined one is built only when something else was there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Built {
    /// A leftover of another frame, or of an error. The flag says that it is the predefined one.
    #[default]
    No,
    /// The predefined one of another frame.
    LeftPredefined,
    Predefined,
    Own,
}

/// What a kind of code allows, and its predefined table.
struct Kind {
    most_symbol: u8,
    most_log: u32,
    log: u32,
    shares: &'static [i16],
}

const LITERAL_LENGTHS: Kind = Kind {
    most_symbol: 35,
    most_log: 9,
    log: 6,
    shares: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    ],
};

/// Codes above 31 would be offsets beyond 4 GiB.
const OFFSETS: Kind = Kind {
    most_symbol: 31,
    most_log: 8,
    log: 5,
    shares: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
};

const MATCH_LENGTHS: Kind = Kind {
    most_symbol: 52,
    most_log: 9,
    log: 6,
    shares: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
};

/// Base and number of further bits of each literal length code.
#[rustfmt::skip]
const LITERAL_LENGTH: [(u32, u32); 36] = [
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0),
    (14, 0), (15, 0), (16, 1), (18, 1), (20, 1), (22, 1), (24, 2), (28, 2), (32, 3), (40, 3), (48, 4), (64, 6), (128, 7),
    (256, 8), (512, 9), (1024, 10), (2048, 11), (4096, 12), (8192, 13), (16384, 14), (32768, 15), (65536, 16),
];

/// The same of each match length code.
#[rustfmt::skip]
const MATCH_LENGTH: [(u32, u32); 53] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0), (15, 0), (16, 0),
    (17, 0), (18, 0), (19, 0), (20, 0), (21, 0), (22, 0), (23, 0), (24, 0), (25, 0), (26, 0), (27, 0), (28, 0), (29, 0),
    (30, 0), (31, 0), (32, 0), (33, 0), (34, 0), (35, 1), (37, 1), (39, 1), (41, 1), (43, 2), (47, 2), (51, 3), (59, 3),
    (67, 4), (83, 4), (99, 5), (131, 7), (259, 8), (515, 9), (1027, 10), (2051, 11), (4099, 12), (8195, 13), (16387, 14),
    (32771, 15), (65539, 16),
];

/// The three last offsets, which have short codes.
struct Recent([u32; 3]);

impl Default for Recent {
    fn default() -> Self {
        Self([1, 4, 8])
    }
}

impl Recent {
    /// What an offset's value means (RFC 8878, 3.1.1.5). Zero is an error.
    fn resolve(&mut self, value: u64, no_literals: bool) -> u32 {
        let Self([first, second, third]) = *self;
        // Without literals, the first would only lengthen the match before: its code means the second, and so on.
        let (offset, recent) = match value + u64::from(no_literals && value <= 3) {
            0 => (0, self.0),
            1 => (first, self.0),
            2 => (second, [second, first, third]),
            3 => (third, [third, first, second]),
            4 if no_literals && value == 3 => {
                let offset = first.wrapping_sub(1);
                (offset, [offset, first, second])
            }
            _ => {
                let offset = u32::try_from(value.saturating_sub(3)).unwrap_or(0);
                (offset, [offset, first, second])
            }
        };
        self.0 = recent;
        offset
    }
}

impl Codes {
    fn start(&mut self) {
        self.built = match self.built {
            Built::Predefined | Built::LeftPredefined => Built::LeftPredefined,
            _ => Built::No,
        };
    }

    /// Makes the table ready as `mode` says, and gives the bytes behind its description.
    #[inline(never)]
    fn read<'a>(&mut self, mode: u8, kind: &Kind, bytes: &'a [u8]) -> Result<&'a [u8], Broken> {
        match mode & 3 {
            0 => {
                if !matches!(self.built, Built::Predefined | Built::LeftPredefined) {
                    self.table.build(kind.log, kind.shares);
                }
                self.built = Built::Predefined;
                Ok(bytes)
            }
            1 => {
                let (&symbol, rest) = bytes.split_first().ok_or(Broken::Format)?;
                if symbol > kind.most_symbol {
                    return Err(Broken::Format);
                }
                self.table.set_single(symbol);
                self.built = Built::Own;
                Ok(rest)
            }
            2 => {
                self.built = Built::No;
                let rest = self.table.read(bytes, kind.most_symbol, kind.most_log)?;
                self.built = Built::Own;
                Ok(rest)
            }
            _ if matches!(self.built, Built::Predefined | Built::Own) => Ok(bytes),
            _ => Err(Broken::Format),
        }
    }
}

impl Sequences {
    /// A frame begins without tables.
    pub fn start(&mut self) {
        self.literal_lengths.start();
        self.offsets.start();
        self.match_lengths.start();
        self.recent = Recent::default();
    }

    /// Runs the sequences in `bytes` over the literals, and adds what they make, at most `most` bytes, to the history.
    #[inline(never)]
    pub fn run(&mut self, bytes: &[u8], mut literals: &[u8], most: usize, history: &mut History) -> Result<(), Broken> {
        let (count, bytes) = count(bytes)?;
        let mut room = most;
        if count > 0 {
            let (&modes, bytes) = bytes.split_first().ok_or(Broken::Format)?;
            if modes & 3 != 0 {
                return Err(Broken::Format);
            }
            let bytes = self.literal_lengths.read(modes >> 6, &LITERAL_LENGTHS, bytes)?;
            let bytes = self.offsets.read(modes >> 4, &OFFSETS, bytes)?;
            let bytes = self.match_lengths.read(modes >> 2, &MATCH_LENGTHS, bytes)?;
            let mut bits = Backward::new(bytes).ok_or(Broken::Format)?;
            let mut literal_length = self.literal_lengths.table.begin(&mut bits);
            let mut offset = self.offsets.table.begin(&mut bits);
            let mut match_length = self.match_lengths.table.begin(&mut bits);
            for left in (0..count).rev() {
                let offset_bits = u32::from(offset.symbol()).min(31);
                let value = (1u64 << offset_bits) + bits.take(offset_bits);
                let matched = length(&MATCH_LENGTH, match_length.symbol(), &mut bits);
                let copied = length(&LITERAL_LENGTH, literal_length.symbol(), &mut bits);
                if bits.passed() {
                    return Err(Broken::Format);
                }
                if left > 0 {
                    literal_length.advance(&mut bits);
                    match_length.advance(&mut bits);
                    offset.advance(&mut bits);
                }
                let (now, later) = literals.split_at_checked(copied).ok_or(Broken::Format)?;
                literals = later;
                room = room.checked_sub(copied).and_then(|room| room.checked_sub(matched)).ok_or(Broken::Format)?;
                history.push(now);
                let back = self.recent.resolve(value, copied == 0);
                history.repeat(back as usize, matched).map_err(|_| Broken::Format)?;
            }
            if !bits.used_up() {
                return Err(Broken::Format);
            }
        } else if !bytes.is_empty() {
            return Err(Broken::Format);
        }
        if literals.len() > room {
            return Err(Broken::Format);
        }
        history.push(literals);
        Ok(())
    }
}

#[inline]
fn length(codes: &[(u32, u32)], code: u8, bits: &mut Backward<'_>) -> usize {
    let (base, more) = codes.get(usize::from(code)).copied().unwrap_or_default();
    base as usize + bits.take(more) as usize
}

/// How many sequences there are, and the bytes behind that.
fn count(bytes: &[u8]) -> Result<(u32, &[u8]), Broken> {
    match *bytes {
        [first @ 0..128, ref rest @ ..] => Ok((u32::from(first), rest)),
        [255, low, high, ref rest @ ..] => Ok((u32::from(u16::from_le_bytes([low, high])) + 0x7F00, rest)),
        [first @ 128..=254, second, ref rest @ ..] => Ok((u32::from(u16::from_be_bytes([first - 128, second])), rest)),
        _ => Err(Broken::Format),
    }
}
