//! A picture on its way to a rendition: brightness and colour planes, upright, of known size.

use super::Scratch;
use super::encode::{self, Huffman, Options};
use super::plane::Plane;
use super::resample::{Extent, Resampler};
use super::spec::{Spec, Subsampling};
use crate::error::{Reason, Rejection};

/// Y, or Y, Cb and Cr with JFIF's full range. The chroma planes may be smaller than the luma plane, by
/// `subsampling`, rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub planes: Vec<Plane>,
    pub subsampling: Subsampling,
}

impl Picture {
    pub fn width(&self) -> u32 {
        side(self.planes[0].width)
    }

    pub fn height(&self) -> u32 {
        side(self.planes[0].height)
    }

    /// The picture at another size, chroma planes as `subsampling` asks.
    pub fn shrink(&self, size: (u32, u32), subsampling: Subsampling, scratch: &mut Scratch) -> Self {
        let (width, height) = (self.planes[0].width, self.planes[0].height);
        let from = self.subsampling.factors();
        let target = (size.0 as usize, size.1 as usize);
        let mut planes = Vec::with_capacity(self.planes.len());
        for (index, plane) in self.planes.iter().enumerate() {
            let luma = index == 0;
            let (across, down) = if luma { (1, 1) } else { from };
            let covered = (width as f32 / across as f32, height as f32 / down as f32);
            let factors = if luma { (1, 1) } else { subsampling.factors() };
            planes.push(resample_to(plane, covered, target, factors, scratch));
        }
        Self { planes, subsampling }
    }

    pub fn encode(
        &self,
        spec: &Spec,
        icc: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, Rejection> {
        let options = Options {
            quality: spec.quality,
            subsampling: self.subsampling,
            huffman: if spec.optimized { Huffman::Optimised } else { Huffman::Standard },
            progressive: spec.progressive,
            icc,
        };
        let planes: Vec<&Plane> = self.planes.iter().collect();
        encode::encode(&planes, &options, &mut scratch.encode)
            .map_err(|e| Rejection::new(Reason::EngineFault, format!("cannot code the rendition: {e}")))
    }
}

/// Resamples all of a plane: see [`resampler`].
pub fn resample_to(
    plane: &Plane,
    covered: (f32, f32),
    target: (usize, usize),
    factors: (usize, usize),
    scratch: &mut Scratch,
) -> Plane {
    let mut resampler = resampler((plane.width, plane.height), covered, target, factors, scratch);
    resampler.take(&plane.samples, plane.width);
    resampler.finish(&mut scratch.resample)
}

/// Resamples a plane of `size` samples of which the first `covered` a side hold the picture to what a
/// `target`-sized picture needs of it when one sample stands for `factors` pixels. The last sample may
/// stand for pixels beyond the edge; there the plane's own edge counts. A single one stands for the picture.
pub fn resampler(
    size: (usize, usize),
    covered: (f32, f32),
    target: (usize, usize),
    factors: (usize, usize),
    scratch: &mut Scratch,
) -> Resampler {
    let (width, height) = (target.0.div_ceil(factors.0), target.1.div_ceil(factors.1));
    let beyond = |made: usize, factor: usize, target: usize| match made {
        1 => 1.0,
        _ => (made * factor) as f32 / target as f32,
    };
    let extent = Extent {
        left: 0.0,
        top: 0.0,
        width: covered.0 * beyond(width, factors.0, target.0),
        height: covered.1 * beyond(height, factors.1, target.1),
    };
    Resampler::new(size, extent, (width, height), &mut scratch.resample)
}

fn side(n: usize) -> u32 {
    u32::try_from(n).expect("a side of a picture fits 32 bits")
}
