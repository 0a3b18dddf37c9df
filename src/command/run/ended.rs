//! How a row can end, and what keeps an attempt from its end.

use crate::error::{Barrier, Error, Reason, Rejection};
use crate::ops::traces;
use tracing::{Instrument, Span};

/// How a message that stands for a row ended.
#[derive(Debug)]
pub enum Ended {
    /// Its outputs are stored, and that they are.
    Done,
    FinishedBefore,
    /// Its job was cancelled before it began.
    Cancelled,
    /// Its job was deleted.
    Gone(Error),
    /// It failed for good, and that is written down.
    Failed(Rejection),
    /// An attempt failed; another follows. Counted from 1.
    Again {
        attempt: u32,
        why: Error,
    },
    /// Not the row's fault, and not counted.
    Later(Error),
    /// Works when the configuration is mended.
    Blocked(Barrier, Error),
    /// The worker leaves, and it was not begun.
    NotBegun,
    /// The worker leaves, and it was cut off.
    Stopped,
    /// The message is not ours any more.
    Lost,
}

/// What keeps an attempt from its end.
#[derive(Debug)]
pub enum Trouble {
    /// The attempt has failed; for good, or another may do better.
    Failed {
        rejection: Rejection,
        for_good: bool,
    },
    Later(Error),
    Blocked(Barrier, Error),
    Gone(Error),
    Stopped,
    Lost,
}

impl Trouble {
    pub fn failed(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Failed { rejection: Rejection::new(reason, detail), for_good: false }
    }

    /// What it is, for a line of the log.
    pub fn detail(&self) -> String {
        match self {
            Self::Failed { rejection, .. } => rejection.detail.clone(),
            Self::Later(why) | Self::Blocked(_, why) | Self::Gone(why) => why.to_string(),
            Self::Stopped => "the worker leaves".to_owned(),
            Self::Lost => "the message is not ours any more".to_owned(),
        }
    }

    /// Runs a step of an attempt in its span, which says why if it fails.
    pub async fn traced<T>(span: Span, step: impl Future<Output = Result<T, Self>>) -> Result<T, Self> {
        let result = step.instrument(span.clone()).await;
        if let Err(trouble) = &result {
            trouble.tell(&span);
        }
        result
    }

    fn tell(&self, span: &Span) {
        let slug = match self {
            Self::Failed { rejection, .. } => rejection.reason.slug(),
            Self::Later(_) => "retry",
            Self::Blocked(barrier, _) => barrier.slug(),
            Self::Lost => "lost",
            // As of a picture: nothing went wrong.
            Self::Gone(_) | Self::Stopped => return,
        };
        traces::failed(span, slug, self.detail());
    }

    pub fn never(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Failed { rejection: Rejection::new(reason, detail), for_good: true }
    }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed { rejection, .. } => Self::Failed(rejection),
            Trouble::Later(why) => Self::Later(why),
            Trouble::Blocked(barrier, why) => Self::Blocked(barrier, why),
            Trouble::Gone(why) => Self::Gone(why),
            Trouble::Stopped => Self::Stopped,
            Trouble::Lost => Self::Lost,
        }
    }
}
