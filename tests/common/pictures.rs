//! Pictures made for tests, and an independent way to look at what became of them.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use jpeg_encoder::{ColorType, Encoder};

/// Soft gradients with a hard edge: shows turns, mirrors and wrong colours.
pub fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x * 255 / width.max(1), y * 255 / height.max(1));
        let stripe = if x > width / 3 && y < height / 4 { 60 } else { 0 };
        Rgb([u as u8, v as u8, (255 - u / 2 - stripe) as u8])
    })
}

pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    jpeg_with(picture, |_| {})
}

pub fn jpeg_with(picture: &RgbImage, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 92);
    set(&mut encoder);
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder.encode(picture, width, height, ColorType::Rgb).unwrap();
    bytes
}

/// The EXIF segment (APP1) that says how a picture is to be turned.
pub fn orientation(value: u8) -> Vec<u8> {
    let mut segment = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    segment.extend([value, 0, 0, 0, 0, 0, 0]);
    segment
}

/// How a camera that writes this orientation would have stored an upright picture.
pub fn stored_as(upright: &RgbImage, orientation: u8) -> RgbImage {
    match orientation {
        2 => imageops::flip_horizontal(upright),
        3 => imageops::rotate180(upright),
        4 => imageops::flip_vertical(upright),
        5 => imageops::flip_horizontal(&imageops::rotate90(upright)),
        6 => imageops::rotate270(upright),
        7 => imageops::flip_horizontal(&imageops::rotate270(upright)),
        8 => imageops::rotate90(upright),
        _ => upright.clone(),
    }
}

/// Fails unless `bytes` show `upright` at this size: mean difference a sample of at most `mean`.
pub fn assert_shows(bytes: &[u8], upright: &RgbImage, size: (u32, u32), mean: f64) {
    let shown = image::load_from_memory(bytes).unwrap().into_rgb8();
    assert_eq!((shown.width(), shown.height()), size);
    let wanted = imageops::resize(upright, size.0, size.1, FilterType::Lanczos3);
    let total: u64 = shown.iter().zip(wanted.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let found = total as f64 / (f64::from(size.0) * f64::from(size.1) * 3.0);
    assert!(found <= mean, "mean difference {found:.2}, at most {mean} expected");
}
