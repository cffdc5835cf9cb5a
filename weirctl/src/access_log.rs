//! Access logs that have weir's records: bare, within a text or a JSON line, or as a string of a JSON line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;

/// What a record begins with, and the same in a JSON string.
pub const BEGIN: &str = "{\"v\":";
/// See [`BEGIN`].
pub const BEGIN_ESCAPED: &str = "\"{\\\"v\\\":";

/// What a gzipped file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Logs are large.
const BUFFER: usize = 1 << 20;

/// A log, gzipped or not; `-` is standard input. The bar goes by what lies on the disk.
///
/// # Errors
/// It cannot be read.
pub fn open(path: &Path, bar: &ProgressBar) -> io::Result<Box<dyn BufRead>> {
    let file: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut file = BufReader::with_capacity(BUFFER, bar.wrap_read(file));
    // As rotated logs are.
    let gzipped = file.fill_buf()?.starts_with(&GZIP);
    Ok(if gzipped { Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// The value that a text begins with, whatever stands behind it.
pub fn first<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}
