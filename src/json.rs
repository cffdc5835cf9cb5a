//! A JSON reader that takes its input in pieces, cut anywhere, and keeps only what it was asked for.
//!
//! What is asked for is a tree of [`Node`]s: names lead to nodes, a node says what a value there means. All else is skipped at
//! the speed of a scan, so memory does not grow with the document: a stack of [`MAX_DEPTH`] nodes and one buffer of
//! [`MAX_TEXT`] bytes. It reads JSON leniently: what a provider's own client would accept is accepted, and what
//! comes between the parts that matter is not validated.
//!
//! `#[inline(never)]`, as in [`crate::wire::encoding`]: there are two of these readers, and small functions load with less
//! memory. It costs nothing that can be measured.

use memchr::{memchr, memchr2};

/// What a value means to whoever reads it: a small number of the reader's own choosing.
pub trait Meaning: Copy + 'static {
    /// Whether a string's text is wanted, or only its length.
    fn wants_text(self) -> bool;
    /// Whether a value here may be handed over piece by piece, whatever its size, to a visitor that [`Visitor::captures`].
    fn captured(self) -> bool {
        false
    }
    /// Whether a name that leads nowhere may lead where another leads that differs in case alone.
    const FOLDS: bool = false;
    /// Whether the names in an object that means this are told, see [`Visitor::named`].
    fn tells_names(self) -> bool {
        false
    }
}

/// A place in a document.
#[derive(Debug)]
pub struct Node<M: 'static> {
    /// What a value here means.
    pub means: Option<M>,
    /// What is in a container here; nothing of which anybody wants to know. Most places are plain values, so it stands apart.
    pub inside: Option<&'static Inside<M>>,
}

/// What is in a container.
#[derive(Debug)]
pub struct Inside<M: 'static> {
    /// Where the names in an object here lead to.
    pub keys: &'static [(&'static str, Node<M>)],
    /// What an element of an array here is.
    pub item: Option<&'static Node<M>>,
    /// Where all other names in an object here lead to.
    pub rest: Option<&'static Node<M>>,
}

