//! What a stream has produced, as far as it may look back at it.

use super::Broken;
use crate::wire::room::make_room;

/// The last bytes of a stream.
#[derive(Default)]
pub struct History {
    bytes: Vec<u8>,
    keep: usize,
    slack: usize,
}

/// It looks back further than anything is kept.
#[derive(Debug)]
pub struct TooFar;

impl History {
    /// A new stream begins, that looks back `keep` bytes at most.
    ///
    /// Behind what is kept there is room for `slack` bytes. What is kept moves to the front once per so many bytes, so
    /// keep / slack bytes are moved per byte produced. The room for all of it is taken as bytes come.
    pub fn start(&mut self, keep: usize, slack: usize) {
        self.bytes.clear();
        self.keep = keep;
        self.slack = slack;
    }

    /// Makes room for `more` bytes, at most the slack. The calls that add bytes rely on it.
    pub fn prepare(&mut self, more: usize) -> Result<(), Broken> {
        let most = self.keep.saturating_add(self.slack);
        if self.bytes.len().saturating_add(more) > most {
            let surplus = self.bytes.len().saturating_sub(self.keep);
            self.bytes.drain(..surplus);
        }
        make_room(&mut self.bytes, more, most).map_err(|_| Broken::Memory)
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The last `size` bytes.
    pub fn tail(&self, size: usize) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(size)..).unwrap_or_default()
    }

    #[inline]
    pub fn push_one(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn fill(&mut self, byte: u8, times: usize) {
        self.bytes.resize(self.bytes.len().saturating_add(times), byte);
    }

    /// Repeats `length` bytes from `offset` bytes ago; they may reach into what is being written.
    pub fn repeat(&mut self, offset: usize, length: usize) -> Result<(), TooFar> {
        let len = self.bytes.len();
        let start = len.checked_sub(offset).filter(|start| *start < len).ok_or(TooFar)?;
        if offset == 1 {
            let byte = self.bytes.last().copied().unwrap_or(0);
            self.fill(byte, length);
            return Ok(());
        }
        let mut left = length;
        while left > 0 {
            // What lies between start and the end repeats itself, so each round can copy twice as much.
            let ready = self.bytes.len().saturating_sub(start);
            let round = left.min(ready);
            // start + round is at most the length.
            self.bytes.extend_from_within(start..start.saturating_add(round));
            left = left.saturating_sub(round);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_repeat_copies_byte_by_byte(start in prop::collection::vec(any::<u8>(), 1..40), offset in 0usize..50, length in 0usize..200) {
            let mut history = History::default();
            history.start(1 << 20, 1000);
            history.prepare(1000).unwrap();
            history.push(&start);
            let mut expected = start.clone();
            let found = (1..=start.len()).contains(&offset);
            if found {
                for _ in 0..length {
                    expected.push(expected[expected.len() - offset]);
                }
            }
            prop_assert_eq!(history.repeat(offset, length).is_ok(), found);
            prop_assert_eq!(history.tail(1000), &expected[..]);
        }
    }

    #[test]
    fn what_is_kept_stays_and_the_memory_is_bounded() {
        let mut history = History::default();
        history.start(300_000, 100_000);
        for round in 0..100u8 {
            history.prepare(100_000).unwrap();
            history.fill(round, 100_000);
        }
        assert_eq!(history.tail(300_000)[0], 97);
        assert!(history.bytes.capacity() <= 400_000);
    }
}
