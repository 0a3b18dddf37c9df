//! What is done for a message, and for one record of it.

pub mod memory;
mod recent;
mod recipe;
mod renditions;
mod rules;

pub use recipe::{Recipe, Recipes};
pub use renditions::{Context, Made, Output, run, settings_hashes};
pub use rules::Rules;

use crate::command::wire::Ticket;
use crate::error::{Barrier, Error, Rejection};
use crate::event::{Event, Noise, Record};

/// What a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Renditions of each of these.
    Renditions(Vec<Record>),
    /// A script, run for a row.
    Command(Ticket),
    /// Nothing.
    Nothing(Noise),
    /// Something that we do not understand, with the reason.
    Unknown(String),
}

impl Job {
    pub fn plan(body: &str) -> Self {
        match Event::parse(body) {
            Ok(Event::Records(records)) => Self::Renditions(records),
            Ok(Event::Row(ticket)) => Self::Command(ticket),
            Ok(Event::Noise(noise)) => Self::Nothing(noise),
            Err(why) => Self::Unknown(why),
        }
    }

    /// What it asks for is done by another process, which may take what it likes along.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command(_))
    }
}

/// How one record ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Every rendition is stored, now or before.
    Done(Made),
    /// A newer version of the object has its renditions already.
    Superseded,
    /// Wants nothing of us.
    Ignored(Noise),
    /// The source object is not there any more.
    Gone(Error),
    /// Will never work.
    Rejected(Rejection),
    /// Could work later.
    Retry(Error),
    /// Works when the configuration is mended.
    Blocked(Barrier, Error),
    /// Not begun, as the worker leaves.
    Left,
}

impl Outcome {
    /// What it is called in metrics and traces, and the reason; empty if there is none.
    pub fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Done(_) => ("done", ""),
            Self::Superseded => ("superseded", ""),
            Self::Ignored(noise) => ("ignored", noise.slug()),
            Self::Gone(_) => ("gone", ""),
            Self::Rejected(rejection) => ("rejected", rejection.reason.slug()),
            Self::Retry(_) => ("retry", ""),
            Self::Blocked(barrier, _) => ("blocked", barrier.slug()),
            Self::Left => ("left", ""),
        }
    }
}
