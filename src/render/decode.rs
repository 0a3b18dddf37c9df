//! Bytes to upright-able pixels: by content, within limits.

use super::colour::{self, IccMode};
use super::limits::{Damaged, Limits};
use super::pixels::Pixels;
use super::sniff;
use crate::error::{Reason, Rejection};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use std::io::Cursor;

/// A decoded picture, not yet turned.
pub struct Source {
    pixels: Pixels,
    orientation: u8,
    icc: Option<Vec<u8>>,
    pub notes: Vec<String>,
}

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Source, Rejection> {
    let format = sniff::sniff(bytes)?;
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes, limits)?;
    }
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(|e| rejection(&e))?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, limits)?;
    let mut allocations = image::Limits::default();
    allocations.max_alloc = Some(limits.max_pixels.saturating_mul(4).saturating_add(64 << 20));
    decoder.set_limits(allocations).map_err(|e| rejection(&e))?;
    let icc = decoder.icc_profile().unwrap_or_default();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms).to_exif();
    let image = DynamicImage::from_decoder(decoder).map_err(|e| rejection(&e))?;
    Ok(Source { pixels: flatten(image), orientation, icc, notes: Vec::new() })
}

fn check_jpeg(bytes: &[u8], limits: &Limits) -> Result<(), Rejection> {
    let markers = sniff::jpeg_markers(bytes)?;
    check_pixels(markers.width, markers.height, limits)?;
    if markers.scans > limits.max_scans {
        let detail = format!("{} scans are more than the limit of {}", markers.scans, limits.max_scans);
        return Err(Rejection::new(Reason::ScanLimit, detail));
    }
    if !markers.complete && limits.damaged == Damaged::Reject {
        let detail = format!("the file ends after {} bytes, before the picture does", bytes.len());
        return Err(Rejection::new(Reason::Truncated, detail));
    }
    Ok(())
}

fn check_pixels(width: u32, height: u32, limits: &Limits) -> Result<(), Rejection> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Rejection::new(Reason::Corrupt, format!("the header says {width}x{height} pixels")));
    }
    if pixels > limits.max_pixels {
        let detail = format!(
            "{width}x{height} are {pixels} pixels, more than the limit of {} (--max-pixels)",
            limits.max_pixels
        );
        return Err(Rejection::new(Reason::PixelLimit, detail));
    }
    Ok(())
}

fn rejection(error: &ImageError) -> Rejection {
    let reason = match error {
        ImageError::Unsupported(_) => Reason::Unsupported,
        ImageError::Limits(_) => Reason::PixelLimit,
        _ => Reason::Corrupt,
    };
    Rejection::new(reason, error.to_string())
}

/// Any pixel type to 8-bit gray or RGB; what is transparent shows white.
fn flatten(image: DynamicImage) -> Pixels {
    let (width, height) = (image.width(), image.height());
    let gray = |samples| Pixels { width, height, channels: 1, samples };
    let rgb = |samples| Pixels { width, height, channels: 3, samples };
    match image {
        DynamicImage::ImageLuma8(i) => gray(i.into_raw()),
        DynamicImage::ImageLuma16(_) => gray(image.into_luma8().into_raw()),
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLumaA16(_) => {
            gray(over_white(&image.into_luma_alpha8().into_raw(), 1))
        }
        DynamicImage::ImageRgb8(i) => rgb(i.into_raw()),
        _ if image.color().has_alpha() => rgb(over_white(&image.into_rgba8().into_raw(), 3)),
        _ => rgb(image.into_rgb8().into_raw()),
    }
}

/// Blends `channels` colour samples and one alpha sample a pixel over white.
fn over_white(samples: &[u8], channels: usize) -> Vec<u8> {
    let mut flat = Vec::with_capacity(samples.len() / (channels + 1) * channels);
    for pixel in samples.chunks_exact(channels + 1) {
        let alpha = u32::from(pixel[channels]);
        let blend = |&sample: &u8| {
            let sum = u32::from(sample) * alpha + 255 * (255 - alpha);
            u8::try_from((sum + 127) / 255).expect("a mean of two bytes is a byte")
        };
        flat.extend(pixel[..channels].iter().map(blend));
    }
    flat
}

impl Source {
    /// In pixels, after the orientation is applied.
    pub fn upright_size(&self) -> (u32, u32) {
        let (w, h) = (self.pixels.width, self.pixels.height);
        if self.orientation >= 5 { (h, w) } else { (w, h) }
    }

    /// The picture at an upright size, in sRGB unless its profile is kept. Turning and colours
    /// come after shrinking, where there is least to do.
    pub fn upright(&mut self, (width, height): (u32, u32), mode: IccMode) -> Pixels {
        let (w, h) = if self.orientation >= 5 { (height, width) } else { (width, height) };
        let small = self.pixels.shrink(w, h).orient(self.orientation);
        let (IccMode::Srgb, Some(profile)) = (mode, &self.icc) else { return small };
        match colour::to_srgb(&small, profile) {
            Ok(converted) => converted,
            Err(why) => {
                self.notes.push(format!("colour profile ignored: {why}"));
                small
            }
        }
    }

    pub fn kept_icc(&self, mode: IccMode) -> Option<&[u8]> {
        self.icc
            .as_deref()
            .filter(|icc| mode == IccMode::Keep && colour::is_usable(icc, self.pixels.channels))
    }
}
