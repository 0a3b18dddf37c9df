//! How much memory a picture may take: known from its header, before any is taken.

use super::photo::Photo;
use super::{Deadline, IccMode, Settings, decode, fit, sniff};
use crate::error::Rejection;
use image::ImageFormat;

/// Bytes for a pixel of a rendition: its planes, in RGB and converted, and the worst that it can be coded
/// to, in memory that grows by doubling.
const CODED: u64 = 40;
/// The same where coefficients and symbols are kept, to be counted first.
const COUNTED: u64 = 120;
/// What is there whatever the picture: the encoder's tables, small things.
const FIXED: u64 = 512 << 10;

/// The most bytes that [`super::render`] takes at once for a picture, renditions included, the file not:
///
/// - of a JPEG, what decoding takes ([`super::jpeg::memory_bound`]) at the scales that serve the rendition which
///   needs most; for each component, as wide as it is decoded and 64 samples, two bytes for as many rows as the
///   filter spans and 32 more; 24 bytes for each tap of the filter and each row and column made; if it has a
///   profile, five times that and 8 MiB;
/// - of other formats the pixels as the file has them, up to 8 bytes a pixel to make 8-bit gray or RGB of them,
///   a canvas or copy where their decoder needs one, and 24 MiB for the decoder; of WebP three times the file and,
///   if it is lossless, for each of its groups of codes 840 bytes, for each code in it up to 4 KiB of table and
///   32 bytes for each symbol of more than 10 bits;
/// - for each pixel of each rendition 40 bytes, 120 if it is progressive or optimised;
/// - if profiles are kept, twice the profile (2 MiB for other formats), and as much for each rendition;
/// - half a megabyte.
///
/// # Errors
///
/// As [`super::render`], as far as the header tells.
pub fn memory_bound(bytes: &[u8], settings: &Settings) -> Result<u64, Rejection> {
    let format = sniff::sniff(bytes)?;
    if format != ImageFormat::Jpeg {
        let (size, reading) = decode::memory_bound(bytes, format, &settings.limits)?;
        return Ok(FIXED + reading + writing(size, decode::PROFILE, settings));
    }
    let photo = Photo::open(bytes, &settings.limits, Deadline::after(settings.limits.max_time))?;
    let size = photo.upright_size();
    let reading = settings.specs.iter().map(|spec| {
        photo.memory_bound(fit(size.0, size.1, spec.width, spec.height), spec.subsampling, settings.icc)
    });
    let profile = photo.profile_bytes();
    Ok(FIXED + reading.max().unwrap_or(0) + writing(size, profile, settings))
}

fn writing((width, height): (u32, u32), profile: u64, settings: &Settings) -> u64 {
    // A copy, and one in each rendition, which grows by doubling.
    let copies = if settings.icc == IccMode::Keep { 2 + 2 * settings.specs.len() as u64 } else { 0 };
    let rendition = |spec: &super::Spec| {
        let (width, height) = fit(width, height, spec.width, spec.height);
        let a_pixel = if spec.progressive || spec.optimized { COUNTED } else { CODED };
        u64::from(width) * u64::from(height) * a_pixel
    };
    settings.specs.iter().map(rendition).sum::<u64>() + copies * profile
}
