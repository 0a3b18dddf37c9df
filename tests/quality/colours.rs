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

/// Mean distance in CIELAB (ΔE*ab, CIE 15:2004) of a picture from how it is to look.
pub fn mean_distance(picture: &RgbImage, wanted: &RgbImage) -> f64 {
    let small = reference::quantised(&reference::resize(picture, WIDTH, HEIGHT));
    let distance =
        |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let distances = small.pixels().zip(wanted.pixels()).map(|(a, b)| distance(lab(a.0), lab(b.0)));
    distances.sum::<f64>() / f64::from(WIDTH * HEIGHT)
}

/// sRGB (IEC 61966-2-1, white point D65) to CIELAB.
fn lab(rgb: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|sample| {
        let v = f64::from(sample) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    let x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505;
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.0891;
    let [fx, fy, fz] =
        [x, y, z].map(|t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)]
}
