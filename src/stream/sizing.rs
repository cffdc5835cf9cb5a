//! How large a call will probably be: estimated before it is sent, and learned from when it is over.

use super::Stream;
use crate::call::finished::Finished;
use crate::call::size::Size;
use crate::call::subject::Known;
use crate::record::{Ended, UsageSource};
use crate::signals::size::{Keys, Sample};
use crate::worker::Worker;

/// What is known of a call's size.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    /// Bytes of the body, as the headers announce them.
    pub announced: Option<u64>,
    /// Bytes of it that came.
    came: u64,
    /// How large the call was taken to be.
    size: Size,
    /// With how much known of it (`last`) it was asked already. Its size stands until more is known: who waits would
    /// queue again for the rest.
    sized: Option<bool>,
    /// Under which its size is looked up and learned, once its model is known.
    keys: Option<Keys>,
}

impl Sizing {
    /// A piece of the request's body came.
    pub fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes as u64);
    }

    /// Bytes of the body that came.
    pub fn bytes_came(&self) -> u64 {
        self.came
    }

    /// Whether all that was announced came.
    pub fn is_whole(&self) -> bool {
        self.announced.is_some_and(|all| self.came >= all)
    }

    /// Tokens that the call will probably take, as far as it was asked.
    pub fn tokens(&self) -> u64 {
        self.size.input.saturating_add(self.size.output)
    }
}

impl Stream {
    /// Tokens that the call will probably take, as far as it is known.
    pub(super) fn expected_size(&mut self, worker: &Worker, last: bool) -> Size {
        if self.sizing.sized == Some(last) {
            return self.sizing.size;
        }
        let Worker { sizes, estimator, shared, .. } = worker;
        let known = Known { subject: &self.subject, request: &self.request };
        let asked = self.request.asked();
        let bytes = match asked.prompt_bytes {
            // Of a body that is too large to be held, what is announced.
            read if last && self.request.is_over() => read,
            read => read.max(self.sizing.announced.unwrap_or(0)),
        };
        let keys = Keys::of(self.subject.tenant.as_deref(), known.model(), self.subject.route.as_deref());
        let input = sizes
            .input(keys, bytes)
            .filter(|_| !(last && self.request.is_over()))
            .unwrap_or_else(|| estimator.input(known.model().unwrap_or_default(), bytes));
        let most = asked.max_tokens.unwrap_or(u64::MAX);
        let output = match self.subject.asked.api {
            api if !api.generates() => 0,
            // A worker that has seen no call yet does not guess before the body says how much it may be, unless another filter
            // is to ask now.
            _ if !last && !self.config.filter_state.tokens => sizes.known_output(keys).unwrap_or(0).min(most),
            _ => sizes.output(keys).min(most),
        };
        let money = self.features.expected_price(known, input, shared);
        let size = Size { input, output, money };
        self.sizing.keys = Some(keys).filter(|_| last);
        (self.sizing.size, self.sizing.sized) = (size, Some(last));
        size
    }

    /// A call that ended well teaches how large those like it are.
    pub(super) fn observe_size(&self, worker: &mut Worker, call: &Finished<'_>) {
        let fine = call.ended == Ended::Complete && call.usage.source == UsageSource::Reported;
        if !fine || !worker.shared.estimates_size() {
            return;
        }
        let Some(output) = call.usage.output else { return };
        let input = call.usage.input.zip(self.sizing.announced);
        let (subject, known) = (&self.subject, self.known());
        let keys = || Keys::of(subject.tenant.as_deref(), known.model(), subject.route.as_deref());
        worker.sizes.observe(self.sizing.keys.unwrap_or_else(keys), Sample { output, input });
    }
}
