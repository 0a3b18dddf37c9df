//! What a perfect engine would make: the whole picture decoded by a decoder that nobody here wrote,
//! resized in floating point, never coded. And how far a coded picture is from that.

use image::{DynamicImage, ImageDecoder, ImageReader, Rgb32FImage, RgbImage};
use longshore::render::fit;
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};
use std::f32::consts::PI;
use std::io::Cursor;

/// Lobes of the Lanczos window: its half width, in source pixels, where nothing is shrunk.
const LOBES: f32 = 3.0;

/// Every pixel of a picture, upright, its colours as stored.
pub fn decode(bytes: &[u8]) -> RgbImage {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap();
    let mut decoder = reader.into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap();
    let mut picture = DynamicImage::from_decoder(decoder).unwrap();
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

/// The picture inside a box, samples from 0 to 1.
pub fn fitted(picture: &RgbImage, box_width: u32, box_height: u32) -> Rgb32FImage {
    let (width, height) = fit(picture.width(), picture.height(), box_width, box_height);
    resize(picture, width, height)
}

/// Lanczos3 in gamma space, antialiased, both pictures covering exactly the same area.
pub fn resize(picture: &RgbImage, width: u32, height: u32) -> Rgb32FImage {
    let source_width = picture.width() as usize;
    let rows = weights(picture.height(), height);
    let columns = weights(picture.width(), width);
    let mut resized = Vec::with_capacity(width as usize * height as usize * 3);
    let mut sum = vec![0.0; source_width * 3];
    // A row of the result is a weighted sum of source rows, then narrowed.
    for row in &rows {
        sum.fill(0.0);
        for (n, weight) in row.weights.iter().enumerate() {
            let from = (row.first + n) * source_width * 3;
            for (sum, sample) in sum.iter_mut().zip(&picture.as_raw()[from..from + source_width * 3]) {
                *sum += weight * f32::from(*sample);
            }
        }
        for column in &columns {
            let mut pixel = [0.0; 3];
            let from = &sum[column.first * 3..];
            for (weight, samples) in column.weights.iter().zip(from.chunks_exact(3)) {
                for (pixel, sample) in pixel.iter_mut().zip(samples) {
                    *pixel += weight * sample;
                }
            }
            resized.extend(pixel.map(|sample| (sample / 255.0).clamp(0.0, 1.0)));
        }
    }
    Rgb32FImage::from_raw(width, height, resized).unwrap()
}

/// One sample of the result: what the source samples from `first` on count for, one in sum.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

fn weights(source: u32, target: u32) -> Vec<Taps> {
    let shrink = source as f32 / target as f32;
    let reach = LOBES * shrink.max(1.0);
    let taps = |n: u32| {
        let centre = (n as f32 + 0.5) * shrink;
        let first = (centre - reach).max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(source as usize);
        let distance = |at: usize| (at as f32 + 0.5 - centre) / shrink.max(1.0);
        let mut weights: Vec<f32> = (first..end).map(|at| lanczos(distance(at))).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Taps { first, weights }
    };
    (0..target).map(taps).collect()
}

fn lanczos(x: f32) -> f32 {
    if x == 0.0 {
        return 1.0;
    }
    if x.abs() >= LOBES {
        return 0.0;
    }
    LOBES * (PI * x).sin() * (PI * x / LOBES).sin() / (PI * x).powi(2)
}

/// Rounded to 8 bit: what a full decode would hand to the encoder.
pub fn quantised(picture: &Rgb32FImage) -> RgbImage {
    let samples = picture.as_raw().iter().map(|sample| (sample * 255.0).round() as u8).collect();
    RgbImage::from_raw(picture.width(), picture.height(), samples).unwrap()
}

/// SSIMULACRA2 of a coded picture: 100 is the same, 90 cannot be told apart, 70 is good, 50 fair.
pub fn score(reference: &Rgb32FImage, coded: &[u8]) -> f64 {
    let coded = DynamicImage::from(image::load_from_memory(coded).unwrap().into_rgb8()).into_rgb32f();
    assert_eq!(coded.dimensions(), reference.dimensions());
    compute_frame_ssimulacra2(frame(reference), frame(&coded)).unwrap()
}

fn frame(picture: &Rgb32FImage) -> Rgb {
    let pixels = picture.pixels().map(|pixel| pixel.0).collect();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709).unwrap()
}
