//! Pictures to try with, made on the spot: photograph-like, and always the same.

mod paint;

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A sample picture and the name it is uploaded under.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Stored turned, with the EXIF orientation that says so.
    Turned(u8),
    Progressive,
    Cmyk,
    Gray,
    Png,
    /// Cut short: the one that must be rejected.
    Broken,
}

/// The first pictures of a sample; from the ninth on, plain ones of various sizes.
const KINDS: [Kind; 8] = [
    Kind::Plain,
    Kind::Turned(6),
    Kind::Progressive,
    Kind::Cmyk,
    Kind::Broken,
    Kind::Turned(3),
    Kind::Gray,
    Kind::Png,
];

/// Width and height in pixels, as cameras and people make them.
const SIZES: [(u32, u32); 7] =
    [(2400, 1800), (1600, 2400), (1920, 1080), (3000, 2000), (640, 480), (1025, 769), (4032, 3024)];

/// Makes `count` pictures of several sizes and orientations: from five on, one is progressive, one
/// CMYK, and one broken.
///
/// # Errors
///
/// Coding failed, which would be a bug.
pub fn make(count: usize) -> Result<Vec<Sample>, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return made;
            }
            made.push((n, one(n).map_err(|e| format!("cannot make sample picture {}: {e}", n + 1))));
        }
    };
    let mut made: Vec<(usize, Result<Sample, String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().expect("painting does not panic")).collect()
    });
    made.sort_by_key(|(n, _)| *n);
    made.into_iter().map(|(_, sample)| sample).collect()
}

fn one(n: usize) -> Result<Sample, String> {
    let kind = KINDS.get(n).copied().unwrap_or(Kind::Plain);
    let (width, height) = SIZES[n % SIZES.len()];
    let picture = paint::landscape(width, height, n as u64 + 1);
    let bytes = match kind {
        Kind::Png => png(&picture),
        _ => jpeg(&picture, kind).map_err(|e| e.to_string()),
    }?;
    let (what, ending) = match kind {
        Kind::Plain => ("plain".to_owned(), "jpg"),
        Kind::Turned(orientation) => (format!("orientation-{orientation}"), "jpg"),
        Kind::Progressive => ("progressive".to_owned(), "jpg"),
        Kind::Cmyk => ("cmyk".to_owned(), "jpg"),
        Kind::Gray => ("gray".to_owned(), "jpg"),
        Kind::Png => ("png".to_owned(), "png"),
        Kind::Broken => ("broken".to_owned(), "jpg"),
    };
    Ok(Sample { name: format!("sample-{:02}-{what}.{ending}", n + 1), bytes })
}

fn png(picture: &RgbImage) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let written = picture.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png);
    written.map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn jpeg(picture: &RgbImage, kind: Kind) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_progressive(kind == Kind::Progressive);
    let stored = match kind {
        Kind::Turned(orientation) => {
            encoder.add_app_segment(1, exif(orientation))?;
            turned(picture, orientation)
        }
        _ => picture.clone(),
    };
    let side = |n: u32| u16::try_from(n).expect("the sizes are small");
    let (width, height) = (side(stored.width()), side(stored.height()));
    match kind {
        Kind::Cmyk => encoder.encode(&cmyk(&stored), width, height, ColorType::Cmyk)?,
        Kind::Gray => encoder.encode(&image::imageops::grayscale(&stored), width, height, ColorType::Luma)?,
        _ => encoder.encode(&stored, width, height, ColorType::Rgb)?,
    }
    if kind == Kind::Broken {
        bytes.truncate(bytes.len() / 3);
    }
    Ok(bytes)
}

/// How a camera held that way would have stored it: applying the orientation gives the picture back.
fn turned(picture: &RgbImage, orientation: u8) -> RgbImage {
    match orientation {
        3 => image::imageops::rotate180(picture),
        6 => image::imageops::rotate270(picture),
        _ => picture.clone(),
    }
}

/// An APP1 segment with one tag: orientation (EXIF 2.32, 4.6.4).
fn exif(orientation: u8) -> Vec<u8> {
    let mut segment = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    segment.extend([orientation, 0, 0, 0, 0, 0, 0]);
    segment
}

/// Ink amounts, with the common part moved to black.
fn cmyk(picture: &RgbImage) -> Vec<u8> {
    let ink = |pixel: &image::Rgb<u8>| {
        let [c, m, y] = pixel.0.map(|sample| 255 - sample);
        let k = c.min(m).min(y) / 2;
        [c - k, m - k, y - k, k]
    };
    picture.pixels().flat_map(ink).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::render::{IccMode, Limits, Settings, render, spec};

    #[test]
    fn a_sample_holds_one_of_each_and_just_the_broken_one_is_rejected() {
        let settings = Settings {
            specs: spec::parse("thumbs=64x64").unwrap(),
            icc: IccMode::Srgb,
            limits: Limits::default(),
        };
        for sample in make(KINDS.len()).unwrap() {
            let rendered = render(&sample.bytes, &settings);
            match sample.name.contains("broken") {
                true => assert_eq!(rendered.unwrap_err().reason, Reason::Truncated),
                false => assert_eq!(rendered.unwrap().renditions.len(), 1, "{}", sample.name),
            }
        }
    }

    #[test]
    fn samples_are_always_the_same() {
        assert_eq!(make(1).unwrap()[0].bytes, make(1).unwrap()[0].bytes);
    }
}
