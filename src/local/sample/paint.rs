//! A landscape out of noise: sky, sun, ridges, and grain like a sensor's.

use image::{Rgb, RgbImage};

/// Paints a picture of this size; the same seed gives the same picture.
pub fn landscape(width: u32, height: u32, seed: u64) -> RgbImage {
    let noise = Noise { seed };
    let mut grain = fastrand::Rng::with_seed(seed);
    let hue = noise.at(0, 0);
    let sun = (0.2 + 0.6 * noise.at(1, 0), 0.15 + 0.2 * noise.at(2, 0));
    let ratio = f64::from(width) / f64::from(height);
    // A ridge's height depends on the column alone: one look a column, not one a pixel.
    let ridges: Vec<[f64; RIDGES]> = (0..width)
        .map(|x| {
            let u = f64::from(x) / f64::from(width);
            std::array::from_fn(|r| ridge(&noise, r, u))
        })
        .collect();
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let colour = match ridges[x as usize].iter().rposition(|top| v > *top) {
            Some(r) => ground(&noise, r, x, y, hue),
            None => sky(u, v, sun, ratio, hue),
        };
        let shake = f64::from(grain.i8(-5..=5));
        Rgb(colour.map(|c| (c + shake).clamp(0.0, 255.0) as u8))
    })
}

const RIDGES: usize = 4;

/// How far down the picture a ridge begins, 0 to 1.
fn ridge(noise: &Noise, number: usize, u: f64) -> f64 {
    let base = 0.45 + 0.13 * number as f64;
    let rough = (0..5).map(|octave| {
        let scale = f64::from(3 << octave);
        (noise.smooth(u * scale, 7.0 * number as f64 + f64::from(octave)) - 0.5) * 0.3
            / f64::from(1 << octave)
    });
    base + rough.sum::<f64>()
}

fn sky(u: f64, v: f64, sun: (f64, f64), ratio: f64, hue: f64) -> [f64; 3] {
    let distance = ((u - sun.0).powi(2) * ratio * ratio + (v - sun.1).powi(2)).sqrt();
    let glow = (-distance * 9.0).exp() * 150.0 + if distance < 0.035 { 120.0 } else { 0.0 };
    [60.0 + 120.0 * v + 70.0 * hue + glow, 120.0 + 90.0 * v + glow * 0.8, 215.0 - 40.0 * v + glow * 0.3]
}

fn ground(noise: &Noise, ridge: usize, x: u32, y: u32, hue: f64) -> [f64; 3] {
    let near = ridge as f64 / RIDGES as f64;
    let texture = noise.smooth(f64::from(x) / 23.0, f64::from(y) / 17.0) * 60.0
        + noise.smooth(f64::from(x) / 5.0, f64::from(y) / 4.0) * 30.0;
    let light = 150.0 - 95.0 * near + texture * (0.4 + near);
    [light * (0.55 + 0.3 * hue), light * 0.8, light * (0.95 - 0.55 * near)]
}

/// Value noise: a hash at whole coordinates, blended smoothly in between.
struct Noise {
    seed: u64,
}

impl Noise {
    /// 0 to 1.
    fn at(&self, x: i64, y: i64) -> f64 {
        let mut h = self.seed ^ (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h = (h ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        (h >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn smooth(&self, x: f64, y: f64) -> f64 {
        let (left, top) = (x.floor(), y.floor());
        let ease = |t: f64| t * t * (3.0 - 2.0 * t);
        let (tx, ty) = (ease(x - left), ease(y - top));
        let (x0, y0) = (left as i64, top as i64);
        let blend = |a: f64, b: f64, t: f64| a + (b - a) * t;
        let upper = blend(self.at(x0, y0), self.at(x0 + 1, y0), tx);
        let lower = blend(self.at(x0, y0 + 1), self.at(x0 + 1, y0 + 1), tx);
        blend(upper, lower, ty)
    }
}