/// A value that is no container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A string: its text, cut at [`MAX_TEXT`] bytes (empty where only the length is wanted), and how many bytes it has
    /// in the document.
    Text(&'a [u8], u64),
    /// A number, as it is written.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl Scalar<'_> {
    /// A count: a whole number of any spelling (`28.0` too), never negative.
    pub fn count(self) -> Option<u64> {
        let Scalar::Number(digits) = self else { return None };
        let digits = std::str::from_utf8(digits).ok()?;
        digits.parse().ok().or_else(|| {
            let number: f64 = digits.parse().ok()?;
            (0.0..9e15).contains(&number).then_some(number as u64)
        })
    }

    /// A number.
    pub fn number(self) -> Option<f64> {
        let Scalar::Number(digits) = self else { return None };
        std::str::from_utf8(digits).ok()?.parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// A string's text, as far as it is UTF-8; not an empty one.
    pub fn text(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Scalar::Text(text, _) if !text.is_empty() => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// The length of a string in the document; zero for all else.
    pub fn len(self) -> u64 {
        if let Scalar::Text(_, len) = self { len } else { 0 }
    }

    /// Whether it is anything but a string with something in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Who is told of the values that the tree names.
pub trait Visitor<M> {
    /// An object or array with a meaning begins; its bracket stands at `at` in the piece at hand.
    fn open(&mut self, means: M, at: usize);
    /// It ends; its bracket stands at `at`.
    fn close(&mut self, means: M, at: usize);
    /// A value with a meaning. `span` is where a string's text (without quotes) or a number stands in the piece at hand, if it
    /// lies in it whole.
    fn scalar(&mut self, means: M, value: Scalar<'_>, span: Option<(usize, usize)>);
    /// A string or number without a meaning that lies whole in the piece, for those who learn a document's shape.
    fn skipped(&mut self, span: (usize, usize), number: bool) {
        let _ = (span, number);
    }
    /// A name in an object whose meaning tells names. Gives whether the value there is of any interest; else it is skipped.
    fn named(&mut self, name: &[u8]) -> bool {
        let _ = name;
        true
    }
    /// The name that came last was known by folding its case.
    fn folded(&mut self) {}
    /// Whether it wants the pieces of values of this meaning, which may be captured.
    fn captures(&self, means: M) -> bool {
        let _ = means;
        false
    }
    /// A piece of such a value: of a string's text, without its escapes; of an object or array that has no named members, as
    /// it stands in the document.
    fn piece(&mut self, means: M, bytes: &[u8]) {
        let _ = (means, bytes);
    }
}

/// How deep a named value may lie. The deepest that a provider's format has is 9.
pub const MAX_DEPTH: usize = 16;
/// The longest text that is kept of a string; names, ids and reasons are shorter.
pub const MAX_TEXT: usize = 256;
/// The document is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a value; in an array also before its `]`.
    Value,
    /// Before a name or `}`.
    Name,
    /// In a name.
    InName,
    /// Before the `:`.
    Colon,
    /// In a string.
    InText,
    /// In a number, `true`, `false` or `null`.
    InWord,
    /// Behind a value in a container.
    After,
    /// In a container that no node names: how many are open, whether in a string.
    Skip { open: u32, text: bool },
    /// The document is whole.
    Done,
    /// The document is broken.
    Bad,
}

/// An escape in a string may be cut too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Unicode {
        digits: u8,
        code: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Level<M: 'static> {
    node: &'static Node<M>,
    array: bool,
}

/// The reader of one document at a time.
#[derive(Clone, Debug)]
pub struct Reader<M: 'static> {
    root: &'static Node<M>,
    levels: [Option<Level<M>>; MAX_DEPTH],
    depth: usize,
    /// The node of the value that comes next.
    next: Option<&'static Node<M>>,
    state: State,
    escape: Escape,
    /// The first half of a surrogate pair.
    high: u16,
    text: Buffer,
    /// Bytes of the string so far, as they stand in the document.
    len: u64,
    /// What the container means that is skipped, if its bytes are handed over.
    captured: Option<M>,
}

#[derive(Clone, Debug)]
struct Buffer {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl Buffer {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Appends what fits.
    fn push(&mut self, more: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or(&mut []);
        let n = room.len().min(more.len());
        if let (Some(to), Some(from)) = (room.get_mut(..n), more.get(..n)) {
            to.copy_from_slice(from);
            self.len += n;
        }
    }

    fn push_char(&mut self, code: u32) {
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut utf8 = [0; 4];
        let encoded = c.encode_utf8(&mut utf8).as_bytes();
        if self.len + encoded.len() <= MAX_TEXT {
            self.push(encoded);
        }
    }
}

impl<M: Meaning> Reader<M> {
    /// A reader of documents of this shape.
    pub fn new(root: &'static Node<M>) -> Self {
        Self {
            root,
            levels: [None; MAX_DEPTH],
            depth: 0,
            next: Some(root),
            state: State::Value,
            escape: Escape::None,
            high: 0,
            text: Buffer { bytes: [0; MAX_TEXT], len: 0 },
            len: 0,
            captured: None,
        }
    }

    /// Begins a new document.
    pub fn reset(&mut self) {
        self.depth = 0;
        self.next = Some(self.root);
        self.state = State::Value;
        self.escape = Escape::None;
        self.high = 0;
        self.captured = None;
    }

    /// Whether a document was read to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing but white space has come since the last document.
    pub fn is_fresh(&self) -> bool {
        self.depth == 0 && self.state == State::Value
    }

    /// Whether the input so far ends within a string.
    pub fn is_in_string(&self) -> bool {
        matches!(self.state, State::InText | State::InName | State::Skip { text: true, .. })
    }

    /// The meaning of the value that has its name and is not complete, if it is no container.
    pub fn pending(&self) -> Option<M> {
        self.next.filter(|_| !matches!(self.state, State::After | State::Done | State::Bad)).and_then(|n| n.means)
    }

    /// Reads a piece. Gives how much of it was read: less than all where the document ended within.
    ///
    /// # Errors
    /// What is no JSON; the reader stays so until [`Reader::reset`].
    pub fn feed(&mut self, piece: &[u8], visitor: &mut dyn Visitor<M>) -> Result<usize, Bad> {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|r| !r.is_empty()) {
            at += match self.state {
                State::Done => return Ok(at),
                State::Bad => return Err(Bad),
                State::InText | State::InName => self.in_string(rest, visitor),
                State::InWord => self.in_word(rest, at, visitor),
                State::Skip { open, text } => self.skip(rest, open, text, visitor),
                State::Value | State::Name | State::Colon | State::After => {
                    let Some(&b) = rest.first() else { break };
                    if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') { self.structural(b, rest, at, visitor) } else { 1 }
                }
            };
        }
        if self.state == State::Bad { Err(Bad) } else { Ok(at) }
    }

    /// Ends the input: a number at the top has no other end.
    ///
    /// # Errors
    /// A document that is cut.
    pub fn finish(&mut self, visitor: &mut dyn Visitor<M>) -> Result<(), Bad> {
        if self.state == State::InWord && self.depth == 0 {
            self.word(None, visitor);
        }
        if self.is_done() || self.is_fresh() { Ok(()) } else { Err(Bad) }
    }

    fn structural(&mut self, b: u8, rest: &[u8], at: usize, visitor: &mut dyn Visitor<M>) -> usize {
        match (self.state, b) {
            (State::Value, b'{') => self.enter(false, at, visitor),
            (State::Value, b'[') => self.enter(true, at, visitor),
            (State::Value | State::After, b']') | (State::Name | State::After, b'}') => {
                self.leave(b == b']', at, visitor)
            }
            (State::Value, b'"') => {
                self.begin_string(State::InText);
                // Most strings lie whole in the piece: no state, no copy.
                return 1 + self.whole_string(rest.get(1..).unwrap_or(&[]), at + 1, visitor);
            }
            (State::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I') => {
                self.text.clear();
                self.state = State::InWord;
                return self.in_word(rest, at, visitor);
            }
            (State::Name, b'"') => {
                self.begin_string(State::InName);
                return 1 + self.whole_name(rest.get(1..).unwrap_or(&[]), visitor);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => self.after_comma(),
            _ => self.state = State::Bad,
        }
        1
    }

    fn top(&self) -> Option<Level<M>> {
        self.depth.checked_sub(1).and_then(|d| self.levels.get(d).copied().flatten())
    }

    fn begin_string(&mut self, state: State) {
        self.text.clear();
        self.len = 0;
        self.escape = Escape::None;
        self.high = 0;
        self.state = state;
    }

    #[inline(never)]
    fn enter(&mut self, array: bool, at: usize, visitor: &mut dyn Visitor<M>) {
        let node = self.next.take();
        // An array whose elements nobody named, an object without known names: one scan skips it.
        let named = node.filter(|n| {
            let wanted = |i: &Inside<M>| if array { i.item.is_some() } else { !i.keys.is_empty() || i.rest.is_some() };
            n.inside.is_some_and(wanted) && self.depth < MAX_DEPTH
        });
        let Some(node) = named else {
            if let Some(means) = node.and_then(|n| n.means) {
                visitor.open(means, at);
                visitor.close(means, at);
                if means.captured() && visitor.captures(means) {
                    visitor.piece(means, if array { b"[" } else { b"{" });
                    self.captured = Some(means);
                }
            }
            self.state = State::Skip { open: 1, text: false };
            return;
        };
        if let Some(means) = node.means {
            visitor.open(means, at);
        }
        if let Some(level) = self.levels.get_mut(self.depth) {
            *level = Some(Level { node, array });
        }
        self.depth += 1;
        self.next = node.inside.and_then(|i| i.item).filter(|_| array);
        self.state = if array { State::Value } else { State::Name };
    }

    fn leave(&mut self, array: bool, at: usize, visitor: &mut dyn Visitor<M>) {
        match self.top() {
            Some(level) if level.array == array => {
                self.depth -= 1;
                if let Some(means) = level.node.means {
                    visitor.close(means, at);
                }
                self.value_ended();
            }
            _ => self.state = State::Bad,
        }
    }

    fn value_ended(&mut self) {
        self.next = None;
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn after_comma(&mut self) {
        let Some(level) = self.top() else {
            self.state = State::Bad;
            return;
        };
        self.next = level.node.inside.and_then(|i| i.item).filter(|_| level.array);
        self.state = if level.array { State::Value } else { State::Name };
    }

    fn whole_string(&mut self, rest: &[u8], at: usize, visitor: &mut dyn Visitor<M>) -> usize {
        let Some(end) = memchr2(b'"', b'\\', rest).filter(|e| rest.get(*e) == Some(&b'"')) else { return 0 };
        let text = rest.get(..end).unwrap_or(&[]);
        self.len = end as u64;
        self.string_ended(Some(text), Some((at, at + end)), visitor);
        end + 1
    }

    fn whole_name(&mut self, rest: &[u8], visitor: &mut dyn Visitor<M>) -> usize {
        let Some(end) = memchr2(b'"', b'\\', rest).filter(|e| rest.get(*e) == Some(&b'"')) else { return 0 };
        self.name_ended(rest.get(..end), visitor);
        end + 1
    }

    fn name_ended(&mut self, whole: Option<&[u8]>, visitor: &mut dyn Visitor<M>) {
        let name = whole.unwrap_or(self.text.get());
        self.next = self.top().and_then(|level| {
            let tells = level.node.means.is_some_and(|means| means.tells_names());
            let inside = level.node.inside?;
            let mut named = inside.keys.iter().find(|(key, _)| key.as_bytes() == name);
            if M::FOLDS && named.is_none() && inside.rest.is_none() {
                named = inside.keys.iter().find(|(key, _)| folds_to(name, key));
                if named.is_some() {
                    visitor.folded();
                }
            }
            named.map(|(_, node)| node).or(inside.rest).filter(|_| !tells || visitor.named(name))
        });
        self.state = State::Colon;
    }

    fn string_ended(&mut self, whole: Option<&[u8]>, span: Option<(usize, usize)>, visitor: &mut dyn Visitor<M>) {
        match (self.next.and_then(|n| n.means), span) {
            (Some(means), _) => {
                if let Some(text) = whole.filter(|t| !t.is_empty() && means.captured() && visitor.captures(means)) {
                    visitor.piece(means, text);
                }
                let text = if means.wants_text() { whole.unwrap_or(self.text.get()) } else { &[] };
                let text = text.get(..MAX_TEXT).unwrap_or(text);
                visitor.scalar(means, Scalar::Text(text, self.len), span);
            }
            (None, Some(span)) => visitor.skipped(span, false),
            (None, None) => {}
        }
        self.value_ended();
    }

    #[inline(never)]
    fn in_string(&mut self, rest: &[u8], visitor: &mut dyn Visitor<M>) -> usize {
        let means = self.next.and_then(|n| n.means).filter(|_| self.state != State::InName);
        let captured = means.filter(|m| m.captured() && visitor.captures(*m));
        let wanted = self.state == State::InName || captured.is_some() || means.is_some_and(|m| m.wants_text());
        let Some(&b) = rest.first() else { return 0 };
        if self.escape != Escape::None {
            self.len = self.len.saturating_add(1);
            self.escaped(b, wanted);
            self.hand_over(captured, visitor);
            return 1;
        }
        let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        self.len = self.len.saturating_add(run as u64);
        if wanted && run > 0 {
            self.flush_high();
            let run = rest.get(..run).unwrap_or(&[]);
            match captured {
                Some(means) => {
                    self.hand_over(captured, visitor);
                    visitor.piece(means, run);
                }
                None => self.text.push(run),
            }
        }
        match rest.get(run) {
            Some(b'"') => {
                if wanted {
                    self.flush_high();
                    self.hand_over(captured, visitor);
                }
                if self.state == State::InName {
                    self.name_ended(None, visitor)
                } else {
                    self.string_ended(None, None, visitor)
                }
                run + 1
            }
            Some(_) => {
                self.len = self.len.saturating_add(1);
                self.escape = Escape::Begun;
                run + 1
            }
            None => run,
        }
    }

    /// Hands over what an escape of a captured string stood for.
    fn hand_over(&mut self, captured: Option<M>, visitor: &mut dyn Visitor<M>) {
        if let Some(means) = captured.filter(|_| self.text.len > 0) {
            visitor.piece(means, self.text.get());
            self.text.clear();
        }
    }

    /// A first half that no second half followed.
    fn flush_high(&mut self) {
        if std::mem::take(&mut self.high) != 0 {
            self.text.push_char(0xFFFD);
        }
    }

    #[inline(never)]
    fn escaped(&mut self, b: u8, wanted: bool) {
        self.escape = match self.escape {
            Escape::Begun if b == b'u' => Escape::Unicode { digits: 0, code: 0 },
            Escape::Unicode { digits, code } => match (b as char).to_digit(16) {
                Some(digit) if digits == 3 => {
                    if wanted {
                        self.unicode(code << 4 | digit);
                    }
                    Escape::None
                }
                Some(digit) => Escape::Unicode { digits: digits + 1, code: code << 4 | digit },
                None => {
                    self.state = State::Bad;
                    Escape::None
                }
            },
            _ => {
                if wanted {
                    self.flush_high();
                    let plain = match b {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'b' => 8,
                        b'f' => 12,
                        other => other,
                    };
                    self.text.push(&[plain]);
                }
                Escape::None
            }
        };
    }

    fn unicode(&mut self, code: u32) {
        match (self.high, code) {
            (0, 0xD800..=0xDBFF) => self.high = code as u16,
            (high, 0xDC00..=0xDFFF) if high != 0 => {
                self.high = 0;
                let pair = 0x10000 + ((u32::from(high) - 0xD800) << 10) + (code - 0xDC00);
                self.text.push_char(pair);
            }
            _ => {
                self.flush_high();
                if (0xD800..=0xDBFF).contains(&code) { self.high = code as u16 } else { self.text.push_char(code) }
            }
        }
    }

    #[inline(never)]
    fn in_word(&mut self, rest: &[u8], at: usize, visitor: &mut dyn Visitor<M>) -> usize {
        let goes_on = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
        let run = rest.iter().position(|b| !goes_on(b));
        let whole = self.text.len == 0;
        let part = rest.get(..run.unwrap_or(rest.len())).unwrap_or(&[]);
        // Of a number without end as much is kept as of a text.
        self.text.push(part);
        if run.is_some() {
            self.word((whole && !part.is_empty()).then_some((at, at + part.len())), visitor);
        }
        part.len()
    }

    fn word(&mut self, span: Option<(usize, usize)>, visitor: &mut dyn Visitor<M>) {
        let means = self.next.and_then(|n| n.means);
        let word = self.text.get();
        let value = match word {
            b"true" => Scalar::Bool(true),
            b"false" => Scalar::Bool(false),
            // No JSON, but what Python writes and reads.
            b"null" | b"NaN" | b"Infinity" => Scalar::Null,
            [b'-' | b'0'..=b'9', ..] => Scalar::Number(word),
            _ => {
                self.state = State::Bad;
                return;
            }
        };
        match (means, span, value) {
            (Some(means), _, _) => visitor.scalar(means, value, span),
            (None, Some(span), Scalar::Number(_)) => visitor.skipped(span, true),
            _ => {}
        }
        self.value_ended();
    }

    /// Through a container that nobody named; one that is captured is handed over.
    fn skip(&mut self, rest: &[u8], open: u32, text: bool, visitor: &mut dyn Visitor<M>) -> usize {
        let read = self.scan(rest, open, text);
        if let Some(means) = self.captured {
            visitor.piece(means, rest.get(..read).unwrap_or(&[]));
            self.captured = self.captured.filter(|_| matches!(self.state, State::Skip { .. }));
        }
        read
    }

    /// The same: only brackets and strings count.
    #[inline(never)]
    fn scan(&mut self, rest: &[u8], mut open: u32, mut text: bool) -> usize {
        let mut at = 0;
        while let Some(ahead) = rest.get(at..) {
            if text {
                if self.escape != Escape::None && !ahead.is_empty() {
                    self.escape = Escape::None;
                    at += 1;
                    continue;
                }
                match memchr2(b'"', b'\\', ahead) {
                    Some(i) => {
                        at += i + 1;
                        if ahead.get(i) == Some(&b'"') { text = false } else { self.escape = Escape::Begun }
                    }
                    None => {
                        at = rest.len();
                        break;
                    }
                }
            } else {
                let Some(i) = ahead.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']')) else {
                    at = rest.len();
                    break;
                };
                at += i + 1;
                match ahead.get(i) {
                    Some(b'"') => text = true,
                    Some(b'{' | b'[') => open = open.saturating_add(1),
                    _ => {
                        open = open.saturating_sub(1);
                        if open == 0 {
                            self.value_ended();
                            return at;
                        }
                    }
                }
            }
        }
        self.state = State::Skip { open, text };
        at
    }
}

/// Whether a name is this key but for its case, as Go's `encoding/json` sees it: two letters beyond ASCII are some of it.
#[inline(never)]
fn folds_to(name: &[u8], key: &str) -> bool {
    let mut rest = name;
    for byte in key.bytes() {
        let (letter, behind) = match rest {
            [0xC5, 0xBF, behind @ ..] => (b's', behind),
            [0xE2, 0x84, 0xAA, behind @ ..] => (b'k', behind),
            [letter, behind @ ..] => (*letter, behind),
            [] => return false,
        };
        if !letter.eq_ignore_ascii_case(&byte) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}

/// Where a piece's next line begins, for those who give up on a document and wait for the next.
pub fn next_line(piece: &[u8]) -> Option<usize> {
    memchr(b'\n', piece).map(|i| i + 1)
}
