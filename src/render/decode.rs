//! Formats other than JPEG: decoded whole by the `image` crate, within limits, what is transparent on
//! white.

use super::colour::{self, Space};
use super::encode::rgb_to_planes;
use super::picture::{Picture, resample_to};
use super::plane::Plane;
use super::resample::orient;
use super::spec::Subsampling;
use super::timed::Timed;
use super::{Deadline, IccMode, Limits, Scratch, note, webp};
use crate::error::{Reason, Rejection};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

/// A decoded picture, not yet turned.
pub struct Decoded {
    pixels: Pixels,
    orientation: u8,
    icc: Option<Vec<u8>>,
    pub notes: Vec<String>,
}

/// Interleaved 8-bit samples, rows tightly packed; `channels` is 1 (gray) or 3 (RGB).
struct Pixels {
    width: u32,
    height: u32,
    channels: usize,
    samples: Vec<u8>,
}

/// What a decoder may take beside the pixels that it gives and its canvas: rows, tables, a profile.
const DECODER: u64 = 24 << 20;
/// The same while the header is read: a profile comes out of a PNG file up to a thousand times larger.
const HEADER: u64 = 16 << 20;

/// The longest colour profile that is used; those of cameras and screens have kilobytes.
pub const PROFILE: u64 = 2 << 20;

/// Size in pixels, and the most bytes that reading it takes: the pixels as the file has them, as 8-bit
/// gray or RGB, one channel of them, a canvas for formats that paint on one, the codes of lossless WebP, a GIF
/// frame that is larger than its screen, and 24 MiB for the decoder.
pub fn memory_bound(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
) -> Result<((u32, u32), u64), Rejection> {
    let (mut decoder, more) = open(bytes, None, format, limits)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let flat = match decoder.color_type() {
        ColorType::L8 | ColorType::Rgb8 => 0,
        ColorType::L16 => 1,
        // By way of RGBA, 8 bits a sample.
        ColorType::Rgba16 | ColorType::Rgba32F => 7,
        _ => 3,
    };
    let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms).to_exif() >= 5;
    let size = if turned { (height, width) } else { (width, height) };
    let own = own_memory(&decoder, format, bytes.len()).saturating_add(more);
    Ok((size, decoder.total_bytes().saturating_add(own).saturating_add(pixels * (flat + 1))))
}

/// What a decoder takes for itself.
fn own_memory(decoder: &impl ImageDecoder, format: ImageFormat, source: usize) -> u64 {
    let (width, height) = decoder.dimensions();
    let canvas = match format {
        ImageFormat::Png | ImageFormat::Bmp => 0,
        // Strips and tiles come as they are stored, and are copied.
        ImageFormat::Tiff => decoder.total_bytes(),
        // A lossy one's data is copied, and once more in parts.
        ImageFormat::WebP => u64::from(width) * u64::from(height) * 8 + 3 * source as u64,
        _ => u64::from(width) * u64::from(height) * 8,
    };
    canvas.saturating_add(DECODER)
}

/// The longest value of a TIFF tag that is read, in bytes as stored: in memory it takes 32 times as much.
const TIFF_VALUE: u64 = 512 << 10;

/// The most that a picture may take to be decoded, its pixels included.
fn most(limits: &Limits) -> u64 {
    limits.max_pixels.saturating_mul(4).saturating_add(DECODER)
}

/// Reads the header, and tells what else the file asks for: the codes of lossless WebP, and a GIF frame that
/// is larger than its screen.
fn open(
    bytes: &[u8],
    deadline: Option<Deadline>,
    format: ImageFormat,
    limits: &Limits,
) -> Result<(impl ImageDecoder, u64), Rejection> {
    let mut more = 0;
    if format == ImageFormat::WebP {
        webp::check_chunks(bytes)?;
        more = webp::code_memory(bytes, most(limits))?;
    }
    let mut reader = ImageReader::with_format(Timed::new(bytes, deadline), format);
    if format == ImageFormat::Png {
        let mut allocations = image::Limits::default();
        allocations.max_alloc = Some(HEADER);
        reader.limits(allocations);
    }
    let mut decoder = reader.into_decoder().map_err(|e| rejection(&e, HEADER))?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, limits)?;
    if format == ImageFormat::Gif {
        more = frame_memory(bytes, deadline, u64::from(width) * u64::from(height));
    }
    if format == ImageFormat::Tiff {
        let mut allocations = image::Limits::default();
        allocations.max_alloc = Some(decoder.total_bytes().saturating_add(TIFF_VALUE));
        decoder.set_limits(allocations).map_err(|e| rejection(&e, HEADER))?;
    }
    Ok((decoder, more))
}

/// What the first frame of a GIF file takes, if it has more pixels than its screen: it is decoded whole, to one
/// byte a pixel and then to four.
fn frame_memory(bytes: &[u8], deadline: Option<Deadline>, screen: u64) -> u64 {
    let frame = gif::Decoder::new(Timed::new(bytes, deadline)).ok().and_then(|mut decoder| {
        let frame = decoder.next_frame_info().ok()??;
        Some(u64::from(frame.width) * u64::from(frame.height))
    });
    // What cannot be read is told by whoever decodes it.
    frame.filter(|pixels| *pixels > screen).unwrap_or(0) * 5
}

