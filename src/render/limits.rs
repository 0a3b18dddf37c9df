//! What a picture may cost. Checked from its header, before memory is taken.

use std::time::Duration;

/// What happens to a file whose coded data is cut short or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damaged {
    /// To the dead-letter queue.
    #[default]
    Reject,
    /// Rendered, with what is missing filled in, as browsers do.
    Accept,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Width times height. The default is that of libvips and sharp: 16,383 squared.
    pub max_pixels: u64,
    /// Scans of a progressive file: a few hundred bytes can ask for seconds of work in each.
    pub max_scans: u32,
    /// CPU time for one picture, from bytes to renditions.
    pub max_time: Duration,
    pub damaged: Damaged,
}

pub const DEFAULT_MAX_PIXELS: u64 = 0x3fff * 0x3fff;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: DEFAULT_MAX_PIXELS,
            max_scans: 100,
            max_time: Duration::from_secs(30),
            damaged: Damaged::Reject,
        }
    }
}
