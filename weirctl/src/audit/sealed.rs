//! A sealed record in a line of an access log: bare, within a text or a JSON line, or as a string of a JSON line.

use std::borrow::Cow;

use memchr::memmem;
use weir::features::audit::chain::{MAC_FIELD, Mac};

use crate::access_log::{BEGIN, BEGIN_ESCAPED, first};

/// What its seal begins with.
const SEAL: &str = ",\"chain\":{\"worker\":\"";
/// What it ends with.
const END: &str = "\"}}";
/// Names that a line without a sealed record does not have. No damage of one byte hits all of them.
const TRACES: [&str; 4] = ["chain", "worker", "\"mac", "\\\"mac"];

/// What a line has.
#[derive(Debug)]
pub enum Line<'a> {
    /// A sealed record.
    Sealed(Sealed<'a>),
    /// Traces of one.
    Damaged,
    /// No sealed record.
    Other,
    /// Nothing.
    Empty,
}

/// A sealed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Its chain.
    pub worker: String,
    /// Its place there.
    pub seq: u64,
    /// The name of its key.
    pub key: String,
    /// Its MAC.
    pub mac: Mac,
    /// What the MAC is of.
    pub signed: Cow<'a, [u8]>,
}

impl<'a> Line<'a> {
    /// Looks for the record in a line, which may have its line feed.
    pub fn of(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return Self::Empty;
        }
        if let Some(sealed) = raw(line).or_else(|| escaped(line)) {
            return Self::Sealed(sealed);
        }
        let traces = TRACES.iter().any(|trace| memmem::find(line, trace.as_bytes()).is_some());
        if traces || has_mac(line) || is_cut(line) { Self::Damaged } else { Self::Other }
    }
}

fn raw(line: &[u8]) -> Option<Sealed<'_>> {
    let seal = memmem::rfind(line, SEAL.as_bytes())?;
    let begin = memmem::rfind(line.get(..seal)?, BEGIN.as_bytes())?;
    let text = line.get(begin..)?;
    let sealed = parse(Cow::Borrowed(text), seal - begin)?;
    // Of a log of nothing but records, every byte counts.
    let rest = text.get(sealed.signed.len() + 2 * sealed.mac.len() + END.len()..)?;
    (!line.starts_with(BEGIN.as_bytes()) || begin == 0 && rest.is_empty()).then_some(sealed)
}

fn escaped(line: &[u8]) -> Option<Sealed<'_>> {
    let begin = memmem::rfind(line, BEGIN_ESCAPED.as_bytes())?;
    let text = first::<String>(line.get(begin..)?)?.into_bytes();
    let seal = memmem::rfind(&text, SEAL.as_bytes())?;
    let len = text.len();
    let sealed = parse(Cow::Owned(text), seal)?;
    (len == sealed.signed.len() + 2 * sealed.mac.len() + END.len()).then_some(sealed)
}

/// Reads the seal, strictly as it is written.
fn parse(text: Cow<'_, [u8]>, seal: usize) -> Option<Sealed<'_>> {
    let rest = text.get(seal + SEAL.len()..)?;
    let (worker, rest) = rest.split_at_checked(16)?;
    let rest = rest.strip_prefix(b"\",\"seq\":")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (seq, rest) = rest.split_at_checked(digits)?;
    let rest = rest.strip_prefix(b",\"key\":\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let (key, rest) = rest.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"\",")?.strip_prefix(MAC_FIELD.as_bytes())?;
    let signed = text.len() - rest.len();
    let mac = mac(rest.get(..64)?)?;
    rest.get(64..)?.strip_prefix(END.as_bytes())?;
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let (worker, seq, key) = (string(worker)?, string(seq)?.parse().ok()?, string(key)?);
    let signed = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..signed)?),
        Cow::Owned(mut text) => {
            text.truncate(signed);
            Cow::Owned(text)
        }
    };
    Some(Sealed { worker, seq, key, mac, signed })
}

/// A MAC in lower-case hex digits, as it is written.
fn mac(digits: &[u8]) -> Option<Mac> {
    let mut mac = Mac::default();
    for (byte, pair) in mac.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(mac)
}

/// Whether a record begins here and does not end.
fn is_cut(line: &[u8]) -> bool {
    let cut = |begin: &str| {
        let text = memmem::find(line, begin.as_bytes()).and_then(|at| line.get(at..));
        text.is_some_and(|text| first::<serde_json::Value>(text).is_none())
    };
    cut(BEGIN) || cut(BEGIN_ESCAPED)
}

/// Whether there is a run of as many hex digits as a MAC has.
fn has_mac(line: &[u8]) -> bool {
    line.split(|b| !b.is_ascii_hexdigit()).any(|run| run.len() >= 64)
}
