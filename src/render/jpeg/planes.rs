//! Planes of samples, and the memory that is kept from picture to picture.

use super::bits::{Buffer, CHUNK};
use super::frame::MAX_BLOCKS_IN_MCU;
use super::idct::{Coefficients, LANES};

/// The samples of a picture, a plane for each component, in the order of the frame header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    pub planes: Vec<Plane>,
}

/// The samples of one component at its scale: not converted, not resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    /// `height` rows of `width` samples.
    pub samples: Vec<u8>,
    /// N: the component is N/8 of its full size.
    pub scale: u8,
}

impl Plane {
    /// The samples of row `y`.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.width..][..self.width]
    }
}

/// Memory that is reused from picture to picture. What it held before never shows.
pub struct Scratch {
    pub(super) buffer: Box<Buffer>,
    /// A batch of blocks for each block row of an MCU.
    pub(super) batches: Vec<Box<Coefficients>>,
    /// Coefficients and history of a progressive picture.
    pub(super) coefficients: Vec<i16>,
    pub(super) history: Vec<u64>,
    /// The bands of the picture before.
    pub(super) samples: Vec<Vec<u8>>,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            buffer: Box::new([0; CHUNK + 8]),
            batches: (0..MAX_BLOCKS_IN_MCU).map(|_| Box::new([0; 256 * LANES])).collect(),
            coefficients: Vec::new(),
            history: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Bytes that every decoding uses, whatever the picture: buffer, batches, look-up tables, marker data.
    pub(super) const FIXED: u64 = 256 << 10;
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
