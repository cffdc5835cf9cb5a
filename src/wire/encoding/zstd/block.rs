//! A packed block: literals, then the sequences that put them together with what came before.

use super::literals::Literals;
use super::sequences::Sequences;
use crate::wire::encoding::Broken;
use crate::wire::encoding::history::History;

/// What one block leaves to the next.
#[derive(Default)]
pub struct BlockDecoder {
    literals: Literals,
    sequences: Sequences,
}

impl BlockDecoder {
    /// A frame begins.
    pub fn start(&mut self) {
        self.literals.start();
        self.sequences.start();
    }

    /// Decodes a whole block of at most `most` bytes to the end of `history`, where there is room for them.
    pub fn decode(&mut self, block: &[u8], most: usize, history: &mut History) -> Result<(), Broken> {
        let (literals, rest) = self.literals.read(block, most)?;
        self.sequences.run(rest, literals, most, history)
    }
}
