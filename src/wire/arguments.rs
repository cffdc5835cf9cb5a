//! A tool call's arguments, as they pass: their size and a keyed hash, the same however they were cut, spaced and escaped.
//!
//! The one spelling that is hashed has no white space between values, and in strings no escapes but of `"`, `\` and control
//! characters. Names stay in the order in which they stand and numbers as they are written: what a model wrote, programs pass
//! on in that order. Nothing at all is `{}`. What is no JSON (the free text of OpenAI's custom tools) goes through the same rules.

use std::hash::{DefaultHasher, Hash, Hasher};

use memchr::memchr2;

/// What is known of a call's arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Bytes in the one spelling.
    pub bytes: u64,
    /// The hash; nothing where they broke off.
    pub hash: Option<u64>,
    /// As much of them as was to be kept.
    pub kept: Vec<u8>,
}

/// Whether a tool that is called by this name is the one.
pub fn is_tool(tool: &str, name: &str) -> bool {
    name == tool || own_name(name) == tool
}

/// The tool whose arguments are kept because somebody reads in them.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub tool: String,
    /// How many bytes of them.
    pub most: usize,
}

impl Wanted {
    /// Whether a tool of this name is it.
    pub fn is(&self, name: &str) -> bool {
        is_tool(&self.tool, name)
    }

    /// How many bytes of the arguments are kept for somebody, of a tool of this name, or of one whose name is not known yet.
    pub fn keeps(wanted: Option<&Self>, name: Option<&str>) -> usize {
        wanted.filter(|wanted| name.is_none_or(|name| wanted.is(name))).map_or(0, |wanted| wanted.most)
    }
}

/// Where in a string's escape we are.
#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    Begun,
    Unicode {
        digits: u8,
        code: u32,
    },
}

/// Reads arguments in pieces.
#[derive(Clone, Debug)]
pub struct Reading {
    hash: DefaultHasher,
    bytes: u64,
    kept: Vec<u8>,
    keep: usize,
    depth: u32,
    in_string: bool,
    escape: Escape,
    /// The first half of a surrogate pair.
    high: u32,
    /// A piece was lost.
    spoilt: bool,
}

impl Reading {
    /// Nothing read yet; of what comes, `keep` bytes are kept.
    pub fn new(salt: u64, keep: usize) -> Self {
        let mut hash = DefaultHasher::new();
        (salt, "arguments").hash(&mut hash);
        let (bytes, kept, depth, in_string, escape, high, spoilt) = Default::default();
        Self { hash, bytes, kept, keep, depth, in_string, escape, high, spoilt }
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && !self.in_string && !self.spoilt
    }

    /// No more than so many bytes are kept, as it turns out.
    pub fn keep(&mut self, most: usize) {
        self.keep = most;
        self.kept.truncate(most);
    }

    /// A piece was lost: there is no hash.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// A piece.
    pub fn push(&mut self, mut piece: &[u8]) {
        while let Some((first, rest)) = piece.split_first() {
            if !self.in_string {
                self.outside(*first);
                piece = rest;
            } else if !matches!(self.escape, Escape::None) {
                self.escaped(*first);
                piece = rest;
            } else {
                let run = memchr2(b'"', b'\\', piece).unwrap_or(piece.len());
                let (text, rest) = piece.split_at_checked(run).unwrap_or((piece, &[]));
                if !text.is_empty() {
                    self.lone();
                    self.emit(text);
                }
                piece = match rest.split_first() {
                    Some((b'"', rest)) => {
                        self.lone();
                        self.in_string = false;
                        self.emit(b"\"");
                        rest
                    }
                    Some((_, rest)) => {
                        self.escape = Escape::Begun;
                        rest
                    }
                    None => &[],
                };
            }
        }
    }

    /// What came, all of it.
    pub fn finish(mut self) -> Arguments {
        if self.is_empty() {
            self.emit(b"{}");
        }
        let whole = self.depth == 0 && !self.in_string && !self.spoilt;
        Arguments { bytes: self.bytes, hash: whole.then(|| self.hash.finish()), kept: self.kept }
    }

