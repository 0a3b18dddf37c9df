//! A plane to another size: Lanczos with three lobes, widened when shrinking so that nothing aliases.
//!
//! Rows come in from the top and need not all be there at once: see [`Resampler`]. Both passes run down
//! columns, where neighbouring samples are computed alike, 16 at a time: the second one on strips of 16
//! rows that have been turned over. In between, samples keep six more bits.

mod orient;
mod passes;
mod simd;
mod weights;

pub use orient::orient;

use super::plane::Plane;
use passes::Passes;

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
    /// All of a plane of this size.
    pub fn whole((width, height): (usize, usize)) -> Self {
        Self { left: 0.0, top: 0.0, width: width as f32, height: height as f32 }
    }
}

/// Memory that the next planes use again.
#[derive(Debug, Default)]
pub struct Scratch {
    unused: Vec<passes::Buffers>,
}

/// Resamples one plane, as its rows come.
pub struct Resampler {
    /// In samples.
    source: (usize, usize),
    made: Plane,
    /// None: nothing changes.
    passes: Option<Passes>,
    /// Source rows seen.
    seen: usize,
}

impl Resampler {
    /// From the `extent` of a plane of `source` samples, across and down, to `made` samples. The same size
    /// gives the same samples.
    ///
    /// # Panics
    ///
    /// If the source is empty or the extent lies outside of it.
    pub fn new(source: (usize, usize), extent: Extent, made: (usize, usize), scratch: &mut Scratch) -> Self {
        let passes = if extent == Extent::whole(source) && made == source {
            None
        } else {
            Some(Passes::new(source, extent, made, scratch.unused.pop().unwrap_or_default()))
        };
        Self { source, made: Plane::filled(made.0, made.1, 0), passes, seen: 0 }
    }

    /// Takes the next rows of the source, `stride` samples apart. More than there are do not count.
    pub fn take(&mut self, rows: &[u8], stride: usize) {
        let (width, height) = self.source;
        let rows = rows.chunks(stride).map(|row| &row[..width]).take(height - self.seen);
        let before = self.seen;
        self.seen += rows.len();
        match &mut self.passes {
            Some(passes) => simd::take(passes, rows, &mut self.made.samples),
            None => self.made.samples.chunks_mut(width).skip(before).zip(rows).for_each(|(made, row)| {
                made.copy_from_slice(row);
            }),
        }
    }

    /// The resampled plane, when all rows were taken.
    pub fn finish(self, scratch: &mut Scratch) -> Plane {
        debug_assert_eq!(self.seen, self.source.1, "rows are missing");
        scratch.unused.extend(self.passes.map(Passes::into_buffers));
        self.made
    }
}

/// Resamples all of a plane to `width`×`height`. The same size gives the same samples.
pub fn resample(source: &Plane, width: usize, height: usize, scratch: &mut Scratch) -> Plane {
    resample_extent(source, Extent::whole((source.width, source.height)), width, height, scratch)
}

/// Resamples a part of a plane to `width`×`height`. Panics as [`Resampler::new`] does.
pub fn resample_extent(
    source: &Plane,
    extent: Extent,
    width: usize,
    height: usize,
    scratch: &mut Scratch,
) -> Plane {
    assert_eq!(source.samples.len(), source.width * source.height, "a plane is full");
    let mut resampler = Resampler::new((source.width, source.height), extent, (width, height), scratch);
    resampler.take(&source.samples, source.width);
    resampler.finish(scratch)
}

#[cfg(test)]
mod tests;
