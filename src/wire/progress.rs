//! What the events of a body brought, one by one and piece by piece.

/// What one event or document brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Visible text.
    pub text: bool,
    /// Any generated content: text, reasoning, arguments.
    pub token: bool,
    /// Bytes of it, as they stand in the document.
    pub bytes: u64,
    /// A fact beyond content: such an event is always read whole.
    pub facts: bool,
}

/// What a piece of the body brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events or documents read.
    pub events: u64,
    /// Those with generated content.
    pub tokens: u64,
    /// Whether any of it was visible text.
    pub text: bool,
    /// Bytes of content, as they stand in the documents.
    pub bytes: u64,
}

impl Progress {
    /// What came after.
    pub fn merge(&mut self, later: Progress) {
        let Progress { events, tokens, text, bytes } = later;
        self.events += events;
        self.tokens += tokens;
        self.text |= text;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// One more event.
    pub fn add(&mut self, content: Content) {
        self.events += 1;
        self.tokens += u64::from(content.token);
        self.text |= content.text;
        self.bytes = self.bytes.saturating_add(content.bytes);
    }
}

impl Content {
    /// Content that came with this event.
    pub fn add(&mut self, text: bool, bytes: u64) {
        self.token = true;
        self.text |= text;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
