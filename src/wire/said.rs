//! The text of an answer, kept as it comes for whoever wants to read in it: that of the first choice, without thoughts, and
//! no more than so many bytes.
//!
//! Whose text it is, and whether it is a thought, may stand behind it. So what came is dropped again where that says so.

/// What was said so far.
#[derive(Debug)]
pub struct Said {
    text: Vec<u8>,
    most: usize,
    /// There was more.
    cut: bool,
    event: Mark,
    choice: Mark,
    part: Mark,
}

/// How it was at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    len: usize,
    cut: bool,
}

impl Said {
    /// Nothing yet.
    pub fn new(most: usize) -> Self {
        let (text, cut, event, choice, part) = Default::default();
        Self { text, most, cut, event, choice, part }
    }

    /// Whether more of it is wanted.
    pub fn wants(&self) -> bool {
        !self.cut
    }

    /// A piece of text.
    pub fn piece(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.text.len());
        self.cut |= bytes.len() > room;
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn here(&self) -> Mark {
        Mark { len: self.text.len(), cut: self.cut }
    }

    fn back(&mut self, mark: Mark) {
        self.text.truncate(mark.len);
        self.cut = mark.cut;
    }

    /// A choice begins.
    pub fn choice(&mut self) {
        self.choice = self.here();
    }

    /// It ends, and is this one.
    pub fn choice_ended(&mut self, number: u64) {
        if number > 0 {
            self.back(self.choice);
        }
    }

    /// A part begins.
    pub fn part(&mut self) {
        self.part = self.here();
    }

    /// It ends.
    pub fn part_ended(&mut self, thought: bool) {
        if thought {
            self.back(self.part);
        }
    }

    /// An event ends, and turned out to bring no text, or to bring some; gives whether any of it was kept.
    pub fn event_ended(&mut self, no_text: bool) -> bool {
        if no_text {
            self.back(self.event);
        }
        let more = self.text.len() > self.event.len;
        self.event = self.here();
        more
    }

    /// The text, and whether there was more.
    pub fn finish(self) -> (Vec<u8>, bool) {
        (self.text, self.cut)
    }
}
