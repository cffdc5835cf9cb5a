//! Plays an answer's body: each part at its time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::answer::{Answer, Last, Part};

/// A body whose parts come at their times.
#[derive(Debug)]
pub struct Player {
    parts: VecDeque<Part>,
    last: Last,
    apart: bool,
    /// When the part before was due. Counted from there, so that delays do not add up.
    due: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    yielded: bool,
}

/// The upstream breaks off; the server closes the connection on it.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upstream breaks off here")
    }
}

impl std::error::Error for Broken {}

impl Player {
    /// Begins now.
    pub fn new(answer: Answer) -> Self {
        Self {
            parts: answer.parts.into(),
            last: answer.last,
            apart: answer.apart,
            due: Instant::now(),
            sleep: None,
            yielded: false,
        }
    }
}

impl Body for Player {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(part) = this.parts.front_mut() else {
            // A pause before the break lets the server write out what came before it.
            if this.last != Last::End && !std::mem::replace(&mut this.yielded, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return match this.last {
                Last::End => Poll::Ready(None),
                Last::Reset => Poll::Ready(Some(Err(Broken))),
                Last::Hang => Poll::Pending,
            };
        };
        if part.after > Duration::ZERO {
            this.due += std::mem::take(&mut part.after);
            this.sleep = Some(Box::pin(sleep_until(this.due)));
        }
        if let Some(sleep) = &mut this.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
            this.sleep = None;
        } else if this.apart && !std::mem::replace(&mut this.yielded, true) {
            // The server writes out what it has when nothing more is ready.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.yielded = false;
        let bytes = this.parts.pop_front().map(|part| part.bytes).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
