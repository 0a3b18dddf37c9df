//! What is done for one record of a message.

pub mod memory;
mod recent;
mod recipe;
mod renditions;
mod rules;

pub use recipe::{Recipe, Recipes};
pub use renditions::{Context, Made, Output, run, settings_hashes};
pub use rules::Rules;

use crate::error::{Barrier, Error, Rejection};
use crate::event::Noise;

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
