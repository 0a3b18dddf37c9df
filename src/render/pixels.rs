//! Interleaved 8-bit pixels, gray or RGB: what every format but JPEG passes through.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Rows tightly packed, `width * height * channels` samples; `channels` is 1 (gray) or 3 (RGB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    pub channels: u8,
    pub samples: Vec<u8>,
}

impl Pixels {
    /// Resamples to exactly `width`×`height` with an antialiased Lanczos3 filter.
    pub fn shrink(&self, width: u32, height: u32) -> Self {
        let samples = match self.channels {
            1 => resample::<U8>(self, width, height),
            _ => resample::<U8x3>(self, width, height),
        };
        Self { width, height, channels: self.channels, samples }
    }

    /// Turns and mirrors as EXIF orientation 1 to 8 asks; any other value changes nothing.
    pub fn orient(self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (w, h) = (self.width as usize, self.height as usize);
        let swapped = orientation >= 5;
        let (out_w, out_h) = if swapped { (h, w) } else { (w, h) };
        let step = usize::from(self.channels);
        let mut samples = Vec::with_capacity(self.samples.len());
        for y in 0..out_h {
            for x in 0..out_w {
                // Which source pixel lands at (x, y): EXIF 2.32, tag 0x0112.
                let (sx, sy) = match orientation {
                    2 => (w - 1 - x, y),
                    3 => (w - 1 - x, h - 1 - y),
                    4 => (x, h - 1 - y),
                    5 => (y, x),
                    6 => (y, h - 1 - x),
                    7 => (w - 1 - y, h - 1 - x),
                    _ => (w - 1 - y, x),
                };
                let at = (sy * w + sx) * step;
                samples.extend_from_slice(&self.samples[at..at + step]);
            }
        }
        let (width, height) = if swapped { (self.height, self.width) } else { (self.width, self.height) };
        Self { width, height, channels: self.channels, samples }
    }
}

fn resample<P: fast_image_resize::PixelTrait>(source: &Pixels, width: u32, height: u32) -> Vec<u8> {
    const SIZED: &str = "the buffer holds width times height pixels, and neither side is zero";
    let from = TypedImageRef::<P>::from_buffer(source.width, source.height, &source.samples).expect(SIZED);
    let mut samples = vec![0; width as usize * height as usize * usize::from(source.channels)];
    let mut into = TypedImage::<P>::from_buffer(width, height, &mut samples).expect(SIZED);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize_typed(&from, &mut into, &options).expect(SIZED);
    drop(into);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3×2, each pixel its own number.
    fn numbered() -> Pixels {
        Pixels { width: 3, height: 2, channels: 1, samples: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn each_orientation_puts_the_corners_where_exif_says() {
        for (orientation, size, samples) in [
            (1, (3, 2), [1, 2, 3, 4, 5, 6]),
            (2, (3, 2), [3, 2, 1, 6, 5, 4]),
            (3, (3, 2), [6, 5, 4, 3, 2, 1]),
            (4, (3, 2), [4, 5, 6, 1, 2, 3]),
            (5, (2, 3), [1, 4, 2, 5, 3, 6]),
            (6, (2, 3), [4, 1, 5, 2, 6, 3]),
            (7, (2, 3), [6, 3, 5, 2, 4, 1]),
            (8, (2, 3), [3, 6, 2, 5, 1, 4]),
            (0, (3, 2), [1, 2, 3, 4, 5, 6]),
            (9, (3, 2), [1, 2, 3, 4, 5, 6]),
        ] {
            let turned = numbered().orient(orientation);
            assert_eq!((turned.width, turned.height), size, "orientation {orientation}");
            assert_eq!(turned.samples, samples, "orientation {orientation}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let flat = Pixels { width: 301, height: 207, channels: 3, samples: vec![77; 301 * 207 * 3] };
        assert!(flat.shrink(64, 44).samples.iter().all(|&s| s == 77));
    }

    #[test]
    fn the_same_size_changes_nothing() {
        assert_eq!(numbered().shrink(3, 2), numbered());
    }
}
