//! How a trail lies in the store: numbers of as few bytes as they need, and texts with a bound.

/// Writes into a buffer that never grows beyond its bound.
pub(super) struct Writer {
    bytes: Vec<u8>,
    most: usize,
}

impl Writer {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::with_capacity(most.min(256)), most }
    }

    /// Bytes that still fit.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes.len())
    }

    pub(super) fn byte(&mut self, byte: u8) {
        if self.room() > 0 {
            self.bytes.push(byte);
        }
    }

    /// Seven bits to a byte, the lowest first; the high bit says that more follow.
    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                return self.byte(low);
            }
            self.byte(low | 0x80);
        }
    }

    /// Zero says that it is not there.
    pub(super) fn perhaps(&mut self, number: Option<u64>) {
        self.number(number.map_or(0, |number| number.saturating_add(1)));
    }

    /// At most so many bytes of it, cut between two characters.
    pub(super) fn text(&mut self, text: &str, most: usize) {
        let cut = text.floor_char_boundary(most.min(self.room().saturating_sub(1)).min(0x7f));
        let text = text.get(..cut).unwrap_or_default();
        self.byte(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.truncate(self.most);
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote. Of what was never written it makes zeros and empty texts, and no panic.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    pub(super) fn perhaps(&mut self) -> Option<u64> {
        self.number().checked_sub(1)
    }

    pub(super) fn text(&mut self) -> String {
        let length = usize::from(self.byte());
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    /// As much of so many bytes as there is.
    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
