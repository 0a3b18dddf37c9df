//! What a finished rendition is made of, read by decoders that nobody here wrote.

use image::RgbImage;
use jpeg_decoder::PixelFormat;
use std::io::Cursor;

/// A rendition that two decoders agree to read.
pub struct Coded {
    pub pixels: RgbImage,
    pub is_gray: bool,
    pub has_icc: bool,
}

impl Coded {
    /// Reads it, or says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let one = image::load_from_memory(bytes).map_err(|e| format!("zune-jpeg cannot decode it: {e}"))?;
        let mut decoder = jpeg_decoder::Decoder::new(Cursor::new(bytes));
        decoder.decode().map_err(|e| format!("jpeg-decoder cannot decode it: {e}"))?;
        let other = decoder.info().expect("it is decoded");
        let size = (u32::from(other.width), u32::from(other.height));
        if size != (one.width(), one.height()) {
            return Err("two decoders read two sizes".into());
        }
        Ok(Self {
            pixels: one.into_rgb8(),
            is_gray: other.pixel_format == PixelFormat::L8,
            has_icc: only_what_belongs(bytes)?,
        })
    }

    /// Of red, green and blue.
    pub fn mean(&self) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for pixel in self.pixels.pixels() {
            for (sum, sample) in sums.iter_mut().zip(pixel.0) {
                *sum += f64::from(sample);
            }
        }
        sums.map(|sum| sum / f64::from(self.pixels.width() * self.pixels.height()))
    }
}

/// Whether a file is a JPEG of one component.
pub fn is_gray(bytes: &[u8]) -> bool {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().is_ok() && decoder.info().is_some_and(|i| i.pixel_format == PixelFormat::L8)
}

/// Mean difference a sample of two pictures of the same size.
pub fn mean_difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let total: u64 = one.iter().zip(other.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    total as f64 / one.len() as f64
}

/// Whether an ICC profile is in; an error if anything is that tells of the source, as EXIF does.
fn only_what_belongs(jpeg: &[u8]) -> Result<bool, String> {
    let (mut at, mut has_icc) = (2, false);
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let content = jpeg.get(at + 4..end).ok_or("a header segment ends after the file")?;
        match marker {
            0xda => return Ok(has_icc),
            0xe0 if content.starts_with(b"JFIF\0") => {}
            0xe2 if content.starts_with(b"ICC_PROFILE\0") => has_icc = true,
            0xc0..=0xc2 | 0xc4 | 0xdb | 0xdd => {}
            _ => return Err(format!("segment ff{marker:02x} does not belong into a rendition")),
        }
        at = end;
    }
    Err("there is no scan".into())
}
