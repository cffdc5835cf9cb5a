//! `br` (RFC 7932), over brotli-decompressor: it has no unsafe code, and takes its memory through [`Bank`], which refuses.

use brotli_decompressor::{
    Allocator, BrotliDecoderTakeOutput, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, SliceWrapper,
    SliceWrapperMut,
};

use super::{Broken, Out};

/// The most that is kept to look back at: 4 MiB, the window (22 bits) of Node's, Go's, Python's and .NET's encoders.
///
/// It is taken as output comes. A stream that declares more (24 bits, 16 MiB) is read until it needs more.
const WINDOW: usize = 4 << 20;

/// What the decoder keeps behind the window, to copy in strides.
const SLACK: usize = 1 << 10; // 566 in brotli-decompressor 6.3

/// The window while it grows: the old half and the new one. The context maps (17 KB at most) are in it too.
const BYTES: usize = WINDOW + WINDOW / 2 + (64 << 10);

/// Prefix codes of one meta-block: at most 3 x 256 trees. Encoders make a few dozen trees, of some 2 KB each; the worst
/// that the format allows is 2.5 MB.
const CODES: usize = 3 << 20;

/// The most that a br stream takes.
pub const BR_MEMORY: usize = BYTES + CODES + (64 << 10);

/// Memory for one kind of cell, up to a bound, beyond which it gives none: the decoder then reports an error.
///
/// The largest small cell freed is kept and given out again, so a flush per event, which is a meta-block per event,
/// allocates nothing in steady state.
struct Bank<T> {
    /// Bytes that may still be given out.
    left: usize,
    /// Most bytes in one cell.
    most: usize,
    spare: Vec<T>,
}

impl<T> Bank<T> {
    fn new(total: usize, most: usize) -> Self {
        Self { left: total, most, spare: Vec::new() }
    }
}

/// A freed cell is kept only up to this size: more than context maps and common trees need, but not an outgrown window.
const SPARE: usize = 64 << 10;

/// A cell of memory.
struct Cell<T>(Vec<T>);

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> SliceWrapper<T> for Cell<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Cell<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Clone + Default> Allocator<T> for Bank<T> {
    type AllocatedMemory = Cell<T>;

    fn alloc_cell(&mut self, length: usize) -> Cell<T> {
        let size = |cells: usize| cells.saturating_mul(size_of::<T>());
        if size(length) > self.most {
            return Cell::default();
        }
        let mut cell = std::mem::take(&mut self.spare);
        if cell.capacity() < length {
            // The spare is too small for this: it goes, and a new one comes.
            self.left = self.left.saturating_add(size(cell.capacity()));
            cell = Vec::new();
            if size(length) > self.left || cell.try_reserve_exact(length).is_err() {
                return Cell::default();
            }
            self.left = self.left.saturating_sub(size(cell.capacity()));
        }
        cell.clear();
        cell.resize(length, T::default());
        Cell(cell)
    }

    fn free_cell(&mut self, cell: Cell<T>) {
        let size = |cell: &Vec<T>| cell.capacity().saturating_mul(size_of::<T>());
        let mut returned = cell.0;
        if size(&returned) > size(&self.spare) && size(&returned) <= SPARE {
            std::mem::swap(&mut self.spare, &mut returned);
        }
        self.left = self.left.saturating_add(size(&returned));
    }
}

type State = BrotliState<Bank<u8>, Bank<u32>, Bank<HuffmanCode>>;

pub struct Br {
    state: Box<State>,
    done: bool,
}

impl Default for Br {
    fn default() -> Self {
        let (bytes, codes) = (Bank::new(BYTES, WINDOW + SLACK), Bank::new(CODES, CODES));
        // Strict: no "large window" streams, which are not `br`. The places of the trees take 3 x 256 words.
        Self { state: Box::new(BrotliState::new_strict(bytes, Bank::new(8 << 10, 8 << 10), codes)), done: false }
    }
}

impl Br {
    #[inline(never)]
    pub fn push(&mut self, input: &[u8], out: &mut Out<'_>) -> Result<(), Broken> {
        let (mut left, mut at, mut total) = (input.len(), 0, 0);
        // What follows the end is ignored, as browsers do.
        while !self.done {
            // No output buffer is lent: the decoded bytes are read where they lie, in its window.
            let result =
                BrotliDecompressStream(&mut left, &mut at, input, &mut 0, &mut 0, &mut [], &mut total, &mut self.state);
            let mut taken = false;
            loop {
                let mut size = 0;
                let bytes = BrotliDecoderTakeOutput(&mut self.state, &mut size);
                if bytes.is_empty() {
                    break;
                }
                out.put(bytes)?;
                taken = true;
            }
            match result {
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::NeedsMoreOutput if taken => {}
                BrotliResult::ResultSuccess => self.done = true,
                BrotliResult::NeedsMoreOutput => return Err(Broken::Format),
                BrotliResult::ResultFailure => return Err(self.why()),
            }
        }
        Ok(())
    }

    fn why(&self) -> Broken {
        // These codes say that memory was refused.
        if (-30..=-21).contains(&(self.state.error_code as i32)) { Broken::Memory } else { Broken::Format }
    }

    pub fn finished(&self) -> bool {
        self.done
    }
}
