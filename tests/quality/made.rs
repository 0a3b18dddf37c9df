//! Pictures made for the tests, with as much detail at every size as a photograph has.

use super::pictures;
use image::{Rgb, RgbImage, imageops};
use jpeg_encoder::SamplingFactor;

/// Small odd numbers that look like chance and are always the same (xorshift, Marsaglia 2003).
struct Chance(u32);

impl Chance {
    /// From -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A square of clouds: each doubling adds finer detail, `gain` times as strong as the last.
struct Clouds {
    side: usize,
    heights: Vec<f32>,
}

impl Clouds {
    fn new(seed: u32, least_side: usize, gain: f32) -> Self {
        let mut chance = Chance(seed);
        let mut clouds = Self { side: 18, heights: (0..18 * 18).map(|_| chance.next()).collect() };
        let mut strength = 1.0;
        while clouds.side < least_side {
            strength *= gain;
            clouds = clouds.doubled(strength, &mut chance);
        }
        clouds
    }

    fn doubled(&self, strength: f32, chance: &mut Chance) -> Self {
        let side = 2 * self.side - 1;
        let mut heights = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                let corner = |dx: usize, dy: usize| self.at((x + dx) / 2, (y + dy) / 2);
                let mean = (corner(0, 0) + corner(1, 0) + corner(0, 1) + corner(1, 1)) / 4.0;
                heights.push(mean + strength * chance.next());
            }
        }
        Self { side, heights }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        self.heights[y * self.side + x]
    }
}

/// Clouds in gray, hard-edged patches of colour, and thin dark lines across.
pub fn detailed(width: u32, height: u32) -> RgbImage {
    picture(width, height, 0.62)
}

/// The same with softer clouds, which code with hardly any loss.
pub fn calm(width: u32, height: u32) -> RgbImage {
    picture(width, height, 0.4)
}

fn picture(width: u32, height: u32, gain: f32) -> RgbImage {
    let fine = Clouds::new(1, width.max(height) as usize, gain);
    let patches = Clouds::new(2, fine.side, 0.45);
    let tint = Clouds::new(3, fine.side / 8 + 1, 0.5);
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let (patch, colour) = (patches.at(x, y), 40.0 * tint.at(x / 8, y / 8));
        let step = (patch * 4.0).floor() * 22.0;
        let line = if (patch * 12.0).fract().abs() < 0.06 { -70.0 } else { 0.0 };
        let gray = 128.0 + 55.0 * fine.at(x, y) + step + line;
        Rgb([gray + colour, gray, gray - colour + step / 2.0].map(|sample| sample.clamp(0.0, 255.0) as u8))
    })
}

/// The top left of a larger picture, coded as cameras do.
pub fn cropped(picture: &RgbImage, width: u32, height: u32) -> Vec<u8> {
    let crop = imageops::crop_imm(picture, 0, 0, width, height).to_image();
    pictures::jpeg_with(&crop, |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2))
}
