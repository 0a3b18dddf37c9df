//! The body of a reply on its way to the client: whole, cut, stalled, slow; and whether it got there.

use super::Abort;
use super::rule::Fault;
use crate::harness::log::Log;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Notes in the log when an exchange is over, and whether the reply reached the client.
pub struct Witness {
    log: Log,
    number: usize,
    reached: bool,
}

impl Witness {
    pub fn new(log: Log, number: usize) -> Self {
        Self { log, number, reached: false }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let (now, reached) = (self.log.now(), self.reached);
        self.log.change(self.number, |e| {
            e.ended = Some(now);
            e.reached = reached;
        });
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    Whole,
    Truncate(usize),
    Flip(usize),
    Stall(usize, Duration),
    /// Bytes every 50 ms.
    Slow(usize),
}

const TICK: Duration = Duration::from_millis(50);

impl Pace {
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Truncate(at) => Self::Truncate(*at),
            Fault::Flip(at) => Self::Flip(*at),
            Fault::Stall(at, time) => Self::Stall(*at, *time),
            Fault::Bandwidth(bytes) => Self::Slow((bytes / 20).max(1)),
            _ => Self::Whole,
        }
    }
}

pub struct Reply {
    left: Bytes,
    sent: usize,
    pace: Pace,
    sleep: Option<Pin<Box<Sleep>>>,
    cut: bool,
    witness: Witness,
}

impl Reply {
    pub fn new(bytes: Bytes, pace: Pace, witness: Witness) -> Self {
        let mut left = bytes;
        if let Pace::Flip(at) = pace
            && at < left.len()
        {
            let mut flipped = left.to_vec();
            flipped[at] ^= 0x40;
            left = flipped.into();
        }
        Self { left, sent: 0, pace, sleep: None, cut: false, witness }
    }

    fn take(&mut self, most: usize) -> Bytes {
        let chunk = self.left.split_to(most.min(self.left.len()));
        self.sent += chunk.len();
        chunk
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.witness.reached = self.left.is_empty() && !self.cut;
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let chunk = match self.pace {
            Pace::Whole | Pace::Flip(_) => self.take(usize::MAX),
            Pace::Truncate(at) => {
                if self.sent >= at {
                    self.cut = true;
                    return Poll::Ready(Some(Err(Abort)));
                }
                self.take(at)
            }
            Pace::Stall(at, time) => {
                if self.sent >= at {
                    self.pace = Pace::Whole;
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    return self.poll_frame(cx);
                }
                self.take(at)
            }
            Pace::Slow(bytes) => {
                self.sleep = Some(Box::pin(tokio::time::sleep(TICK)));
                self.take(bytes)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
