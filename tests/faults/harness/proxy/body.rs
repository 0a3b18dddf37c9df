//! The body of a reply on its way to the client: whole, cut, stalled, slow; and whether it got there.

use super::Abort;
use super::rule::Fault;
use crate::harness::ecs::{BLANKS, FOR_EVER};
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
    sent: u64,
}

impl Witness {
    pub fn new(log: Log, number: usize) -> Self {
        Self { log, number, reached: false, sent: 0 }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let (now, reached, sent) = (self.log.now(), self.reached, self.sent);
        self.log.change(self.number, |e| {
            e.ended = Some(now);
            e.sent = sent;
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
    /// White space, as fast as it is read.
    Endless,
}

const TICK: Duration = Duration::from_millis(50);

impl Pace {
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Truncate(at) => Self::Truncate(*at),
            Fault::Flip(at) => Self::Flip(*at),
            Fault::Stall(at, time) => Self::Stall(*at, *time),
            Fault::Endless(_) => Self::Endless,
            Fault::Bandwidth(bytes) => Self::Slow((bytes / 20).max(1)),
            _ => Self::Whole,
        }
    }
}

pub struct Reply {
    left: Bytes,
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
        Self { left, pace, sleep: None, cut: false, witness }
    }

    fn take(&mut self, most: usize) -> Bytes {
        let chunk = self.left.split_to(most.min(self.left.len()));
        self.witness.sent += chunk.len() as u64;
        chunk
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.witness.reached = self.is_end_stream() && !self.cut;
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
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let chunk = match self.pace {
            Pace::Whole | Pace::Flip(_) => self.take(usize::MAX),
            Pace::Truncate(at) => {
                if self.witness.sent >= at as u64 {
                    self.cut = true;
                    return Poll::Ready(Some(Err(Abort)));
                }
                self.take(at)
            }
            Pace::Stall(at, time) => {
                if self.witness.sent >= at as u64 {
                    self.pace = Pace::Whole;
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    return self.poll_frame(cx);
                }
                self.take(at)
            }
            Pace::Endless if self.witness.sent >= FOR_EVER => return Poll::Pending,
            Pace::Endless => {
                self.witness.sent += BLANKS.len() as u64;
                Bytes::from_static(BLANKS)
            }
            Pace::Slow(bytes) => {
                self.sleep = Some(Box::pin(tokio::time::sleep(TICK)));
                self.take(bytes)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !matches!(self.pace, Pace::Endless)
    }

    fn size_hint(&self) -> SizeHint {
        if matches!(self.pace, Pace::Endless) {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.left.len() as u64)
    }
}
