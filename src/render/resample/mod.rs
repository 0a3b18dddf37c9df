//! A plane to another size: Lanczos with three lobes, widened when shrinking so that nothing aliases.
//!
//! Both passes run down columns, where neighbouring samples are computed alike, 16 at a time: the second
//! one on strips of 16 rows that have been turned over. In between, samples keep six more bits.

mod orient;
mod simd;
mod strip;
mod weights;

pub use orient::orient;

use super::plane::Plane;
use strip::{STRIP, Strip};
use weights::Weights;

/// Which part of a plane holds the picture, in samples from its top left corner.
///
/// A plane may cover a little more than its picture because its own size was rounded up; samples that are
/// wholly outside are not looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Extent {
    /// All of it.
    pub fn whole(plane: &Plane) -> Self {
        Self { left: 0.0, top: 0.0, width: plane.width as f32, height: plane.height as f32 }
    }
}

/// Memory that the next plane uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The last few source rows, widened.
    widened: Vec<[i16; 16]>,
    /// A strip after the first pass, in rows.
    rows: Vec<[i16; 16]>,
    /// The same turned over: for each column its 16 samples.
    columns: Vec<[i16; 16]>,
    /// A strip after the second pass, for each column.
    out: Vec<[u8; 16]>,
}

/// Resamples all of a plane to `width`×`height`. The same size gives the same samples.
pub fn resample(source: &Plane, width: usize, height: usize, scratch: &mut Scratch) -> Plane {
    resample_extent(source, Extent::whole(source), width, height, scratch)
}

/// Resamples a part of a plane to `width`×`height`.
///
/// # Panics
///
/// If the source is empty or the extent lies outside of it.
pub fn resample_extent(
    source: &Plane,
    extent: Extent,
    width: usize,
    height: usize,
    scratch: &mut Scratch,
) -> Plane {
    assert_eq!(source.samples.len(), source.width * source.height, "a plane is full");
    if extent == Extent::whole(source) && (width, height) == (source.width, source.height) {
        return source.clone();
    }
    let across = Weights::new(extent.left, extent.width, source.width, width);
    let down = Weights::new(extent.top, extent.height, source.height, height);

    let chunks = source.width.div_ceil(16);
    // A multiple of four chunks is what the first pass takes at once.
    let stride = chunks.next_multiple_of(4);
    scratch.widened.resize(stride * down.taps, [0; 16]);
    scratch.rows.resize(stride * STRIP, [0; 16]);
    scratch.columns.resize(stride * STRIP, [0; 16]);
    scratch.out.resize(width.next_multiple_of(16), [0; 16]);

    let mut made = Plane::filled(width, height, 0);
    let mut widened_rows = 0;
    for (nth, lines) in made.samples.chunks_mut((width * STRIP).max(1)).enumerate() {
        simd::strip(Strip {
            source,
            across: &across,
            down: &down,
            first: nth * STRIP,
            stride,
            widened_rows: &mut widened_rows,
            widened: &mut scratch.widened,
            rows: &mut scratch.rows,
            columns: &mut scratch.columns,
            out: &mut scratch.out,
            lines,
        });
    }
    made
}

#[cfg(test)]
mod tests;
