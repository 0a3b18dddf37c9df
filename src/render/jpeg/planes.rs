//! Where the samples go, and the memory that is kept from picture to picture.

use super::bits::{Buffer, CHUNK};
use super::frame::{Frame, MAX_BLOCKS_IN_MCU};
use super::idct::{Coefficients, LANES, ROOM};

/// What is shown for missing data: a sample without any coefficients.
const GREY: u8 = 128;

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
    /// Samples from one row to the next; those beyond `width` mean nothing.
    pub stride: usize,
    /// `height` rows or a few more of `stride` samples.
    pub samples: Vec<u8>,
    /// N: the component is N/8 of its full size.
    pub scale: u8,
}

impl Plane {
    /// The samples of row `y`, `width` of them.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// The same samples without what lies beyond `width`.
    pub fn to_tight(&self) -> Vec<u8> {
        let mut samples = Vec::with_capacity(self.width * self.height);
        (0..self.height).for_each(|y| samples.extend_from_slice(self.row(y)));
        samples
    }

    /// A plane with room for whole blocks, and for a whole batch of them at the end of each row.
    pub(super) fn new(frame: &Frame, component: usize, scale: u8, mut samples: Vec<u8>) -> Self {
        let (width, height) = frame.scaled_size(&frame.components[component], scale);
        let (stride, rows) = Self::room(frame, component, scale);
        samples.resize(stride * rows, GREY);
        Self { width, height, stride, samples, scale }
    }

    /// Makes it the picture of nothing.
    pub(super) fn clear(&mut self) {
        self.samples.fill(GREY);
    }

    /// Stride and rows of a plane.
    pub(super) fn room(frame: &Frame, component: usize, scale: u8) -> (usize, usize) {
        let (across, down) = frame.padded_blocks(&frame.components[component]);
        ((across + LANES - 1) * usize::from(scale) + ROOM, down * usize::from(scale))
    }

    /// The samples from block (`column`, `row`) on.
    pub(super) fn block_mut(&mut self, column: usize, row: usize) -> &mut [u8] {
        let n = usize::from(self.scale);
        &mut self.samples[row * n * self.stride + column * n..]
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
    samples: Vec<Vec<u8>>,
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

    /// Takes planes that are no longer needed, so that the next picture finds their memory.
    pub fn recycle(&mut self, planes: Planes) {
        self.samples.extend(planes.planes.into_iter().map(|plane| plane.samples));
        self.samples.sort_by_key(Vec::capacity);
        self.samples.drain(..self.samples.len().saturating_sub(4));
    }

    pub(super) fn planes(&mut self, frame: &Frame, scales: &[u8]) -> Vec<Plane> {
        let samples = |scratch: &mut Self| scratch.samples.pop().unwrap_or_default();
        scales.iter().enumerate().map(|(nth, &scale)| Plane::new(frame, nth, scale, samples(self))).collect()
    }

    /// Bytes that every decoding uses, whatever the picture: buffer, batches, look-up tables, marker data.
    pub(super) const FIXED: u64 = 256 << 10;
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
