//! Where samples go: into a band of rows of each component, and from there to the caller, from the top down.
//!
//! A picture whose samples come in order never needs more than one row of MCUs in memory. Only a
//! sequential file with a scan for each component has to be kept whole.

use super::frame::{Coding, Frame};
use super::header::Header;
use super::idct::{LANES, ROOM};
use super::planes::Scratch;

/// What is shown for data of which nothing came: a sample without any coefficients.
const GREY: u8 = 128;

/// Takes rows of a component, by its number in the frame header: each row once, in order. Components
/// take turns as they please.
pub type Sink<'a> = dyn FnMut(usize, Rows<'_>) + 'a;

/// Some rows of a component at its scale: not converted, not resized.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub width: usize,
    /// Samples from one row to the next; those beyond `width` mean nothing.
    pub stride: usize,
    /// Whole rows of `stride` samples.
    pub samples: &'a [u8],
}

impl<'a> Rows<'a> {
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.samples.chunks_exact(self.stride).map(move |row| &row[..self.width])
    }
}

/// How much of a picture its bands hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One row of MCUs: they all come in one scan.
    McuRow,
    /// One row of blocks of a component: samples are made when all scans have been read.
    BlockRow,
    Whole,
}

impl Extent {
    pub(super) fn of(header: &Header) -> Self {
        match header.coding {
            Coding::Progressive => Self::BlockRow,
            _ if header.interleaved => Self::McuRow,
            _ => Self::Whole,
        }
    }

    /// Rows of blocks in the band of a component.
    fn block_rows(self, frame: &Frame, component: usize) -> usize {
        let component = &frame.components[component];
        match self {
            // A scan of one component has its blocks for MCUs (T.81 A.2.2).
            Self::McuRow if frame.components.len() > 1 => usize::from(component.v),
            Self::McuRow | Self::BlockRow => 1,
            Self::Whole => frame.padded_blocks(component).1,
        }
    }
}

/// Room for some rows of blocks of a component, and for a batch of them at the end of each row.
#[derive(Debug)]
pub(super) struct Band {
    width: usize,
    height: usize,
    pub(super) stride: usize,
    scale: usize,
    samples: Vec<u8>,
    /// How many rows the caller has.
    taken: usize,
}

impl Band {
    /// Samples from one row to the next, and rows.
    fn room(frame: &Frame, component: usize, scale: u8, extent: Extent) -> (usize, usize) {
        let (across, _) = frame.padded_blocks(&frame.components[component]);
        let rows = extent.block_rows(frame, component) * usize::from(scale);
        ((across + LANES - 1) * usize::from(scale) + ROOM, rows)
    }

    fn new(frame: &Frame, component: usize, scale: u8, extent: Extent, mut samples: Vec<u8>) -> Self {
        let (width, height) = frame.scaled_size(&frame.components[component], scale);
        let (stride, rows) = Self::room(frame, component, scale, extent);
        samples.resize(stride * rows, GREY);
        Self { width, height, stride, scale: usize::from(scale), samples, taken: 0 }
    }

    /// The samples from block (`column`, `row`) of the band on.
    pub(super) fn block_mut(&mut self, column: usize, row: usize) -> &mut [u8] {
        &mut self.samples[row * self.scale * self.stride + column * self.scale..]
    }

    /// Makes it the picture of nothing.
    pub(super) fn clear(&mut self) {
        self.samples.fill(GREY);
    }
}

/// The most bytes that the bands of a picture take.
pub(super) fn bytes(header: &Header, scales: &[u8]) -> u64 {
    let room = |(component, &scale)| Band::room(&header.frame, component, scale, Extent::of(header));
    let rooms = scales.iter().enumerate().take(header.frame.components.len()).map(room);
    rooms.map(|(stride, rows)| stride as u64 * rows as u64).sum()
}

/// The bands of a picture, and who gets what is in them.
pub(super) struct Output<'a> {
    pub(super) bands: Vec<Band>,
    extent: Extent,
    sink: &'a mut Sink<'a>,
}

impl<'a> Output<'a> {
    pub(super) fn new(header: &Header, scales: &[u8], scratch: &mut Scratch, sink: &'a mut Sink<'a>) -> Self {
        let extent = Extent::of(header);
        let band = |(component, &scale)| {
            Band::new(&header.frame, component, scale, extent, scratch.samples.pop().unwrap_or_default())
        };
        Self { bands: scales.iter().enumerate().map(band).collect(), extent, sink }
    }

    /// Where in its band a row of blocks goes that is number `nth` in its row of MCUs and `row` from the top.
    pub(super) fn place(&self, row: usize, nth: usize) -> usize {
        if self.extent == Extent::Whole { row } else { nth }
    }

    /// To be called when a row of MCUs, or of blocks, is in a component's band: the next one takes its place.
    pub(super) fn hand_over(&mut self, component: usize) {
        if self.extent != Extent::Whole {
            self.give(component);
        }
    }

    fn give(&mut self, component: usize) {
        let band = &mut self.bands[component];
        let rows = (band.samples.len() / band.stride).min(band.height - band.taken);
        band.taken += rows;
        if rows > 0 {
            let samples = &band.samples[..rows * band.stride];
            (self.sink)(component, Rows { width: band.width, stride: band.stride, samples });
        }
    }

    /// Gives away all that is not yet: whole planes, or grey for what never came.
    pub(super) fn finish(&mut self) {
        for component in 0..self.bands.len() {
            while self.bands[component].taken < self.bands[component].height {
                if self.extent != Extent::Whole {
                    self.bands[component].clear();
                }
                self.give(component);
            }
        }
    }

    /// Keeps the bands' memory for the next picture.
    pub(super) fn recycle(self, scratch: &mut Scratch) {
        scratch.samples.extend(self.bands.into_iter().rev().map(|band| band.samples));
        scratch.samples.truncate(4);
    }
}
