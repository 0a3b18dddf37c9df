//! Colour management: what we make of profiles beside what Little CMS makes of them (`colours.py`).

use super::reference;
use image::RgbImage;

const COLOURS: &str = include_str!("colours.tsv");
const WIDTH: u32 = 16;
const HEIGHT: u32 = 12;

/// How a file is to look, very small, in sRGB; none where nobody worked it out.
pub fn wanted(file: &str) -> Option<RgbImage> {
    let (_, hex) = COLOURS.lines().filter_map(|row| row.split_once('\t')).find(|(name, _)| *name == file)?;
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    RgbImage::from_raw(WIDTH, HEIGHT, (0..hex.len()).step_by(2).map(byte).collect())
}

/// A picture at the size of those that are wanted.
pub fn small(picture: &RgbImage) -> RgbImage {
    reference::quantised(&reference::resize(picture, WIDTH, HEIGHT))
}

/// Display P3 (the curve of sRGB, other primaries) in sRGB (CSS Color Module 4, 17).
pub fn from_display_p3(rgb: [u8; 3]) -> [u8; 3] {
    const TO_SRGB: [[f64; 3]; 3] = [
        [1.224_940_176, -0.224_940_176, 0.0],
        [-0.042_056_955, 1.042_056_955, 0.0],
        [-0.019_637_555, -0.078_636_046, 1.098_273_600],
    ];
    to_srgb(rgb.map(linear), &TO_SRGB)
}

/// Adobe RGB (1998), 4.3: a gamma of 563/256; red and blue are those of sRGB, green is another.
pub fn from_adobe_rgb(rgb: [u8; 3]) -> [u8; 3] {
    const TO_SRGB: [[f64; 3]; 3] =
        [[1.398_283, -0.398_283, 0.0], [0.0, 1.0, 0.0], [0.0, -0.042_938, 1.042_938]];
    to_srgb(rgb.map(|sample| (f64::from(sample) / 255.0).powf(563.0 / 256.0)), &TO_SRGB)
}

fn to_srgb(light: [f64; 3], matrix: &[[f64; 3]; 3]) -> [u8; 3] {
    matrix.map(|row| {
        let v = row.iter().zip(light).map(|(m, v)| m * v).sum::<f64>().clamp(0.0, 1.0);
        let v = if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
        (255.0 * v).round() as u8
    })
}

/// A sample of sRGB as an amount of light.
fn linear(sample: u8) -> f64 {
    let v = f64::from(sample) / 255.0;
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// Mean distance in CIELAB (ΔE*ab, CIE 15:2004) of a picture from how it is to look.
pub fn mean_distance(picture: &RgbImage, wanted: &RgbImage) -> f64 {
    let small = small(picture);
    let distance =
        |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let distances = small.pixels().zip(wanted.pixels()).map(|(a, b)| distance(lab(a.0), lab(b.0)));
    distances.sum::<f64>() / f64::from(WIDTH * HEIGHT)
}

/// sRGB (IEC 61966-2-1, white point D65) to CIELAB.
fn lab(rgb: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(linear);
    let x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505;
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.0891;
    let [fx, fy, fz] =
        [x, y, z].map(|t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)]
}
