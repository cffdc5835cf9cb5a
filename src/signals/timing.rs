//! When things happened in one call, from the moment the request was complete.

use crate::record::Times;
use crate::signals::gaps::Gaps;
use crate::units::{Nanos, Span};

/// The moments of one call.
#[derive(Debug, Default)]
pub struct Timing {
    /// The last that came of the request.
    asked: Nanos,
    headers: Option<Nanos>,
    first_byte: Option<Nanos>,
    first_token: Option<Nanos>,
    first_text: Option<Nanos>,
    last_token: Option<Nanos>,
    gaps: Option<Gaps>,
    stalls: u64,
    tokens: u64,
}

impl Timing {
    /// A piece of the request came; an answer that begins earlier than the request ends is timed from here too.
    pub fn asked(&mut self, now: Nanos) {
        if self.headers.is_none() {
            self.asked = now;
        }
    }

    /// The answer's headers came.
    pub fn headers(&mut self, now: Nanos) {
        self.headers = Some(now);
    }

    /// A piece of the answer's body came.
    pub fn byte(&mut self, now: Nanos) {
        self.first_byte.get_or_insert(now);
    }

    /// It brought so many events with content, and perhaps visible text.
    pub fn content(&mut self, tokens: u64, text: bool, stall: Span, now: Nanos) {
        let Some(others) = tokens.checked_sub(1) else { return };
        self.tokens = self.tokens.saturating_add(tokens);
        match self.last_token {
            None => self.first_token = Some(now),
            Some(last) => {
                let gap = now - last;
                self.stalls += u64::from(gap > stall);
                self.gaps.get_or_insert_default().add(gap, 1);
            }
        }
        if others > 0 {
            // They came in the same moment as the one before them.
            self.gaps.get_or_insert_default().add(Span(0), others);
        }
        if text {
            self.first_text.get_or_insert(now);
        }
        self.last_token = Some(now);
    }

    /// Events with content so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Gaps longer than a stall.
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// The gaps, if there are any.
    pub fn gaps(&self) -> Option<&Gaps> {
        self.gaps.as_ref()
    }

    fn since(&self, moment: Option<Nanos>) -> Option<Span> {
        Some(moment? - self.asked)
    }

    /// Until the first byte of the body.
    pub fn first_byte(&self) -> Option<Span> {
        self.since(self.first_byte)
    }

    /// Until the first token.
    pub fn first_token(&self) -> Option<Span> {
        self.since(self.first_token)
    }

    /// Until the first visible text.
    pub fn first_text(&self) -> Option<Span> {
        self.since(self.first_text)
    }

    /// Until the end.
    pub fn total(&self, end: Nanos) -> Span {
        end - self.asked
    }

    /// OpenTelemetry's time per output token: (end - first token) / (n - 1), for `n` tokens.
    pub fn per_output_token(&self, tokens: u64, end: Nanos) -> Option<Span> {
        let gaps = tokens.checked_sub(1).filter(|n| *n > 0)?;
        Some(Span((end - self.first_token?).0 / gaps))
    }

    /// The record's part of it.
    pub fn times(&self, output_tokens: u64, stream: bool, end: Nanos) -> Times {
        let ms = |span: Option<Span>| span.map(Span::as_ms);
        let quantile = |share| self.gaps.as_ref().map(|g| g.quantile(share).as_ms());
        Times {
            headers_ms: ms(self.since(self.headers)),
            first_byte_ms: ms(self.first_byte()),
            first_token_ms: ms(self.first_token()),
            first_text_ms: ms(self.first_text()),
            last_token_ms: ms(self.since(self.last_token)),
            total_ms: Some(self.total(end).as_ms()),
            itl_p50_ms: quantile(0.5),
            itl_p99_ms: quantile(0.99),
            itl_max_ms: ms(self.gaps.as_ref().map(Gaps::max)),
            stalls: self.first_token.filter(|_| stream).map(|_| self.stalls),
            tpot_ms: ms(self.per_output_token(output_tokens, end).filter(|_| stream)),
            server: Default::default(),
        }
    }
}
