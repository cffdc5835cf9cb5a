//! Request bodies in other Unicode forms than plain UTF-8, which some servers read: with a byte order mark, as UTF-16 or UTF-32. Told
//! as Python's `json` tells them: by the mark, or by where the first zeros stand.

/// Turns a body into UTF-8, piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Wide {
    form: Form,
    /// Bytes of a unit that is cut, or of those that tell the form.
    cut: Vec<u8>,
    /// The first half of a surrogate pair.
    high: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Unknown,
    Utf8,
    Units {
        size: usize,
        big: bool,
    },
}

impl Wide {
    /// Whether what comes is UTF-8 as it stands.
    pub fn is_plain(&self) -> bool {
        self.form == Form::Utf8
    }

    /// Whether a body that begins so is UTF-8 as it stands; nothing if that is not clear yet.
    pub fn begins_plain(piece: &[u8]) -> Option<bool> {
        match *piece {
            [] => None,
            [0 | 0x80.., ..] => Some(false),
            [_] => None,
            [_, second, ..] => Some(second != 0),
        }
    }

    /// The body is UTF-8 as it stands.
    pub fn take_plain(&mut self) {
        self.form = Form::Utf8;
    }

    /// Takes a piece of the body; hands it on as UTF-8.
    #[inline(never)]
    pub fn push(&mut self, piece: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let begun;
        let piece = if self.form == Form::Unknown {
            self.cut.extend_from_slice(piece);
            let Some((form, mark)) = form(&self.cut) else { return };
            self.form = form;
            begun = std::mem::take(&mut self.cut);
            begun.get(mark..).unwrap_or(&[])
        } else {
            piece
        };
        match self.form {
            Form::Units { size, big } => self.units(piece, size, big, sink),
            Form::Utf8 | Form::Unknown => sink(piece),
        }
    }

    /// The body is over: what is too short to tell its form is handed on as it is.
    pub fn end(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if self.form == Form::Unknown && !self.cut.is_empty() {
            sink(&std::mem::take(&mut self.cut));
        }
    }

    fn units(&mut self, piece: &[u8], size: usize, big: bool, sink: &mut dyn FnMut(&[u8])) {
        let mut out = String::with_capacity(piece.len() / size * 2);
        for byte in piece {
            self.cut.push(*byte);
            if self.cut.len() < size {
                continue;
            }
            let shift = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
            let unit = if big { self.cut.iter().fold(0, shift) } else { self.cut.iter().rev().fold(0, shift) };
            self.cut.clear();
            let high = std::mem::take(&mut self.high);
            match unit {
                0xD800..=0xDBFF if size == 2 => self.high = unit,
                0xDC00..=0xDFFF if high != 0 => {
                    let pair = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
                    out.push(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                _ => out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
        }
        sink(out.as_bytes());
    }
}

/// The form of a body that begins so, and how long its mark is; nothing if more of it is needed.
fn form(begin: &[u8]) -> Option<(Form, usize)> {
    let units = |size, big, mark| Some((Form::Units { size, big }, mark));
    match *begin {
        [0xEF, 0xBB, 0xBF, ..] => Some((Form::Utf8, 3)),
        [0, 0, 0xFE, 0xFF, ..] => units(4, true, 4),
        [0xFF, 0xFE, 0, 0, ..] => units(4, false, 4),
        [0xFE, 0xFF, ..] => units(2, true, 2),
        [0xFF, 0xFE, _, _, ..] => units(2, false, 2),
        [0, 0, _, _, ..] => units(4, true, 0),
        [0, _, _, _, ..] => units(2, true, 0),
        [_, 0, 0, 0, ..] => units(4, false, 0),
        [_, 0, _, _, ..] => units(2, false, 0),
        [0xEF, 0xBB] | [0xEF] | [0xFE] | [0xFF, ..] | [0, ..] | [_, 0, ..] | [_] | [] => None,
        _ => Some((Form::Utf8, 0)),
    }
}