/// The whole picture, if there is time for it.
pub fn decode(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Decoded, Rejection> {
    read(bytes, Some(deadline), format, limits)
        .map_err(|rejection| deadline.check().err().unwrap_or(rejection))
}

fn read(
    bytes: &[u8],
    deadline: Option<Deadline>,
    format: ImageFormat,
    limits: &Limits,
) -> Result<Decoded, Rejection> {
    let (mut decoder, more) = open(bytes, deadline, format, limits)?;
    // The crate's limits cover what a decoder takes for itself, not the pixels that it gives.
    let (needs, most) = (decoder.total_bytes().saturating_add(more), most(limits));
    if needs > most {
        let detail = format!("decoding needs {needs} bytes, more than the limit of {most} (--max-pixels)");
        return Err(Rejection::new(Reason::PixelLimit, detail));
    }
    // Under the limits of the header.
    let (icc, notes) = profile(&mut decoder);
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms).to_exif();
    let mut allocations = image::Limits::default();
    let own = own_memory(&decoder, format, bytes.len());
    let own = own.saturating_add(more);
    allocations.max_alloc = Some(own);
    decoder.set_limits(allocations).map_err(|e| rejection(&e, own))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| rejection(&e, own))?;
    Ok(Decoded { pixels: flatten(image), orientation, icc, notes })
}

/// The colour profile, and what there is to say of one that is not used.
fn profile(decoder: &mut impl ImageDecoder) -> (Option<Vec<u8>>, Vec<String>) {
    let why = match decoder.icc_profile() {
        Ok(icc) if icc.as_ref().is_none_or(|icc| icc.len() as u64 <= PROFILE) => return (icc, Vec::new()),
        Ok(_) => format!("it is longer than {} MiB", PROFILE >> 20),
        Err(error) => error.to_string(),
    };
    (None, vec![colour::ignored(why)])
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

/// `allowed`: the bytes that the decoder may take for itself.
fn rejection(error: &ImageError, allowed: u64) -> Rejection {
    let reason = match error {
        ImageError::Unsupported(_) => Reason::Unsupported,
        ImageError::Limits(_) => {
            let detail = format!(
                "{error}: decoding needs more than the {allowed} bytes that it may take beside its pixels"
            );
            return Rejection::new(Reason::PixelLimit, detail);
        }
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

impl Decoded {
    /// In pixels, after the orientation is applied.
    pub fn upright_size(&self) -> (u32, u32) {
        let (w, h) = (self.pixels.width, self.pixels.height);
        if self.orientation >= 5 { (h, w) } else { (w, h) }
    }

    /// The upright picture at a size, in sRGB unless its profile is kept. Turning and colours come
    /// after shrinking, where there is least to do.
    pub fn shrink(
        &mut self,
        (width, height): (u32, u32),
        subsampling: Subsampling,
        mode: IccMode,
        scratch: &mut Scratch,
    ) -> Picture {
        let stored = if self.orientation >= 5 { (height, width) } else { (width, height) };
        let target = (stored.0 as usize, stored.1 as usize);
        let covered = (self.pixels.width as f32, self.pixels.height as f32);
        let mut channels = (0..self.pixels.channels).map(|channel| {
            // One channel at a time: a large picture is not in memory twice.
            let plane = self.pixels.channel(channel);
            orient(resample_to(&plane, covered, target, (1, 1), scratch), self.orientation)
        });
        let first = channels.next().expect("a picture has a channel");
        let rest: Vec<Plane> = channels.collect();
        let (width, height) = (first.width, first.height);
        let gray = rest.is_empty();
        let samples = match rest.as_slice() {
            [green, blue] => first
                .samples
                .iter()
                .zip(&green.samples)
                .zip(&blue.samples)
                .flat_map(|((&r, &g), &b)| [r, g, b])
                .collect(),
            _ => first.samples,
        };
        let samples = self.in_srgb(samples, gray, mode, scratch);
        match gray {
            true => Picture { planes: vec![Plane { width, height, samples }], subsampling },
            false => {
                Picture { planes: rgb_to_planes(&samples, width, height, subsampling).into(), subsampling }
            }
        }
    }

    fn in_srgb(&mut self, samples: Vec<u8>, gray: bool, mode: IccMode, scratch: &mut Scratch) -> Vec<u8> {
        let (IccMode::Srgb, Some(profile)) = (mode, &self.icc) else { return samples };
        let space = if gray { Space::Gray } else { Space::Rgb };
        match scratch.profiles.conversion(profile, space) {
            Ok(Some(conversion)) => conversion.apply(&samples),
            Ok(None) => samples,
            Err(why) => {
                note(&mut self.notes, colour::ignored(why));
                samples
            }
        }
    }

    pub fn kept_icc(&mut self, mode: IccMode) -> Option<Vec<u8>> {
        let space = if self.pixels.channels == 1 { Space::Gray } else { Space::Rgb };
        colour::kept(self.icc.as_deref(), space, mode, &mut self.notes)
    }
}

impl Pixels {
    fn channel(&self, channel: usize) -> Plane {
        let (width, height) = (self.width as usize, self.height as usize);
        let samples = self.samples.iter().skip(channel).step_by(self.channels).copied().collect();
        Plane { width, height, samples }
    }
}