    fn emit(&mut self, bytes: &[u8]) {
        // SipHash works on a stream of bytes: how it is cut makes no difference.
        self.hash.write(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let room = self.keep.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or(&[]));
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.emit(&[byte]);
    }

    fn escaped(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            (Escape::Begun, b'u') => Escape::Unicode { digits: 0, code: 0 },
            (Escape::Unicode { digits, code }, _) => match (byte as char).to_digit(16) {
                Some(digit) if digits == 3 => {
                    self.unicode(code << 4 | digit);
                    Escape::None
                }
                Some(digit) => Escape::Unicode { digits: digits + 1, code: code << 4 | digit },
                None => {
                    // No JSON: it has no hash, and is read on.
                    self.spoilt = true;
                    Escape::None
                }
            },
            _ => {
                self.lone();
                self.character(match byte {
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    other => other as char,
                });
                Escape::None
            }
        };
    }

    fn unicode(&mut self, code: u32) {
        match (self.high, code) {
            (high, 0xDC00..=0xDFFF) if high != 0 => {
                self.high = 0;
                let pair = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00);
                self.character(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => {
                self.lone();
                match code {
                    0xD800..=0xDBFF => self.high = code,
                    _ => self.character(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
        }
    }

    /// A first half that no second half followed.
    fn lone(&mut self) {
        if std::mem::take(&mut self.high) != 0 {
            self.character(char::REPLACEMENT_CHARACTER);
        }
    }

    /// A character that was escaped, in its one spelling.
    fn character(&mut self, c: char) {
        match c {
            '"' => self.emit(b"\\\""),
            '\\' => self.emit(b"\\\\"),
            '\0'..='\x1f' => {
                let hex = |n: u32| char::from_digit(n, 16).unwrap_or('0') as u8;
                self.emit(&[b'\\', b'u', b'0', b'0', hex(c as u32 >> 4), hex(c as u32 & 15)]);
            }
            _ => {
                let mut utf8 = [0; 4];
                self.emit(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
}

/// What stands in the place of a redacted value.
const REDACTED: &[u8] = b"***";

/// Arguments that were kept, fit for a record: the values of these keys become `***`, and all of it is cut at `most` bytes.
pub fn redacted(kept: &[u8], keys: &[String], most: usize) -> String {
    let mut out = Vec::with_capacity(kept.len().min(most));
    if !keys.is_empty() && !matches!(kept.first(), Some(b'{' | b'[')) {
        out.extend_from_slice(REDACTED);
    } else {
        let mut at = 0;
        while let Some(byte) = kept.get(at) {
            if *byte != b'"' {
                out.push(*byte);
                at += 1;
                continue;
            }
            let end = string_end(kept, at);
            let string = kept.get(at..end).unwrap_or(&[]);
            out.extend_from_slice(string);
            at = end;
            let name = string.get(1..string.len().saturating_sub(1)).unwrap_or(&[]);
            if kept.get(at) == Some(&b':') && keys.iter().any(|key| is_like(name, key)) {
                out.extend_from_slice(b":\"");
                out.extend_from_slice(REDACTED);
                out.push(b'"');
                at = value_end(kept, at + 1);
            }
        }
    }
    let mut text = String::from_utf8_lossy(&out).into_owned();
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Whether a name is what a pattern says: in any case of letters, with a `*` at either end.
fn is_like(name: &[u8], pattern: &str) -> bool {
    let name = String::from_utf8_lossy(name).to_lowercase();
    let pattern = pattern.to_lowercase();
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => name.contains(rest.strip_suffix('*').unwrap_or("")),
        (Some(end), None) => name.ends_with(end),
        (None, Some(front)) => name.starts_with(front),
        (None, None) => name == pattern,
    }
}

/// Behind the string that begins here.
fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// Behind the value that begins here.
fn value_end(text: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0u32);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at),
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                at += 1;
            }
            b',' | b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// A tool's own name. Some agents write an MCP tool's server in front: `mcp__server__tool`.
pub fn own_name(name: &str) -> &str {
    name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")).map_or(name, |(_, tool)| tool)
}
